//! What a person sees of their sessions, and how they end one.

use uuid::Uuid;

use crate::app::App;
use crate::cache::changes::{MEMORY, announce_session, announce_sessions};
use crate::db::{Tx, Work};
use crate::features::tokens::model::{Session, SessionKind};
use crate::features::tokens::store::sessions as store;
use crate::idempotency::Sent;
use crate::kernel::actor::Actor;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::time::Time;

/// Nobody reads more.
pub const MOST: i64 = 512;

/// A user's sessions that can still be used, those used last first; of each kind at most [`MOST`].
pub async fn list(app: &App, user: UserId) -> Result<Vec<Session>> {
    let now = app.clock.now();
    let used_after = now.minus(app.config.tokens.idle());
    let mut sessions = store::sessions_of(&app.db, user, now, used_after, MOST).await?;
    sessions.sort_by_key(|session| std::cmp::Reverse(session.used_at));
    Ok(sessions)
}

/// Ends one of a user's own, on every node.
pub async fn end(app: &App, sent: Sent<()>, user: UserId, session: Uuid) -> Result<()> {
    let end: Work<(Uuid, UserId, Time), SessionKind> =
        |tx, (session, user, now)| Box::pin(end_own(tx, *session, *user, *now));
    match app.write_for(sent.settled(&())?, user, (session, user, app.clock.now()), end).await? {
        SessionKind::Tokens => app.sessions_ended(&[SessionId(session)]).await,
        SessionKind::Browser => {}
    }
    Ok(())
}

async fn end_own(tx: &mut Tx<'_>, session: Uuid, user: UserId, now: Time) -> Result<SessionKind> {
    let kind = store::end_session_of(tx, session, user, now).await?.ok_or(Refusal::SessionNotFound)?;
    if kind == SessionKind::Tokens {
        announce_session(tx, SessionId(session)).await?;
    }
    Ok(kind)
}

/// Ends every session there is, on the operator's word. Nodes are told of those whose access tokens may be good still.
pub async fn end_everybodys(app: &App) -> Result<()> {
    let now = app.clock.now();
    let end: Work<Time, Vec<SessionId>> = |tx, now| Box::pin(end_all(tx, *now));
    let ended = app.db.write(Actor::OPERATOR, now, end).await?;
    app.sessions_ended(&ended).await;
    Ok(())
}

async fn end_all(tx: &mut Tx<'_>, now: Time) -> Result<Vec<SessionId>> {
    let ended = store::end_everybodys(tx, now, now.minus(MEMORY)).await?;
    announce_sessions(tx, &ended).await?;
    Ok(ended)
}
