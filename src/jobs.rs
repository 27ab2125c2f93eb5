//! The queue: a table of jobs, enqueued in the transaction that causes them, claimed by lease, run at least once.

use std::time::Duration;

use crate::db::{Db, Sql, Tx, Work};
use crate::kernel::error::Result;
use crate::kernel::time::{SKEW, Time};
use crate::{params, sql};

/// How long a claimed job is left to its node before another may take it: longer than any is at work.
const LEASE: Duration = Duration::from_secs(120);
/// No job is put off for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

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
    /// Only by whoever claimed it last: whose lease has run out has no say in what another is at.
    FINISH = "update jobs set done_at = $2, lease_until = null, outcome = $3
              where id = $1 and done_at is null and attempts = $4";
    POSTPONE = "update jobs set run_at = $2, lease_until = null, outcome = $3
                where id = $1 and done_at is null and attempts = $4";
    GIVE_BACK = "update jobs set lease_until = null, attempts = attempts - 1
                 where id = $1 and done_at is null and attempts = $2";
    /// Those put off by a clock that was ahead.
    MEND_RUN_AT = "update jobs set run_at = $2 where kind = $1 and done_at is null and run_at > $3";
    MEND_LEASE = "update jobs set lease_until = null where kind = $1 and done_at is null and lease_until > $2";
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

    /// How long one may take. Then it is given up, and tried again later.
    pub fn deadline(self) -> Duration {
        match self {
            // Its turn comes within 25 s, and Hunter has 25.
            Self::CheckEmail => Duration::from_secs(60),
            Self::FoldReferrals => Duration::from_secs(30),
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

/// Takes at most so many jobs of a kind that are due. Kinds that only a newer binary knows are left to it.
pub async fn claim(db: &Db, kind: Kind, most: usize, now: Time) -> Result<Vec<Job>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let work: Work<(Kind, i64, Time), Vec<Job>> = |tx, (kind, most, now)| {
        Box::pin(async move {
            let rows = tx.rows(&CLAIM, &params![*now, now.plus(LEASE), *most, kind.word()]).await?;
            rows.iter()
                .map(|row| Ok(Job { id: row.get(0)?, kind: *kind, subject: row.get(1)?, attempts: row.get(2)? }))
                .collect()
        })
    };
    db.write((kind, most, now), work).await
}

/// Records how a job went.
pub async fn settle(db: &Db, job: &Job, outcome: Outcome, now: Time) -> Result<()> {
    let (sql, at, text) = match outcome {
        Outcome::Done(text) => (&FINISH, now, text),
        Outcome::Again { after, why } => (&POSTPONE, now.plus(after.min(LONGEST_PAUSE)), why),
    };
    let work: Work<Settlement, ()> = |tx, (sql, id, at, text, attempts)| {
        Box::pin(async move { tx.run(sql, &params![*id, *at, *text, *attempts]).await.map(drop) })
    };
    db.write((sql, job.id, at, text, job.attempts), work).await
}

type Settlement = (&'static Sql, i64, Time, &'static str, i64);

/// Leaves a job to whoever claims it next, as if nobody had.
pub async fn give_back(db: &Db, job: &Job) -> Result<()> {
    let work: Work<(i64, i64), ()> =
        |tx, (id, attempts)| Box::pin(async move { tx.run(&GIVE_BACK, &params![*id, *attempts]).await.map(drop) });
    db.write((job.id, job.attempts), work).await
}

/// Makes jobs due, and takes leases back, that a clock has put off which was ahead. Kinds that only a newer binary
/// knows are left to it.
pub async fn mend_times(db: &Db, now: Time) -> Result<u64> {
    let work: Work<Time, u64> = |tx, now| {
        Box::pin(async move {
            let mut mended = 0;
            for kind in Kind::ALL {
                let (put_off, leased) = (now.plus(LONGEST_PAUSE + SKEW), now.plus(LEASE + SKEW));
                mended += tx.run(&MEND_RUN_AT, &params![kind.word(), *now, put_off]).await?;
                mended += tx.run(&MEND_LEASE, &params![kind.word(), leased]).await?;
            }
            Ok(mended)
        })
    };
    db.write(now, work).await
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
