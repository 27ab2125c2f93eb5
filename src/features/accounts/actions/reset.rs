//! A new password by a link in a mail.

use super::address::drop_wish;
use crate::app::App;
use crate::crypto::mail_key::LinkToken;
use crate::db::{Tx, Work};
use crate::features::accounts::actions::confirmation::count_referral;
use crate::features::accounts::model::{Credentials, ReferralRules, password};
use crate::features::accounts::store;
use crate::features::audit;
use crate::features::audit::model::Event;
use crate::features::mails::actions::{self as mails, To};
use crate::features::mails::model::{NewMail, UsedLink};
use crate::features::{clients, identities, tokens};
use crate::idempotency::Sent;
use crate::jobs::Kind;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, FieldError, Refusal, Result};
use crate::kernel::ids::{MailId, SessionId, UserId};
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::limits::turns::Key;
use crate::web::views::language::Language;

/// Sends a link to whoever has an account with this address. Whoever asks learns nothing: neither the answer nor what
/// is done for it depends on whether there is anybody.
pub async fn ask(app: &App, sent: Sent<()>, language: Language, email: &Email) -> Result<()> {
    mails::ask(app, sent, MailKind::Reset, language, email).await
}

/// What a link of a mail leads to.
pub struct Linked {
    pub kind: MailKind,
    pub user: Credentials,
    pub(super) link: UsedLink,
    /// The form in which the address is compared that the account has now, where the link is to give it another.
    pub(super) before: Option<String>,
}

impl Linked {
    /// Whether the link is to give the account another address.
    pub fn is_change(&self) -> bool {
        self.before.is_some()
    }
}

/// The address that a link is to give the account.
pub async fn wanted(app: &App, linked: &Linked) -> Result<String> {
    store::new_email(&app.db, linked.user.id).await?.ok_or_else(|| Refusal::LinkExpired.into())
}

/// What a link that is good now leads to. Nothing is changed: whoever reads mails for others opens the links in them.
pub async fn linked(app: &App, token: &LinkToken) -> Result<Linked> {
    let (kind, link) = mails::look_at(app, token).await?.ok_or(Refusal::LinkExpired)?;
    let user = store::credentials_of(&app.db, link.user).await?.filter(|user| !user.disabled);
    let user = user.ok_or(Refusal::LinkExpired)?;
    let (own, wanted) = store::email_keys(&app.db, user.id).await?.ok_or(Refusal::LinkExpired)?;
    let before = if own == link.address_key {
        None
    } else if kind == MailKind::Confirm && wanted.as_ref() == Some(&link.address_key) {
        Some(own)
    } else {
        return Err(Refusal::LinkExpired.into());
    };
    Ok(Linked { kind, user, link, before })
}

struct Reset {
    link: MailId,
    user: UserId,
    hash: String,
    now: Time,
    news: Option<NewMail>,
    rules: ReferralRules,
}

/// Sets a new password by the link of a mail, once, and ends every session. Where nobody had shown before that the
/// address is theirs, whatever else may be somebody else's goes with the old password.
pub async fn complete(app: &App, sent: Sent<()>, token: &LinkToken, language: Language, new: &str) -> Result<()> {
    let linked = linked(app, token).await?;
    if linked.kind != MailKind::Reset {
        return Err(Refusal::LinkExpired.into());
    }
    let user = &linked.user;
    let least = app.config.accounts.min_password_length;
    if let Err(reason) = password::check(new, least, &user.username, &user.email) {
        return Err(Error::Invalid(vec![FieldError::new("body", "password", "password", reason)]));
    }
    let hash = app.hasher.hash(new, app.random()?).await?;
    let to = To { user: user.id, address: &user.email, key: &linked.link.address_key };
    let news = mails::prepare(app, MailKind::PasswordChanged, language, to).await?;
    let reset = Reset {
        link: token.id,
        user: user.id,
        hash,
        now: app.clock.now(),
        news,
        rules: ReferralRules::of(&app.config),
    };
    let set: Work<Reset, Vec<SessionId>> = |tx, reset| Box::pin(set(tx, reset));
    let sent = sent.by(|actor| actor.person(user.id)).settled(&())?;
    let ended = app.write_in_turn(sent, Key::User(user.id.0), reset, set).await?;
    app.sessions_ended(&ended).await;
    app.work_to_do.ring(Kind::SendMail);
    Ok(())
}

async fn set(tx: &mut Tx<'_>, reset: &Reset) -> Result<Vec<SessionId>> {
    let used = mails::use_link(tx, reset.link, MailKind::Reset, reset.now).await?;
    let Some(first) = store::reset_password_of(tx, used.user, &used.address_key, &reset.hash, reset.now).await? else {
        return Err(Refusal::LinkExpired.into());
    };
    audit::actions::record(tx, reset.now, Event::PasswordReset(used.user)).await?;
    if first {
        count_referral(tx, used.user, reset.rules, reset.now).await?;
        identities::actions::forget(tx, used.user).await?;
        clients::actions::consents::forget_user(tx, used.user).await?;
    }
    drop_wish(tx, used.user).await?;
    mails::end_links(tx, used.user, MailKind::Reset, reset.now).await?;
    if let Some(news) = &reset.news {
        mails::write(tx, news).await?;
    }
    tokens::actions::end_all(tx, reset.user, reset.now).await
}
