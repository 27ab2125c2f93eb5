//! Days, in UTC.

use std::fmt;

use jiff::civil::Date;
use jiff::{Span, ToSpan};
use serde::{Serialize, Serializer};

use super::time::Time;

/// A day, by how many there were since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub i64);

const MICROS: i64 = 24 * 3600 * 1_000_000;
const FIRST: Date = Date::constant(1970, 1, 1);

impl Day {
    pub fn of(time: Time) -> Self {
        Self(time.0.div_euclid(MICROS))
    }

    /// When it begins.
    pub fn begin(self) -> Time {
        Time(self.0.saturating_mul(MICROS))
    }

    pub fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// `2030-10-10`, from 1970 on.
    pub fn parse(text: &str) -> Option<Self> {
        let shape = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
        if text.len() != 10 || !text.bytes().enumerate().all(shape) {
            return None;
        }
        let date: Date = text.parse().ok()?;
        let days = FIRST.until(date).ok()?.get_days();
        Some(Self(days.into())).filter(|day| day.0 >= 0)
    }
}

impl fmt::Display for Day {
    /// Days that no calendar has are the last it has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span: Option<Span> = Span::new().try_days(self.0).ok();
        let date = span.and_then(|span| FIRST.checked_add(span).ok());
        date.unwrap_or_else(|| if self.0 < 0 { FIRST.saturating_sub(1.day()) } else { Date::MAX }).fmt(f)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_read_and_written() {
        for (text, day) in
            [("1970-01-01", 0), ("2000-03-01", 11_017), ("2026-11-30", 20_787), ("9999-12-31", 2_932_896)]
        {
            assert_eq!(Day::parse(text), Some(Day(day)), "{text}");
            assert_eq!(Day(day).to_string(), text);
        }
        for bad in
            ["", "2026-11-31", "2026-1-1", "1969-12-31", "2026-11-30T00:00", "+026-11-30", "20261130aa", "2026/11/30"]
        {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
        assert_eq!(Day(i64::MAX).to_string(), "9999-12-31");
        let _ = Day(i64::MIN).to_string();
    }

    #[test]
    fn a_day_begins_at_midnight() {
        let noon = Time::parse("2026-11-30T12:00:00Z").unwrap();
        assert_eq!(Day::of(noon), Day(20_787));
        assert_eq!(Day::of(noon).begin(), Time::parse("2026-11-30T00:00:00Z").unwrap());
        assert_eq!(Day::of(Time(Day(20_787).begin().0 - 1)), Day(20_786));
        assert_eq!(Day::of(Time(-1)), Day(-1));
    }
}
