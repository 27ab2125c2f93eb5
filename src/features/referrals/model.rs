//! What a referral is.

use crate::config::Visibility;
use crate::kernel::email::mask;
use crate::kernel::ids::{DecisionId, UserId};
use crate::kernel::page::Cursor;
use crate::kernel::time::Time;
use crate::words;

/// A row of a referrer's list.
#[derive(Clone, Debug)]
pub struct Referee {
    /// Position in the list.
    pub sequence: i64,
    pub id: UserId,
    pub username: String,
    /// Nothing when they have none.
    pub email: Option<String>,
    pub joined_at: Time,
    pub status: Status,
    /// The code they came with; nothing once its owner has been erased.
    pub code: Option<String>,
}

/// Those of a referrer's referees that came last, or last before another.
#[derive(Clone, Debug)]
pub struct Latest {
    /// The latest first.
    pub items: Vec<Referee>,
    pub total: i64,
    /// Where older ones are.
    pub older: Option<Cursor>,
}

words! {
    /// Whether a referral counts.
    pub enum Status as "ReferralStatus" {
        /// The referee's address must still be proven.
        Pending = "pending",
        Confirmed = "confirmed",
    }
}

words! {
    /// What a manager has decided of a referral.
    pub enum Decision as "ReferralDecision" {
        Approve = "approve",
        /// What was granted for it is taken back, and nothing more is.
        Deny = "deny",
        /// What is granted for it stays pending.
        Hold = "hold",
    }
}

/// How a referral stands while a unit of work holds it.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub referrer: UserId,
    pub status: Status,
    /// The last one; nothing is as approved.
    pub decision: Option<Decision>,
    pub decision_id: Option<DecisionId>,
}

impl Held {
    /// Whether what is granted for it stays pending, whatever its hold.
    pub fn waits(&self) -> bool {
        self.status == Status::Pending || matches!(self.decision, Some(Decision::Deny | Decision::Hold))
    }

    pub fn is_denied(&self) -> bool {
        self.decision == Some(Decision::Deny)
    }
}

/// Who referred somebody.
#[derive(Clone, Debug)]
pub struct Referrer {
    pub id: UserId,
    pub username: String,
    pub status: Status,
}

/// Who looks at a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    Person {
        user: UserId,
        /// Whether a manager is here as one.
        may_manage: bool,
        /// Whether what asks for them may read codes; in one's own list they are part of it.
        may_read_codes: bool,
    },
    /// A program that the managers let read everything.
    Program,
}

impl Viewer {
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::Person { user, .. } => Some(user),
            Self::Program => None,
        }
    }

    pub fn may_read_codes(self) -> bool {
        matches!(self, Self::Person { may_read_codes: true, .. } | Self::Program)
    }

    /// Whether the list is the viewer's own, or theirs to look after.
    pub fn is_insider(self, is_manager: bool, referrer: UserId) -> bool {
        match self {
            Self::Person { user, may_manage, .. } => user == referrer || (is_manager && may_manage),
            Self::Program => true,
        }
    }
}

/// How much of a referee the viewer of a list may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Full,
    Masked,
    Nothing,
}

impl View {
    pub fn of(insider: bool, setting: Visibility) -> Self {
        match setting {
            _ if insider => Self::Full,
            Visibility::Owner => Self::Nothing,
            Visibility::Masked => Self::Masked,
            Visibility::All => Self::Full,
        }
    }
}

impl Referee {
    /// A person may use their address as their name: it is masked with the address. Codes lead to whoever made them.
    pub fn seen(mut self, view: View, shows_codes: bool) -> Self {
        if !shows_codes {
            self.code = None;
        }
        if view != View::Full {
            self.email = self.email.as_deref().map(mask);
            self.username = mask(&self.username);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_referrer_and_managers_see_addresses_unless_the_operator_says_otherwise() {
        let (user, other) = (UserId::new(), UserId::new());
        let person = |may_manage| Viewer::Person { user, may_manage, may_read_codes: true };
        let (me, manages) = (person(false), person(true));
        for setting in [Visibility::Owner, Visibility::Masked, Visibility::All] {
            assert_eq!(View::of(me.is_insider(false, user), setting), View::Full);
            assert_eq!(View::of(manages.is_insider(true, other), setting), View::Full);
            assert_eq!(View::of(Viewer::Program.is_insider(false, other), setting), View::Full);
        }
        // Neither a manager whose token is for less, nor a token for more than its bearer is.
        for (viewer, is_manager) in [(me, false), (me, true), (manages, false)] {
            let insider = viewer.is_insider(is_manager, other);
            assert!(!insider);
            assert_eq!(View::of(insider, Visibility::Owner), View::Nothing);
            assert_eq!(View::of(insider, Visibility::Masked), View::Masked);
            assert_eq!(View::of(insider, Visibility::All), View::Full);
        }
    }
}
