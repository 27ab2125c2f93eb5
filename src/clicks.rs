//! Clicks on links that are not written yet. Who clicked is known for a day at most, in memory, as a hash with a salt
//! that nobody is told: enough to count each browser once an hour, and nothing about anybody is kept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::kernel::day::Day;
use crate::kernel::digest::sha256;
use crate::kernel::error::Result;
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::limits::prefix;

/// A browser counts again on the same link after so long.
const AGAIN: Duration = Duration::from_secs(3600);
/// Browsers that are remembered, and links that wait to be written with a day: 40 MB and 5 MB at most.
const MOST: Bounds = Bounds { browsers: 500_000, links: 50_000 };
/// Between two looks for browsers that may be forgotten, when there is no room for more.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// What was counted on somebody's link on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub clicks: i64,
    /// Of them by browsers that had not clicked that day before.
    pub visitors: i64,
}

/// A day of somebody's link.
pub type LinkDay = (UserId, Day);

#[derive(Clone, Copy)]
struct Bounds {
    browsers: usize,
    links: usize,
}

pub struct Clicks {
    most: Bounds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The day that the salt and the browsers are of.
    day: Option<Day>,
    salt: [u8; 32],
    /// When each was counted last.
    browsers: HashMap<[u8; 32], Time>,
    forgotten: Option<Time>,
    waiting: HashMap<LinkDay, Counts>,
    lost: u64,
}

impl Default for Clicks {
    fn default() -> Self {
        Self { most: MOST, state: Mutex::default() }
    }
}

impl Clicks {
    /// Counts a click, unless the same browser was counted on this link within the hour.
    pub fn count(
        &self,
        owner: UserId,
        (client, agent): (IpAddr, &str),
        now: Time,
        random: impl FnOnce() -> Result<[u8; 32]>,
    ) -> Result<()> {
        let mut state = self.state();
        let day = Day::of(now);
        if state.day != Some(day) {
            let salt = random()?;
            state.browsers = HashMap::new();
            (state.day, state.salt, state.forgotten) = (Some(day), salt, Some(now));
        }
        let browser = hash(&state.salt, owner, client, agent);
        let first = match state.browsers.get(&browser) {
            Some(last) if now.since(*last) < AGAIN => return Ok(()),
            Some(_) => false,
            None => true,
        };
        let room = !first || state.browsers.len() < self.most.browsers || state.forget(now, self.most.browsers);
        let room = room && (state.waiting.len() < self.most.links || state.waiting.contains_key(&(owner, day)));
        if !room {
            state.lost += 1;
            return Ok(());
        }
        state.browsers.insert(browser, now);
        let counts = state.waiting.entry((owner, day)).or_default();
        counts.clicks += 1;
        counts.visitors += i64::from(first);
        Ok(())
    }

    /// Takes so many that wait, in the order in which every node writes them.
    pub fn take(&self, most: usize) -> Vec<(LinkDay, Counts)> {
        let mut state = self.state();
        let mut taken: Vec<(LinkDay, Counts)> = if state.waiting.len() <= most {
            std::mem::take(&mut state.waiting).into_iter().collect()
        } else {
            let some: Vec<LinkDay> = state.waiting.keys().take(most).copied().collect();
            some.into_iter().filter_map(|key| state.waiting.remove_entry(&key)).collect()
        };
        taken.sort_unstable_by_key(|(key, _)| *key);
        taken
    }

    /// Takes back what could not be written.
    pub fn put_back(&self, rows: Vec<(LinkDay, Counts)>) {
        let mut state = self.state();
        for (key, counts) in rows {
            if state.waiting.len() >= self.most.links && !state.waiting.contains_key(&key) {
                state.lost += counts.clicks.unsigned_abs();
                continue;
            }
            let waiting = state.waiting.entry(key).or_default();
            waiting.clicks += counts.clicks;
            waiting.visitors += counts.visitors;
        }
    }

    /// Clicks for which there was no room, since the process began.
    pub fn lost(&self) -> u64 {
        self.state().lost
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets browsers that would count again anyway. Whether there is room then.
    fn forget(&mut self, now: Time, most: usize) -> bool {
        if self.forgotten.is_some_and(|last| now.since(last) < FORGET_EVERY) {
            return false;
        }
        self.forgotten = Some(now);
        self.browsers.retain(|_, last| *last > now.minus(AGAIN));
        self.browsers.len() < most
    }
}

fn hash(salt: &[u8; 32], owner: UserId, client: IpAddr, agent: &str) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(64 + agent.len());
    bytes.extend_from_slice(salt);
    bytes.extend_from_slice(owner.0.as_bytes());
    match prefix(client) {
        IpAddr::V4(address) => bytes.extend_from_slice(&address.to_ipv6_mapped().octets()),
        IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
    }
    bytes.extend_from_slice(agent.as_bytes());
    sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn small(browsers: usize, links: usize) -> Clicks {
        Clicks { most: Bounds { browsers, links }, state: Mutex::default() }
    }

    fn click(clicks: &Clicks, owner: UserId, agent: &str, now: Time) {
        clicks.count(owner, (CLIENT, agent), now, || Ok([7; 32])).unwrap();
    }

    fn counted(clicks: &Clicks) -> (i64, i64) {
        let taken = clicks.take(usize::MAX);
        taken.iter().fold((0, 0), |sum, (_, counts)| (sum.0 + counts.clicks, sum.1 + counts.visitors))
    }

    #[test]
    fn a_browser_counts_once_an_hour_on_a_link_and_is_one_visitor_a_day() {
        let (clicks, owner) = (Clicks::default(), UserId::new());
        let start = Day(20_000).begin();
        for minute in 0..60 {
            click(&clicks, owner, "a", start.plus(Duration::from_secs(minute * 60)));
        }
        assert_eq!(counted(&clicks), (1, 1));
        click(&clicks, owner, "a", start.plus(HOUR));
        assert_eq!(counted(&clicks), (1, 0));
        // Another browser, another address, another link.
        click(&clicks, owner, "b", start.plus(HOUR));
        clicks.count(owner, ("192.0.2.1".parse().unwrap(), "a"), start.plus(HOUR), || Ok([7; 32])).unwrap();
        click(&clicks, UserId::new(), "a", start.plus(HOUR));
        assert_eq!(counted(&clicks), (3, 3));
        // A clock that steps back counts nobody again.
        click(&clicks, owner, "a", start);
        assert_eq!(counted(&clicks), (0, 0));
        click(&clicks, owner, "a", start.plus(HOUR * 24));
        let taken = clicks.take(usize::MAX);
        assert_eq!(taken, [((owner, Day(20_001)), Counts { clicks: 1, visitors: 1 })]);
    }

    #[test]
    fn neighbours_in_a_network_of_ipv6_are_one_client() {
        let (clicks, owner, now) = (Clicks::default(), UserId::new(), Day(20_000).begin());
        for address in ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"] {
            clicks.count(owner, (address.parse().unwrap(), "a"), now, || Ok([7; 32])).unwrap();
        }
        assert_eq!(counted(&clicks), (2, 2));
    }

    #[test]
    fn each_day_has_a_salt_of_its_own() {
        let (clicks, owner, now) = (Clicks::default(), UserId::new(), Day(20_000).begin());
        click(&clicks, owner, "a", now);
        let first: Vec<_> = clicks.state().browsers.keys().copied().collect();
        clicks.count(owner, (CLIENT, "a"), now.plus(HOUR * 24), || Ok([8; 32])).unwrap();
        let second: Vec<_> = clicks.state().browsers.keys().copied().collect();
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_ne!(first, second);
    }

    #[test]
    fn memory_is_bounded_and_what_is_lost_is_counted() {
        let (clicks, now) = (small(3, 2), Day(20_000).begin());
        let (one, two) = (UserId::new(), UserId::new());
        for agent in ["a", "b", "c", "d", "e"] {
            click(&clicks, one, agent, now);
        }
        assert_eq!((counted(&clicks), clicks.lost()), ((3, 3), 2));
        // They are forgotten when they would count again.
        click(&clicks, one, "d", now.plus(HOUR));
        assert_eq!((counted(&clicks), clicks.lost()), ((1, 1), 2));
        let clicks = small(100, 2);
        for owner in [one, two, UserId::new(), one] {
            click(&clicks, owner, "a", now);
        }
        assert_eq!(clicks.lost(), 1);
        click(&clicks, one, "b", now);
        let waiting = clicks.take(1);
        assert_eq!((waiting.len(), clicks.take(5).len()), (1, 1));
        // What could not be written has no more room than what comes.
        click(&clicks, one, "c", now);
        click(&clicks, two, "c", now);
        let lost = clicks.lost();
        clicks.put_back(vec![((UserId::new(), Day(20_000)), Counts { clicks: 5, visitors: 5 })]);
        clicks.put_back(vec![((one, Day(20_000)), Counts { clicks: 2, visitors: 1 })]);
        assert_eq!((clicks.lost() - lost, counted(&clicks)), (5, (4, 3)));
    }

    #[test]
    fn every_node_writes_in_one_order() {
        let (clicks, now) = (Clicks::default(), Day(20_000).begin());
        for _ in 0..50 {
            click(&clicks, UserId::new(), "a", now);
        }
        let taken = clicks.take(usize::MAX);
        assert!(taken.is_sorted_by_key(|(key, _)| *key));
    }
}
