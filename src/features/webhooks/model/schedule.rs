//! When a delivery is tried, as Standard Webhooks has it.

use std::time::Duration;

use crate::kernel::time::Time;

/// Seconds before each attempt, counted from the one before.
pub const SCHEDULE: [u64; 10] = [0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// By which a pause differs from the published one at most, in thousandths: so that all that failed together is not
/// tried together.
const SPREAD: u64 = 100;
/// No receiver puts us off for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Longer than any pause: what is put off for more was by a wrong clock.
pub const BEYOND: Duration = Duration::from_secs(27 * 3600);

/// How long to wait after so many attempts, by chance a little shorter or longer; nothing when they were all. A
/// receiver that asks for more time gets it.
pub fn pause(attempts: i64, chance: u16, retry_after: Option<Duration>) -> Option<Duration> {
    let seconds = *SCHEDULE.get(usize::try_from(attempts).ok()?)?;
    let thousandths = 1000 - SPREAD + u64::from(chance) * 2 * SPREAD / u64::from(u16::MAX);
    let pause = Duration::from_millis(seconds * thousandths);
    Some(retry_after.map_or(pause, |asked| pause.max(asked.min(LONGEST))))
}

/// What `Retry-After` says: seconds, or a date.
pub fn retry_after(text: &str, now: Time) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Time(date.as_microsecond()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_as_published_and_after_the_tenth_none() {
        for (attempts, seconds) in (1..).zip(&SCHEDULE[1..]) {
            let [least, middle, most] =
                [0, u16::MAX / 2, u16::MAX].map(|chance| pause(attempts, chance, None).unwrap().as_secs_f64());
            let published = *seconds as f64;
            assert!((least - published * 0.9).abs() < 0.01 && (most - published * 1.1).abs() < 0.01, "{attempts}");
            assert!((middle - published).abs() < published * 0.002, "{attempts}");
        }
        let longest = (1..10).filter_map(|attempts| pause(attempts, u16::MAX, Some(Duration::MAX))).max();
        assert!(longest.is_some_and(|longest| longest < BEYOND));
        assert_eq!(pause(10, 0, None), None);
        assert_eq!(pause(10, 0, Some(Duration::from_secs(5))), None);
        assert_eq!(pause(-1, 0, None), None);
    }

    #[test]
    fn who_asks_for_more_time_gets_it_within_a_day_and_who_asks_for_less_does_not() {
        let asked = |seconds| pause(2, u16::MAX / 2, Some(Duration::from_secs(seconds))).unwrap().as_secs();
        assert!((299..=300).contains(&asked(1)));
        assert_eq!(asked(3600), 3600);
        assert_eq!(asked(1 << 31), 24 * 3600);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Time::parse("2026-11-30T12:00:00Z").unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(" 0 ", now), Some(Duration::ZERO));
        assert_eq!(retry_after("Mon, 30 Nov 2026 12:01:30 GMT", now), Some(Duration::from_secs(90)));
        assert_eq!(retry_after("Mon, 30 Nov 2026 11:00:00 GMT", now), Some(Duration::ZERO));
        for bad in ["", "soon", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }
}
