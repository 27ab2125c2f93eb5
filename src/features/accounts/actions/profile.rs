//! What people do with their own account.

use super::address::drop_wish;
use super::{handles, proven};
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::accounts::model::password;
use crate::features::accounts::model::{Credentials, User};
use crate::features::accounts::store::{self, Warrant};
use crate::features::audit;
use crate::features::audit::model::Event;
use crate::features::mails::actions::{self as mails, To};
use crate::features::mails::model::NewMail;
use crate::features::outbox::model::Message;
use crate::features::referrals::model::Referrer;
use crate::features::{clients, codes, identities, outbox, referrals, rewards, tokens};
use crate::idempotency::Sent;
use crate::jobs::Kind;
use crate::kernel::active_code::ActiveCode;
use crate::kernel::error::{Error, FieldError, Refusal, Result};
use crate::kernel::handle::Handle;
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::limits::turns::Key;
use crate::web::views::language::Language;

/// A person with what belongs to them.
pub struct Profile {
    pub user: User,
    pub referred_by: Option<Referrer>,
    pub referral_count: i64,
    pub active_code: Option<ActiveCode>,
}

/// What shows that it is the account's owner who asks.
pub enum Proof {
    Password(String),
    /// A log-in of a moment ago, for accounts without a password.
    FreshLogIn,
}

/// Whether an account has a password: those that came with another identity provider have none at first.
pub async fn has_password(app: &App, user: UserId) -> Result<bool> {
    let found = store::credentials_of(&app.db, user).await?.ok_or(Refusal::InvalidToken)?;
    Ok(found.password_hash.is_some())
}

/// A person as their own account shows them.
pub async fn user(app: &App, id: UserId) -> Result<User> {
    store::user(&app.db, id).await?.filter(|user| !user.erased).ok_or_else(|| Refusal::InvalidToken.into())
}

pub async fn profile(app: &App, id: UserId) -> Result<Profile> {
    let user = user(app, id).await?;
    Ok(Profile {
        referred_by: referrals::actions::referrer_of(app, id).await?,
        referral_count: referrals::actions::count(app, id).await?,
        active_code: codes::actions::active_of(app, id).await?,
        user,
    })
}

/// What somebody wants to be different about how others see and find them; what is nothing stays.
#[derive(Default)]
pub struct Change {
    /// The name that they show, or that they show none.
    pub name: Option<Option<String>>,
    /// The handle that they choose.
    pub handle: Option<Handle>,
    /// Whether others find them by e-mail.
    pub discoverable: Option<bool>,
}

/// Changes how others see and find somebody: all of it or, where a part is refused, nothing.
pub async fn update(app: &App, sent: Sent<()>, user: UserId, change: Change) -> Result<()> {
    let work: Work<(UserId, Change, Time), Option<i64>> =
        |tx, (user, change, now)| Box::pin(apply(tx, *user, change, *now));
    if let Some(version) = app.write_for(sent.settled(&())?, user, (user, change, app.clock.now()), work).await? {
        app.code_changed(user, version).await;
    }
    Ok(())
}

/// The version of the owner's slot, if nodes must read it again.
async fn apply(tx: &mut Tx<'_>, user: UserId, change: &Change, now: Time) -> Result<Option<i64>> {
    if let Some(handle) = &change.handle {
        handles::choose(tx, user, handle, now).await?;
    }
    let mut is_other = false;
    if let Some(discoverable) = change.discoverable {
        is_other |= store::set_discoverable(tx, user, discoverable).await?;
    }
    if let Some(name) = &change.name {
        is_other |= store::set_name(tx, user, name.as_deref()).await?;
    }
    match is_other {
        true => codes::actions::refresh(tx, user).await.map(Some),
        false => Ok(None),
    }
}

/// The account, with the stored hash that the proof was checked against, if it is by a password.
pub(super) async fn prove(app: &App, user: UserId, proof: &Proof) -> Result<(Credentials, Option<String>)> {
    let found = store::credentials_of(&app.db, user).await?;
    match proof {
        Proof::Password(typed) => {
            let (person, stored, _) = proven(app, found, typed, [], Refusal::WrongPassword).await?;
            Ok((person, Some(stored)))
        }
        Proof::FreshLogIn => Ok((found.ok_or(Refusal::InvalidToken)?, None)),
    }
}

/// Changes the password, with the old one as proof, and ends every session, this one included.
pub async fn change_password(
    app: &App,
    sent: Sent<()>,
    user: UserId,
    proof: &Proof,
    new: &str,
    language: Language,
) -> Result<()> {
    let (person, stored) = prove(app, user, proof).await?;
    let least = app.config.accounts.min_password_length;
    if let Err(reason) = password::check(new, least, &person.username, &person.email) {
        return Err(Error::Invalid(vec![FieldError::new("body", "new_password", "password", reason)]));
    }
    let hash = app.hasher.hash(new, app.random()?).await?;
    let news = password_news(app, &person, language).await?;
    let input = NewPassword { user, stored, hash, now: app.clock.now(), news };
    let change: Work<NewPassword, Vec<SessionId>> = |tx, input| Box::pin(replace_password(tx, input));
    let ended = app.write_in_turn(sent.settled(&())?, Key::User(user.0), input, change).await?;
    app.sessions_ended(&ended).await;
    app.work_to_do.ring(Kind::SendMail);
    Ok(())
}

struct NewPassword {
    user: UserId,
    stored: Option<String>,
    hash: String,
    now: Time,
    news: Option<NewMail>,
}

async fn replace_password(tx: &mut Tx<'_>, input: &NewPassword) -> Result<Vec<SessionId>> {
    if !store::set_password(tx, input.user, input.stored.as_deref(), &input.hash).await? {
        return Err(Refusal::WrongPassword.into());
    }
    audit::actions::record(tx, input.now, Event::PasswordChanged(input.user)).await?;
    drop_wish(tx, input.user).await?;
    mails::end_links(tx, input.user, MailKind::Reset, input.now).await?;
    if let Some(news) = &input.news {
        mails::write(tx, news).await?;
    }
    tokens::actions::end_all(tx, input.user, input.now).await
}

/// The mail that tells the owner of an account that its password was changed.
pub(super) async fn password_news(app: &App, person: &Credentials, language: Language) -> Result<Option<NewMail>> {
    let key = store::email_key(&app.db, person.id).await?.filter(|key| !key.is_empty());
    let Some(key) = key else { return Ok(None) };
    let to = To { user: person.id, address: &person.email, key: &key };
    mails::prepare(app, MailKind::PasswordChanged, language, to).await
}

/// What is to be made known of an erasure.
pub struct Erased {
    sessions: Vec<SessionId>,
    version: i64,
    email_key: String,
}

impl Erased {
    /// After the unit of work.
    pub async fn announce(self, app: &App, user: UserId) {
        app.sessions_ended(&self.sessions).await;
        app.code_changed(user, self.version).await;
        app.codes.forget(&self.email_key, self.version).await;
    }
}

/// Erases the account: name, address, password and chosen codes are gone, sessions end, the active code dies; the row
/// stays without a face, so that nobody's numbers move.
pub async fn erase(app: &App, sent: Sent<()>, user: UserId, proof: &Proof) -> Result<()> {
    let (_, stored) = prove(app, user, proof).await?;
    let remove: Work<(UserId, Warrant, Time), Erased> =
        |tx, (user, warrant, now)| Box::pin(remove_own(tx, *user, warrant, *now));
    let input = (user, Warrant::Own(stored), app.clock.now());
    let erased = app.write_in_turn(sent.settled(&())?, Key::User(user.0), input, remove).await?;
    erased.announce(app, user).await;
    Ok(())
}

async fn remove_own(tx: &mut Tx<'_>, user: UserId, warrant: &Warrant, now: Time) -> Result<Erased> {
    if store::hold_managers(tx).await? == [user] {
        return Err(Refusal::LastManager.into());
    }
    let erased = remove(tx, user, warrant, now).await?.ok_or(Refusal::WrongPassword)?;
    audit::actions::record(tx, now, Event::UserErased(user, None)).await?;
    Ok(erased)
}

/// Removes all that tells who a person was, as part of a unit of work; nothing when the warrant is not good any more.
pub(super) async fn remove(tx: &mut Tx<'_>, user: UserId, warrant: &Warrant, now: Time) -> Result<Option<Erased>> {
    let Some(email_key) = store::erase(tx, user, warrant, now).await? else { return Ok(None) };
    outbox::actions::tell(tx, &Message::participant_erased(user, now)).await?;
    identities::actions::forget(tx, user).await?;
    rewards::actions::events::forget_user(tx, user).await?;
    mails::forget_user(tx, user).await?;
    // Sessions last: what is announced should be committed at once, and the slot may have to be waited for.
    let version = codes::actions::end_all(tx, user, true).await?;
    clients::actions::consents::forget_user(tx, user).await?;
    let sessions = tokens::actions::end_all(tx, user, now).await?;
    Ok(Some(Erased { sessions, version, email_key }))
}
