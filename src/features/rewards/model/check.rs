//! Whether everything adds up.

use serde_json::{Value, json};

use super::event::Balance;
use crate::kernel::ids::LedgerCheckId;
use crate::kernel::time::Time;
use crate::words;

/// Faults of one kind that are told.
pub const MOST_FAULTS: usize = 100;

words! {
    /// What does not add up.
    pub enum FaultKind as "LedgerFaultKind" {
        /// A reward's rows make something else of it than it says of itself.
        Reward = "reward",
        /// What a holder has is below zero where it cannot be.
        Balance = "balance",
        /// A mark is not what the rows up to it come to.
        Mark = "mark",
        /// A credit or a debit has no row, or a row of such a kind has no decision.
        Adjustment = "adjustment",
        /// A budget has given something else than the rewards that it covers come to.
        Budget = "budget",
        /// A line of a payout is not what its rows come to, or there are rows of no line.
        PayoutLine = "payout_line",
    }
}

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// Of the reward, the holder, the decision, or the line; of a budget the unit.
    pub id: String,
}

/// What was looked at, and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub rewards: i64,
    pub movements: i64,
    pub faults: Vec<Fault>,
}

impl Found {
    /// The faults as they are stored.
    pub fn written(&self) -> String {
        let faults = self.faults.iter().map(|fault| json!({"kind": fault.kind, "id": fault.id}));
        Value::Array(faults.collect()).to_string()
    }

    /// Faults that were stored; words of a newer version are left out.
    pub fn read(text: &str) -> Vec<Fault> {
        let values: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
        let read = |value: &Value| {
            let kind = FaultKind::parse(value["kind"].as_str()?)?;
            Some(Fault { kind, id: value["id"].as_str()?.to_owned() })
        };
        values.iter().filter_map(read).collect()
    }
}

words! {
    /// How a check stands.
    pub enum CheckState as "LedgerCheckState" {
        /// It was asked for.
        Waiting = "waiting",
        Whole = "whole",
        Faulty = "faulty",
    }
}

/// A check that was asked for.
#[derive(Clone, Debug)]
pub struct Check {
    pub id: LedgerCheckId,
    pub asked_at: Time,
    /// With what was found, once it is over.
    pub finished: Option<(Time, Found)>,
}

impl Check {
    pub fn state(&self) -> CheckState {
        match &self.finished {
            None => CheckState::Waiting,
            Some((_, found)) if found.faults.is_empty() => CheckState::Whole,
            Some(_) => CheckState::Faulty,
        }
    }
}

/// What there is of a unit, over all holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSheet {
    pub total: Balance,
    /// What of the available is below zero: it was taken back, and is not earned again yet.
    pub shortfalls: i128,
}
