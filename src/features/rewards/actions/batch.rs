//! Many events in one call.

use super::events::{Host, New, record, record_all};
use crate::app::App;
use crate::db::Work;
use crate::db::batch::{self, Together};
use crate::features::rewards::model::event::{Recorded, Told};
use crate::kernel::error::{Error, Refusal, Result};
use crate::limits::turns::{Key, Turn};

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
                due.push((place, New::of(app, told).await?));
                None
            }
            Err(error) => Some(Err(error)),
        });
    }
    // In one order, which decides what is first, and keeps two batches from holding each other up.
    due.sort_by(|(_, one), (_, other)| (&one.told.key, &one.told.kind).cmp(&(&other.told.key, &other.told.kind)));
    let (places, due): (Vec<usize>, Vec<New>) = due.into_iter().unzip();
    let tells = due.iter().any(|new| new.tells);
    let mut done = Vec::with_capacity(due.len());
    for unit in due.chunks(batch::UNIT) {
        let _turn = app.turns.take(Key::Client(host.client.0)).await?;
        let together: Work<Together<New>, Vec<Recorded>> = |tx, unit| Box::pin(record_all(tx, unit.each()));
        let alone = |new: New| app.db.write(host.actor, new, |tx, new| Box::pin(record(tx, new)));
        done.extend(batch::write(&app.db, host.actor, unit, together, alone).await?);
    }
    if tells {
        app.to_tell.notify_one();
    }
    for (place, outcome) in places.into_iter().zip(done) {
        if let Some(kept) = outcomes.get_mut(place) {
            *kept = Some(outcome);
        }
    }
    let missing = || Err(Error::Internal("an item of a batch has no outcome".into()));
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
}
