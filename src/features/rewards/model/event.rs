//! Events as hosts tell of them, and as they are told again.

use std::time::Duration;

use super::reward::{RewardState, Standing};
use super::rules::EventType;
use super::{Account, EventOutcome, LedgerKind, Money, Side, SkipReason, Unit};
use crate::kernel::digest::ExternalIdHash;
use crate::kernel::ids::{EventId, RefundId, RewardId, UserId};
use crate::kernel::time::Time;

/// Bytes of what a host calls an event or a refund.
const MOST_KEY: usize = 128;
/// How far ahead of us a host's clock may be.
const AHEAD: Duration = Duration::from_secs(300);
/// How long ago something may have happened.
const BACK: Duration = Duration::from_secs(731 * 24 * 3600);

/// What a host calls an event or a refund: opaque, and kept as it was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKey(String);

impl EventKey {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > MOST_KEY {
            return Err("An external id has 1 to 128 bytes");
        }
        if text.contains('\0') {
            return Err("An external id has no NUL character");
        }
        Ok(Self(text.to_owned()))
    }

    /// One that was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whom an event is about.
#[derive(Clone, Copy)]
pub enum Whom {
    External(ExternalIdHash),
    Id(UserId),
}

/// An event as a call tells of it.
#[derive(Clone)]
pub struct Told {
    pub kind: EventType,
    pub key: EventKey,
    pub whom: Whom,
    pub money: Option<Money>,
    pub occurred_at: Option<Time>,
    /// JSON.
    pub properties: Option<String>,
    /// The fields as they were sent, by which the same event is known.
    pub said: Vec<u8>,
}

/// Whether something may have happened then, as far as is known now.
pub fn may_have_occurred(at: Time, now: Time) -> bool {
    (now.minus(BACK)..=now.plus(AHEAD)).contains(&at)
}

/// A person as hosts know them.
#[derive(Clone, Debug)]
pub struct Party {
    pub id: UserId,
    /// Nothing for people who registered here, and once they are erased.
    pub external_id: Option<String>,
}

/// A rule about such events that gave nothing.
#[derive(Clone, Debug)]
pub struct Skipped {
    pub rule: String,
    pub reason: SkipReason,
}

/// What one person gets for one event by one rule.
#[derive(Clone, Debug)]
pub struct Reward {
    pub id: RewardId,
    pub event: EventId,
    pub holder: Party,
    pub side: Side,
    pub rule_key: String,
    pub rule_version: i64,
    pub unit: Unit,
    pub standing: Standing,
    pub granted_at: Time,
    pub available_at: Time,
    /// Whether a budget covers it: what is taken back is given back to that.
    pub budgeted: bool,
    /// Grows with whatever is done with it.
    pub version: i64,
}

/// An event with what came of it.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: EventId,
    pub kind: EventType,
    pub key: EventKey,
    pub referee: Party,
    pub money: Option<Money>,
    /// What was taken back of its amount.
    pub refunded: i64,
    pub occurred_at: Time,
    pub received_at: Time,
    pub properties: Option<String>,
    pub skipped: Vec<Skipped>,
    pub rewards: Vec<Reward>,
}

impl Event {
    pub fn outcome(&self) -> EventOutcome {
        if self.rewards.is_empty() { EventOutcome::Recorded } else { EventOutcome::Rewarded }
    }

    /// As it was when it was received, which is what it is answered with for ever.
    pub fn at_first(mut self) -> Self {
        self.refunded = 0;
        for reward in &mut self.rewards {
            reward.standing = Standing::granted(reward.standing.amount);
        }
        self
    }
}

/// What came of telling of an event.
#[derive(Clone)]
pub enum Recorded {
    /// Whoever did it is unknown, or nobody's referee.
    NotReferred,
    Now(Box<Event>),
    /// It was told of before.
    Before(Box<Event>),
}

/// What was taken back of a reward by a refund.
#[derive(Clone, Debug)]
pub struct TakenBack {
    pub reward: RewardId,
    pub kind: LedgerKind,
    pub amount: i64,
    pub unit: Unit,
}

/// An amount taken back of an event.
#[derive(Clone, Debug)]
pub struct Refund {
    pub id: RefundId,
    pub event: EventId,
    pub refunded_total: i64,
    pub reversed: Vec<TakenBack>,
}

/// What came of telling of a refund.
#[derive(Clone)]
pub enum Refunded {
    Now(Refund),
    /// It was told of before.
    Before(Refund),
}

/// What somebody has in one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    pub unit: Unit,
    pub pending: i128,
    pub available: i128,
    pub paid: i128,
}

impl Balance {
    /// With so much more moved.
    pub fn add(&mut self, kind: LedgerKind, sum: i128) {
        let (from, to) = kind.sides();
        for (account, change) in [(from, -sum), (to, sum)] {
            match account {
                Account::Issued => {}
                Account::Pending => self.pending += change,
                Account::Available => self.available += change,
                Account::Paid => self.paid += change,
            }
        }
    }

    /// What was issued of it.
    pub fn issued(&self) -> i128 {
        self.pending + self.available + self.paid
    }
}

/// A movement of a holder's.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: i64,
    pub holder: Party,
    pub kind: LedgerKind,
    pub amount: i64,
    pub unit: Unit,
    pub reward: Option<RewardId>,
    pub cause: uuid::Uuid,
    pub at: Time,
}

/// Which rewards are wanted.
#[derive(Clone, Copy, Debug)]
pub struct WantedRewards {
    pub holder: Option<UserId>,
    pub state: Option<RewardState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_neither_of_the_future_nor_long_ago() {
        let now = Time::parse("2030-10-12").unwrap();
        let tick = Duration::from_micros(1);
        assert!(may_have_occurred(now.plus(AHEAD), now));
        assert!(!may_have_occurred(now.plus(AHEAD + tick), now));
        assert!(may_have_occurred(now.minus(BACK), now));
        assert!(!may_have_occurred(now.minus(BACK + tick), now));
    }

    #[test]
    fn an_external_id_of_an_event_is_short_and_has_no_nul() {
        assert!(EventKey::parse(&"a".repeat(128)).is_ok());
        for bad in ["", "a\0", &"a".repeat(129)] {
            assert!(EventKey::parse(bad).is_err());
        }
    }
}
