//! What a code is, in its owner's list and in everybody's look-ups.

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
