//! What is decided by hand: of rewards and of balances. Of referrals it is the referrals' own.

use super::reward::Act;
use super::{LedgerKind, Money};
use crate::features::audit::model::{Action, SubjectKind};
use crate::features::referrals::model::Decision;
use crate::kernel::ids::{DecisionId, UserId};
use crate::kernel::time::Time;
use crate::words;

/// Characters of a note.
const MOST_NOTE: usize = 512;

words! {
    /// What is done with a reward by hand.
    pub enum RewardAct as "RewardAct" {
        Approve = "approve",
        Deny = "deny",
        Pay = "pay",
        Return = "return",
    }
}

impl RewardAct {
    pub fn act(self) -> Act {
        match self {
            Self::Approve => Act::Approve,
            Self::Deny => Act::Deny,
            Self::Pay => Act::Pay,
            Self::Return => Act::Return,
        }
    }

    /// Whether it moves what is there to pay.
    pub fn is_payment(self) -> bool {
        matches!(self, Self::Pay | Self::Return)
    }

    /// How the audit calls it.
    pub fn noted(self) -> (Action, SubjectKind) {
        let action = match self {
            Self::Approve => Action::RewardApproved,
            Self::Deny => Action::RewardDenied,
            Self::Pay => Action::RewardPaid,
            Self::Return => Action::RewardReturned,
        };
        (action, SubjectKind::Reward)
    }
}

/// How the audit calls what was decided of a referral.
pub fn noted(decision: Decision) -> (Action, SubjectKind) {
    let action = match decision {
        Decision::Approve => Action::ReferralApproved,
        Decision::Deny => Action::ReferralDenied,
        Decision::Hold => Action::ReferralHeld,
    };
    (action, SubjectKind::Referral)
}

words! {
    /// What a decision is about.
    pub enum About as "DecisionSubject" {
        Referral = "referral",
        Reward = "reward",
        Balance = "balance",
    }
}

/// What was decided of a referral.
#[derive(Clone, Debug)]
pub struct ReferralDecided {
    pub id: DecisionId,
    pub referee: UserId,
    pub decision: Decision,
    pub at: Time,
}

words! {
    /// What is done with a balance by hand.
    pub enum Adjustment as "Adjustment" {
        Credit = "credit",
        Debit = "debit",
    }
}

impl Adjustment {
    pub fn kind(self) -> LedgerKind {
        match self {
            Self::Credit => LedgerKind::Credit,
            Self::Debit => LedgerKind::Debit,
        }
    }

    /// How the audit calls it.
    pub fn noted(self) -> (Action, SubjectKind) {
        let action = match self {
            Self::Credit => Action::BalanceCredited,
            Self::Debit => Action::BalanceDebited,
        };
        (action, SubjectKind::User)
    }
}

/// What was done with a balance.
#[derive(Clone, Debug)]
pub struct Adjusted {
    pub id: DecisionId,
    pub holder: UserId,
    pub adjustment: Adjustment,
    pub money: Money,
    pub reason: String,
    pub at: Time,
}

/// Why something is done, or what it is called elsewhere.
pub fn parse_note(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.chars().count() > MOST_NOTE || text.contains('\0') {
        Err("1 to 512 characters, none of them NUL")
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_short_and_has_no_nul() {
        assert!(parse_note(&"ж".repeat(512)).is_ok());
        for bad in ["", "a\0", &"a".repeat(513)] {
            assert!(parse_note(bad).is_err());
        }
    }
}
