//! Where a reward stands, and what each action makes of it.

use super::LedgerKind;
use crate::words;

words! {
    /// Where a reward stands.
    pub enum RewardState as "RewardState" {
        /// Its hold is not over, or the referral is not confirmed.
        Pending = "pending",
        Available = "available",
        Paid = "paid",
        /// All of it was taken back before it was available.
        Denied = "denied",
        /// All of it was taken back after that.
        Reversed = "reversed",
    }
}

/// A reward in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: RewardState,
    /// Whether a line of a payout has it: reserved while that is open, paid with it after that.
    pub in_line: bool,
    pub amount: i64,
    /// What was taken back of it.
    pub reversed: i64,
    pub paid_amount: i64,
}

/// What may be done with a reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// By the service, when its time has come.
    Release,
    /// By a manager, before that.
    Approve,
    Deny,
    Pay,
    Return,
    /// A refund, after which the rule would have earned so much.
    TakeBack {
        earned: i64,
    },
}

/// A movement that comes of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    pub kind: LedgerKind,
    pub amount: i64,
}

/// What comes of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Moved(Standing, Movement),
    /// There is nothing to do.
    Nothing,
    /// Such a reward does not take it.
    Refused,
}

impl Standing {
    pub fn granted(amount: i64) -> Self {
        Self { state: RewardState::Pending, in_line: false, amount, reversed: 0, paid_amount: 0 }
    }

    /// What was not taken back.
    pub fn left(&self) -> i64 {
        self.amount - self.reversed
    }

    /// What an action makes of it.
    pub fn step(&self, act: Act) -> Step {
        use RewardState as S;
        match (act, self.state, self.in_line) {
            (Act::Release | Act::Approve, S::Pending, _) => self.moved(S::Available, LedgerKind::Release, self.left()),
            (Act::Release, ..) => Step::Nothing,
            (Act::Deny, S::Pending, _) => self.without(self.left()),
            (Act::Pay, S::Available, false) => {
                let paid = Self { paid_amount: self.left(), ..*self };
                paid.moved(S::Paid, LedgerKind::Pay, self.left())
            }
            (Act::Return, S::Paid, false) => {
                let (back, movement) = self.back();
                Step::Moved(back, movement)
            }
            (Act::TakeBack { earned }, ..) => self.without(self.left() - earned.max(0)),
            (Act::Approve | Act::Deny | Act::Pay | Act::Return, ..) => Step::Refused,
        }
    }

    /// As it is when its payment comes back, by itself or with its line.
    pub fn back(&self) -> (Self, Movement) {
        let state = if self.left() == 0 { RewardState::Reversed } else { RewardState::Available };
        let back = Self { state, in_line: false, paid_amount: 0, ..*self };
        (back, Movement { kind: LedgerKind::Return, amount: self.paid_amount })
    }

    fn moved(&self, state: RewardState, kind: LedgerKind, amount: i64) -> Step {
        Step::Moved(Self { state, ..*self }, Movement { kind, amount })
    }

    /// With so much of it taken back.
    fn without(&self, taken: i64) -> Step {
        use RewardState as S;
        if taken <= 0 {
            return Step::Nothing;
        }
        let rest = Self { reversed: self.reversed + taken, ..*self };
        let all = rest.left() == 0;
        let (state, kind) = match self.state {
            S::Pending => (if all { S::Denied } else { S::Pending }, LedgerKind::Deny),
            S::Available if all && !self.in_line => (S::Reversed, LedgerKind::Reverse),
            state => (state, LedgerKind::Reverse),
        };
        rest.moved(state, kind, taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The states of the table's columns: of 100, of which 20 were taken back before.
    fn columns() -> [(&'static str, Standing); 6] {
        let of =
            |state, in_line, reversed, paid_amount| Standing { state, in_line, amount: 100, reversed, paid_amount };
        [
            ("pending", of(RewardState::Pending, false, 20, 0)),
            ("available", of(RewardState::Available, false, 20, 0)),
            ("reserved", of(RewardState::Available, true, 20, 0)),
            ("paid", of(RewardState::Paid, false, 20, 80)),
            ("denied", of(RewardState::Denied, false, 100, 0)),
            ("reversed", of(RewardState::Reversed, false, 100, 0)),
        ]
    }

    #[test]
    fn each_state_takes_each_action_as_the_table_has_it() {
        let table: &[(Act, [&str; 6])] = &[
            (Act::Release, ["available release 80", "-", "-", "-", "-", "-"]),
            (Act::Approve, ["available release 80", "refused", "refused", "refused", "refused", "refused"]),
            (Act::Deny, ["denied deny 80", "refused", "refused", "refused", "refused", "refused"]),
            (Act::Pay, ["refused", "paid pay 80", "refused", "refused", "refused", "refused"]),
            (Act::Return, ["refused", "refused", "refused", "available return 80", "refused", "refused"]),
            (
                Act::TakeBack { earned: 50 },
                ["pending deny 30", "available reverse 30", "available reverse 30", "paid reverse 30", "-", "-"],
            ),
            (
                Act::TakeBack { earned: 0 },
                ["denied deny 80", "reversed reverse 80", "available reverse 80", "paid reverse 80", "-", "-"],
            ),
            (Act::TakeBack { earned: 80 }, ["-"; 6]),
            (Act::TakeBack { earned: 90 }, ["-"; 6]),
        ];
        for (act, row) in table {
            for ((name, standing), expected) in columns().into_iter().zip(row) {
                let told = match standing.step(*act) {
                    Step::Nothing => "-".to_owned(),
                    Step::Refused => "refused".to_owned(),
                    Step::Moved(next, movement) => {
                        assert_eq!(next.in_line, standing.in_line);
                        format!("{} {} {}", next.state.word(), movement.kind.word(), movement.amount)
                    }
                };
                assert_eq!(told, *expected, "{act:?} of {name}");
            }
        }
    }

    #[test]
    fn what_a_payout_paid_goes_back_with_its_line() {
        let paid = Standing { state: RewardState::Paid, in_line: true, amount: 9, reversed: 0, paid_amount: 9 };
        assert_eq!(paid.step(Act::Return), Step::Refused);
    }

    #[test]
    fn what_was_paid_and_taken_back_is_reversed_when_it_returns() {
        let paid = Standing { state: RewardState::Paid, in_line: false, amount: 9, reversed: 9, paid_amount: 7 };
        let Step::Moved(back, movement) = paid.step(Act::Return) else { panic!("a payment returns") };
        assert_eq!((back.state, back.paid_amount), (RewardState::Reversed, 0));
        assert_eq!(movement, Movement { kind: LedgerKind::Return, amount: 7 });
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            Just(Act::Release),
            Just(Act::Approve),
            Just(Act::Deny),
            Just(Act::Pay),
            Just(Act::Return),
            (0_i64..=1000).prop_map(|earned| Act::TakeBack { earned }),
        ]
    }

    proptest! {
        /// Whatever is done, what the movements add up to is what the reward says of itself.
        #[test]
        fn movements_add_up_to_the_reward(amount in 1_i64..=1000, acts in prop::collection::vec(act(), 0..20)) {
            let mut reward = Standing::granted(amount);
            let (mut pending, mut available, mut paid) = (amount, 0, 0);
            for act in acts {
                let Step::Moved(next, Movement { kind, amount: moved }) = reward.step(act) else { continue };
                prop_assert!(moved > 0);
                match kind {
                    LedgerKind::Release => { pending -= moved; available += moved; }
                    LedgerKind::Deny => pending -= moved,
                    LedgerKind::Pay => { available -= moved; paid += moved; }
                    LedgerKind::Return => { paid -= moved; available += moved; }
                    LedgerKind::Reverse => available -= moved,
                    other => prop_assert!(false, "{other:?}"),
                }
                reward = next;
                prop_assert!((0..=amount).contains(&reward.reversed));
                prop_assert_eq!(pending + available + paid, reward.left());
                prop_assert_eq!(paid, reward.paid_amount);
                prop_assert!(pending >= 0 && paid >= 0);
                let stands = match reward.state {
                    RewardState::Pending => (pending, available) == (reward.left(), 0) && paid == 0,
                    RewardState::Available => pending == 0 && available == reward.left() && paid == 0,
                    RewardState::Paid => pending == 0,
                    RewardState::Denied | RewardState::Reversed => (pending, available, paid) == (0, 0, 0),
                };
                prop_assert!(stands, "{:?} {} {} {}", reward, pending, available, paid);
            }
        }
    }
}
