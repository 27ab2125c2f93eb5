//! What people do with their own account.

use super::model::User;
use super::{actions, password, store};
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::codes::model::ActiveCode;
use crate::features::referrals::model::Referrer;
use crate::features::{codes, referrals, signin, tokens};
use crate::kernel::error::{Error, FieldError, Refusal, Result};
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::time::Time;

/// A person with what belongs to them.
pub struct Profile {
    pub user: User,
    pub referred_by: Option<Referrer>,
    pub referral_count: i64,
    pub active_code: Option<ActiveCode>,
}

pub async fn profile(app: &App, id: UserId) -> Result<Profile> {
    let user = store::user(&app.db, id).await?.filter(|user| !user.erased).ok_or(Refusal::InvalidToken)?;
    Ok(Profile {
        referred_by: referrals::actions::referrer_of(app, id).await?,
        referral_count: referrals::actions::count(app, id).await?,
        active_code: codes::actions::active_of(app, id).await?,
        user,
    })
}

/// Lets oneself be found by e-mail, or not.
pub async fn set_discoverable(app: &App, user: UserId, discoverable: bool) -> Result<()> {
    let change: Work<(UserId, bool), Option<i64>> = |tx, (user, discoverable)| {
        Box::pin(async move {
            if !store::set_discoverable(tx, *user, *discoverable).await? {
                return Ok(None);
            }
            codes::actions::refresh(tx, *user).await.map(Some)
        })
    };
    if let Some(version) = app.db.write((user, discoverable), change).await? {
        app.code_changed(user, version).await;
    }
    Ok(())
}

/// Changes the password, with the old one as proof, and ends every session, this one included.
pub async fn change_password(app: &App, user: UserId, old: &str, new: &str) -> Result<()> {
    let found = store::credentials_of(&app.db, user).await?;
    let (person, stored) = actions::proven(app, found, old, Refusal::WrongPassword).await?;
    let least = app.config.accounts.min_password_length;
    if let Err(reason) = password::check(new, least, &person.username, &person.email) {
        return Err(Error::Invalid(vec![FieldError::new("body", "new_password", "password", reason)]));
    }
    let hash = app.hasher.hash(new, app.random()?).await?;
    let change: Work<(UserId, String, String, Time), Vec<SessionId>> = |tx, (user, old, new, now)| {
        Box::pin(async move {
            if !store::set_password(tx, *user, old, new).await? {
                return Err(Refusal::WrongPassword.into());
            }
            tokens::actions::end_all(tx, *user, *now).await
        })
    };
    let ended = app.db.write((user, stored, hash, app.clock.now()), change).await?;
    app.sessions_ended(&ended).await;
    Ok(())
}

struct Erased {
    sessions: Vec<SessionId>,
    version: i64,
    email_key: String,
}

/// Erases the account: name, address, password and chosen codes are gone, sessions end, the active code dies; the row
/// stays without a face, so that nobody's numbers move.
pub async fn erase(app: &App, user: UserId, password: &str) -> Result<()> {
    let found = store::credentials_of(&app.db, user).await?;
    let (_, stored) = actions::proven(app, found, password, Refusal::WrongPassword).await?;
    let remove: Work<(UserId, String, Time), Erased> =
        |tx, (user, stored, now)| Box::pin(remove(tx, *user, stored, *now));
    let erased = app.db.write((user, stored, app.clock.now()), remove).await?;
    app.sessions_ended(&erased.sessions).await;
    app.code_changed(user, erased.version).await;
    app.codes.forget(&erased.email_key, erased.version).await;
    Ok(())
}

async fn remove(tx: &mut Tx<'_>, user: UserId, stored: &str, now: Time) -> Result<Erased> {
    let Some(email_key) = store::erase(tx, user, stored, now).await? else {
        return Err(Refusal::WrongPassword.into());
    };
    signin::actions::forget(tx, user).await?;
    // Sessions last: what is announced should be committed at once, and the slot may have to be waited for.
    let version = codes::actions::end_all(tx, user, true).await?;
    let sessions = tokens::actions::end_all(tx, user, now).await?;
    Ok(Erased { sessions, version, email_key })
}
