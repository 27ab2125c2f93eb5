//! When an endpoint that fails is told of, and when it is disabled.

use std::time::Duration;

use super::DisabledReason;
use crate::kernel::time::Time;

/// After so long without success managers are told.
const WARN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How an endpoint stands before some attempts are noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The first failure since the last success.
    pub failing_since: Option<Time>,
    pub warned: bool,
}

/// How some attempts went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcomes {
    pub delivered: bool,
    pub failed: bool,
    /// One was answered 410.
    pub gone: bool,
}

/// What is to be noted of the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    #[default]
    AsBefore,
    /// It has begun to fail.
    Fails,
    Recovered,
    /// It has failed for so long that managers are told.
    Warn,
    Disable(DisabledReason),
}

impl Verdict {
    /// Whether managers are told.
    pub fn is_told(self) -> bool {
        matches!(self, Self::Warn | Self::Disable(_))
    }
}

/// Of attempts that were made at once a success counts: something gets through. An endpoint is disabled by a failure
/// that comes so long after the first one, so there are two of them, far apart.
pub fn judge(standing: Standing, outcomes: Outcomes, now: Time, disable_after: Duration) -> Verdict {
    if outcomes.gone {
        return Verdict::Disable(DisabledReason::Gone);
    }
    match standing.failing_since {
        Some(_) if outcomes.delivered => Verdict::Recovered,
        _ if outcomes.delivered || !outcomes.failed => Verdict::AsBefore,
        None => Verdict::Fails,
        Some(since) if now.since(since) >= disable_after => Verdict::Disable(DisabledReason::Failing),
        Some(since) if now.since(since) >= WARN_AFTER && !standing.warned => Verdict::Warn,
        Some(_) => Verdict::AsBefore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn an_endpoint_is_warned_of_after_a_day_and_disabled_after_five_without_success() {
        let start = Time(0).plus(DAY * 365 * 50);
        let failed = Outcomes { failed: true, ..Outcomes::default() };
        let after = |span, warned| {
            let standing = Standing { failing_since: Some(start), warned };
            judge(standing, failed, start.plus(span), DAY * 5)
        };
        assert_eq!(judge(Standing::default(), failed, start, DAY * 5), Verdict::Fails);
        assert_eq!(after(DAY - Duration::from_secs(1), false), Verdict::AsBefore);
        assert_eq!(after(DAY, false), Verdict::Warn);
        assert_eq!(after(DAY * 2, true), Verdict::AsBefore);
        assert_eq!(after(DAY * 5 - Duration::from_secs(1), true), Verdict::AsBefore);
        assert_eq!(after(DAY * 5, true), Verdict::Disable(DisabledReason::Failing));
        assert_eq!(after(DAY * 5, false), Verdict::Disable(DisabledReason::Failing));
    }

    #[test]
    fn one_success_is_enough_and_410_ends_at_once() {
        let start = Time(0).plus(DAY * 365 * 50);
        let standing = Standing { failing_since: Some(start), warned: true };
        let both = Outcomes { delivered: true, failed: true, gone: false };
        let judge = |standing, outcomes| judge(standing, outcomes, start.plus(DAY * 9), DAY * 5);
        assert_eq!(judge(standing, both), Verdict::Recovered);
        assert_eq!(judge(Standing::default(), both), Verdict::AsBefore);
        assert_eq!(judge(standing, Outcomes::default()), Verdict::AsBefore);
        let gone = Outcomes { gone: true, ..both };
        assert_eq!(judge(Standing::default(), gone), Verdict::Disable(DisabledReason::Gone));
        assert!(Verdict::Warn.is_told() && !Verdict::Recovered.is_told());
    }
}
