//! Amounts, their units, and the words of events and rewards.

pub mod check;
pub mod decision;
pub mod draft;
pub mod event;
pub mod message;
pub mod payout;
pub mod preview;
pub mod reward;
pub mod rules;

pub use crate::kernel::unit::{MOST_AMOUNT, Unit};
use crate::words;

/// So much of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    pub amount: i64,
    pub unit: Unit,
}

words! {
    /// Who of a referral gets a reward.
    pub enum Side as "RewardSide" {
        Referrer = "referrer",
        Referee = "referee",
    }
}

words! {
    /// Whether a rule pays once for a referee, or for every event.
    pub enum Times as "RuleTimes" {
        First = "first",
        Every = "every",
    }
}

words! {
    /// The span in which a rule's limit counts, by UTC.
    pub enum Per as "RuleLimitSpan" {
        Day = "day",
        Month = "month",
        Ever = "ever",
    }
}

words! {
    /// What came of an event.
    pub enum EventOutcome as "EventOutcome" {
        Rewarded = "rewarded",
        /// No rule gave anything.
        Recorded = "recorded",
    }
}

words! {
    /// Nobody's referee did it: nothing is stored. A word of its own, by which it is told from an event.
    pub enum NoOutcome as "NotReferredOutcome" {
        NotReferred = "not_referred",
    }
}

words! {
    /// Why a rule about such events gave nothing.
    pub enum SkipReason as "SkipReason" {
        OutsideWindow = "outside_window",
        /// Also where nothing was left after rounding.
        BelowMinimum = "below_minimum",
        NotFirst = "not_first",
        LimitReached = "limit_reached",
        BudgetExhausted = "budget_exhausted",
        OtherUnit = "other_unit",
        /// The referral was denied.
        Denied = "denied",
        HolderErased = "holder_erased",
    }
}

words! {
    /// Why something was taken back of an event. It is kept, and makes no difference.
    pub enum RefundReason as "RefundReason" {
        Refund = "refund",
        Chargeback = "chargeback",
        Mistake = "mistake",
    }
}

words! {
    /// A movement, each from one account to another.
    pub enum LedgerKind as "LedgerKind" {
        Grant = "grant",
        Release = "release",
        Deny = "deny",
        Pay = "pay",
        Return = "return",
        Reverse = "reverse",
        Credit = "credit",
        Debit = "debit",
    }
}

words! {
    /// Where what was granted stands. Issued is the program's own side.
    pub enum Account as "LedgerAccount" {
        Issued = "issued",
        Pending = "pending",
        Available = "available",
        Paid = "paid",
    }
}

impl LedgerKind {
    /// The account that it takes from, and the one that it gives to.
    pub fn sides(self) -> (Account, Account) {
        match self {
            Self::Grant => (Account::Issued, Account::Pending),
            Self::Release => (Account::Pending, Account::Available),
            Self::Deny => (Account::Pending, Account::Issued),
            Self::Pay => (Account::Available, Account::Paid),
            Self::Return => (Account::Paid, Account::Available),
            Self::Reverse | Self::Debit => (Account::Available, Account::Issued),
            Self::Credit => (Account::Issued, Account::Available),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_movement_has_two_sides() {
        for kind in LedgerKind::ALL {
            let (from, to) = kind.sides();
            assert_ne!(from, to, "{kind:?}");
        }
    }
}
