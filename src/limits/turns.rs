//! Who writes the same rows waits here, before a database connection is taken or a place in a queue that all share.
//!
//! The database would make them wait for each other as well, but each of them with a connection in its hands, until
//! nobody else finds one. A line is bounded: whoever finds it full is told to come back.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::kernel::digest::{Digest, ExternalIdHash};
use crate::kernel::error::{Error, Result};

/// Whose rows they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A person: account, slot of codes, consents.
    User(Uuid),
    /// A session, a refresh token or an authorization code, by something that only its bearer knows.
    Grant([u8; 16]),
    /// Somebody whom a host's app tells of, by what it calls them.
    Participant([u8; 16]),
    /// Something that a host tells of, by what it calls it.
    Event([u8; 16]),
    /// A client's one batch at a time: nobody waits for it.
    Batch(Uuid),
    /// Who reads the feed of messages: two calls at once, and nobody waits.
    Feed(Uuid),
    /// A client that has shown its secret. It speaks for many people, so it may do several things at once.
    Client(Uuid),
}

impl Key {
    /// By the digest of what only its bearer knows.
    pub fn of_digest(digest: &impl Digest) -> Self {
        Self::Grant(digest.bytes().first_chunk().copied().unwrap_or_default())
    }

    pub fn of_participant(external: &ExternalIdHash) -> Self {
        Self::Participant(external.bytes().first_chunk().copied().unwrap_or_default())
    }
}

/// How many with one key are let in at once, and how many wait behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub at_once: usize,
    pub waiting: usize,
}

/// Room for people and grants, and for clients.
#[derive(Clone, Copy, Debug)]
pub struct Rooms {
    pub one: Room,
    pub client: Room,
}

impl Rooms {
    /// Where writers wait for each other's locks, with so many connections.
    pub fn of_connections(connections: usize) -> Self {
        Self { one: Room { at_once: 1, waiting: 32 }, client: Room { at_once: (connections / 4).max(1), waiting: 256 } }
    }

    /// Where one writer takes units in groups: alone, each would wait for an fsync of its own.
    pub fn of_groups() -> Self {
        Self { one: Room { at_once: 16, waiting: 32 }, client: Room { at_once: 64, waiting: 256 } }
    }
}

/// When to come back to a full line.
const SOON: Duration = Duration::from_secs(1);
/// Parts of the table of lines, each with a lock that is held for a look and never while somebody waits.
const SHARDS: usize = 64;

pub struct Turns {
    rooms: Rooms,
    shards: Vec<Mutex<HashMap<Key, Line>>>,
    hasher: RandomState,
}

struct Line {
    /// Those inside and those who wait.
    here: usize,
    places: Arc<Semaphore>,
}

/// Somebody's turn, until it is dropped.
pub struct Turn<'a> {
    // Dropped in this order: the next is let in before a line without anybody is removed.
    _permit: OwnedSemaphorePermit,
    _place: Place<'a>,
}

/// A place in a line, inside or waiting.
struct Place<'a> {
    turns: &'a Turns,
    key: Key,
}

impl Turns {
    pub fn new(rooms: Rooms) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { rooms, shards, hasher: RandomState::new() }
    }

    /// Waits for a turn; refuses when as many wait as may.
    pub async fn take(&self, key: Key) -> Result<Turn<'_>> {
        let room = match key {
            Key::Client(_) => self.rooms.client,
            Key::Batch(_) => Room { at_once: 1, waiting: 0 },
            Key::Feed(_) => Room { at_once: 2, waiting: 0 },
            Key::User(_) | Key::Grant(_) | Key::Participant(_) | Key::Event(_) => self.rooms.one,
        };
        let (place, places) = self.join(key, room)?;
        let permit = places.acquire_owned().await.map_err(|_| Error::Internal("a line was closed".into()))?;
        Ok(Turn { _permit: permit, _place: place })
    }

    fn join(&self, key: Key, room: Room) -> Result<(Place<'_>, Arc<Semaphore>)> {
        let mut lines = self.shard(key)?;
        let new = || Line { here: 0, places: Arc::new(Semaphore::new(room.at_once)) };
        let line = lines.entry(key).or_insert_with(new);
        if line.here >= room.at_once + room.waiting {
            return Err(Error::Limited(SOON));
        }
        line.here += 1;
        Ok((Place { turns: self, key }, line.places.clone()))
    }

    fn shard(&self, key: Key) -> Result<MutexGuard<'_, HashMap<Key, Line>>> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let shard = self.shards.get(index).ok_or_else(|| Error::Internal("no such part of the lines".into()))?;
        Ok(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Ok(mut lines) = self.turns.shard(self.key) else { return };
        if let Entry::Occupied(mut line) = lines.entry(self.key) {
            line.get_mut().here -= 1;
            if line.get().here == 0 {
                line.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const ROOM: Room = Room { at_once: 2, waiting: 3 };

    fn turns() -> Turns {
        Turns::new(Rooms { one: ROOM, client: ROOM })
    }

    fn lines(turns: &Turns) -> usize {
        turns.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[tokio::test]
    async fn some_are_let_in_some_wait_in_order_and_the_rest_is_refused() {
        let turns = turns();
        let key = Key::User(Uuid::from_u128(1));
        let inside = [turns.take(key).await.unwrap(), turns.take(key).await.unwrap()];
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(turns.take(key))).collect();
        for turn in &mut waiting {
            assert!(turn.as_mut().now_or_never().is_none());
        }
        assert!(matches!(turns.take(key).await, Err(Error::Limited(_))));
        // Nobody else notices.
        assert!(turns.take(Key::User(Uuid::from_u128(2))).now_or_never().is_some());
        assert!(turns.take(Key::Client(Uuid::from_u128(1))).now_or_never().is_some());

        let [first, second] = inside;
        drop(first);
        let third = waiting.remove(0).now_or_never().expect("a turn").unwrap();
        assert!(waiting[0].as_mut().now_or_never().is_none());
        // Who gives up makes room for who comes.
        drop(waiting.remove(1));
        let mut last = Box::pin(turns.take(key));
        assert!(last.as_mut().now_or_never().is_none());
        drop((second, third));
        assert!(waiting.remove(0).now_or_never().is_some());
        assert!(last.now_or_never().is_some());
        // Lines without anybody are forgotten.
        assert_eq!(lines(&turns), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_are_inside_at_once_than_may_be() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let turns = Arc::new(Turns::new(Rooms { one: Room { at_once: 2, waiting: 200 }, client: ROOM }));
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..200)
            .map(|caller| {
                let (turns, inside, most) = (turns.clone(), inside.clone(), most.clone());
                tokio::spawn(async move {
                    let _turn = turns.take(Key::User(Uuid::from_u128(caller % 2))).await.unwrap();
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!((1..=4).contains(&most.load(Ordering::SeqCst)), "{most:?}");
        assert_eq!(lines(&turns), 0);
    }
}
