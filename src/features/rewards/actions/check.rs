//! Whether everything adds up, and what there is in all.

use std::collections::BTreeMap;

use crate::app::App;
use crate::db::{Place, Tx, Work};
use crate::features::rewards::model::check::{Check, Fault, FaultKind, Found, MOST_FAULTS, UnitSheet};
use crate::features::rewards::model::event::Balance;
use crate::features::rewards::store;
use crate::features::rewards::store::ledger::Hold;
use crate::idempotency::Sent;
use crate::jobs::{self, Kind, Outcome};
use crate::kernel::actor::Actor;
use crate::kernel::error::Result;
use crate::kernel::ids::{LedgerCheckId, UserId};
use crate::kernel::time::Time;

/// Asks for a check, which a job runs.
pub async fn ask(app: &App, sent: Sent<Check>) -> Result<Check> {
    let new = (LedgerCheckId::new(), app.clock.now());
    let work: Work<(LedgerCheckId, Time), Check> = |tx, (id, now)| Box::pin(note_asked(tx, *id, *now));
    let check = app.write(sent, new, work).await?;
    app.work_to_do.ring(Kind::CheckLedger);
    Ok(check)
}

async fn note_asked(tx: &mut Tx<'_>, id: LedgerCheckId, now: Time) -> Result<Check> {
    store::check::insert(tx, id, now).await?;
    jobs::enqueue(tx, Kind::CheckLedger, id.to_string(), now).await?;
    Ok(Check { id, asked_at: now, finished: None })
}

/// The check that was asked for last.
pub async fn last(app: &App) -> Result<Option<Check>> {
    store::check::last(&app.db).await
}

struct Over {
    id: LedgerCheckId,
    found: Found,
    now: Time,
}

/// The job that runs a check.
pub async fn check(app: &App, subject: &str) -> Result<Outcome> {
    let Some(id) = LedgerCheckId::parse(subject) else { return Ok(Outcome::Done("no such check")) };
    let found = run(app).await?;
    if !found.faults.is_empty() {
        tracing::error!(faults = found.faults.len(), "the ledger does not add up; `referral admin ledger check`");
    }
    let over = Over { id, found, now: app.clock.now() };
    let work: Work<Over, ()> = |tx, over| Box::pin(store::check::finish(tx, over.id, &over.found, over.now));
    app.db.write(Actor::SERVICE, over, work).await?;
    Ok(Outcome::Done("checked"))
}

/// Reads all of it, and says what does not add up.
pub async fn run(app: &App) -> Result<Found> {
    look(&mut Place::Open(&app.db)).await
}

/// As [`run`], also in a database that nobody serves from, or in a backup.
pub async fn look(place: &mut Place<'_>) -> Result<Found> {
    let (rewards, movements) = store::check::counts(place).await?;
    let mut faults = Vec::new();
    let mut found = |kind: FaultKind, ids: Vec<String>| {
        faults.extend(ids.into_iter().take(MOST_FAULTS).map(|id| Fault { kind, id }));
    };
    found(FaultKind::Reward, store::check::wrong_rewards(place).await?);
    let below = store::check::replay(place, None).await?.into_iter().filter(|replayed| {
        let Balance { pending, available, paid, .. } = replayed.balance;
        // Only what was taken back of what was paid leaves less than nothing.
        pending < 0 || paid < 0 || available + replayed.reversed < 0
    });
    found(FaultKind::Balance, below.map(|replayed| replayed.holder.to_string()).collect());
    let marks = store::check::wrong_marks(place).await?;
    found(FaultKind::Mark, marks.into_iter().map(|holder| holder.to_string()).collect());
    found(FaultKind::Adjustment, store::check::wrong_adjustments(place).await?);
    found(FaultKind::PayoutLine, store::check::wrong_lines(place).await?);
    found(FaultKind::Budget, store::check::wrong_budgets(place).await?);
    Ok(Found { rewards, movements, faults })
}

/// What there is in each unit, or in one.
pub async fn sheet(app: &App, unit: Option<&str>) -> Result<Vec<UnitSheet>> {
    let mut sheets: BTreeMap<String, UnitSheet> = BTreeMap::new();
    for replayed in store::check::replay(&mut Place::Open(&app.db), unit).await? {
        let Balance { unit, pending, available, paid } = replayed.balance;
        let sheet = sheets
            .entry(unit.as_str().to_owned())
            .or_insert_with(|| UnitSheet { total: Balance { unit, pending: 0, available: 0, paid: 0 }, shortfalls: 0 });
        sheet.total.pending += pending;
        sheet.total.available += available;
        sheet.total.paid += paid;
        sheet.shortfalls += (-available).max(0);
    }
    Ok(sheets.into_values().collect())
}

/// The job that keeps balances cheap.
pub async fn fold(app: &App, subject: &str) -> Result<Outcome> {
    let Some(holder) = UserId::parse(subject) else { return Ok(Outcome::Done("no such holder")) };
    let work: Work<UserId, ()> = |tx, holder| Box::pin(mark(tx, *holder));
    app.db.write(Actor::SERVICE, holder, work).await?;
    Ok(Outcome::Done("folded"))
}

async fn mark(tx: &mut Tx<'_>, holder: UserId) -> Result<()> {
    store::ledger::hold(tx, &[holder], Hold::Alone).await?;
    store::ledger::mark(tx, holder).await
}
