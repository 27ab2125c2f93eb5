//! Whether the database can be read and written just now, found out by doing it. However many ask, each is done once a
//! second at most; and nobody waits for a database that says nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use crate::db::{Db, Options, Work};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Cause, Error, Result, Storage};
use crate::kernel::ids::NodeId;
use crate::{params, sql, words};

/// A database that takes longer is silent.
const PATIENCE: Duration = Duration::from_millis(1500);
/// For so long an answer is given again.
const FRESH: Duration = Duration::from_secs(1);
/// Rows of nodes that have not written for so long are of nodes that are no more.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

sql! {
    /// What requests need, the newest of it: it lies at the end of a file, which is what a cut takes away.
    READ = "select referral_now(),
                   (select username from users order by id desc limit 1),
                   (select user_id from logins order by login_key desc limit 1),
                   (select version from code_slots order by owner_id desc limit 1),
                   (select scope from token_families order by id desc limit 1)";
    /// A table that no request touches: nobody waits for us, and we for nobody.
    WRITE = "insert into probes (node, at, padding) values ($1, referral_now(), $2)
             on conflict (node) do update set at = excluded.at, padding = excluded.padding";
    FORGET = "delete from probes where at not between (select referral_now()) - $1 and (select referral_now()) + $1";
}

words! {
    /// Why the service is not ready: a fault of the database, but for the last three.
    pub enum Unready as "UnreadyReason" {
        Full = "full",
        ReadOnly = "read_only",
        IoError = "io_error",
        Silent = "silent",
        Replaced = "replaced",
        Malformed = "malformed",
        Locked = "locked",
        Overloaded = "overloaded",
        Unavailable = "unavailable",
        Broken = "broken",
        /// The signing keys are sealed under another master key than this node has.
        Keys = "keys",
        /// A part of the service that runs beside the requests has ended and is begun again.
        Background = "background",
        /// The process is about to end.
        Stopping = "stopping",
    }
}

/// Nothing is wrong, or what is.
pub type Verdict = Result<(), Unready>;

pub struct Readiness {
    db: Db,
    /// On PostgreSQL a connection of its own, so that a busy pool is not taken for a database that takes no writes.
    own: Db,
    node: NodeId,
    reads: Arc<Probe>,
    writes: Arc<Probe>,
}

impl Readiness {
    /// The error is a sentence with a remedy.
    pub fn new(db: Db, url: &str, options: Options) -> Result<Self, String> {
        // Nothing is prepared: whether a pooler stands before the database is told by the others.
        let own = db.apart(url, Options { connections: 1, prepared_statements: false, ..options })?;
        Ok(Self { db, own, node: NodeId::new(), reads: Arc::default(), writes: Arc::default() })
    }

    /// Whether reads are answered.
    pub async fn reads(&self) -> Verdict {
        let db = self.db.clone();
        let read = async move {
            db.row(&READ, params![]).await.map_err(|error| word(&error))?;
            // Others have read something else.
            if db.is_damaged() { Err(Unready::Malformed) } else { Ok(()) }
        };
        self.reads.ask(Box::pin(read)).await
    }

    /// Whether writes are made durable, as far as any are taken.
    pub async fn writes(&self) -> Verdict {
        // Nobody is promised that they succeed.
        if self.db.is_read_only() {
            return Ok(());
        }
        let (own, node) = (self.own.clone(), self.node.0);
        let write = async move { write(&own, node).await.map_err(|error| word(&error)) };
        self.writes.ask(Box::pin(write)).await
    }
}

/// Writes something else each time, of about the size of what a request writes: a disk that is all but full takes less.
async fn write(db: &Db, node: Uuid) -> Result<()> {
    let mut padding = vec![0; db.typical_write()];
    aws_lc_rs::rand::fill(&mut padding).map_err(|_| Error::Internal("the system has no random numbers".into()))?;
    let work: Work<(Uuid, Vec<u8>), ()> =
        |tx, (node, padding)| Box::pin(async move { tx.run(&WRITE, &params![*node, &padding[..]]).await.map(drop) });
    db.write(Actor::SERVICE, (node, padding), work).await
}

/// Removes what nodes have left that are no more.
pub async fn housekeeping(db: &Db) -> Result<u64> {
    let work: Work<(), u64> = |tx, ()| {
        let span = i64::try_from(FORGOTTEN.as_micros()).unwrap_or(i64::MAX);
        Box::pin(async move { tx.run(&FORGET, &params![span]).await })
    };
    db.write(Actor::SERVICE, (), work).await
}

fn word(error: &Error) -> Unready {
    match error {
        Error::Storage(
            Storage::Retry(fault)
            | Storage::TimedOut(fault)
            | Storage::Unavailable(fault)
            | Storage::OutcomeUnknown(fault),
        ) => match fault.cause {
            Cause::Full => Unready::Full,
            Cause::Io => Unready::IoError,
            Cause::ReadOnly => Unready::ReadOnly,
            Cause::Replaced => Unready::Replaced,
            Cause::Malformed => Unready::Malformed,
            Cause::Locked => Unready::Locked,
            Cause::Silent => Unready::Silent,
            Cause::Unknown => Unready::Unavailable,
        },
        Error::Storage(Storage::Broken(_)) => Unready::Unavailable,
        Error::Busy(_) => Unready::Overloaded,
        _ => Unready::Broken,
    }
}

/// Something that is tried now and then, by one for all who ask.
#[derive(Default)]
struct Probe(Mutex<Tried>);

#[derive(Default)]
struct Tried {
    latest: Option<(Instant, Verdict)>,
    running: Option<(Instant, watch::Receiver<Option<Verdict>>)>,
}

impl Probe {
    async fn ask(self: &Arc<Self>, work: BoxFuture<'static, Verdict>) -> Verdict {
        let (began, mut answer, before) = {
            let mut tried = self.tried();
            if let Some((_, verdict)) = tried.latest.filter(|(at, _)| at.elapsed() < FRESH) {
                return verdict;
            }
            let before = tried.latest.and_then(|(_, verdict)| verdict.err());
            // Of one that panicked the sender is gone.
            match tried.running.as_ref().filter(|(_, answer)| answer.has_changed().is_ok()) {
                Some((began, answer)) => (*began, answer.clone(), before),
                None => {
                    let (sender, answer) = watch::channel(None);
                    let (probe, began) = (self.clone(), Instant::now());
                    tried.running = Some((began, answer.clone()));
                    // Goes on when nobody waits any more: the next who asks learns how it went.
                    tokio::spawn(async move {
                        let verdict = work.await;
                        probe.tried().latest = Some((Instant::now(), verdict));
                        let _ = sender.send(Some(verdict));
                    });
                    (began, answer, before)
                }
            }
        };
        let left = PATIENCE.saturating_sub(began.elapsed());
        match tokio::time::timeout(left, answer.wait_for(Option::is_some)).await {
            Ok(Ok(verdict)) => verdict.unwrap_or(Err(Unready::Broken)),
            Ok(Err(_)) => Err(Unready::Broken),
            // What was the matter the last time still is: the next try says nothing for as long as it waits for it to
            // end.
            Err(_) => Err(before.unwrap_or(Unready::Silent)),
        }
    }

    fn tried(&self) -> std::sync::MutexGuard<'_, Tried> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn however_many_ask_it_is_tried_once() {
        let (probe, tries) = (Arc::new(Probe::default()), Arc::new(AtomicU32::new(0)));
        let ask = || {
            let tries = tries.clone();
            probe.ask(Box::pin(async move {
                tries.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Err(Unready::Full)
            }))
        };
        let verdicts = futures_util::future::join_all((0..20).map(|_| ask())).await;
        assert_eq!(verdicts, [Err(Unready::Full); 20]);
        assert_eq!(tries.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn nobody_waits_for_what_says_nothing_and_what_it_says_late_is_heard() {
        let probe = Arc::new(Probe::default());
        let (speak, spoken) = tokio::sync::oneshot::channel();
        let waiting = probe.ask(Box::pin(async move { spoken.await.unwrap_or(Err(Unready::Unavailable)) }));
        assert_eq!(waiting.await, Err(Unready::Silent));
        // Whoever asks meanwhile does not wait at all, and nothing is tried beside it.
        let another = probe.ask(Box::pin(async { Err(Unready::Locked) }));
        assert_eq!(another.await, Err(Unready::Silent));
        speak.send(Ok(())).unwrap();
        let mut answer = probe.tried().running.clone().unwrap().1;
        answer.wait_for(Option::is_some).await.unwrap();
        assert_eq!(probe.ask(Box::pin(async { Err(Unready::Locked) })).await, Ok(()));
    }

    #[tokio::test]
    async fn while_a_try_says_nothing_the_last_trouble_is_told_again() {
        let probe = Arc::new(Probe::default());
        let long_ago = Instant::now().checked_sub(2 * FRESH).unwrap();
        for (latest, expected) in [(Err(Unready::Locked), Err(Unready::Locked)), (Ok(()), Err(Unready::Silent))] {
            *probe.tried() = Tried { latest: Some((long_ago, latest)), running: None };
            assert_eq!(probe.ask(Box::pin(std::future::pending())).await, expected);
        }
    }

    #[tokio::test]
    async fn one_that_panicked_is_tried_again() {
        let probe = Arc::new(Probe::default());
        assert_eq!(probe.ask(Box::pin(async { panic!("in a probe") })).await, Err(Unready::Broken));
        assert_eq!(probe.ask(Box::pin(async { Ok(()) })).await, Ok(()));
    }
}
