//! Many participants in one call.

use super::{Asked, Host, Written, announce, as_told, people, told, upsert_one, write};
use crate::app::App;
use crate::db::Tx;
use crate::features::accounts::actions::participants::Told;
use crate::features::participants::model::Upserted;
use crate::kernel::error::{Error, Refusal, Result};
use crate::limits::turns::{Key, Turn};

/// Participants that one unit of work writes: so few that it holds nobody up for long, and enough to share its commit.
const UNIT: usize = 32;

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
    for unit in due.chunks(UNIT) {
        done.extend(upsert_unit(app, host, unit).await?);
    }
    for (place, outcome) in places.into_iter().zip(done) {
        if let Some(kept) = outcomes.get_mut(place) {
            *kept = Some(outcome);
        }
    }
    let missing = || Err(Error::Internal("an item of a batch has no outcome".into()));
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
}

/// All of them in one unit of work, or, where that does not go, each in its own.
async fn upsert_unit(app: &App, host: Host, unit: &[Told]) -> Result<Vec<Result<Upserted>>> {
    let _turn = app.turns.take(Key::Client(host.client.0)).await?;
    let together = app.db.write(host.actor, unit.to_vec(), |tx, unit| Box::pin(upsert_all(tx, unit))).await;
    let mut outcomes = Vec::with_capacity(unit.len());
    match together {
        Ok(written) => {
            for one in written {
                outcomes.push(Ok(announce(app, one).await));
            }
        }
        Err(error @ (Error::Busy(_) | Error::Internal(_))) => return Err(error),
        // One of them is refused, or met others in the database. Nothing is done yet, or all is: then they are found.
        Err(_) => {
            for told in unit {
                let outcome = write(app, host.actor, told.clone()).await;
                // Where the database does not answer, the rest would only wait for it.
                if let Err(error @ (Error::Storage(_) | Error::Busy(_))) = outcome {
                    return Err(error);
                }
                outcomes.push(outcome);
            }
        }
    }
    Ok(outcomes)
}

async fn upsert_all(tx: &mut Tx<'_>, unit: &[Told]) -> Result<Vec<Written>> {
    let mut written = Vec::with_capacity(unit.len());
    for (told, admitted) in unit.iter().zip(people::admit(tx, unit).await?) {
        written.push(match admitted {
            Some(made) => Written { upserted: as_told(told, made), version: None },
            None => upsert_one(tx, told).await?,
        });
    }
    Ok(written)
}
