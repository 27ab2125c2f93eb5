//! What those who run the program do with other people's accounts: managers, and the operator's commands. Each act is
//! noted in the audit, in the unit of work that does it.

use super::address::drop_wish;
use super::profile::{self, Erased, Proof};
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::accounts::store::{self, Warrant};
use crate::features::audit::model::{Event, Reason};
use crate::features::{audit, codes, tokens};
use crate::idempotency::Sent;
use crate::kernel::actor::{Actor, Who};
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::time::Time;
use crate::limits::turns::Key;

/// What shows that it is a manager who asks, and not somebody at their desk.
pub struct ManagerProof<'a> {
    pub manager: UserId,
    pub proof: &'a Proof,
}

struct Role {
    user: UserId,
    on: bool,
    /// The stored hash that the manager's password was checked against.
    stored: Option<String>,
    now: Time,
}

/// Gives or takes the manager's role.
pub async fn set_manager(
    app: &App,
    sent: Sent<()>,
    user: UserId,
    on: bool,
    proof: Option<ManagerProof<'_>>,
) -> Result<()> {
    let stored = match proof {
        Some(ManagerProof { manager, proof }) => profile::prove(app, manager, proof).await?.1,
        None => None,
    };
    let role = Role { user, on, stored, now: app.clock.now() };
    let set: Work<Role, ()> = |tx, role| Box::pin(change_role(tx, role));
    app.write_in_turn(sent, Key::User(user.0), role, set).await
}

async fn change_role(tx: &mut Tx<'_>, role: &Role) -> Result<()> {
    let managers = hold_managers(tx).await?;
    if let (Who::Manager(manager), Some(stored)) = (tx.actor().who, &role.stored)
        && !store::hold_password(tx, manager, stored).await?
    {
        return Err(Refusal::WrongPassword.into());
    }
    let account = store::hold_account(tx, role.user).await?.ok_or(Refusal::UserNotFound)?;
    if account.is_manager == role.on {
        return Ok(());
    }
    if !role.on {
        leave_one(tx, &managers, role.user)?;
    }
    store::set_manager(tx, role.user, role.on).await?;
    let event = if role.on { Event::ManagerMade(role.user) } else { Event::ManagerUnmade(role.user) };
    audit::actions::record(tx, role.now, event).await
}

/// Who can act as a manager until the unit of work has ended. Somebody who acts as one must be among them: they may
/// have ceased to be while they waited.
async fn hold_managers(tx: &mut Tx<'_>) -> Result<Vec<UserId>> {
    let managers = store::hold_managers(tx).await?;
    match tx.actor().who {
        Who::Manager(manager) if !managers.contains(&manager) => Err(Refusal::ManagersOnly.into()),
        _ => Ok(managers),
    }
}

/// A manager does not take away the last one. The operator may: there is the command line to make another.
fn leave_one(tx: &Tx<'_>, managers: &[UserId], user: UserId) -> Result<()> {
    match tx.actor().who {
        Who::Manager(_) if managers == [user] => Err(Refusal::LastManager.into()),
        _ => Ok(()),
    }
}

struct Act {
    user: UserId,
    reason: Option<Reason>,
    now: Time,
}

/// Keeps somebody out: sessions end, the active code dies, log-in is refused.
pub async fn disable(app: &App, sent: Sent<()>, user: UserId, reason: Option<Reason>) -> Result<()> {
    let act = Act { user, reason, now: app.clock.now() };
    let work: Work<Act, Option<(Vec<SessionId>, i64)>> = |tx, act| Box::pin(keep_out(tx, act));
    if let Some((ended, version)) = app.write_in_turn(sent.settled(&())?, Key::User(user.0), act, work).await? {
        app.sessions_ended(&ended).await;
        app.code_changed(user, version).await;
    }
    Ok(())
}

/// Nothing when they were kept out before.
async fn keep_out(tx: &mut Tx<'_>, act: &Act) -> Result<Option<(Vec<SessionId>, i64)>> {
    let managers = hold_managers(tx).await?;
    let account = store::hold_account(tx, act.user).await?.ok_or(Refusal::UserNotFound)?;
    if account.disabled {
        return Ok(None);
    }
    leave_one(tx, &managers, act.user)?;
    store::set_disabled(tx, act.user, Some(act.now)).await?;
    drop_wish(tx, act.user).await?;
    audit::actions::record(tx, act.now, Event::UserDisabled(act.user, act.reason)).await?;
    let version = codes::actions::end_all(tx, act.user, false).await?;
    Ok(Some((tokens::actions::end_all(tx, act.user, act.now).await?, version)))
}

/// Lets somebody in again; their codes stay dead.
pub async fn enable(app: &App, sent: Sent<()>, user: UserId, reason: Option<Reason>) -> Result<()> {
    let act = Act { user, reason, now: app.clock.now() };
    let work: Work<Act, ()> = |tx, act| Box::pin(let_in(tx, act));
    app.write_in_turn(sent, Key::User(user.0), act, work).await
}

async fn let_in(tx: &mut Tx<'_>, act: &Act) -> Result<()> {
    hold_managers(tx).await?;
    let account = store::hold_account(tx, act.user).await?.ok_or(Refusal::UserNotFound)?;
    if !account.disabled {
        return Ok(());
    }
    store::set_disabled(tx, act.user, None).await?;
    audit::actions::record(tx, act.now, Event::UserEnabled(act.user, act.reason)).await
}

/// Revokes somebody's active code.
pub async fn revoke_code(app: &App, sent: Sent<()>, user: UserId, reason: Option<Reason>) -> Result<()> {
    let act = Act { user, reason, now: app.clock.now() };
    let work: Work<Act, i64> = |tx, act| Box::pin(end_code(tx, act));
    let version = app.write_in_turn(sent.settled(&())?, Key::User(user.0), act, work).await?;
    app.code_changed(user, version).await;
    Ok(())
}

async fn end_code(tx: &mut Tx<'_>, act: &Act) -> Result<i64> {
    hold_managers(tx).await?;
    store::hold_account(tx, act.user).await?.ok_or(Refusal::UserNotFound)?;
    let (id, version) = codes::actions::end_active(tx, act.user).await?.ok_or(Refusal::NoActiveCode)?;
    audit::actions::record(tx, act.now, Event::CodeRevoked(act.user, id, act.reason)).await?;
    Ok(version)
}

/// Notes that a person takes out all that is kept of them, as often as they may.
pub async fn note_own_export(app: &App, actor: Actor, user: UserId) -> Result<()> {
    let work: Work<(UserId, Time, bool), ()> =
        |tx, (user, now, limited)| Box::pin(note_export(tx, *user, *now, *limited));
    app.write_for(actor, user, (user, app.clock.now(), app.limits.are_on()), work).await
}

async fn note_export(tx: &mut Tx<'_>, user: UserId, now: Time, limited: bool) -> Result<()> {
    // Of two who ask at once the second sees what the first has noted.
    store::hold_account(tx, user).await?.ok_or(Refusal::InvalidToken)?;
    audit::actions::record_own_export(tx, user, now, limited).await
}

/// Erases somebody's account.
pub async fn erase(app: &App, sent: Sent<()>, user: UserId, reason: Option<Reason>) -> Result<()> {
    let act = Act { user, reason, now: app.clock.now() };
    let work: Work<Act, Erased> = |tx, act| Box::pin(remove(tx, act));
    let erased = app.write_in_turn(sent.settled(&())?, Key::User(user.0), act, work).await?;
    erased.announce(app, user).await;
    Ok(())
}

async fn remove(tx: &mut Tx<'_>, act: &Act) -> Result<Erased> {
    let managers = hold_managers(tx).await?;
    leave_one(tx, &managers, act.user)?;
    let erased = profile::remove(tx, act.user, &Warrant::Others, act.now).await?.ok_or(Refusal::UserNotFound)?;
    audit::actions::record(tx, act.now, Event::UserErased(act.user, act.reason)).await?;
    Ok(erased)
}
