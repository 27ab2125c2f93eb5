//! What a node does beside answering: jobs from the queue, and housekeeping. Any number of nodes may.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, stopped};
use crate::features::{accounts, codes, oauth, referrals, signin, tokens};
use crate::jobs::{self, Job, Kind, Outcome, backoff};
use crate::kernel::error::Result;

/// Between two looks at the queue when nobody rings.
const PERIOD: Duration = Duration::from_secs(1);
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// Works until `stop` says so; jobs under way are finished.
pub async fn work(app: Arc<App>, stop: watch::Receiver<bool>) {
    // Each kind has a loop of its own: a slow mail system holds up nothing but mail.
    let mut loops: JoinSet<()> = Kind::ALL.iter().map(|kind| work_on(app.clone(), *kind, stop.clone())).collect();
    loops.spawn(keep_house(app.clone(), stop.clone()));
    loops.spawn(make_keys(app.clone(), stop.clone()));
    loops.spawn(sweep(app, stop));
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a background loop has ended; restart this node");
        }
    }
}

async fn keep_house(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
        if let Err(error) = clean(&app).await {
            tracing::warn!(%error, "housekeeping failed; trying again later");
        }
    }
}

/// Makes the RSA key, which takes too long to be made before the first request.
async fn make_keys(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    while let Err(error) = tokens::keys::rs256_ready(&app).await {
        tracing::warn!(%error, "cannot make the key for ID tokens; trying again");
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn sweep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        if let Err(error) = codes::actions::sweep(&app).await {
            tracing::warn!(%error, "cannot retire expired codes; trying again");
        }
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn work_on(app: Arc<App>, kind: Kind, mut stop: watch::Receiver<bool>) {
    loop {
        if let Err(error) = drain_kind(&app, kind, || *stop.borrow()).await {
            tracing::warn!(%error, kind = kind.word(), "cannot work on jobs; trying again");
        }
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = app.work_to_do.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Runs the jobs that are due, until none is, and says how many it ran.
pub async fn drain(app: &App) -> Result<usize> {
    let mut ran = 0;
    for kind in Kind::ALL {
        ran += drain_kind(app, *kind, || false).await?;
    }
    Ok(ran)
}

async fn drain_kind(app: &App, kind: Kind, stopped: impl Fn() -> bool) -> Result<usize> {
    let mut ran = 0;
    while !stopped() {
        let due = jobs::claim(&app.db, kind, app.clock.now()).await?;
        if due.is_empty() {
            break;
        }
        ran += due.len();
        // Side by side: one slow answer does not hold up the others.
        let runs = due.into_iter().map(|job| async move {
            let outcome = run(app, &job).await;
            let word = match &outcome {
                Outcome::Done(_) => "done",
                Outcome::Again { .. } => "again",
            };
            app.metrics.job(kind.word(), word);
            jobs::settle(&app.db, &job, outcome, app.clock.now()).await
        });
        for settled in futures_util::future::join_all(runs).await {
            settled?;
        }
    }
    Ok(ran)
}

async fn run(app: &App, job: &Job) -> Outcome {
    let outcome = match job.kind {
        Kind::CheckEmail => accounts::jobs::check_email(app, job).await,
        Kind::FoldReferrals => referrals::actions::fold(app, &job.subject).await,
    };
    outcome.unwrap_or_else(|error| {
        tracing::warn!(job = job.id, kind = job.kind.word(), %error, "a job failed; trying again");
        Outcome::Again { after: backoff(job.attempts), why: "failed" }
    })
}

/// Removes what has served its time, and reads the keys again in case the feed did not tell of one.
pub async fn clean(app: &App) -> Result<()> {
    let now = app.clock.now();
    let retention = &app.config.retention;
    jobs::housekeeping(&app.db, now.minus(retention.jobs())).await?;
    oauth::actions::housekeeping(app, now).await?;
    tokens::actions::housekeeping(app, now.minus(retention.sessions())).await?;
    signin::actions::housekeeping(app).await?;
    crate::cache::changes::housekeeping(&app.db).await?;
    app.limits.housekeeping();
    if let Err(sentence) = tokens::keys::open(app).await? {
        tracing::error!("{sentence}. This node cannot sign with it");
    }
    Ok(())
}
