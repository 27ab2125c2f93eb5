//! The connections there are, and which of them are closed when there are too many.
//!
//! Only then does anything here decide. A client that has a large part of the room makes room itself. Where nobody has,
//! idle connections go first, since nothing is lost with them; then those of the client that has the most. Behind a proxy
//! that is not named in the settings all clients are one.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::app::App;
use crate::limits::prefix;
use crate::web::client_address::Peer;

/// What waits for its client for less than this counts as under way.
const GRACE: Duration = Duration::from_millis(250);
/// The same for a connection that has not asked yet: its client may be far, or slow.
const FIRST_GRACE: Duration = Duration::from_secs(2);
/// What part of all connections, if one client has more of them, makes it a crowd.
const CROWD: usize = 8;
/// Of the most connections, what part is closed at once: looking through all of them for each newcomer would cost more
/// than the newcomer.
const BATCH: usize = 128;
/// So many connections in a row from one address are no coincidence.
const MANY: u32 = 32;

pub struct Connections {
    most: usize,
    app: Arc<App>,
    began: Instant,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    /// Rung when one has closed.
    freed: Notify,
    opened: AtomicU64,
    closings: Mutex<Seldom>,
    /// Whom the last connections came from, and how many in a row.
    streak: Mutex<(Option<IpAddr>, u32)>,
}

/// What a connection does, and whom it serves.
pub struct Connection {
    /// A [`Doing`] in the two lowest bits; since when, in milliseconds, in the others.
    state: AtomicU64,
    /// Whether a request is being answered: from its head until its answer's body has been handed over.
    under_way: AtomicBool,
    /// Whether a request has come at all.
    heard: AtomicBool,
    /// Whether it has been asked anything that a proxy would pass on.
    asked: AtomicBool,
    client: Mutex<IpAddr>,
    task: OnceLock<AbortHandle>,
    began: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Waits for a request.
    Idle,
    Answering,
    /// Its client does not read.
    Stalled,
    Closing,
}

/// A connection's place among the others, given back when it is dropped.
pub struct Place {
    number: u64,
    pub connection: Arc<Connection>,
    connections: Arc<Connections>,
}

/// A request that is being answered.
pub struct UnderWay(Arc<Connection>);

impl Connections {
    pub fn new(app: Arc<App>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            app,
            began: Instant::now(),
            open: Mutex::default(),
            freed: Notify::new(),
            opened: AtomicU64::new(0),
            closings: Mutex::default(),
            streak: Mutex::default(),
        })
    }

    /// Takes a newcomer in, closing others if there is no room for it.
    pub async fn admit(self: &Arc<Self>, peer: Peer) -> Place {
        loop {
            // Heard from here on: what closed before has been counted.
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if lock(&self.open).len() < self.most {
                break;
            }
            self.make_room();
            // Tasks end when a thread has time for them.
            let _ = tokio::time::timeout(Duration::from_millis(100), freed).await;
        }
        let connection = Arc::new(Connection::new(prefix(peer.address.ip()), self.began));
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        lock(&self.open).insert(number, connection.clone());
        self.app.metrics.connections.inc();
        Place { number, connection, connections: self.clone() }
    }

    /// Closes some connections, those that are missed least.
    pub fn make_room(&self) {
        let open = lock(&self.open);
        let seen: Vec<Seen> = open.iter().map(|(number, connection)| connection.look(*number)).collect();
        let chosen = choose(seen, self.most, self.most.div_ceil(BATCH));
        for connection in chosen.iter().filter_map(|one| open.get(&one.number)) {
            connection.close();
        }
        let Some(first) = chosen.first() else { return };
        let why = if first.doing == Doing::Idle { "idle" } else { "crowd" };
        self.app.metrics.connections_closed(why, chosen.len());
        if let Some(more) = lock(&self.closings).let_through(chosen.len()) {
            let (open, most) = (open.len(), self.most);
            tracing::warn!(closed = more, open, most, "too many connections; some are closed to make room for others");
        }
    }

    /// Closes those on which nothing is being answered, though the head of a request may have begun.
    pub fn close_idle(&self) {
        lock(&self.open).values().filter(|connection| connection.is_idle()).for_each(|connection| connection.close());
    }

    /// Notes whom a request comes from. When all connections come from one private address that is no proxy we know of,
    /// it most likely is one, and all its clients share the limits of one.
    pub fn asked_by(&self, peer: Peer, path: &str, connection: &Connection) {
        // Who asks how we are is no proxy, or asks beside what it passes on.
        let operating = ["/livez", "/readyz", "/metrics"].iter().any(|own| path.starts_with(own));
        if operating || connection.asked.swap(true, Ordering::Relaxed) {
            return;
        }
        let address = peer.address.ip().to_canonical();
        let mut streak = lock(&self.streak);
        if streak.0 != Some(address) {
            *streak = (Some(address), 0);
        }
        streak.1 = streak.1.saturating_add(1);
        let unnamed = streak.1 >= MANY && !peer.trusted && is_private(address);
        self.app.metrics.unnamed_proxy.set(unnamed.into());
    }
}

impl Connection {
    pub(super) fn new(client: IpAddr, began: Instant) -> Self {
        let connection = Self {
            state: AtomicU64::new(0),
            under_way: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            client: Mutex::new(client),
            task: OnceLock::new(),
            began,
        };
        connection.does(Doing::Idle);
        connection
    }

    /// The task that serves it.
    pub fn runs(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Whom a proxy says that it speaks for.
    pub fn speaks_for(&self, client: IpAddr) {
        *lock(&self.client) = prefix(client);
    }

    /// A request has arrived.
    pub fn request(self: &Arc<Self>) -> UnderWay {
        self.under_way.store(true, Ordering::Relaxed);
        self.heard.store(true, Ordering::Relaxed);
        self.does(Doing::Answering);
        UnderWay(self.clone())
    }

    /// Whether nothing is being answered: what is written now is no answer of ours.
    pub fn is_idle(&self) -> bool {
        Doing::of(self.state.load(Ordering::Relaxed)) == Doing::Idle
    }

    /// Something that is no answer to a request is being written.
    pub fn speaks(&self) {
        self.does(Doing::Answering);
    }

    /// The client does not take what is written.
    pub fn stalls(&self) {
        if Doing::of(self.state.load(Ordering::Relaxed)) != Doing::Stalled {
            self.does(Doing::Stalled);
        }
    }

    /// The system has taken all that was written.
    pub fn flushed(&self) {
        let now = if self.under_way.load(Ordering::Relaxed) { Doing::Answering } else { Doing::Idle };
        if Doing::of(self.state.load(Ordering::Relaxed)) != now {
            self.does(now);
        }
    }

    fn close(&self) {
        self.does(Doing::Closing);
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn does(&self, doing: Doing) {
        self.state.store(self.millis() << 2 | doing as u64, Ordering::Relaxed);
    }

    fn look(&self, number: u64) -> Seen {
        let state = self.state.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.millis().saturating_sub(state >> 2));
        let doing = Doing::of(state);
        let grace = if self.heard.load(Ordering::Relaxed) { GRACE } else { FIRST_GRACE };
        Seen { number, client: *lock(&self.client), doing, since, waits: doing != Doing::Answering && since >= grace }
    }

    fn millis(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

impl Doing {
    fn of(state: u64) -> Self {
        match state & 3 {
            0 => Self::Idle,
            1 => Self::Answering,
            2 => Self::Stalled,
            _ => Self::Closing,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.connections.open).remove(&self.number);
        self.connections.app.metrics.connections.dec();
        self.connections.freed.notify_waiters();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.store(false, Ordering::Relaxed);
    }
}

/// A connection as it is at one moment.
#[derive(Clone, Debug)]
struct Seen {
    number: u64,
    client: IpAddr,
    doing: Doing,
    since: Duration,
    /// Whether it waits for its client, and not its client for us.
    waits: bool,
}

/// Those to close: so many at most, all of one client, and no more than half of what that client has. `room` is how many
/// there may be in all.
fn choose(mut seen: Vec<Seen>, room: usize, most: usize) -> Vec<Seen> {
    seen.retain(|one| one.doing != Doing::Closing);
    let mut of_client: HashMap<IpAddr, usize> = HashMap::new();
    for one in &seen {
        *of_client.entry(one.client).or_default() += 1;
    }
    let largest = of_client.iter().map(|(client, has)| (*has, *client)).max();
    if let Some((_, crowd)) = largest.filter(|(has, _)| *has > room / CROWD) {
        seen.retain(|one| one.client == crowd);
    }
    let has = |client: IpAddr| of_client.get(&client).copied().unwrap_or_default();
    let group = |one: &Seen| (one.doing != Doing::Idle || !one.waits, Reverse(has(one.client)), one.client);
    // Within a group whoever waits for the client goes before whoever waits for us, and the longest first.
    seen.sort_by_cached_key(|one| (group(one), !one.waits, Reverse(one.since)));
    let Some(first) = seen.first().map(group) else { return Vec::new() };
    let most = most.min(first.1.0.div_ceil(2));
    seen.into_iter().take_while(|one| group(one) == first).take(most).collect()
}

/// Lets a line into the log once a second at most, and counts what was not told.
#[derive(Default)]
pub struct Seldom {
    last: Option<Instant>,
    untold: usize,
}

impl Seldom {
    /// How much there is to tell now, with what was not told before; nothing when it is too soon.
    pub fn let_through(&mut self, more: usize) -> Option<usize> {
        self.untold += more;
        let soon = self.last.is_some_and(|last| last.elapsed() < Duration::from_secs(1));
        if self.untold == 0 || soon {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.untold))
    }
}

/// Whether an address is not of the public Internet: where proxies are.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            // 100.64.0.0/10 is between providers and their customers; clusters use it too.
            let [first, second, ..] = address.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            address.is_private() || address.is_loopback() || address.is_link_local() || shared
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// Nothing that is done under these locks can panic halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(rows: &[(u8, Doing, u64)]) -> Vec<Seen> {
        let one = |(number, (client, doing, millis)): (usize, &(u8, Doing, u64))| Seen {
            number: number as u64,
            client: IpAddr::from([192, 0, 2, *client]),
            doing: *doing,
            since: Duration::from_millis(*millis),
            waits: *doing != Doing::Answering && *millis >= 250,
        };
        rows.iter().enumerate().map(one).collect()
    }

    /// Of those for whom there is so much room that nobody is a crowd.
    fn chosen(rows: &[(u8, Doing, u64)], most: usize) -> Vec<u64> {
        chosen_of(rows, rows.len() * CROWD, most)
    }

    fn chosen_of(rows: &[(u8, Doing, u64)], room: usize, most: usize) -> Vec<u64> {
        choose(seen(rows), room, most).iter().map(|one| one.number).collect()
    }

    #[test]
    fn idle_connections_go_before_all_others_the_longest_idle_of_the_largest_crowd_first() {
        use Doing::{Answering, Idle, Stalled};
        let rows = [
            (1, Stalled, 20_000),
            (1, Stalled, 20_000),
            (1, Stalled, 20_000),
            (2, Idle, 9_000),
            (3, Idle, 1_000),
            (3, Idle, 2_000),
            (3, Answering, 30_000),
        ];
        assert_eq!(chosen(&rows, 1), [5]);
        // Half of what that client has, and then another look.
        assert_eq!(chosen(&rows, 9), [5, 4]);
        assert_eq!(chosen(&rows[..4], 9), [3]);
    }

    #[test]
    fn then_those_of_the_client_that_has_most_and_first_of_them_who_does_not_read() {
        use Doing::{Answering, Closing, Idle, Stalled};
        let rows = [
            (1, Stalled, 29_000),
            (2, Answering, 9_000),
            (2, Stalled, 400),
            (2, Stalled, 4_000),
            (2, Idle, 20),
            (3, Closing, 9_000),
            (3, Closing, 9_000),
            (3, Closing, 9_000),
            (3, Closing, 9_000),
            (3, Closing, 9_000),
        ];
        assert_eq!(chosen(&rows, 1), [3]);
        assert_eq!(chosen(&rows, 9), [3, 2]);
        // Who has just come stays longer than those who were there before.
        assert_eq!(chosen(&[(1, Idle, 3), (1, Answering, 90), (1, Idle, 2)], 2), [1, 0]);
        assert_eq!(chosen(&[(1, Answering, 90)], 9), [0]);
        assert!(chosen(&[], 9).is_empty());
    }

    #[test]
    fn a_crowd_makes_room_itself_its_idle_connections_first() {
        use Doing::{Answering, Closing, Idle, Stalled};
        let rows = [
            (1, Idle, 9_000),
            (2, Idle, 8_000),
            (3, Stalled, 7_000),
            (9, Answering, 900),
            (9, Answering, 800),
            (9, Idle, 20),
            (9, Closing, 9_000),
        ];
        // Three of its connections are more than an eighth of 16, and no more than one of 24.
        assert_eq!(chosen_of(&rows, 16, 9), [3, 4]);
        assert_eq!(chosen_of(&rows, 24, 9), [0]);
        let with_idle = [&rows[..], &[(9, Idle, 600)]].concat();
        assert_eq!(chosen_of(&with_idle, 16, 9), [7]);
        // All behind a proxy that nobody has named are one client: idle ones first.
        let behind_proxy = [(1, Answering, 9_000), (1, Idle, 300), (1, Stalled, 9_000), (1, Idle, 700)];
        assert_eq!(chosen_of(&behind_proxy, 4, 9), [3, 1]);
    }

    #[test]
    fn a_client_has_longer_for_its_first_request_than_for_the_next() {
        let began = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        let opened = |millis: u64| {
            let connection = Arc::new(Connection::new(IpAddr::from([192, 0, 2, 1]), began));
            let at = connection.millis() - millis;
            (connection, at)
        };
        for (millis, heard, waits) in
            [(1_000, false, false), (2_500, false, true), (100, true, false), (1_000, true, true)]
        {
            let (connection, at) = opened(millis);
            if heard {
                drop(connection.request());
            }
            connection.state.store(at << 2 | Doing::Idle as u64, Ordering::Relaxed);
            assert_eq!(connection.look(0).waits, waits, "{millis} {heard}");
        }
    }

    #[test]
    fn a_line_is_let_through_once_a_second_with_all_that_was_not_told() {
        let mut seldom = Seldom::default();
        assert_eq!(seldom.let_through(0), None);
        assert_eq!(seldom.let_through(2), Some(2));
        assert_eq!((seldom.let_through(3), seldom.let_through(4)), (None, None));
        seldom.last = Instant::now().checked_sub(Duration::from_secs(1));
        assert_eq!(seldom.let_through(1), Some(8));
    }

    #[test]
    fn private_addresses_are_those_that_proxies_have() {
        for text in
            ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.0.1", "100.64.0.1", "::1", "fd00::1"]
        {
            assert!(is_private(text.parse().expect("an address")), "{text}");
        }
        for text in ["198.51.100.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert!(!is_private(text.parse().expect("an address")), "{text}");
        }
    }
}
