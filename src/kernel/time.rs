//! Points in time, in UTC with microseconds, and the application's clock.
//!
//! The life of codes is judged by the database's clock (`referral_now()`); tokens, jobs and mail by this one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::SignedDuration;
use jiff::civil::{Date, Time as CivilTime};

/// Microseconds since 1970-01-01T00:00:00Z: an integer that both engines store and compare alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

/// 9999-12-31T23:59:59.999999Z
pub const LAST: i64 = 253_402_300_799_999_999;
/// 0001-01-01T00:00:00Z
const FIRST: i64 = -62_135_596_800_000_000;

/// By which the clocks of nodes, and that of the database, may differ.
pub const SKEW: Duration = Duration::from_secs(60);

impl Time {
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether this is at most so long after `earlier`. Not if it is long before it: then a clock has stepped back, and
    /// what counted on it counts no more.
    pub fn is_soon_after(self, earlier: Time, span: Duration) -> bool {
        self.since(earlier) <= span && earlier.since(self) <= SKEW
    }

    /// Whole seconds, as JSON Web Tokens count them.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Reads what the reference service reads: `2030-10-10`, `2030-10-10 12:00`, `2030-10-10T12:00:00[.ffffff]`,
    /// the latter two with `Z`, an offset or neither (then UTC), years 1 to 9999. Fractions may have nine digits, as
    /// .NET, Go and Java write them; what is below a microsecond is cut. A leap second is the first of the next minute.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.is_ascii() {
            return None;
        }
        let (date, rest) = text.split_at_checked(10)?;
        let date = parse_date(date)?;
        let (time, offset) = if rest.is_empty() {
            (CivilTime::midnight(), 0)
        } else {
            parse_clock(rest.strip_prefix([' ', 'T', 't'])?)?
        };
        let days = i64::from(date.duration_since(Date::constant(1970, 1, 1)).as_secs().checked_div(86_400)? as i32);
        let in_day = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
        let seconds = days * 86_400 + in_day - offset;
        let micros = seconds * 1_000_000 + i64::from(time.subsec_nanosecond()) / 1000;
        (FIRST..=LAST).contains(&micros).then_some(Self(micros))
    }
}

/// A span in microseconds, in which the database counts.
pub fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn digits(text: &str) -> Option<i16> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let year = digits(year).filter(|y| *y >= 1)?;
    Date::new(year, digits(month)? as i8, digits(day)? as i8).ok()
}

/// The part behind the date: a time of day and its offset from UTC in seconds.
fn parse_clock(text: &str) -> Option<(CivilTime, i64)> {
    let split = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at_checked(split)?;
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or("00"));
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    if (hour.len(), minute.len(), second.len()) != (2, 2, 2) || !(1..=9).contains(&fraction.len()) {
        return None;
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse::<i32>().ok()?;
    let second = digits(second)?;
    let leap = i64::from(second == 60);
    let second = if leap == 1 { 59 } else { second };
    let time = CivilTime::new(digits(hour)? as i8, digits(minute)? as i8, second as i8, nanos).ok()?;
    // A second later is an offset of a second less.
    Some((time, parse_offset(zone)? - leap))
}

fn parse_offset(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, amount) = zone.split_at_checked(1)?;
    let (hours, minutes) = match amount.len() {
        5 => amount.split_once(':')?,
        4 => amount.split_at_checked(2)?,
        _ => return None,
    };
    if (hours.len(), minutes.len()) != (2, 2) {
        return None;
    }
    let (hours, minutes) = (i64::from(digits(hours)?), i64::from(digits(minutes)?));
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

impl fmt::Display for Time {
    /// RFC 3339 with `Z`; fractions only where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A civil time: jiff's timestamps end a day before the year 9999 does.
        let epoch = Date::constant(1970, 1, 1).to_datetime(CivilTime::midnight());
        match epoch.checked_add(SignedDuration::from_micros(self.0)) {
            Ok(utc) => write!(f, "{utc}Z"),
            Err(_) => f.write_str("out of range"),
        }
    }
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The application's clock. Tests move it; nobody else does.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset: Arc<AtomicI64>,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Time {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros);
        Time(wall.saturating_add(self.offset.load(Ordering::Relaxed)))
    }

    /// Moves the clock by so many microseconds from where it stands, either way.
    pub fn shift(&self, micros: i64) {
        self.offset.fetch_add(micros, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_the_reference_is_read_as_utc() {
        for (input, output) in [
            ("2030-10-10", "2030-10-10T00:00:00Z"),
            ("2030-10-10 12:00", "2030-10-10T12:00:00Z"),
            ("2030-10-10T12:00:00", "2030-10-10T12:00:00Z"),
            ("2030-10-10T12:00:00Z", "2030-10-10T12:00:00Z"),
            ("2030-10-10T12:00:00.250000", "2030-10-10T12:00:00.25Z"),
            ("2030-10-10T12:00:00+03:00", "2030-10-10T09:00:00Z"),
            ("2030-10-10 12:00-0330", "2030-10-10T15:30:00Z"),
            ("2030-10-10T12:00:00.1234567Z", "2030-10-10T12:00:00.123456Z"),
            ("2030-10-10T12:00:00.123456789+00:00", "2030-10-10T12:00:00.123456Z"),
            ("2030-10-10 12:00:00.000000999", "2030-10-10T12:00:00Z"),
            ("2030-12-31T23:59:60Z", "2031-01-01T00:00:00Z"),
            ("2030-10-10T12:00:60.5", "2030-10-10T12:01:00.5Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            ("0001-01-01", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(Time::parse(input).map(|t| t.to_string()).as_deref(), Some(output), "{input}");
        }
    }

    #[test]
    fn anything_else_is_not_a_time() {
        for input in [
            "",
            "tomorrow",
            "2030",
            "2030-10",
            "2030-13-01",
            "2030-02-30",
            "0000-01-01",
            "10000-01-01",
            "2030-10-10T",
            "2030-10-10T12",
            "2030-10-10T24:00",
            "2030-10-10T12:60",
            "2030-10-10T12:00:61",
            "9999-12-31T23:59:60Z",
            "2030-10-10T12:00:00.",
            "2030-10-10T12:00:00.1234567890",
            "2030-10-10T12:00:00+24:00",
            "2030-10-10T12:00:00+3",
            "2030-10-10 12:00 ",
            "9999-12-31T23:59:59-01:00",
            "0001-01-01T00:00+01:00",
            "2030-10-10T12:00\u{0}",
            "２０３０-10-10",
            "+030-10-10",
            "2030-10-10T+1:00",
            "1797993482",
        ] {
            assert_eq!(Time::parse(input), None, "{input}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_what_is_written_is_read_back(text in ".{0,40}", micros in FIRST..=LAST) {
            let _ = Time::parse(&text);
            prop_assert_eq!(Time::parse(&Time(micros).to_string()), Some(Time(micros)));
        }
    }
}
