//! The queue: a table of jobs, enqueued in the transaction that causes them, claimed by lease, run at least once, and
//! given up after the attempts of their kind.

mod bells;
mod policy;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::bells::Bells;
pub use self::policy::{Kind, Pauses, Policy};
use crate::db::{Db, Row, Sql, Tx, Work};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Result};
use crate::kernel::time::{SKEW, Time};
use crate::{params, sql};

/// How long a claimed job is left to its node before another may take it: longer than any is at work.
const LEASE: Duration = Duration::from_secs(120);
/// Bytes of a payload: what is larger has a table of its own.
const MOST_PAYLOAD: usize = 4096;
/// Finished jobs that are removed at once: a unit of more would hold up others.
const FORGOTTEN_AT_ONCE: i64 = 1000;
/// Given-up jobs that are listed, the newest.
const MOST_LISTED: i64 = 1000;

sql! {
    ENQUEUE = "insert into jobs (kind, subject, payload, created_at, run_at, attempts) values ($1, $2, $4, $3, $3, 0)
               on conflict (kind, subject) where done_at is null do nothing";
    CLAIM = {
        sqlite: "update jobs set lease_until = $2, attempts = attempts + 1 where id in (
                     select id from jobs where kind = $4 and done_at is null and run_at <= $1
                        and (lease_until is null or lease_until <= $1)
                     order by run_at limit $3)
                 returning id, subject, payload, attempts",
        postgres: "update jobs set lease_until = $2, attempts = attempts + 1 where id in (
                     select id from jobs where kind = $4 and done_at is null and run_at <= $1
                        and (lease_until is null or lease_until <= $1)
                     order by run_at limit $3 for update skip locked)
                 returning id, subject, payload, attempts",
    };
    /// Only by whoever claimed it last: whose lease has run out has no say in what another is at. What it was told may
    /// be a secret, and nobody needs it any more.
    FINISH = "update jobs set done_at = $2, lease_until = null, outcome = $3, payload = null
              where id = $1 and done_at is null and attempts = $4";
    POSTPONE = "update jobs set run_at = $2, lease_until = null, outcome = $3
                where id = $1 and done_at is null and attempts = $4";
    GIVE_UP = "update jobs set done_at = $2, given_up_at = $2, lease_until = null, outcome = $3
               where id = $1 and done_at is null and attempts = $4";
    GIVE_BACK = "update jobs set lease_until = null, attempts = attempts - 1
                 where id = $1 and done_at is null and attempts = $2";
    RETRY = "update jobs set run_at = $2, done_at = null, given_up_at = null, attempts = 0
             where id = $1 and given_up_at is not null and not exists (
                 select 1 from jobs other where other.kind = jobs.kind and other.subject = jobs.subject
                    and other.done_at is null)
             returning kind";
    IS_GIVEN_UP = "select kind from jobs where id = $1 and given_up_at is not null";
    GIVEN_UP = "select id, kind, subject, attempts, given_up_at, outcome from jobs where given_up_at is not null
                order by given_up_at desc, id desc limit $1";
    /// Those put off by a clock that was ahead.
    MEND_RUN_AT = "update jobs set run_at = $2 where kind = $1 and done_at is null and run_at > $3";
    MEND_LEASE = "update jobs set lease_until = null where kind = $1 and done_at is null and lease_until > $2";
    WAITING = "select count(*) from jobs where done_at is null";
    COUNT_GIVEN_UP = "select count(*) from jobs where given_up_at is not null";
    FORGET = "delete from jobs where id in (
                  select id from jobs where done_at is not null and done_at < $1 order by done_at limit $2)";
}

pub struct Job {
    pub id: i64,
    pub kind: Kind,
    pub subject: String,
    /// As JSON; see [`told`](Self::told).
    pub payload: Option<String>,
    /// Times it was claimed, this one included.
    pub attempts: i64,
}

/// How a job went.
pub enum Outcome {
    Done(&'static str),
    /// It is tried again, unless this was its last attempt.
    Again {
        after: Duration,
        why: &'static str,
    },
    /// No further attempt would do better.
    GiveUp(&'static str),
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Done,
    Again,
    GivenUp,
    /// Its lease had run out, and another has it.
    Lost,
}

/// A job that was given up.
pub struct GivenUp {
    pub id: i64,
    /// The word of its kind, which another release may know alone.
    pub kind: String,
    pub subject: String,
    pub attempts: i64,
    pub at: Time,
    /// How the last attempt went.
    pub outcome: String,
}

/// Whether a job that was given up is tried again.
pub enum Retried {
    /// With the word of its kind.
    Waiting(String),
    /// The same has been asked for anew since.
    OpenAlready(String),
    NotGivenUp,
}

impl Job {
    /// What it was told. Rows of nodes that do not know payloads tell nothing.
    pub fn told<P: DeserializeOwned>(&self) -> Result<Option<P>> {
        let read =
            |text: &String| serde_json::from_str(text).map_err(|_| Error::inconsistent("jobs", "payload", self.id));
        self.payload.as_ref().map(read).transpose()
    }

    /// How long to wait after this attempt.
    pub fn pause(&self) -> Duration {
        self.kind.policy().pause(self.attempts)
    }
}

impl Settled {
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Again => "again",
            Self::GivenUp => "given_up",
            Self::Lost => "lost",
        }
    }
}

/// Adds a job to the transaction, unless one of its kind with the same subject is open. A kind that wants several at
/// once has an id of its own in the subject of each.
pub async fn enqueue(tx: &mut Tx<'_>, kind: Kind, subject: String, now: Time) -> Result<()> {
    tx.run(&ENQUEUE, &params![kind.word(), subject, now, None::<String>]).await.map(drop)
}

/// As [`enqueue`], with something that the job is told. What must not be read in the database is sealed by the caller;
/// it is there until the job is done, or removed after it was given up.
pub async fn enqueue_with<P: Serialize + Sync>(
    tx: &mut Tx<'_>,
    kind: Kind,
    subject: String,
    payload: &P,
    now: Time,
) -> Result<()> {
    let text = serde_json::to_string(payload).map_err(|error| Error::Internal(format!("a job's payload: {error}")))?;
    if text.len() > MOST_PAYLOAD {
        return Err(Error::Internal(format!("the payload of a job {} has {} bytes", kind.word(), text.len())));
    }
    tx.run(&ENQUEUE, &params![kind.word(), subject, now, text]).await.map(drop)
}

/// Takes at most so many jobs of a kind that are due. Kinds that only a newer binary knows are left to it.
pub async fn claim(db: &Db, kind: Kind, most: usize, now: Time) -> Result<Vec<Job>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    db.write(Actor::SERVICE, Claim { kind, most, now }, |tx, input| Box::pin(take_due(tx, input))).await
}

struct Claim {
    kind: Kind,
    most: i64,
    now: Time,
}

async fn take_due(tx: &mut Tx<'_>, input: &Claim) -> Result<Vec<Job>> {
    let Claim { kind, most, now } = *input;
    let rows = tx.rows(&CLAIM, &params![now, now.plus(LEASE), most, kind.word()]).await?;
    let job = |row: &Row| {
        let (subject, payload, attempts) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Job { id: row.get(0)?, kind, subject, payload, attempts })
    };
    rows.iter().map(job).collect()
}

/// Records how a job went, and says what became of it: after its last attempt it is given up.
pub async fn settle(db: &Db, job: &Job, outcome: Outcome, now: Time) -> Result<Settled> {
    let policy = job.kind.policy();
    let (settled, sql, at, text): (_, &'static Sql, _, _) = match outcome {
        Outcome::Done(text) => (Settled::Done, &FINISH, now, text),
        Outcome::Again { why, .. } if policy.is_last(job.attempts) => (Settled::GivenUp, &GIVE_UP, now, why),
        Outcome::Again { after, why } => (Settled::Again, &POSTPONE, now.plus(after.min(policy.longest_pause)), why),
        Outcome::GiveUp(why) => (Settled::GivenUp, &GIVE_UP, now, why),
    };
    let work: Work<Settlement, u64> = |tx, (sql, id, at, text, attempts)| {
        Box::pin(async move { tx.run(sql, &params![*id, *at, *text, *attempts]).await })
    };
    let touched = db.write(Actor::SERVICE, (sql, job.id, at, text, job.attempts), work).await?;
    Ok(if touched == 0 { Settled::Lost } else { settled })
}

type Settlement = (&'static Sql, i64, Time, &'static str, i64);

/// Leaves a job to whoever claims it next, as if nobody had.
pub async fn give_back(db: &Db, job: &Job) -> Result<()> {
    let work: Work<(i64, i64), ()> =
        |tx, (id, attempts)| Box::pin(async move { tx.run(&GIVE_BACK, &params![*id, *attempts]).await.map(drop) });
    db.write(Actor::SERVICE, (job.id, job.attempts), work).await
}

/// Makes jobs due, and takes leases back, that a clock has put off which was ahead. Kinds that only a newer binary
/// knows are left to it.
pub async fn mend_times(db: &Db, now: Time) -> Result<u64> {
    db.write(Actor::SERVICE, now, |tx, now| Box::pin(mend_each_kind(tx, *now))).await
}

async fn mend_each_kind(tx: &mut Tx<'_>, now: Time) -> Result<u64> {
    let mut mended = 0;
    for kind in Kind::ALL {
        let (put_off, leased) = (now.plus(kind.policy().longest_pause + SKEW), now.plus(LEASE + SKEW));
        mended += tx.run(&MEND_RUN_AT, &params![kind.word(), now, put_off]).await?;
        mended += tx.run(&MEND_LEASE, &params![kind.word(), leased]).await?;
    }
    Ok(mended)
}

/// Jobs that are not done.
pub async fn waiting(db: &Db) -> Result<i64> {
    db.row(&WAITING, params![]).await?.map_or(Ok(0), |row| row.get(0))
}

/// How many were given up and have not been removed yet.
pub async fn count_given_up(db: &Db) -> Result<i64> {
    db.row(&COUNT_GIVEN_UP, params![]).await?.map_or(Ok(0), |row| row.get(0))
}

/// As [`count_given_up`], in a SQLite file that nobody has opened yet.
pub fn count_given_up_in_file(path: &Path) -> Result<i64> {
    Db::rows_of_file(path, &COUNT_GIVEN_UP)?.first().map_or(Ok(0), |row| row.get(0))
}

/// Those that were given up, the newest first.
pub async fn given_up(db: &Db) -> Result<Vec<GivenUp>> {
    let rows = db.scan(&GIVEN_UP, params![MOST_LISTED]).await?;
    let job = |row: &Row| {
        let (kind, subject, attempts) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let outcome = row.get::<Option<String>>(5)?.unwrap_or_default();
        Ok(GivenUp { id: row.get(0)?, kind, subject, attempts, at: row.time(4)?, outcome })
    };
    rows.iter().map(job).collect()
}

/// Makes a job that was given up due, with all the attempts of its kind.
pub async fn retry(db: &Db, id: i64, now: Time) -> Result<Retried> {
    db.write(Actor::OPERATOR, (id, now), |tx, (id, now)| Box::pin(make_due(tx, *id, *now))).await
}

async fn make_due(tx: &mut Tx<'_>, id: i64, now: Time) -> Result<Retried> {
    if let Some(row) = tx.row(&RETRY, &params![id, now]).await? {
        return Ok(Retried::Waiting(row.get(0)?));
    }
    match tx.row(&IS_GIVEN_UP, &params![id]).await? {
        Some(row) => Ok(Retried::OpenAlready(row.get(0)?)),
        None => Ok(Retried::NotGivenUp),
    }
}

/// Removes jobs that were done or given up before a time.
pub async fn housekeeping(db: &Db, before: Time) -> Result<u64> {
    let work: Work<Time, u64> =
        |tx, before| Box::pin(async move { tx.run(&FORGET, &params![*before, FORGOTTEN_AT_ONCE]).await });
    let mut removed = 0;
    loop {
        let now = db.write(Actor::SERVICE, before, work).await?;
        removed += now;
        if now < FORGOTTEN_AT_ONCE.unsigned_abs() {
            return Ok(removed);
        }
    }
}
