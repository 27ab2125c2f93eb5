//! The queue: a table of jobs, enqueued in the transaction that causes them, claimed by lease, run at least once.

use std::time::Duration;

use crate::db::{Db, Tx, Work};
use crate::kernel::error::Result;
use crate::kernel::time::Time;
use crate::{params, sql};

/// How long a claimed job is left to its node before another may take it.
const LEASE: Duration = Duration::from_secs(120);
/// Jobs claimed at once.
const BATCH: i64 = 16;

sql! {
    ENQUEUE = "insert into jobs (kind, subject, created_at, run_at, attempts) values ($1, $2, $3, $3, 0)
               on conflict (kind, subject) where done_at is null do nothing";
    CLAIM = {
        sqlite: "update jobs set lease_until = $2, attempts = attempts + 1 where id in (
                     select id from jobs where kind = $4 and done_at is null and run_at <= $1
                        and (lease_until is null or lease_until <= $1)
                     order by run_at limit $3)
                 returning id, subject, attempts",
        postgres: "update jobs set lease_until = $2, attempts = attempts + 1 where id in (
                     select id from jobs where kind = $4 and done_at is null and run_at <= $1
                        and (lease_until is null or lease_until <= $1)
                     order by run_at limit $3 for update skip locked)
                 returning id, subject, attempts",
    };
    FINISH = "update jobs set done_at = $2, lease_until = null, outcome = $3 where id = $1 and done_at is null";
    POSTPONE = "update jobs set run_at = $2, lease_until = null, outcome = $3 where id = $1 and done_at is null";
    WAITING = "select count(*) from jobs where done_at is null";
    FORGET = "delete from jobs where done_at is not null and done_at < $1";
}

/// What a job does; its word is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks the verifier about a user's address. Subject: the user's id.
    CheckEmail,
    /// Counts what was added to a referrer's list. Subject: the referrer's id.
    FoldReferrals,
}

impl Kind {
    pub const ALL: &[Kind] = &[Kind::CheckEmail, Kind::FoldReferrals];

    pub fn word(self) -> &'static str {
        match self {
            Self::CheckEmail => "check_email",
            Self::FoldReferrals => "fold_referrals",
        }
    }
}

pub struct Job {
    pub id: i64,
    pub kind: Kind,
    pub subject: String,
    /// Times it was claimed, this one included.
    pub attempts: i64,
}

/// How a job went.
pub enum Outcome {
    Done(&'static str),
    Again { after: Duration, why: &'static str },
}

/// Adds a job to the transaction, unless the same is waiting already.
pub async fn enqueue(tx: &mut Tx<'_>, kind: Kind, subject: String, now: Time) -> Result<()> {
    tx.run(&ENQUEUE, &params![kind.word(), subject, now]).await.map(drop)
}

/// Takes jobs of a kind that are due. Kinds that only a newer binary knows are left to it.
pub async fn claim(db: &Db, kind: Kind, now: Time) -> Result<Vec<Job>> {
    let work: Work<(Kind, Time), Vec<Job>> = |tx, (kind, now)| {
        Box::pin(async move {
            let rows = tx.rows(&CLAIM, &params![*now, now.plus(LEASE), BATCH, kind.word()]).await?;
            rows.iter()
                .map(|row| Ok(Job { id: row.get(0)?, kind: *kind, subject: row.get(1)?, attempts: row.get(2)? }))
                .collect()
        })
    };
    db.write((kind, now), work).await
}

/// Records how a job went.
pub async fn settle(db: &Db, job: &Job, outcome: Outcome, now: Time) -> Result<()> {
    let (sql, at, text) = match outcome {
        Outcome::Done(text) => (&FINISH, now, text),
        Outcome::Again { after, why } => (&POSTPONE, now.plus(after), why),
    };
    let work: Work<(&'static crate::db::Sql, i64, Time, &'static str), ()> =
        |tx, (sql, id, at, text)| Box::pin(async move { tx.run(sql, &params![*id, *at, *text]).await.map(drop) });
    db.write((sql, job.id, at, text), work).await
}

/// Jobs that are not done.
pub async fn waiting(db: &Db) -> Result<i64> {
    db.row(&WAITING, params![]).await?.map_or(Ok(0), |row| row.get(0))
}

/// Removes finished jobs from before a time.
pub async fn housekeeping(db: &Db, before: Time) -> Result<u64> {
    let work: Work<Time, u64> = |tx, before| Box::pin(async move { tx.run(&FORGET, &params![*before]).await });
    db.write(before, work).await
}

/// Seconds to wait after so many attempts: 1, 2, 4, … up to five minutes.
pub fn backoff(attempts: i64) -> Duration {
    Duration::from_secs(1_u64 << attempts.clamp(1, 9).unsigned_abs() >> 1).min(Duration::from_secs(300))
}
