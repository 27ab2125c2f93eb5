//! Changing one's address: it counts once the link in a mail to the new one was used.

use super::confirmation::count_referral;
use super::profile::{Proof, prove};
use crate::app::App;
use crate::config::Policy;
use crate::db::{Tx, Work};
use crate::features::accounts::model::disposable::is_disposable;
use crate::features::accounts::model::{Credentials, ReferralRules, check_name_against};
use crate::features::accounts::store;
use crate::features::audit::model::Event;
use crate::features::mails::actions::{self as mails, To};
use crate::features::mails::model::NewMail;
use crate::features::{audit, codes};
use crate::idempotency::Sent;
use crate::jobs::Kind;
use crate::kernel::actor::Actor;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{MailId, UserId};
use crate::kernel::mail::MailKind;
use crate::kernel::name::Username;
use crate::kernel::time::Time;
use crate::limits::turns::Key;
use crate::web::views::language::Language;

struct Wish {
    user: UserId,
    stored: Option<String>,
    email: Email,
    mail: NewMail,
    /// Instead, where somebody has the address: the work is the same, and so is what a person finds noted of it.
    nobodys: NewMail,
}

/// Sends a link to the address that a person wants instead of theirs. Nobody is told whether somebody else has it, nor
/// whether it has got as many mails as one that anybody may give gets.
pub async fn ask(
    app: &App,
    sent: Sent<()>,
    user: UserId,
    proof: &Proof,
    email: Email,
    language: Language,
) -> Result<()> {
    let (person, stored) = prove(app, user, proof).await?;
    let name = Username::parse(&person.username).ok();
    if name.is_some_and(|name| check_name_against(&name, &email).is_err()) {
        let text = "Your user name is the e-mail address that you have: it must be your own";
        return Err(Error::field("email", "value_error", text));
    }
    if app.config.email.check == Policy::Block && is_disposable(&email) {
        return Err(Error::field("email", "disposable_address", "Disposable e-mail addresses are not accepted"));
    }
    let to = || To { user, address: email.as_str(), key: email.key() };
    let nobodys = mails::prepare_for_nobody(app, MailKind::Confirm, language, to()).await?;
    let mail = match app.limits.lets_mail(email.key()).await? {
        true => mails::prepare(app, MailKind::Confirm, language, to()).await?,
        false => nobodys.clone(),
    };
    let (mail, nobodys) = mail.zip(nobodys).ok_or(Refusal::NotFound)?;
    let wish = Wish { user, stored, email, mail, nobodys };
    let note: Work<Wish, ()> = |tx, wish| Box::pin(note(tx, wish));
    app.write_in_turn(sent.settled(&())?, Key::User(user.0), wish, note).await?;
    app.work_to_do.ring(Kind::SendMail);
    Ok(())
}

async fn note(tx: &mut Tx<'_>, wish: &Wish) -> Result<()> {
    if let Some(stored) = &wish.stored
        && !store::hold_password(tx, wish.user, stored).await?
    {
        return Err(Refusal::WrongPassword.into());
    }
    // Who has logged in a moment ago may be kept out or erased by now.
    if !store::set_new_email(tx, wish.user, wish.email.as_str(), wish.email.key()).await? {
        return Err(Refusal::InvalidToken.into());
    }
    // Whoever has it would be asked to give it away.
    let mail = if store::is_login(tx, wish.email.key()).await? { &wish.nobodys } else { &wish.mail };
    mails::write(tx, mail).await
}

/// Removes the addresses whose link was not used in its time: they may be somebody else's.
pub async fn housekeeping(app: &App) -> Result<u64> {
    app.db.write(Actor::SERVICE, app.clock.now(), |tx, now| Box::pin(store::forget_new_emails(tx, *now))).await
}

/// Makes the link to another address do nothing any more, as part of a unit of work that sets a password or keeps
/// somebody out: whoever asked for it may be somebody else, and would get in again by it.
pub async fn drop_wish(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    store::drop_new_email(tx, user).await
}

struct Change {
    link: MailId,
    now: Time,
    /// To the address before, if there was one, and to the new one.
    news: Vec<NewMail>,
    rules: ReferralRules,
}

struct Changed {
    before: String,
    version: i64,
}

/// Gives a person the address that they wanted, by the link that was sent to it, and tells both addresses.
pub async fn change(
    app: &App,
    sent: Sent<()>,
    link: MailId,
    person: &Credentials,
    (before, wanted): (&str, &str),
    language: Language,
) -> Result<()> {
    let new = store::new_email(&app.db, person.id).await?.ok_or(Refusal::LinkExpired)?;
    let mut news = Vec::new();
    for (address, key) in [(person.email.as_str(), before), (new.as_str(), wanted)] {
        // Participants may have had none.
        if key.is_empty() {
            continue;
        }
        let to = To { user: person.id, address, key };
        news.extend(mails::prepare(app, MailKind::AddressChanged, language, to).await?);
    }
    let input = Change { link, now: app.clock.now(), news, rules: ReferralRules::of(&app.config) };
    let change: Work<Change, Changed> = |tx, input| Box::pin(take(tx, input));
    // Not in the person's line, which is bounded: whoever comes too late is to hear that the link was used.
    let sent = sent.by(|actor| actor.person(person.id)).settled(&())?;
    let changed = app.write(sent, input, change).await?;
    app.code_changed(person.id, changed.version).await;
    app.codes.forget(&changed.before, changed.version).await;
    app.work_to_do.ring(Kind::SendMail);
    Ok(())
}

async fn take(tx: &mut Tx<'_>, input: &Change) -> Result<Changed> {
    let used = mails::use_link(tx, input.link, MailKind::Confirm, input.now).await?;
    let before = store::change_email(tx, used.user, &used.address_key, input.now).await?;
    let before = before.ok_or(Refusal::LinkExpired)?;
    audit::actions::record(tx, input.now, Event::AddressChanged(used.user)).await?;
    // The new address is proven, which a referral may have waited for.
    count_referral(tx, used.user, input.rules, input.now).await?;
    for kind in MailKind::WITH_LINK {
        mails::end_links(tx, used.user, kind, input.now).await?;
    }
    for mail in &input.news {
        mails::write(tx, mail).await?;
    }
    let version = codes::actions::refresh(tx, used.user).await?;
    Ok(Changed { before, version })
}
