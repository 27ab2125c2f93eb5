//! What a node remembers of the database, and how it learns to forget.
//!
//! An entry carries the version of the row it was read from. A node uses it only while it keeps up with the changes
//! that other nodes commit ([`changes`]), and only if no newer version has been announced: so a slow fill can neither
//! hide a newer fact nor outlive it, in this process or in Redis. Misses are never remembered.

pub mod changes;
pub mod redis;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::changes::Changes;
use self::redis::Redis;
use crate::kernel::active_code::ActiveCode;
use crate::kernel::digest::sha256;
use crate::kernel::error::Result;
use crate::kernel::link::LinkTarget;
use crate::kernel::time::Time;

/// Something that is cached: whose it is, which version, and until when it can be true at all.
pub trait Fact: Serialize + DeserializeOwned + Send + Sync + 'static {
    fn owner(&self) -> Uuid;
    fn version(&self) -> i64;
    fn expires_at(&self) -> Time;
    /// False for facts that only some callers may see: they are read each time.
    fn shareable(&self) -> bool;
}

impl Fact for ActiveCode {
    fn owner(&self) -> Uuid {
        self.owner
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn expires_at(&self) -> Time {
        Time(self.expires_at)
    }

    fn shareable(&self) -> bool {
        self.discoverable
    }
}

impl Fact for LinkTarget {
    fn owner(&self) -> Uuid {
        self.owner
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn expires_at(&self) -> Time {
        Time(self.until)
    }

    fn shareable(&self) -> bool {
        true
    }
}

/// How long an entry is kept at most; how long it is *believed* is decided at each read.
pub const LIFE: Duration = Duration::from_secs(60);

pub struct Cache<T> {
    /// In process.
    l1: moka::sync::Cache<String, Arc<T>>,
    /// Shared between the nodes; empty without Redis.
    l2: Option<Arc<Redis>>,
    changes: Arc<Changes>,
    /// Keeps kinds of facts apart in Redis.
    prefix: &'static str,
    answers: Answers,
}

/// How many look-ups were answered from where.
#[derive(Default)]
pub struct Answers {
    pub process: AtomicU64,
    pub redis: AtomicU64,
    pub database: AtomicU64,
}

impl<T: Fact> Cache<T> {
    pub fn new(prefix: &'static str, l2: Option<Arc<Redis>>, changes: Arc<Changes>) -> Self {
        let l1 = moka::sync::Cache::builder().max_capacity(50_000).time_to_live(LIFE).build();
        Self { l1, l2, changes, prefix, answers: Answers::default() }
    }

    /// The fact under a key: from memory, from Redis, or read by `fill`.
    pub async fn get(&self, key: &str, fill: impl Future<Output = Result<Option<T>>>) -> Result<Option<Arc<T>>> {
        if let Some(found) = self.l1.get(key).filter(|found| self.believed(found)) {
            self.answers.process.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(found));
        }
        if let Some(found) = self.read_shared(key).await {
            self.answers.redis.fetch_add(1, Ordering::Relaxed);
            self.l1.insert(key.to_owned(), found.clone());
            return Ok(Some(found));
        }
        self.answers.database.fetch_add(1, Ordering::Relaxed);
        let Some(found) = fill.await?.map(Arc::new) else { return Ok(None) };
        if found.shareable() && self.believed(&found) {
            self.l1.insert(key.to_owned(), found.clone());
            self.write_shared(key, &found);
        }
        Ok(Some(found))
    }

    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Removes what is kept under a key, and keeps fills that are under way from bringing it back; for erasure, where
    /// even an entry that nobody believes is too much.
    pub async fn forget(&self, key: &str, version: i64) {
        self.l1.invalidate(key);
        if let Some(redis) = &self.l2 {
            // Nothing that could be read as a fact.
            redis.set_if_newer(&self.shared_key(key), version, "", LIFE).await;
        }
    }

    fn believed(&self, fact: &T) -> bool {
        self.changes.now().is_some_and(|now| fact.expires_at() > now)
            && self.changes.code_version(fact.owner()) <= fact.version()
    }

    async fn read_shared(&self, key: &str) -> Option<Arc<T>> {
        let text = self.l2.as_ref()?.get(&self.shared_key(key)).await?;
        let fact: T = serde_json::from_str(&text).ok()?;
        self.believed(&fact).then(|| Arc::new(fact))
    }

    /// Fills Redis beside the answer, not before it.
    fn write_shared(&self, key: &str, fact: &Arc<T>) {
        let (Some(redis), Some(now)) = (self.l2.clone(), self.changes.now()) else { return };
        let Ok(text) = serde_json::to_string(&**fact) else { return };
        let life = LIFE.min(fact.expires_at().since(now));
        let (key, version) = (self.shared_key(key), fact.version());
        tokio::spawn(async move { redis.set_if_newer(&key, version, &text, life).await });
    }

    /// Keys are hashed: they hold addresses.
    fn shared_key(&self, key: &str) -> String {
        use base64::Engine;
        let hash = sha256(key.as_bytes());
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash);
        format!("{}:{text}", self.prefix)
    }
}

/// One thing that is believed for a while after it was read, whatever others make of it meanwhile: for settings that
/// are asked for by each request and nearly never change.
pub struct Recent<T> {
    life: Duration,
    kept: RwLock<Option<(Instant, Arc<T>)>>,
    filling: Mutex<()>,
}

impl<T> Recent<T> {
    pub fn new(life: Duration) -> Self {
        Self { life, kept: RwLock::default(), filling: Mutex::default() }
    }

    /// What was read at most so long ago, or is read by `fill`: by one, whom the others wait for.
    pub async fn get(&self, fill: impl Future<Output = Result<T>>) -> Result<Arc<T>> {
        if let Some(kept) = self.believed() {
            return Ok(kept);
        }
        let _turn = self.filling.lock().await;
        if let Some(kept) = self.believed() {
            return Ok(kept);
        }
        let began = Instant::now();
        let read = Arc::new(fill.await?);
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some((began, read.clone()));
        Ok(read)
    }

    /// Reads it again the next time.
    pub fn forget(&self) {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn believed(&self) -> Option<Arc<T>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(began, _)| began.elapsed() < self.life).map(|(_, kept)| kept.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::error::Error;

    #[tokio::test]
    async fn what_is_recent_is_read_once_by_all_who_ask_and_again_once_it_is_forgotten() {
        let (recent, reads) = (Recent::new(LIFE), AtomicU64::new(0));
        let ask = || recent.get(async { Ok(reads.fetch_add(1, Ordering::Relaxed)) });
        let asked = futures_util::future::join_all((0..20).map(|_| ask())).await;
        assert!(asked.iter().all(|read| read.as_ref().is_ok_and(|read| **read == 0)));
        recent.forget();
        assert_eq!(*ask().await.unwrap(), 1);
        // What could not be read is asked for again.
        let recent: Recent<u64> = Recent::new(LIFE);
        assert!(recent.get(async { Err(Error::Busy(LIFE)) }).await.is_err());
        assert_eq!(*recent.get(async { Ok(7) }).await.unwrap(), 7);
        // No longer than it lives.
        let recent = Recent::new(Duration::ZERO);
        for read in 0..3 {
            assert_eq!(*recent.get(async { Ok(read) }).await.unwrap(), read);
        }
    }
}
