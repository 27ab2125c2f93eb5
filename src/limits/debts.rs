//! What each caller owes (GCRA). A call costs a span of time, and a debt is paid by time that passes: whoever owes too
//! much already is refused, and then the call costs nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::told::Counted;
use super::{Key, Quota};

/// Callers are forgotten at least once in so many calls: from many addresses (whoever has an IPv6 network has them)
/// more would be remembered than there is memory, for a minute each.
pub const FORGET_EVERY: u32 = 1 << 16;

/// So many calls at once, and from then on one in each so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    calls: u32,
    cost: Duration,
}

impl Rate {
    pub fn per_minute(calls: u32) -> Self {
        Self::of(calls, calls, Duration::from_secs(60))
    }

    /// So many in each span, and so many of them at once.
    pub fn of(burst: u32, calls: u32, span: Duration) -> Self {
        // In whole microseconds, as Redis is told.
        let cost = u64::try_from((span / calls.max(1)).as_micros()).unwrap_or(u64::MAX);
        Self { calls: burst.max(1), cost: Duration::from_micros(cost.max(1)) }
    }

    /// How many may be made at once.
    pub fn calls(self) -> u32 {
        self.calls
    }

    /// What a call costs.
    pub fn cost(self) -> Duration {
        self.cost
    }

    /// What may be owed.
    pub fn most(self) -> Duration {
        self.cost * self.calls
    }

    /// A node that has nobody to count with.
    pub fn alone(self) -> (Duration, Duration) {
        (self.cost, self.most())
    }

    /// A node without the others it counted with. A quota of one call is not shut by it.
    pub fn halved(self) -> (Duration, Duration) {
        (self.cost * 2, self.most().max(self.cost * 2))
    }
}

/// What callers owe by what this node knows.
pub struct Debts {
    began: Instant,
    owed: Mutex<Owed>,
}

#[derive(Default)]
struct Owed {
    /// When each owes nothing any more, from the beginning.
    free_at: HashMap<Key, Duration>,
    asked: u32,
}

impl Default for Debts {
    fn default() -> Self {
        Self { began: Instant::now(), owed: Mutex::default() }
    }
}

impl Debts {
    /// What a caller owes.
    pub fn of(&self, key: &Key) -> Duration {
        let now = self.began.elapsed();
        self.lock().debt(key, now)
    }

    /// Counts one call against all, at the price and up to the debt that a rate has just now; or against none.
    pub fn count(&self, asked: &[(Quota, Rate, Key)], terms: impl Fn(Rate) -> (Duration, Duration)) -> Vec<Counted> {
        let now = self.began.elapsed();
        let mut owed = self.lock();
        owed.ask(now);
        let debts: Vec<Duration> = asked.iter().map(|(_, rate, key)| owed.debt(key, now).min(terms(*rate).1)).collect();
        let passes = asked.iter().zip(&debts).all(|((_, rate, _), debt)| *debt + terms(*rate).0 <= terms(*rate).1);
        let counted = asked.iter().zip(&debts).map(|((quota, rate, key), debt)| {
            let (cost, most) = terms(*rate);
            if passes {
                owed.free_at.insert(*key, now + *debt + cost);
            }
            Counted::new(*quota, *rate, (cost, most), *debt, passes)
        });
        counted.collect()
    }

    /// Takes over what all nodes together have let through: what was owed to them before this call.
    pub fn learn(&self, asked: &[(Quota, Rate, Key)], debts: &[Duration]) -> Vec<Counted> {
        let now = self.began.elapsed();
        let mut owed = self.lock();
        owed.ask(now);
        let passes = asked.iter().zip(debts).all(|((_, rate, _), debt)| *debt + rate.cost <= rate.most());
        let counted = asked.iter().zip(debts).map(|((quota, rate, key), debt)| {
            let after = if passes { *debt + rate.cost } else { *debt };
            // Of two answers that overtake each other the one that knows more counts.
            let free_at = owed.free_at.get(key).copied().unwrap_or_default().max(now + after);
            owed.free_at.insert(*key, free_at);
            Counted::new(*quota, *rate, rate.alone(), *debt, passes)
        });
        counted.collect()
    }

    /// Forgets who owes nothing.
    pub fn forget(&self) {
        let now = self.began.elapsed();
        self.lock().forget(now);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().free_at.len()
    }

    fn lock(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owed {
    fn debt(&self, key: &Key, now: Duration) -> Duration {
        self.free_at.get(key).map_or(Duration::ZERO, |free_at| free_at.saturating_sub(now))
    }

    /// Notes that somebody asks, and forgets now and then.
    fn ask(&mut self, now: Duration) {
        self.asked += 1;
        if self.asked >= FORGET_EVERY {
            self.forget(now);
        }
    }

    fn forget(&mut self, now: Duration) {
        self.free_at.retain(|_, free_at| *free_at > now);
        self.asked = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [1; 16];

    /// How many calls in a row are let through.
    fn let_through(debts: &Debts, rate: Rate, terms: fn(Rate) -> (Duration, Duration)) -> u32 {
        let passes = || debts.count(&[(Quota::LogIn, rate, KEY)], terms).iter().all(|one| !one.refused);
        (0..1000).take_while(|_| passes()).count() as u32
    }

    /// So rare that nothing is paid back while the test runs.
    fn rare(calls: u32) -> Rate {
        Rate::of(calls, 1, Duration::from_secs(3600))
    }

    #[test]
    fn a_node_without_the_others_lets_half_through_and_is_never_shut() {
        for (calls, half) in [(1, 1), (2, 1), (5, 2), (30, 15)] {
            assert_eq!(let_through(&Debts::default(), rare(calls), Rate::alone), calls);
            assert_eq!(let_through(&Debts::default(), rare(calls), Rate::halved), half, "{calls}");
        }
        assert_eq!(rare(5).halved().0, rare(5).cost() * 2);
    }

    #[test]
    fn what_all_nodes_let_through_counts_when_one_is_left_alone() {
        let (debts, rate) = (Debts::default(), rare(10));
        // The others have let six through, and this is the seventh.
        let learned = debts.learn(&[(Quota::LogIn, rate, KEY)], &[rate.cost() * 6]);
        assert_eq!((learned[0].refused, learned[0].left), (false, 3));
        assert_eq!(let_through(&debts, rate, Rate::halved), 1);
        assert!(debts.of(&KEY) > rate.cost() * 8);
    }

    #[test]
    fn a_debt_that_is_larger_than_may_be_is_paid_within_the_window() {
        let (debts, rate) = (Debts::default(), rare(3));
        let learned = debts.learn(&[(Quota::LogIn, rate, KEY)], &[rate.most()]);
        assert!(learned[0].refused);
        assert_eq!(learned[0].next, rate.cost());
    }
}
