//! What links are: where they lead, who counts, what people say when they share them.

pub mod crawlers;
pub mod destination;
pub mod qr;
pub mod share;

use crate::kernel::day::Day;
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;

/// Whom a registration page says it is that invites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inviter {
    /// By the name that others see.
    Named(String),
    /// A participant of whom the host has told no name.
    Unnamed,
    /// The invitation has ended, or there never was one.
    Ended,
}

/// What happened on somebody's link on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayFigures {
    pub day: Day,
    pub clicks: i64,
    pub visitors: i64,
    pub registrations: i64,
}

/// The days that figures are wanted of, the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    pub from: Day,
    pub to: Day,
}

impl Days {
    /// As many as one answer has.
    pub const MOST_DAYS: i64 = 400;
    /// Those that are told to whoever names none.
    pub const USUAL: i64 = 30;

    pub fn length(self) -> i64 {
        self.to.0.saturating_sub(self.from.0).saturating_add(1)
    }
}

/// A referrer in the list of those who brought somebody.
#[derive(Clone, Debug)]
pub struct ReferrerRow {
    pub id: UserId,
    pub username: String,
    pub handle: Option<String>,
    pub referrals: i64,
    pub last_joined_at: Time,
}
