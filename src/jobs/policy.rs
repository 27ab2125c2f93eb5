//! What kinds of jobs there are, and how each is worked on.

use std::time::Duration;

/// What a job does; its word is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks the verifier about a user's address. Subject: the user's id.
    CheckEmail,
    /// Counts what was added to a referrer's list. Subject: the referrer's id.
    FoldReferrals,
    /// Sends a mail. Subject: the mail's id.
    SendMail,
    /// Makes due what a webhook endpoint has missed. Subject: the endpoint's id and the time since when.
    RecoverEndpoint,
    /// Takes a sign-up as an event. Subject: the referee's id.
    SignUpEvent,
    /// Takes back what was granted for a denied referral. Subject: the decision's id.
    TakeBack,
    /// Counts what a holder has. Subject: the holder's id.
    FoldLedger,
    /// Makes the lines of a payout. Subject: the payout's id.
    PreparePayout,
    /// Looks at whether the ledger adds up. Subject: the check's id.
    CheckLedger,
}

/// How the jobs of a kind are worked on.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long one attempt may take.
    pub deadline: Duration,
    /// After so many attempts without success a job is given up; nothing where the work itself knows its end.
    pub attempts: Option<u32>,
    /// How long to wait for the next attempt, where the work does not say it.
    pub pauses: Pauses,
    /// No job is put off for longer, whatever its work says. In a later release it may get shorter but not longer:
    /// nodes of this one take a longer pause for the work of a clock that was ahead.
    pub longest_pause: Duration,
    /// How many are under way at once, in one node.
    pub at_once: usize,
    /// What it means that a job is given up, for the operator.
    pub given_up: &'static str,
}

/// How long to wait after each attempt.
#[derive(Clone, Copy, Debug)]
pub enum Pauses {
    /// 1 s, 2 s, 4 s, … up to so many.
    Doubling { most: u64 },
    /// So many seconds before each attempt, the first included, which comes at once. Its last holds for all further
    /// ones.
    Listed(&'static [u64]),
}

impl Kind {
    pub const ALL: &[Kind] = &[
        Kind::CheckEmail,
        Kind::FoldReferrals,
        Kind::SendMail,
        Kind::RecoverEndpoint,
        Kind::SignUpEvent,
        Kind::TakeBack,
        Kind::FoldLedger,
        Kind::PreparePayout,
        Kind::CheckLedger,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::CheckEmail => "check_email",
            Self::FoldReferrals => "fold_referrals",
            Self::SendMail => "send_mail",
            Self::RecoverEndpoint => "recover_endpoint",
            Self::SignUpEvent => "signup_event",
            Self::TakeBack => "take_back",
            Self::FoldLedger => "fold_ledger",
            Self::PreparePayout => "prepare_payout",
            Self::CheckLedger => "check_ledger",
        }
    }

    pub fn policy(self) -> Policy {
        match self {
            Self::CheckEmail => Policy {
                // Its turn comes within 25 s, and Hunter has 25.
                deadline: Duration::from_secs(60),
                // After `email.give_up_minutes` the address passes unasked, which ends the job.
                attempts: None,
                pauses: Pauses::Doubling { most: 256 },
                longest_pause: Duration::from_secs(3600),
                at_once: 64,
                given_up: "the address stays unchecked; with email.check = \"block\" its owner cannot log in",
            },
            Self::FoldReferrals => Policy {
                deadline: Duration::from_secs(30),
                // About fifty minutes.
                attempts: Some(20),
                pauses: Pauses::Doubling { most: 256 },
                longest_pause: Duration::from_secs(3600),
                // They work in the database, which has others to serve.
                at_once: 4,
                given_up: "the referrer's list is read more slowly until one of the next registrations asks again",
            },
            Self::SendMail => Policy {
                // Twice as long as the server has for one answer.
                deadline: Duration::from_secs(60),
                // Two days: a bit more than an hour of doubling pauses, then one an hour.
                attempts: Some(60),
                pauses: Pauses::Doubling { most: 3600 },
                longest_pause: Duration::from_secs(3600),
                at_once: 10,
                given_up: "the mail was not sent: whoever waits for it asks for another",
            },
            Self::RecoverEndpoint => Policy {
                deadline: Duration::from_secs(60),
                attempts: Some(10),
                pauses: Pauses::Doubling { most: 256 },
                longest_pause: Duration::from_secs(3600),
                at_once: 1,
                given_up: "the endpoint was not sent all that it has missed: ask for it again",
            },
            Self::SignUpEvent => Policy {
                deadline: Duration::from_secs(30),
                // About a day: a bit more than an hour of doubling pauses, then one an hour.
                attempts: Some(36),
                pauses: Pauses::Doubling { most: 3600 },
                longest_pause: Duration::from_secs(3600),
                at_once: 4,
                given_up: "nobody got anything for a sign-up: try the job again",
            },
            Self::TakeBack => Policy {
                deadline: Duration::from_secs(60),
                // About a day: a bit more than an hour of doubling pauses, then one an hour.
                attempts: Some(36),
                pauses: Pauses::Doubling { most: 3600 },
                longest_pause: Duration::from_secs(3600),
                at_once: 2,
                given_up: "rewards of a denied referral are not all taken back: deny it again",
            },
            Self::FoldLedger => Policy {
                deadline: Duration::from_secs(30),
                // About fifty minutes.
                attempts: Some(20),
                pauses: Pauses::Doubling { most: 256 },
                longest_pause: Duration::from_secs(3600),
                at_once: 4,
                given_up: "the holder's balance is read more slowly until one of the next grants asks again",
            },
            Self::PreparePayout => Policy {
                deadline: Duration::from_secs(60),
                // About a day, as that which takes back.
                attempts: Some(36),
                pauses: Pauses::Doubling { most: 3600 },
                longest_pause: Duration::from_secs(3600),
                at_once: 1,
                given_up: "a payout stays in preparation: cancel it, and make another",
            },
            Self::CheckLedger => Policy {
                deadline: Duration::from_secs(60),
                attempts: Some(5),
                pauses: Pauses::Doubling { most: 256 },
                longest_pause: Duration::from_secs(3600),
                at_once: 1,
                given_up: "nobody has looked whether the ledger adds up: run `referral admin ledger check`",
            },
        }
    }
}

impl Policy {
    /// Whether so many attempts are all that there are.
    pub fn is_last(&self, attempts: i64) -> bool {
        self.attempts.is_some_and(|most| attempts >= i64::from(most))
    }

    /// Whether so many attempts are more than there are: the last one was never settled, for its node has died over it.
    pub fn is_beyond(&self, attempts: i64) -> bool {
        self.attempts.is_some_and(|most| attempts > i64::from(most))
    }

    /// How long to wait after so many attempts.
    pub fn pause(&self, attempts: i64) -> Duration {
        let seconds = match self.pauses {
            Pauses::Doubling { most } => {
                let doublings = u32::try_from(attempts.saturating_sub(1).max(0)).unwrap_or(u32::MAX);
                1_u64.checked_shl(doublings).unwrap_or(most).min(most)
            }
            Pauses::Listed(seconds) => {
                let place = usize::try_from(attempts.max(0)).unwrap_or(usize::MAX);
                seconds.get(place).or(seconds.last()).copied().unwrap_or(0)
            }
        };
        Duration::from_secs(seconds).min(self.longest_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::super::LEASE;
    use super::*;

    const HOUR: u64 = 3600;

    fn policy(pauses: Pauses) -> Policy {
        Policy {
            deadline: Duration::from_secs(15),
            attempts: Some(10),
            pauses,
            longest_pause: Duration::from_secs(24 * HOUR),
            at_once: 64,
            given_up: "nobody hears of it",
        }
    }

    fn seconds(policy: &Policy, attempts: std::ops::RangeInclusive<i64>) -> Vec<u64> {
        attempts.map(|attempts| policy.pause(attempts).as_secs()).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let doubling = policy(Pauses::Doubling { most: HOUR });
        assert_eq!(seconds(&doubling, 1..=5), [1, 2, 4, 8, 16]);
        assert_eq!(seconds(&doubling, 12..=14), [2048, HOUR, HOUR]);
        for attempts in [i64::MIN, -1, 0] {
            assert_eq!(doubling.pause(attempts), Duration::from_secs(1), "{attempts}");
        }
        for attempts in [64, 65, 1 << 33, i64::MAX] {
            assert_eq!(doubling.pause(attempts), Duration::from_secs(HOUR), "{attempts}");
        }
    }

    #[test]
    fn a_published_schedule_is_kept_and_its_last_pause_goes_on() {
        const SCHEDULE: &[u64] = &[0, 5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
        let listed = policy(Pauses::Listed(SCHEDULE));
        assert_eq!(seconds(&listed, 1..=9), SCHEDULE[1..]);
        assert_eq!(seconds(&listed, 10..=11), [24 * HOUR; 2]);
        assert_eq!(listed.pause(i64::MAX), Duration::from_secs(24 * HOUR));
        assert_eq!(policy(Pauses::Listed(&[])).pause(1), Duration::ZERO);
    }

    #[test]
    fn the_last_attempt_is_known_and_what_comes_behind_it() {
        let ten = policy(Pauses::Doubling { most: 1 });
        assert!(!ten.is_last(9) && ten.is_last(10) && ten.is_last(11));
        assert!(!ten.is_beyond(10) && ten.is_beyond(11));
        let endless = Policy { attempts: None, ..ten };
        assert!(!endless.is_last(i64::MAX) && !endless.is_beyond(i64::MAX));
    }

    #[test]
    fn every_kind_has_a_policy_that_can_be_kept() {
        for kind in Kind::ALL {
            let (word, policy) = (kind.word(), kind.policy());
            // A minute for its beginning and for its end to be written.
            assert!(
                policy.deadline + Duration::from_secs(60) <= LEASE,
                "{word}: another node would take it up meanwhile"
            );
            assert!(policy.attempts != Some(0) && policy.at_once > 0, "{word}: none would ever run");
            let longest = (1..100).map(|attempts| policy.pause(attempts)).max();
            assert!(longest <= Some(policy.longest_pause), "{word}");
            assert!(longest > Some(Duration::ZERO), "{word}: it would be tried again without a pause");
            assert!(!policy.given_up.is_empty(), "{word}");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{word}");
            assert_eq!(Kind::ALL.iter().filter(|other| other.word() == word).count(), 1, "{word}");
        }
    }
}
