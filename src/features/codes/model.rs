//! What a code is, in its owner's list and in everybody's look-ups.

use std::time::Duration;

use crate::kernel::ids::UserId;
use crate::kernel::time::Time;

/// A code as its owner sees it. Its state is derived, never stored.
#[derive(Clone, Debug)]
pub struct OwnedCode {
    pub id: i64,
    pub owner: UserId,
    pub code: String,
    pub expires_at: Time,
    pub state: State,
    /// Its place among its owner's codes, from 1.
    pub ordinal: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Active,
    Expired,
    Revoked,
}

impl State {
    /// `in_slot`: it is the code in its owner's slot, and its time is not over.
    pub fn of(in_slot: bool, revoked: bool) -> Self {
        match (in_slot, revoked) {
            (true, _) => Self::Active,
            (false, true) => Self::Revoked,
            (false, false) => Self::Expired,
        }
    }
}

/// An owner's slot, locked, with the time of the database's clock read after the lock: that of whatever is recorded in
/// the slot now, so never before what was recorded there earlier.
#[derive(Clone, Debug)]
pub struct Slot {
    pub owner: UserId,
    pub issued: i64,
    pub version: i64,
    pub current: Option<SlotCode>,
    pub now: Time,
}

#[derive(Clone, Debug)]
pub struct SlotCode {
    pub id: i64,
    pub expires_at: Time,
}

impl Slot {
    /// The code in the slot, if it is still alive.
    pub fn active(&self) -> Option<&SlotCode> {
        self.current.as_ref().filter(|code| code.expires_at > self.now)
    }
}

/// A code that refers a registration which is under way: its owner's slot is locked until the commit.
#[derive(Clone, Copy, Debug)]
pub struct HeldCode {
    pub owner: UserId,
    pub ordinal: i64,
    /// When it was found alive.
    pub now: Time,
}

/// What would refer somebody now.
#[derive(Clone, Debug)]
pub struct ValidCode {
    /// What its owner shows; empty for a participant of whom the host has told no name.
    pub owner_name: String,
    /// Nothing for a handle whose next code is made with the registration.
    pub expires_at: Option<Time>,
}

/// How long an issued code lives that is to live about so many days: within a tenth of that, so that many that were
/// issued at once do not expire at once. Where in between, chance says.
pub fn issued_life(days: i64, chance: u32) -> Duration {
    let about = Duration::from_secs(u64::try_from(days).unwrap_or(1).max(1) * 24 * 3600);
    about.mul_f64(0.9 + 0.2 * f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_codes_live_as_many_days_within_a_tenth() {
        let day = Duration::from_secs(24 * 3600);
        for (days, chance, expected) in
            [(10, 0, day * 9), (10, u32::MAX, day * 11), (365, u32::MAX / 2, day * 365), (3650, u32::MAX, day * 4015)]
        {
            let life = issued_life(days, chance);
            assert!(life.abs_diff(expected) < Duration::from_secs(1), "{days} {chance}: {life:?}");
        }
        assert!(issued_life(i64::MIN, 0) > Duration::ZERO);
    }
}
