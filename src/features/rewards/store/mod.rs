//! Where rules, events, refunds, rewards and the ledger are kept.

pub mod check;
pub mod decisions;
pub mod events;
pub mod ledger;
pub mod payouts;
pub mod rewards;
pub mod rules;

use serde_json::json;
use uuid::Uuid;

use super::model::event::Party;
use crate::db::Row;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;

/// Ids as a statement takes any number of them.
fn list(ids: impl IntoIterator<Item = Uuid>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.simple().to_string()).collect();
    json!(ids).to_string()
}

/// A person, by their id and external id in two columns.
fn party(row: &Row, at: usize) -> Result<Party> {
    Ok(Party { id: UserId(row.get(at)?), external_id: row.get(at + 1)? })
}

/// A word in a column.
fn word<T>(row: &Row, at: usize, parse: fn(&str) -> Option<T>, place: (&str, &str)) -> Result<T> {
    let word: String = row.get(at)?;
    parse(&word).ok_or_else(|| Error::inconsistent(place.0, place.1, word))
}
