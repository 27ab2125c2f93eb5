//! What a node does beside answering: jobs from the queue, and housekeeping. Any number of nodes may.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::app::App;
use crate::features::{accounts, referrals, tokens};
use crate::jobs::{self, Job, Kind, Outcome, backoff};
use crate::kernel::error::Result;
use crate::web::server::stopped;

/// Between two looks at the queue when nobody rings.
const PERIOD: Duration = Duration::from_secs(1);
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// Works until `stop` says so; a job under way is finished.
pub async fn work(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut next_cleaning = tokio::time::Instant::now() + HOUSEKEEPING;
    loop {
        if let Err(error) = drain(&app).await {
            tracing::warn!(%error, "cannot work on jobs; trying again");
        }
        if tokio::time::Instant::now() >= next_cleaning {
            next_cleaning += HOUSEKEEPING;
            if let Err(error) = clean(&app).await {
                tracing::warn!(%error, "housekeeping failed; trying again later");
            }
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
    loop {
        let due = jobs::claim(&app.db, app.clock.now()).await?;
        if due.is_empty() {
            return Ok(ran);
        }
        ran += due.len();
        // Side by side: one slow mail server does not hold up the others.
        let runs = due.into_iter().map(|job| async move {
            let (kind, outcome) = run(app, &job).await;
            let word = match &outcome {
                Outcome::Done(_) => "done",
                Outcome::Again { .. } => "again",
            };
            app.metrics.job(kind, word);
            jobs::settle(&app.db, &job, outcome, app.clock.now()).await
        });
        for settled in futures_util::future::join_all(runs).await {
            settled?;
        }
    }
}

async fn run(app: &App, job: &Job) -> (&'static str, Outcome) {
    let Some(kind) = job.kind else {
        // A newer node knows it.
        return ("unknown", Outcome::Again { after: Duration::from_secs(60), why: "unknown kind" });
    };
    let outcome = match kind {
        Kind::CheckEmail => accounts::jobs::check_email(app, job).await,
        Kind::FoldReferrals => referrals::actions::fold(app, &job.subject).await,
    };
    let outcome = outcome.unwrap_or_else(|error| {
        tracing::warn!(job = job.id, kind = kind.word(), %error, "a job failed; trying again");
        Outcome::Again { after: backoff(job.attempts), why: "failed" }
    });
    (kind.word(), outcome)
}

/// Removes what has served its time, and reads the keys again in case another node made one.
pub async fn clean(app: &App) -> Result<()> {
    let now = app.clock.now();
    let retention = &app.config.retention;
    jobs::housekeeping(&app.db, now.minus(retention.jobs())).await?;
    tokens::actions::housekeeping(app, now.minus(retention.sessions())).await?;
    crate::cache::changes::housekeeping(&app.db).await?;
    app.limits.housekeeping();
    tokens::actions::load_keys(app).await
}
