//! Reading and changing programs.

use std::sync::Arc;

use super::model::Change;
use super::store;
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::audit;
use crate::features::audit::model::{Event, Part};
use crate::idempotency::Sent;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::program::{DEFAULT, Program, ProgramState};
use crate::kernel::time::Time;

/// The program as it was at most a second ago, without a read of the database: for what every click asks.
pub async fn current(app: &App) -> Result<Arc<Program>> {
    app.program.get(store::program(&app.db)).await
}

/// The program as it is, in a unit of work: for what is decided by it.
pub async fn within(tx: &mut Tx<'_>) -> Result<Program> {
    store::program_within(tx).await
}

/// All programs, oldest first.
pub async fn list(app: &App) -> Result<Vec<Program>> {
    store::programs(&app.db).await
}

/// The program of this name, as it is.
pub async fn get(app: &App, slug: &str) -> Result<Program> {
    exists(slug)?;
    store::program(&app.db).await
}

/// Changes a program. Every node goes by it a second later at most.
pub async fn change(app: &App, sent: Sent<Program>, slug: &str, change: Change) -> Result<Program> {
    exists(slug)?;
    let work: Work<(Change, Time), Program> = |tx, (change, now)| Box::pin(apply(tx, change, *now));
    let changed = app.write(sent, (change, app.clock.now()), work).await?;
    app.program.forget();
    Ok(changed)
}

/// The program, held against others who would change it, in a unit of work.
pub async fn hold(tx: &mut Tx<'_>) -> Result<Program> {
    store::lock(tx).await
}

/// Notes whether a rule in force is about sign-ups, in the unit that makes the rules.
pub async fn note_sign_up_rules(tx: &mut Tx<'_>, are_there: bool) -> Result<()> {
    store::set_sign_up_rules(tx, are_there).await
}

/// Takes so much of a budget, if there is so much left of it. Its row is the last that a unit of work locks.
pub async fn spend(tx: &mut Tx<'_>, unit: &str, amount: i64, budget: i64) -> Result<bool> {
    store::spend(tx, unit, amount, budget).await
}

/// Gives back to a budget, as the last act of a unit of work.
pub async fn give_back(tx: &mut Tx<'_>, unit: &str, amount: i64) -> Result<()> {
    store::give_back(tx, unit, amount).await
}

/// Whether there is a program of this name.
pub fn exists(slug: &str) -> Result<()> {
    if slug == DEFAULT { Ok(()) } else { Err(Refusal::ProgramNotFound.into()) }
}

async fn apply(tx: &mut Tx<'_>, change: &Change, now: Time) -> Result<Program> {
    let mut program = store::lock(tx).await?;
    change.apply(&mut program);
    store::update(tx, &program).await?;
    audit::actions::record(tx, now, Event::ProgramChanged(DEFAULT, parts(change))).await?;
    Ok(program)
}

struct NewState {
    state: ProgramState,
    now: Time,
}

/// Lets a program count what happens, or no more. One that has ended stays so.
pub async fn set_state(app: &App, sent: Sent<Program>, slug: &str, state: ProgramState) -> Result<Program> {
    exists(slug)?;
    let work: Work<NewState, Program> = |tx, new| Box::pin(enter(tx, new));
    let changed = app.write(sent, NewState { state, now: app.clock.now() }, work).await?;
    app.program.forget();
    Ok(changed)
}

async fn enter(tx: &mut Tx<'_>, new: &NewState) -> Result<Program> {
    let mut program = store::lock(tx).await?;
    if program.state == new.state {
        return Ok(program);
    }
    if program.state == ProgramState::Ended {
        return Err(Refusal::ProgramNotActive.into());
    }
    program.state = new.state;
    store::set_state(tx, new.state).await?;
    audit::actions::record(tx, new.now, Event::ProgramChanged(DEFAULT, vec![Part::State])).await?;
    Ok(program)
}

/// What of a program is changed.
fn parts(change: &Change) -> Vec<Part> {
    let parts = [
        (change.name.is_some(), Part::Name),
        (change.landing_url.is_some(), Part::LandingUrl),
        (change.code_days.is_some(), Part::CodeDays),
        (change.auto_renew.is_some(), Part::AutoRenew),
        (change.hold_days.is_some(), Part::HoldDays),
        (change.event_types.is_some(), Part::EventTypes),
        (!change.budgets.is_empty(), Part::Budgets),
        (change.english.is_some() || change.russian.is_some(), Part::ShareTexts),
    ];
    parts.into_iter().filter(|(is, _)| *is).map(|(_, part)| part).collect()
}
