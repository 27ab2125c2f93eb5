//! Who is paid together.

use super::Unit;
use crate::kernel::ids::{PayoutId, PayoutLineId, UserId};
use crate::kernel::time::Time;
use crate::words;

words! {
    /// Where a payout stands.
    pub enum PayoutState as "PayoutState" {
        /// Its lines are made.
        Preparing = "preparing",
        /// Its lines stand; what they pay is reserved.
        Open = "open",
        Paid = "paid",
        Cancelled = "cancelled",
    }
}

/// A payout that somebody wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub unit: Unit,
    /// Nobody is in it with less.
    pub min_amount: i64,
    /// Nothing for everybody.
    pub holders: Option<Vec<UserId>>,
}

/// A payout.
#[derive(Clone, Debug)]
pub struct Payout {
    pub id: PayoutId,
    pub unit: Unit,
    pub min_amount: i64,
    pub state: PayoutState,
    pub created_at: Time,
    /// When it was paid or cancelled.
    pub settled_at: Option<Time>,
    pub lines: i64,
    /// Of all lines.
    pub total: i128,
    /// Lines whose payment did not arrive.
    pub returned: i64,
}

/// What one holder is paid, with where to.
#[derive(Clone, Debug)]
pub struct Line {
    pub id: PayoutLineId,
    pub holder: UserId,
    pub external_id: Option<String>,
    pub email: String,
    pub amount: i64,
    pub unit: Unit,
}
