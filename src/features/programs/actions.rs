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
use crate::kernel::program::{DEFAULT, Program};
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

fn exists(slug: &str) -> Result<()> {
    if slug == DEFAULT { Ok(()) } else { Err(Refusal::ProgramNotFound.into()) }
}

async fn apply(tx: &mut Tx<'_>, change: &Change, now: Time) -> Result<Program> {
    let mut program = store::lock(tx).await?;
    change.apply(&mut program);
    store::update(tx, &program).await?;
    audit::actions::record(tx, now, Event::ProgramChanged(DEFAULT, parts(change))).await?;
    Ok(program)
}

/// What of a program is changed.
fn parts(change: &Change) -> Vec<Part> {
    let parts = [
        (change.name.is_some(), Part::Name),
        (change.landing_url.is_some(), Part::LandingUrl),
        (change.code_days.is_some(), Part::CodeDays),
        (change.auto_renew.is_some(), Part::AutoRenew),
        (change.english.is_some() || change.russian.is_some(), Part::ShareTexts),
    ];
    parts.into_iter().filter(|(is, _)| *is).map(|(_, part)| part).collect()
}
