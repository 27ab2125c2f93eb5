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
use crate::db::Tx;
use crate::features::programs;
use crate::kernel::error::Result;

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
