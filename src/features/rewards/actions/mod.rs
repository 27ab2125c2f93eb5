//! What people get for what happens.

pub mod batch;
pub mod check;
pub mod decisions;
pub mod events;
pub mod lists;
pub mod payouts;
pub mod refunds;
pub mod release;
pub mod rules;
pub mod sign_ups;

use std::collections::BTreeMap;

use super::model::event::Reward;
use super::model::message::{MovementCause, message};
use super::model::reward::{Movement, Standing};
use super::store;
use crate::db::Tx;
use crate::features::outbox::model::Message;
use crate::features::programs;
use crate::kernel::error::Result;
use crate::kernel::time::Time;

/// A step of a locked reward whose account is held: its new standing, the movement, and what others are told of it,
/// which its unit of work writes in the end.
async fn take(
    tx: &mut Tx<'_>,
    reward: &Reward,
    (next, movement): (Standing, Movement),
    (cause, at): (MovementCause<'_>, Time),
    told: &mut Vec<Message>,
) -> Result<Reward> {
    let moved = store::rewards::set(tx, reward, next).await?;
    store::ledger::book(tx, &moved, movement, cause.id(), at).await?;
    told.push(message(&moved, movement, cause, at));
    Ok(moved)
}

/// Gives back to budgets what was taken back of rewards that they cover, as the last act of a unit of work.
async fn give_back(tx: &mut Tx<'_>, taken: &[(Reward, i64)]) -> Result<()> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (reward, amount) in taken.iter().filter(|(reward, _)| reward.budgeted) {
        *sums.entry(reward.unit.as_str()).or_default() += amount;
    }
    for (unit, amount) in sums {
        programs::actions::give_back(tx, unit, amount).await?;
    }
    Ok(())
}

/// A MAC of fields as they were sent, by which the same words are known for ever.
fn seal_of(tx: &Tx<'_>, what: &str, said: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(said.len() + 32);
    // Behind its length, as in whatever else is signed with this key, so that nothing is taken for anything else.
    text.extend_from_slice(&(what.len() as u64).to_be_bytes());
    text.extend_from_slice(what.as_bytes());
    text.extend_from_slice(said);
    tx.signature(&text)
}
