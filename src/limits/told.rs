//! What the limits of a request have said, for who tells it: it is noted in the task, as its deadline is, and no
//! handler hands it on.

use std::cell::RefCell;
use std::time::Duration;

use super::{Quota, Rate, seconds};

tokio::task_local! {
    static COUNTED: RefCell<Vec<Counted>>;
}

/// A limit that a request was counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub quota: Quota,
    rate: Rate,
    /// Whether it is this one that has refused the request.
    pub refused: bool,
    /// How many more would be let through at once.
    pub left: u64,
    /// When there is one more.
    pub next: Duration,
}

impl Counted {
    /// With what the caller owed before the call, at this price and up to this debt.
    pub(super) fn new(
        quota: Quota,
        rate: Rate,
        (cost, most): (Duration, Duration),
        debt: Duration,
        passes: bool,
    ) -> Self {
        let refused = debt + cost > most;
        let after = if passes { debt + cost } else { debt };
        let (room, cost) = (most.saturating_sub(after).as_nanos(), cost.as_nanos().max(1));
        let left = room / cost;
        let next = Duration::from_nanos(u64::try_from((left + 1) * cost - room).unwrap_or(u64::MAX));
        Self { quota, rate, refused, left: u64::try_from(left).unwrap_or(u64::MAX), next }
    }

    /// Of a caller who has used up what the database counts, and may ask again after so long.
    pub(super) fn spent(quota: Quota, rate: Rate, next: Duration) -> Self {
        Self { quota, rate, refused: true, left: 0, next }
    }

    /// As `RateLimit-Policy` tells it: what may be asked at once, and within which window of seconds it comes back.
    pub fn policy(&self) -> String {
        let window = seconds(self.rate.most()).max(1);
        format!("\"{}\";q={};w={window}", self.quota.word(), self.rate.calls())
    }

    /// As `RateLimit` tells it: how many are left, and for how many seconds there will be no more.
    pub fn limit(&self) -> String {
        format!("\"{}\";r={};t={}", self.quota.word(), self.left, seconds(self.next))
    }
}

/// Does the work of a request and says what it was counted against.
pub async fn counting<F: Future>(work: F) -> (F::Output, Vec<Counted>) {
    let noted = async {
        let outcome = work.await;
        (outcome, COUNTED.with(RefCell::take))
    };
    COUNTED.scope(RefCell::default(), noted).await
}

/// Of a limit that is met twice the last word counts.
pub(super) fn note(counted: Vec<Counted>) {
    let _ = COUNTED.try_with(|noted| {
        let mut noted = noted.borrow_mut();
        for one in counted {
            noted.retain(|before| before.quota != one.quota);
            noted.push(one);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_when_there_is_more_is_told_in_whole_numbers() {
        let rate = Rate::per_minute(5);
        let told = |debt: u64, passes: bool| {
            let one = Counted::new(Quota::LogIn, rate, rate.alone(), Duration::from_secs(debt), passes);
            (one.refused, one.limit())
        };
        assert_eq!(told(0, true), (false, "\"login\";r=4;t=12".into()));
        assert_eq!(told(1, true), (false, "\"login\";r=3;t=1".into()));
        assert_eq!(told(48, true), (false, "\"login\";r=0;t=12".into()));
        assert_eq!(told(49, false), (true, "\"login\";r=0;t=1".into()));
        assert_eq!(told(60, false), (true, "\"login\";r=0;t=12".into()));
        let one = Counted::new(Quota::LogIn, rate, rate.alone(), Duration::ZERO, true);
        assert_eq!(one.policy(), "\"login\";q=5;w=60");
        let rate = Rate::of(2000, 600, Duration::from_secs(1));
        let one = Counted::new(Quota::Write, rate, rate.alone(), Duration::ZERO, true);
        assert_eq!(one.policy(), "\"write\";q=2000;w=4");
    }

    #[tokio::test]
    async fn each_request_hears_of_its_own_limits_and_of_each_once() {
        let rate = Rate::per_minute(5);
        let one = |quota, debt| Counted::new(quota, rate, rate.alone(), Duration::from_secs(debt), true);
        note(vec![one(Quota::Write, 0)]);
        let (answer, counted) = counting(async {
            note(vec![one(Quota::Write, 0), one(Quota::LookUp, 0)]);
            note(vec![one(Quota::Write, 12)]);
            7
        })
        .await;
        assert_eq!(answer, 7);
        assert_eq!(counted, [one(Quota::LookUp, 0), one(Quota::Write, 12)]);
    }
}
