//! Handles: drawn when somebody's link is first needed, or chosen once.

use super::store;
use crate::app::App;
use crate::db::Tx;
use crate::features::codes;
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::handle::Handle;
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::limits::turns::Key;

/// Drawing a taken handle this often means that the random source is broken, or that most are taken.
const DRAWS: usize = 8;

/// A person's handle, drawn if they have none yet, and the name that they show: empty where none is known.
pub async fn of(app: &App, actor: Actor, user: UserId) -> Result<(Handle, String)> {
    let (handle, name) = store::handle(&app.db, user).await?.ok_or(Refusal::InvalidToken)?;
    if let Some(handle) = handle {
        return Ok((handle, name));
    }
    let drawing = Drawing { user, candidates: app.random_handles(DRAWS)? };
    let drawn = app.write_in_turn(actor, Key::User(user.0), drawing, |tx, drawing| Box::pin(draw(tx, drawing)));
    Ok((drawn.await?, name))
}

/// What a handle is drawn with, as part of a unit of work: [`draw`].
pub struct Drawing {
    pub user: UserId,
    pub candidates: Vec<Handle>,
}

/// The user's handle: the one they have, or the first of the candidates that nobody has or had.
pub async fn draw(tx: &mut Tx<'_>, drawing: &Drawing) -> Result<Handle> {
    let (handle, _) = store::lock_handle(tx, drawing.user).await?.ok_or(Refusal::InvalidToken)?;
    if let Some(handle) = handle {
        return Ok(handle);
    }
    let claimed = claim(tx, drawing.user, &drawing.candidates).await?;
    store::set_handle(tx, drawing.user, claimed, None).await?;
    Ok(claimed.clone())
}

/// The handle of a user who was made in this unit of work with the first of these candidates.
pub async fn first(tx: &mut Tx<'_>, user: UserId, candidates: &[Handle]) -> Result<Handle> {
    let claimed = claim(tx, user, candidates).await?;
    if candidates.first() != Some(claimed) {
        store::set_handle(tx, user, claimed, None).await?;
    }
    Ok(claimed.clone())
}

/// Takes the first of these that nobody has or had.
async fn claim<'c>(tx: &mut Tx<'_>, user: UserId, candidates: &'c [Handle]) -> Result<&'c Handle> {
    for candidate in candidates {
        if codes::actions::claim_handle(tx, candidate.key(), user).await? {
            return Ok(candidate);
        }
    }
    Err(Error::Internal(format!("{} handles in a row were taken", candidates.len())))
}

/// Gives a person the handle that they want, once, as part of a unit of work. The one that they have, in another
/// spelling, is theirs already.
pub async fn choose(tx: &mut Tx<'_>, user: UserId, handle: &Handle, now: Time) -> Result<()> {
    let (had, chosen) = store::lock_handle(tx, user).await?.ok_or(Refusal::InvalidToken)?;
    if had.is_some_and(|had| had.key() == handle.key()) {
        return Ok(());
    }
    if chosen {
        return Err(Refusal::HandleChosen.into());
    }
    if !codes::actions::claim_handle(tx, handle.key(), user).await? {
        return Err(Refusal::HandleTaken.into());
    }
    store::set_handle(tx, user, handle, Some(now)).await
}
