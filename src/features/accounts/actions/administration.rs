//! What the operator does with people's accounts, from the command line.

use super::registration::{Invitation, register};
use crate::app::App;
use crate::db::Work;
use crate::features::accounts::model::password;
use crate::features::accounts::model::{Credentials, Registration, login_keys};
use crate::features::accounts::store;
use crate::features::{codes, identities, tokens};
use crate::kernel::actor::Actor;
use crate::kernel::error::Result;
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::time::Time;

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
    let made = register(app, Actor::OPERATOR.into(), new, Invitation::None).await?;
    set_manager(app, made.id, true).await?;
    Ok(made.id)
}

/// Gives or takes the manager's role.
pub async fn set_manager(app: &App, user: UserId, is_manager: bool) -> Result<bool> {
    let set: Work<(UserId, bool), bool> = |tx, (user, on)| Box::pin(store::set_manager(tx, *user, *on));
    app.db.write(Actor::OPERATOR, (user, is_manager), set).await
}

/// Sets a password without the old one, ends every session and unlinks other identity providers. The rules for
/// passwords hold.
pub async fn reset_password(app: &App, user: &Credentials, new: &str) -> Result<Result<(), String>> {
    let least = app.config.accounts.min_password_length;
    if let Err(reason) = password::check(new, least, &user.username, &user.email) {
        return Ok(Err(reason));
    }
    let hash = app.hasher.hash(new, app.random()?).await?;
    let reset: Work<(UserId, String, Time), Vec<SessionId>> = |tx, (user, hash, now)| {
        Box::pin(async move {
            store::reset_password(tx, *user, hash).await?;
            // Who was in may have linked a way back.
            identities::actions::forget(tx, *user).await?;
            tokens::actions::end_all(tx, *user, *now).await
        })
    };
    let ended = app.db.write(Actor::OPERATOR, (user.id, hash, app.clock.now()), reset).await?;
    app.sessions_ended(&ended).await;
    Ok(Ok(()))
}

/// Keeps somebody out: sessions end, the active code dies, log-in is refused.
pub async fn disable(app: &App, user: UserId) -> Result<()> {
    let disable: Work<(UserId, Time), (Vec<SessionId>, i64)> = |tx, (user, now)| {
        Box::pin(async move {
            store::set_disabled(tx, *user, Some(*now)).await?;
            let version = codes::actions::end_all(tx, *user, false).await?;
            Ok((tokens::actions::end_all(tx, *user, *now).await?, version))
        })
    };
    let (ended, version) = app.db.write(Actor::OPERATOR, (user, app.clock.now()), disable).await?;
    app.sessions_ended(&ended).await;
    app.code_changed(user, version).await;
    Ok(())
}

/// Lets somebody in again; their codes stay dead.
pub async fn enable(app: &App, user: UserId) -> Result<()> {
    let enable: Work<UserId, ()> =
        |tx, user| Box::pin(async move { store::set_disabled(tx, *user, None).await.map(drop) });
    app.db.write(Actor::OPERATOR, user, enable).await
}
