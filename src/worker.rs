//! What a node does beside answering: jobs from the queue, and housekeeping. Any number of nodes may.

mod telling;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, stopped};
use crate::cache;
use crate::features::webhooks::actions::fan_out;
use crate::features::{accounts, audit, codes, identities, links, mails, oauth, referrals, rewards, tokens, webhooks};
use crate::idempotency;
use crate::jobs::{self, Job, Kind, Outcome, Settled};
use crate::kernel::deadline;
use crate::kernel::error::{Error, OperatorError, Result};
use crate::kernel::time::{SKEW, Time};
use crate::readiness;

/// Between two looks at the queue when nobody rings.
const PERIOD: Duration = Duration::from_secs(1);
/// For all of housekeeping.
const HOUSEKEEPING: Duration = Duration::from_secs(300);
/// Between two looks for what a wrong clock has left; every so many there is housekeeping.
const MENDING: Duration = Duration::from_secs(60);
const ROUNDS: u32 = 10;
/// Between two lines about the head of the audit.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A clock that has jumped and stays there counts as right after so long.
const DISTRUST: Duration = Duration::from_secs(3600);
/// At a stop, for jobs under way to end by themselves; then they go back into the queue.
const GRACE: Duration = Duration::from_secs(1);
/// For what is left of a job to be written. Where that fails its lease runs out.
const SETTLING: Duration = Duration::from_secs(2);

/// Follows what other nodes change, until the process ends.
pub fn follow(app: &Arc<App>) {
    keep_following(app, "feed", |app| async move { app.changes.follow(&app.db).await });
    // Of one that is begun again the changes since are not lost.
    let changed = app.changes.keys_changed();
    keep_following(app, "key changes", move |app| {
        let changed = changed.clone();
        async move { tokens::actions::keys::follow(&app, changed).await }
    });
    let changed = app.changes.keys_changed();
    keep_following(app, "mail key changes", move |app| {
        let changed = changed.clone();
        async move { mails::actions::keys::follow(&app, changed).await }
    });
    if app.redis.is_some() {
        keep_following(app, "redis", |app| async move {
            if let Some(redis) = &app.redis {
                redis.supervise().await;
            }
        });
        keep_following(app, "redis messages", |app| async move {
            if let Some(redis) = &app.redis {
                redis.listen(&app.changes).await;
            }
        });
    }
    if app.db.listener().is_some() {
        keep_following(app, "notifications", listen);
    }
}

fn keep_following<F: Future<Output = ()> + Send + 'static>(
    app: &Arc<App>,
    name: &'static str,
    begin: impl Fn(Arc<App>) -> F + Send + Sync + 'static,
) {
    let app = app.clone();
    tokio::spawn(async move { app.loops.keep(name, || false, || begin(app.clone())).await });
}

async fn listen(app: Arc<App>) {
    let Some(listener) = app.db.listener() else { return };
    loop {
        if let Ok(mut heard) = listener.listen("referral_changes").await {
            app.changes.poke();
            while heard.next().await.is_some() {
                app.changes.poke();
            }
        }
        // A pooler in transaction mode has no notifications: the feed is read all the same.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Works until `stop` says so. Jobs that are not done a second later go back.
pub async fn work(app: Arc<App>, stop: watch::Receiver<bool>) {
    let mut loops: JoinSet<()> = JoinSet::new();
    // Each kind has a loop and a number of its own: none takes another's place.
    for kind in Kind::ALL {
        let (app, stop) = (app.clone(), stop.clone());
        keep(&mut loops, kind.word(), app, stop, |app, stop| work_on(app, *kind, stop));
    }
    keep(&mut loops, "housekeeping", app.clone(), stop.clone(), keep_house);
    keep(&mut loops, "keys", app.clone(), stop.clone(), make_keys);
    keep(&mut loops, "expiry", app.clone(), stop.clone(), sweep);
    keep(&mut loops, "releases", app.clone(), stop.clone(), release);
    keep(&mut loops, "clicks", app.clone(), stop.clone(), write_clicks);
    keep(&mut loops, "messages", app.clone(), stop.clone(), telling::number);
    keep(&mut loops, "deliveries", app.clone(), stop.clone(), telling::deliver);
    keep(&mut loops, "audit", app, stop, chain_audit);
    while loops.join_next().await.is_some() {}
}

fn keep<F: Future<Output = ()> + Send + 'static>(
    loops: &mut JoinSet<()>,
    name: &'static str,
    app: Arc<App>,
    stop: watch::Receiver<bool>,
    begin: impl Fn(Arc<App>, watch::Receiver<bool>) -> F + Send + Sync + 'static,
) {
    loops.spawn(async move {
        // Whoever would give the word may be gone.
        let over = || *stop.borrow() || stop.has_changed().is_err();
        app.loops.keep(name, over, || begin(app.clone(), stop.clone())).await;
    });
}

async fn keep_house(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let work = async {
        let (mut watch, mut round) = (ClockWatch::new(app.clock.now()), 1_u32);
        loop {
            tokio::time::sleep(MENDING).await;
            let trusted = watch.trusts(app.clock.now(), app.changes.now());
            let work = keep_in_order(&app, trusted, round == 0);
            if let Err(error) = deadline::job(HOUSEKEEPING, work).await {
                tracing::warn!(%error, "housekeeping failed; trying again later");
            }
            round = (round + 1) % ROUNDS;
        }
    };
    until_stopped(&mut stop, work).await;
}

async fn keep_in_order(app: &App, trusted: bool, thoroughly: bool) -> Result<()> {
    if trusted {
        mend_times(app).await?;
        accounts::actions::registration::release_names(app).await?;
    }
    if !thoroughly {
        return Ok(());
    }
    look_after(app).await?;
    if trusted {
        return forget(app).await;
    }
    tracing::warn!("this node's clock has jumped, or is another than the database's: it removes nothing for now");
    Ok(())
}

/// Whether a clock may be believed when things are removed or mended by it: a jump undoes itself when somebody corrects
/// it, what was removed does not come back.
struct ClockWatch {
    /// When the clock was last right, by one that only goes on and by itself.
    right: (Instant, Time),
    doubted: Option<Instant>,
}

impl ClockWatch {
    fn new(now: Time) -> Self {
        Self { right: (Instant::now(), now), doubted: None }
    }

    fn trusts(&mut self, now: Time, database: Option<Time>) -> bool {
        self.trusts_after(self.right.0.elapsed(), now, database)
    }

    fn trusts_after(&mut self, elapsed: Duration, now: Time, database: Option<Time>) -> bool {
        let differ = |one: Time, other: Time| one.since(other).max(other.since(one)) > SKEW;
        if differ(self.right.1.plus(elapsed), now) && self.doubted.get_or_insert_with(Instant::now).elapsed() < DISTRUST
        {
            return false;
        }
        *self = Self::new(now);
        database.is_none_or(|database| !differ(database, now))
    }
}

/// Makes the RSA key, which takes too long to be made before the first request.
async fn make_keys(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let work = async {
        while let Err(error) = tokens::actions::keys::rs256_ready(&app).await {
            tracing::warn!(%error, "cannot make the key for ID tokens; trying again");
            tokio::time::sleep(PERIOD).await;
        }
    };
    until_stopped(&mut stop, work).await;
    stopped(&mut stop).await;
}

async fn sweep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let work = async {
        loop {
            if let Err(error) = codes::actions::sweep(&app).await {
                tracing::warn!(%error, "cannot retire expired codes; trying again");
            }
            tokio::time::sleep(PERIOD).await;
        }
    };
    until_stopped(&mut stop, work).await;
}

/// Releases rewards whose hold is over, every second.
async fn release(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let work = async {
        loop {
            if let Err(error) = rewards::actions::release::release(&app).await {
                tracing::warn!(%error, "cannot release rewards; trying again");
            }
            tokio::time::sleep(PERIOD).await;
        }
    };
    until_stopped(&mut stop, work).await;
}

/// Writes the clicks that this node has counted, once a second. What is being written is not left in the middle, for
/// nobody would know whether it counts; what comes after the last time is written by whoever ends the process.
async fn write_clicks(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut failed = false;
    while tokio::time::timeout(PERIOD, stopped(&mut stop)).await.is_err() {
        let written = links::actions::clicks::flush(&app).await;
        if let Err(error) = &written
            && !failed
        {
            let lost = app.clicks.lost();
            tracing::warn!(%error, lost, "cannot write clicks; trying again every second");
        }
        failed = written.is_err();
    }
}

/// Gives what was noted its place, and tells once a day how the chain ends: who keeps that elsewhere sees when an end
/// was cut off.
async fn chain_audit(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let work = async {
        let mut told: Option<Instant> = None;
        loop {
            match audit::actions::chain::run(&app).await {
                Ok(head) if told.is_none_or(|at| at.elapsed() >= DAY) => {
                    told = Some(Instant::now());
                    tracing::info!(seq = head.seq, hash = head.hash_text(), "the head of the audit");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "cannot chain the audit; trying again"),
            }
            tokio::time::sleep(PERIOD).await;
        }
    };
    until_stopped(&mut stop, work).await;
}

/// Units of work may be left at any step; what was not committed is done by the next who comes.
async fn until_stopped(stop: &mut watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = stopped(stop) => {}
        () = work => {}
    }
}

async fn work_on(app: Arc<App>, kind: Kind, mut stop: watch::Receiver<bool>) {
    let mut running: JoinSet<()> = JoinSet::new();
    let told = stop.clone();
    until_stopped(&mut stop, take_up(&app, kind, &told, &mut running)).await;
    // Each of them knows of the stop.
    let ended = async { while running.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE + SETTLING, ended).await;
}

/// Takes up jobs as there is room for them, each beside the others: none waits for a slow one.
async fn take_up(app: &Arc<App>, kind: Kind, stop: &watch::Receiver<bool>, running: &mut JoinSet<()>) {
    loop {
        while running.try_join_next().is_some() {}
        let room = at_once(app, kind).saturating_sub(running.len());
        let claimed = match room {
            0 => Ok(Vec::new()),
            _ => jobs::claim(&app.db, kind, room, app.clock.now()).await,
        };
        let claimed = claimed.unwrap_or_else(|error| {
            tracing::warn!(%error, kind = kind.word(), "cannot work on jobs; trying again");
            Vec::new()
        });
        // Then more may be due, and the next that ends makes room.
        let full = claimed.len() == room;
        for job in claimed {
            running.spawn(attend(app.clone(), job, stop.clone()));
        }
        tokio::select! {
            Some(_) = running.join_next(), if full => {}
            () = app.work_to_do.heard(kind) => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

fn at_once(app: &App, kind: Kind) -> usize {
    let most = kind.policy().at_once;
    match kind {
        // So few that each has its turn at the verifier within the time that the verifier itself has.
        Kind::CheckEmail => {
            let turns = usize::try_from(app.config.email.checks_per_second).unwrap_or(usize::MAX);
            turns.saturating_mul(25).min(most)
        }
        Kind::FoldReferrals
        | Kind::SendMail
        | Kind::RecoverEndpoint
        | Kind::SignUpEvent
        | Kind::TakeBack
        | Kind::FoldLedger
        | Kind::PreparePayout
        | Kind::CheckLedger => most,
    }
}

/// Runs a job, unless the node stops over it.
async fn attend(app: Arc<App>, job: Job, mut stop: watch::Receiver<bool>) {
    let told_to_stop = async {
        stopped(&mut stop).await;
        tokio::time::sleep(GRACE).await;
    };
    let settled = tokio::select! {
        biased;
        outcome = run(&app, &job) => settle(&app, &job, outcome).await,
        () = told_to_stop => jobs::give_back(&app.db, &job).await,
    };
    if let Err(error) = settled {
        tracing::warn!(job = job.id, kind = job.kind.word(), %error, "cannot record a job; it runs again later");
    }
}

/// Runs the jobs that are due, until none is, and says how many it ran.
pub async fn drain(app: &App) -> Result<usize> {
    let mut ran = 0;
    for kind in Kind::ALL {
        loop {
            let due = jobs::claim(&app.db, *kind, at_once(app, *kind), app.clock.now()).await?;
            if due.is_empty() {
                break;
            }
            ran += due.len();
            let runs = due.iter().map(async |job| settle(app, job, run(app, job).await).await);
            futures_util::future::try_join_all(runs).await?;
        }
    }
    // Jobs are done in the order of their kinds: what one makes due is made here.
    telling::drain(app).await?;
    Ok(ran)
}

async fn settle(app: &App, job: &Job, outcome: Outcome) -> Result<()> {
    let (Outcome::Done(last) | Outcome::Again { why: last, .. } | Outcome::GiveUp(last)) = outcome;
    let settled = jobs::settle(&app.db, job, outcome, app.clock.now()).await?;
    let (kind, policy) = (job.kind.word(), job.kind.policy());
    app.metrics.job(kind, settled.word());
    if settled == Settled::GivenUp {
        let (id, attempts) = (job.id, job.attempts);
        tracing::error!(job = id, kind, attempts, last, meaning = policy.given_up, "a job is given up");
    }
    Ok(())
}

async fn run(app: &App, job: &Job) -> Outcome {
    let policy = job.kind.policy();
    if policy.is_beyond(job.attempts) {
        return Outcome::GiveUp("the last attempt was cut off");
    }
    let work = async {
        match job.kind {
            Kind::CheckEmail => accounts::actions::email_check::check_email(app, job).await,
            Kind::FoldReferrals => referrals::actions::fold(app, &job.subject).await,
            Kind::SendMail => accounts::actions::mails::send(app, job).await,
            Kind::RecoverEndpoint => webhooks::actions::recovery::run(app, job).await,
            Kind::SignUpEvent => rewards::actions::sign_ups::take(app, &job.subject).await,
            Kind::TakeBack => rewards::actions::decisions::take_back(app, &job.subject).await,
            Kind::FoldLedger => rewards::actions::check::fold(app, &job.subject).await,
            Kind::PreparePayout => rewards::actions::payouts::prepare(app, &job.subject).await,
            Kind::CheckLedger => rewards::actions::check::check(app, &job.subject).await,
        }
    };
    let caught = AssertUnwindSafe(work).catch_unwind();
    let work = async { caught.await.unwrap_or_else(|_| Err(Error::Internal("a job panicked".into()))) };
    deadline::job(policy.deadline, work).await.unwrap_or_else(|error| {
        tracing::warn!(job = job.id, kind = job.kind.word(), attempts = job.attempts, %error, "a job failed");
        Outcome::Again { after: job.pause(), why: "failed" }
    })
}

/// Does what a node does every ten minutes.
pub async fn clean(app: &App) -> Result<()> {
    look_after(app).await?;
    forget(app).await
}

/// Removes what has served its time.
async fn forget(app: &App) -> Result<()> {
    let now = app.clock.now();
    let retention = &app.config.retention;
    jobs::housekeeping(&app.db, now.minus(retention.jobs())).await?;
    oauth::actions::housekeeping(app, now).await?;
    tokens::actions::housekeeping(app, now.minus(retention.sessions())).await?;
    identities::actions::housekeeping(app).await?;
    // Before the mails, which tell how long a link was good.
    accounts::actions::address::housekeeping(app).await?;
    mails::actions::housekeeping(app, now.minus(retention.mails())).await?;
    fan_out::housekeeping(app, now).await?;
    idempotency::housekeeping(&app.db, now).await?;
    cache::changes::housekeeping(&app.db).await?;
    readiness::housekeeping(&app.db).await?;
    // What was erased or forgotten would stay in SQLite's log until others have written over it.
    app.db.checkpoint().await
}

/// Reads the keys again in case the feed did not tell of one, forgets in process, and does what nodes of the release
/// before have not.
async fn look_after(app: &App) -> Result<()> {
    app.limits.housekeeping();
    rewards::actions::release::housekeeping(app).await?;
    if let Some(sentence) = refused(tokens::actions::keys::open(app).await)? {
        tracing::error!("{sentence}. This node cannot sign with it");
    }
    if let Some(sentence) = refused(mails::actions::keys::open(app).await)? {
        tracing::error!("{sentence}. This node cannot send mails with it");
    }
    Ok(())
}

/// What the operator has to mend; the service goes on without it.
fn refused(outcome: Result<(), OperatorError>) -> Result<Option<String>> {
    match outcome {
        Ok(()) => Ok(None),
        Err(OperatorError::Refused(sentence)) => Ok(Some(sentence)),
        Err(OperatorError::Failed(error)) => Err(error),
    }
}

/// Brings back what a clock has written that was ahead, and says how much that was. Otherwise it would stay so until
/// the time that the clock showed.
pub async fn mend_times(app: &App) -> Result<u64> {
    let now = app.clock.now();
    let mended = jobs::mend_times(&app.db, now).await?
        + cache::changes::mend_times(&app.db).await?
        + idempotency::mend_times(&app.db, now).await?
        + fan_out::mend_times(app, now).await?
        + tokens::actions::mend_times(app, now).await?;
    if mended > 0 {
        tracing::warn!(rows = mended, "times that a clock had written ahead are mended");
    }
    Ok(mended)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_clock_that_jumps_or_differs_is_not_trusted_until_it_is_back() {
        let start = Time(0).plus(HOUR * 24 * 365 * 50);
        let mut watch = ClockWatch::new(start);
        let now = start.plus(MINUTE);
        assert!(watch.trusts_after(MINUTE, now, Some(now)));
        // The database's clock is another.
        let now = now.plus(MINUTE);
        assert!(!watch.trusts_after(MINUTE, now, Some(now.plus(HOUR))));
        // Both jump, being one machine's, and stay there for some minutes.
        for minutes in 1..4 {
            let there = now.plus(HOUR * 24 * 400 + MINUTE * minutes);
            assert!(!watch.trusts_after(MINUTE * minutes, there, Some(there)));
        }
        // Corrected: what was written meanwhile is mended at once.
        let back = now.plus(MINUTE * 4);
        assert!(watch.trusts_after(MINUTE * 4, back, Some(back)));
        // One that has stayed there for long is right: the machine slept.
        let awake = back.plus(HOUR * 9);
        assert!(!watch.trusts_after(MINUTE, awake, None));
        watch.doubted = Instant::now().checked_sub(DISTRUST);
        assert!(watch.trusts_after(MINUTE, awake, None));
    }
}
