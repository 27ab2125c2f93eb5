//! What the operator does with people's accounts, from the command line.

use super::address::drop_wish;
use super::management;
use super::profile::password_news;
use super::registration::{Invitation, register};
use crate::app::App;
use crate::db::Tx;
use crate::features::accounts::model::password;
use crate::features::accounts::model::{Credentials, Registration, login_keys};
use crate::features::accounts::store;
use crate::features::audit::model::Event;
use crate::features::mails::actions as mails;
use crate::features::mails::model::NewMail;
use crate::features::{audit, identities, tokens};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, FieldError, Result};
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::web::views::language::Language;

/// The account behind a user name or address.
pub async fn find(app: &App, typed: &str) -> Result<Option<Credentials>> {
    for key in login_keys(typed) {
        if let Some(found) = store::credentials(&app.db, &key).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Makes an account with the manager's role.
pub async fn create_manager(app: &App, new: Registration) -> Result<UserId> {
    let made = register(app, Actor::OPERATOR.into(), new, Invitation::None, Language::English).await?;
    set_manager(app, made.id, true).await?;
    Ok(made.id)
}

/// Those who were erased, behind one of them, the oldest first.
pub async fn erased_log(app: &App, behind: (Time, UserId), most: i64) -> Result<Vec<(UserId, Time)>> {
    store::erased_log(&app.db, behind, most).await
}

/// Gives or takes the manager's role.
pub async fn set_manager(app: &App, user: UserId, is_manager: bool) -> Result<()> {
    management::set_manager(app, Actor::OPERATOR.into(), user, is_manager, None).await
}

/// Sets a password without the old one, ends every session and unlinks other identity providers. The rules for
/// passwords hold.
pub async fn reset_password(app: &App, user: &Credentials, new: &str) -> Result<()> {
    let least = app.config.accounts.min_password_length;
    password::check(new, least, &user.username, &user.email)
        .map_err(|rule| Error::Invalid(vec![FieldError::new("body", "password", "password", rule)]))?;
    let hash = app.hasher.hash(new, app.random()?).await?;
    let news = password_news(app, user, Language::English).await?;
    let new = NewPassword { user: user.id, hash, now: app.clock.now(), news };
    let ended = app.db.write(Actor::OPERATOR, new, |tx, new| Box::pin(replace_password(tx, new))).await?;
    app.sessions_ended(&ended).await;
    Ok(())
}

struct NewPassword {
    user: UserId,
    hash: String,
    now: Time,
    news: Option<NewMail>,
}

async fn replace_password(tx: &mut Tx<'_>, new: &NewPassword) -> Result<Vec<SessionId>> {
    store::reset_password(tx, new.user, &new.hash).await?;
    audit::actions::record(tx, new.now, Event::PasswordReset(new.user)).await?;
    // Who was in may have linked a way back.
    identities::actions::forget(tx, new.user).await?;
    drop_wish(tx, new.user).await?;
    mails::end_links(tx, new.user, MailKind::Reset, new.now).await?;
    if let Some(news) = &new.news {
        mails::write(tx, news).await?;
    }
    tokens::actions::end_all(tx, new.user, new.now).await
}

/// Keeps somebody out: sessions end, the active code dies, log-in is refused.
pub async fn disable(app: &App, user: UserId) -> Result<()> {
    management::disable(app, Actor::OPERATOR.into(), user, None).await
}

/// Lets somebody in again; their codes stay dead.
pub async fn enable(app: &App, user: UserId) -> Result<()> {
    management::enable(app, Actor::OPERATOR.into(), user, None).await
}
