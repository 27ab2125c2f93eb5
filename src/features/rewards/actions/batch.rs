//! Many events in one call.

use super::events::{Host, New, record};
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::rewards::model::event::{Recorded, Told};
use crate::kernel::error::{Error, Refusal, Result};
use crate::limits::turns::{Key, Turn};

/// Events that one unit of work takes: so few that it holds nobody up for long, and enough to share its commit.
const UNIT: usize = 32;

/// A client's one batch at a time, until it is dropped.
pub async fn begin(app: &App, host: Host) -> Result<Turn<'_>> {
    app.turns.take(Key::Batch(host.client.0)).await.map_err(|error| match error {
        Error::Limited(_) => Refusal::ClientBusy.into(),
        other => other,
    })
}

/// Takes all of these, and says of each what came of it, in the order in which they came. What one is refused for is
/// its own outcome, and stops none of the others.
pub async fn tell(app: &App, host: Host, items: Vec<Result<Told>>) -> Result<Vec<Result<Recorded>>> {
    let mut outcomes: Vec<Option<Result<Recorded>>> = Vec::with_capacity(items.len());
    let mut due = Vec::new();
    for (place, item) in items.into_iter().enumerate() {
        outcomes.push(match item {
            Ok(told) => {
                due.push((place, New::of(app, told)));
                None
            }
            Err(error) => Some(Err(error)),
        });
    }
    // In one order, which decides what is first, and keeps two batches from holding each other up.
    due.sort_by(|(_, one), (_, other)| one.told.key.cmp(&other.told.key));
    for unit in due.chunks(UNIT) {
        let news: Vec<New> = unit.iter().map(|(_, new)| new.clone()).collect();
        for ((place, _), outcome) in unit.iter().zip(tell_unit(app, host, news).await?) {
            if let Some(kept) = outcomes.get_mut(*place) {
                *kept = Some(outcome);
            }
        }
    }
    let missing = || Err(Error::Internal("an item of a batch has no outcome".into()));
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
}

/// All of them in one unit of work, or, where that does not go, each in its own.
async fn tell_unit(app: &App, host: Host, unit: Vec<New>) -> Result<Vec<Result<Recorded>>> {
    let _turn = app.turns.take(Key::Client(host.client.0)).await?;
    let work: Work<Vec<New>, Vec<Recorded>> = |tx, unit| Box::pin(record_all(tx, unit));
    match app.db.write(host.actor, unit.clone(), work).await {
        Ok(recorded) => return Ok(recorded.into_iter().map(Ok).collect()),
        Err(error @ (Error::Busy(_) | Error::Internal(_))) => return Err(error),
        // One of them is refused, or met others in the database. Nothing is done yet, or all is: then they are found.
        Err(_) => {}
    }
    let mut outcomes = Vec::with_capacity(unit.len());
    for new in unit {
        let work: Work<New, Recorded> = |tx, new| Box::pin(record(tx, new));
        let outcome = app.db.write(host.actor, new, work).await;
        // Where the database does not answer, the rest would only wait for it.
        if let Err(error @ (Error::Storage(_) | Error::Busy(_))) = outcome {
            return Err(error);
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn record_all(tx: &mut Tx<'_>, unit: &[New]) -> Result<Vec<Recorded>> {
    let mut recorded = Vec::with_capacity(unit.len());
    for new in unit {
        recorded.push(record(tx, new).await?);
    }
    Ok(recorded)
}
