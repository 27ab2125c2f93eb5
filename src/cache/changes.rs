//! The feed of what must be forgotten: revoked codes, ended sessions and former signing keys, from the table `changes`.
//!
//! Every change is a row written in the transaction that causes it. Each node reads the feed twice a second, and at
//! once when it is poked: by its own commits, by Redis or by PostgreSQL's notifications. These only save time; the feed
//! is what counts, so a node that is cut off from all of them is late by half a second, and one that cannot read the
//! feed stops believing what it remembers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::db::{Db, Tx};
use crate::kernel::actor::Actor;
use crate::kernel::error::Result;
use crate::kernel::ids::{KeyChangeId, SessionId, UserId};
use crate::kernel::time::{SKEW, Time};
use crate::{params, sql};

/// Between two looks when nobody pokes.
const PERIOD: Duration = Duration::from_millis(400);
/// Between two looks when everybody does.
const PAUSE: Duration = Duration::from_millis(20);
/// A node whose last look began longer ago does not believe its memory: the bound on stale look-ups.
const BELIEF: Duration = Duration::from_millis(900);
/// A node whose last look began longer ago asks the database about each session: the bound on ended sessions.
const SESSION_BELIEF: Duration = Duration::from_secs(4);
/// A row is dated a moment before its transaction commits, as the last thing in it; looking back finds it all the same.
const OVERLAP: Duration = Duration::from_secs(2);
/// A commit can take long (a standby that confirms each): now and then a look goes back further than any transaction
/// lives.
const DEEP_OVERLAP: Duration = Duration::from_secs(60);
const DEEP_PERIOD: Duration = Duration::from_secs(4);
/// So many rows of the feed are in memory at a time, however many a minute has.
const PART: usize = 5000;
/// Longer than any cache entry or access token lives.
pub const MEMORY: Duration = Duration::from_secs(15 * 60);

sql! {
    RECORD = "insert into changes (at, topic, subject, version) values (referral_now(), $1, $2, $3)";
    /// As many as there are, in one statement: a client may have had hundreds of thousands of sessions.
    RECORD_ALL = {
        sqlite: "insert into changes (at, topic, subject, version)
                 select referral_now(), $1, unhex(value), 0 from json_each($2)",
        postgres: "insert into changes (at, topic, subject, version)
                   select referral_now(), $1, value::uuid, 0 from json_array_elements_text($2::text::json)",
    };
    /// The clock comes along even when nothing has changed. A part of the feed, behind a time and a number.
    SINCE = "select clock.now, c.topic, c.subject, c.version, c.at, c.id
             from (select referral_now() as now) clock
             left join (select topic, subject, version, at, id from changes
                        where at >= $1 and (at > $1 or id > $2) order by at, id limit 5000) c on true";
    /// Dated by a clock that was ahead: until then every look would find them again.
    MEND = "update changes set at = referral_now() where at > (select referral_now()) + $1";
    FORGET = "delete from changes where at < (select referral_now()) - $1";
}

#[derive(Default)]
pub struct Changes {
    codes: RwLock<HashMap<Uuid, (i64, Instant)>>,
    sessions: RwLock<HashMap<Uuid, Instant>>,
    /// The changes of signing keys that were told already, for a look goes back and meets them again.
    keys: RwLock<HashMap<Uuid, Instant>>,
    keys_changed: watch::Sender<()>,
    last: RwLock<Option<Look>>,
    poked: Notify,
}

/// When the feed was last read, by our clock and the database's.
#[derive(Clone, Copy)]
struct Look {
    began: Instant,
    database: Time,
}

impl Changes {
    /// The database's clock as this node knows it, never behind; nothing while the node does not keep up.
    pub fn now(&self) -> Option<Time> {
        self.last().filter(|look| look.began.elapsed() < BELIEF).map(|look| look.database.plus(look.began.elapsed()))
    }

    /// The newest version announced for an owner's code; entries below it are history.
    pub fn code_version(&self, owner: Uuid) -> i64 {
        self.codes.read().unwrap_or_else(PoisonError::into_inner).get(&owner).map_or(i64::MIN, |(version, _)| *version)
    }

    /// Whether a session has ended; nothing when the database must be asked.
    pub fn session_ended(&self, session: SessionId) -> Option<bool> {
        if self.sessions.read().unwrap_or_else(PoisonError::into_inner).contains_key(&session.0) {
            return Some(true);
        }
        self.last().filter(|look| look.began.elapsed() < SESSION_BELIEF).map(|_| false)
    }

    /// What this node has committed itself, known before its caller is answered.
    pub fn code_changed(&self, owner: UserId, version: i64) {
        self.remember_code(owner.0, version);
    }

    pub fn sessions_ended(&self, sessions: &[SessionId]) {
        let mut known = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(sessions.iter().map(|session| (session.0, Instant::now())));
    }

    /// Tells of each change of the signing keys from now on.
    pub fn keys_changed(&self) -> watch::Receiver<()> {
        self.keys_changed.subscribe()
    }

    fn remember_keys(&self, change: Uuid) {
        let mut known = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if known.insert(change, Instant::now()).is_none() {
            self.keys_changed.send_replace(());
        }
    }

    /// Asks for a look at the feed soon.
    pub fn poke(&self) {
        self.poked.notify_one();
    }

    /// Reads the feed once, all of it the first time.
    pub async fn look(&self, db: &Db) -> Result<()> {
        self.look_back(db, OVERLAP).await
    }

    async fn look_back(&self, db: &Db, overlap: Duration) -> Result<()> {
        let began = Instant::now();
        let since = self.last().map_or(Time(i64::MIN), |look| look.database.minus(overlap));
        let mut behind = (since, i64::MAX);
        let mut clock = None;
        loop {
            let rows = db.rows(&SINCE, params![behind.0, behind.1]).await?;
            for row in &rows {
                clock = clock.or(Some(row.time(0)?));
                let (Some(topic), Some(subject)) = (row.get::<Option<String>>(1)?, row.get::<Option<Uuid>>(2)?) else {
                    continue;
                };
                match topic.as_str() {
                    CODE => self.remember_code(subject, row.get(3)?),
                    KEYS => self.remember_keys(subject),
                    _ => self.sessions_ended(&[SessionId(subject)]),
                }
                behind = (row.time(4)?, row.get(5)?);
            }
            if rows.len() < PART {
                break;
            }
        }
        if let Some(database) = clock {
            *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(Look { began, database });
        }
        Ok(())
    }

    /// Keeps looking until the process ends.
    pub async fn follow(&self, db: &Db) {
        let (mut pruned, mut deep) = (Instant::now(), Instant::now());
        loop {
            let overlap = if deep.elapsed() < DEEP_PERIOD { OVERLAP } else { DEEP_OVERLAP };
            if overlap == DEEP_OVERLAP {
                deep = Instant::now();
            }
            if let Err(error) = self.look_back(db, overlap).await {
                tracing::warn!(%error, "cannot read the feed of changes; nothing cached is believed until it works");
            }
            if pruned.elapsed() > Duration::from_secs(60) {
                pruned = Instant::now();
                prune(&self.codes, |(_, at)| *at);
                prune(&self.sessions, |at| *at);
                prune(&self.keys, |at| *at);
            }
            tokio::time::sleep(PAUSE).await;
            let _ = tokio::time::timeout(PERIOD - PAUSE, self.poked.notified()).await;
        }
    }

    fn last(&self) -> Option<Look> {
        *self.last.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember_code(&self, owner: Uuid, version: i64) {
        let mut known = self.codes.write().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(owner).or_insert((version, Instant::now()));
        *entry = (entry.0.max(version), Instant::now());
    }
}

fn prune<K: Hash + Eq, V>(known: &RwLock<HashMap<K, V>>, at: impl Fn(&V) -> Instant) {
    known.write().unwrap_or_else(PoisonError::into_inner).retain(|_, value| at(value).elapsed() < MEMORY);
}

const CODE: &str = "code";
const SESSION: &str = "session";
const KEYS: &str = "keys";

/// Announces, with the transaction's commit, that an owner's code is not what it was.
pub async fn announce_code(tx: &mut Tx<'_>, owner: UserId, version: i64) -> Result<()> {
    tx.run(&RECORD, &params![CODE, owner, version]).await.map(drop)
}

/// Announces, with the transaction's commit, that a session has ended.
pub async fn announce_session(tx: &mut Tx<'_>, session: SessionId) -> Result<()> {
    tx.run(&RECORD, &params![SESSION, session, 0]).await.map(drop)
}

/// As [`announce_session`], for many.
pub async fn announce_sessions(tx: &mut Tx<'_>, sessions: &[SessionId]) -> Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = sessions.iter().map(|session| format!("\"{}\"", session.0.simple())).collect();
    tx.run(&RECORD_ALL, &params![SESSION, format!("[{}]", texts.join(","))]).await.map(drop)
}

/// Announces, with the transaction's commit, that the signing keys are not what they were.
pub async fn announce_keys(tx: &mut Tx<'_>, change: KeyChangeId) -> Result<()> {
    tx.run(&RECORD, &params![KEYS, change.0, 0]).await.map(drop)
}

/// Dates what is dated ahead as of now, so that it is heard of once more and then forgotten like all else.
pub async fn mend_times(db: &Db) -> Result<u64> {
    let work: crate::db::Work<(), u64> = |tx, ()| {
        Box::pin(async move { tx.run(&MEND, &params![i64::try_from(SKEW.as_micros()).unwrap_or(i64::MAX)]).await })
    };
    db.write(Actor::SERVICE, (), work).await
}

/// Removes what no node needs any more.
pub async fn housekeeping(db: &Db) -> Result<u64> {
    let work: crate::db::Work<(), u64> = |tx, ()| {
        Box::pin(async move { tx.run(&FORGET, &params![i64::try_from(MEMORY.as_micros()).unwrap_or(i64::MAX)]).await })
    };
    db.write(Actor::SERVICE, (), work).await
}
