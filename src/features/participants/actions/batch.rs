//! Many participants in one call.

use super::{Asked, Host, Written, announce, as_told, people, told, upsert_one, write_one};
use crate::app::App;
use crate::db::batch::{self, Together};
use crate::db::{Tx, Work};
use crate::features::accounts::actions::participants::Told;
use crate::features::participants::model::Upserted;
use crate::kernel::error::{Error, Refusal, Result};
use crate::limits::turns::{Key, Turn};

/// A client's one batch at a time, until it is dropped.
pub async fn begin(app: &App, host: Host) -> Result<Turn<'_>> {
    app.turns.take(Key::Batch(host.client.0)).await.map_err(|error| match error {
        Error::Limited(_) => Refusal::ClientBusy.into(),
        other => other,
    })
}

/// Makes or changes all of these, and says of each what became of it, in the order in which they came. What one is
/// refused for is its own outcome, and stops none of the others.
pub async fn upsert(app: &App, host: Host, items: Vec<Result<Asked>>) -> Result<Vec<Result<Upserted>>> {
    let mut outcomes: Vec<Option<Result<Upserted>>> = Vec::with_capacity(items.len());
    let mut due = Vec::new();
    for (place, item) in items.into_iter().enumerate() {
        match item {
            Ok(asked) => {
                due.push((place, told(app, asked).await?));
                outcomes.push(None);
            }
            Err(error) => outcomes.push(Some(Err(error))),
        }
    }
    // In one order, so that no two batches hold each other up; of the same one the first comes first.
    due.sort_by(|(_, one), (_, other)| one.external.cmp(&other.external));
    let (places, due): (Vec<usize>, Vec<Told>) = due.into_iter().unzip();
    let mut done = Vec::with_capacity(due.len());
    for unit in due.chunks(batch::UNIT) {
        let _turn = app.turns.take(Key::Client(host.client.0)).await?;
        let together: Work<Together<Told>, Vec<Written>> = |tx, unit| Box::pin(upsert_all(tx, unit));
        let alone = |told: Told| write_one(app, host.actor.into(), told);
        for outcome in batch::write(&app.db, host.actor, unit, together, alone).await? {
            done.push(match outcome {
                Ok(written) => Ok(announce(app, written).await),
                Err(error) => Err(error),
            });
        }
    }
    for (place, outcome) in places.into_iter().zip(done) {
        if let Some(kept) = outcomes.get_mut(place) {
            *kept = Some(outcome);
        }
    }
    let missing = || Err(Error::Internal("an item of a batch has no outcome".into()));
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
}

async fn upsert_all(tx: &mut Tx<'_>, unit: &Together<Told>) -> Result<Vec<Written>> {
    let admitted = people::admit(tx, unit.items()).await?;
    let mut written = Vec::with_capacity(admitted.len());
    for (told, admitted) in unit.each().zip(admitted) {
        written.push(match admitted {
            Some(made) => Written { upserted: as_told(told, made), version: None },
            None => upsert_one(tx, told).await?,
        });
    }
    Ok(written)
}
