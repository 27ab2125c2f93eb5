//! The service is killed at each step of the job that chains.

use std::time::Duration;

use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::process::Operator;
use crate::support::witness;

/// The statements of the job, and its commit.
const STEPS: [&str; 6] = [
    "before LOCK_HEAD",
    "before UNCHAINED",
    "before CHAIN",
    "before SET_HEAD",
    "before the commit behind SET_HEAD",
    "after the commit behind SET_HEAD",
];

async fn killed_at_each_step(setup: Setup) {
    let mut operator = Operator::on_a_free_port();
    let url = match setup {
        Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
        _ => setup.prepare(&[]).await.database_url,
    };
    operator.set("DATABASE_URL", &url);
    operator.set("FAULT_CRASH_FILE", operator.path("crash"));
    operator.run(&["migrate"]).well();
    operator.run_with(&["admin", "create", "boss", "boss@example.com"], &format!("{PASSWORD}\n")).well();
    let mut rows = witness::number(&url, "select count(*) from audit").await;
    for (step, name) in STEPS.into_iter().enumerate() {
        let serving = operator.serve();
        let all = "select count(*) from audit where seq is null";
        eventually("all have their places", || async { witness::number(&url, all).await == 0 }).await;
        operator.write("crash.new", format!("LOCK_HEAD {}", step + 1));
        std::fs::rename(operator.path("crash.new"), operator.path("crash")).expect("it is armed");
        // Noted, and then chained: that is where it ends.
        let _ = tokio::time::timeout(Duration::from_secs(20), serving.client().log_in("boss", PASSWORD)).await;
        assert_eq!(serving.wait().code, None, "{name}: it was ended by a signal");
        rows += 1;
        let ended = std::fs::read_to_string(operator.path("crash")).expect("it was armed");
        assert_eq!(ended, name);
        std::fs::remove_file(operator.path("crash")).expect("it was armed");
        assert_eq!(witness::number(&url, "select count(*) from audit").await, rows, "{name}");
    }
    let verified = operator.run(&["admin", "audit", "verify"]).well();
    assert!(verified.stdout.contains(&format!("{rows} rows")), "{verified:?}");
    assert_eq!(witness::number(&url, "select seq from audit_head").await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_the_job_goes_on_where_it_was() {
    killed_at_each_step(Setup::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_the_job_goes_on_where_it_was_on_postgres() {
    killed_at_each_step(Setup::Postgres).await;
}
