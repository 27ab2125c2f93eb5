//! PostgreSQL is killed, and connections are cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use referral::kernel::ids::SessionId;
use serde_json::json;

use super::helpers::{Callers, FAR, find_any};
use crate::support::app::{Setup, eventually};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::record::Record;
use crate::support::servers::{Postgres, PostgresOptions};

/// Killed and started again under load: no restart of ours, no answer but 503 with a time to come back, nothing lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgresql_is_waited_for_and_no_acknowledged_write_is_lost() {
    let mut postgres = Postgres::start(PostgresOptions { fsync: true, tls: false }).await;
    let mut test = Setup::Postgres.prepare_on(postgres.database().await, &[]).await;
    test.add_node().await;
    test.add_node().await;
    let callers = Callers::meet(&test).await;
    let load = Arc::new(Load::default());
    let tasks: Vec<_> = callers
        .0
        .iter()
        .enumerate()
        .map(|(place, caller)| {
            let (caller, load) = (caller.at(&test.nodes[place % 2].url), load.clone());
            tokio::spawn(async move { load.run(&caller).await })
        })
        .collect();
    let reaches = async |what: &str, counter: &AtomicUsize, more: usize| {
        let goal = counter.load(Ordering::Relaxed) + more;
        eventually(what, || async { counter.load(Ordering::Relaxed) >= goal }).await;
    };
    for kill in 0..2 {
        reaches("writes are acknowledged", &load.written, 20).await;
        postgres.kill();
        reaches("requests are refused", &load.refused, 20).await;
        // Longer than the nodes believe anything without asking: nobody is found, and nobody is logged out by that.
        let (changes, anybody) = (&test.nodes[0].app.changes, SessionId(uuid::Uuid::nil()));
        eventually("look-ups must be asked for", || async { changes.now().is_none() }).await;
        if kill == 0 {
            eventually("sessions must be asked for", || async { changes.session_ended(anybody).is_none() }).await;
            reaches("requests are refused", &load.refused, 20).await;
        }
        let refused = [
            callers.0[0].get("/api/v1/me").await,
            callers.0[0].get("/api/v1/codes").await,
            find_any(&callers.0[1], &callers.0[0].email).await,
            test.client().get("/readyz").await,
            test.client().register("guest", None).await,
            test.client().log_in("caller0", PASSWORD).await,
        ];
        for answer in refused {
            comes_back(&answer.expect_problem(503, "unavailable"));
        }
        test.client().get("/livez").await.expect(200);
        postgres.restart().await;
        reaches("writes are acknowledged again", &load.written, 20).await;
    }
    load.over.store(true, Ordering::Relaxed);
    let acknowledged: Vec<String> =
        join_all(tasks).await.into_iter().flat_map(|task| task.expect("no caller failed")).collect();

    let rows = test.query("select code from codes").await;
    let kept: std::collections::HashSet<&str> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|code| !kept.contains(code.as_str())).collect();
    assert!(acknowledged.len() >= 80 && lost.is_empty(), "{} acknowledged, lost: {lost:?}", acknowledged.len());
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
    // What it says may be a second old.
    eventually("it is ready", || async { test.client().get("/readyz").await.status == 200 }).await;
    let listening = "select count(*) from pg_stat_activity where query = 'listen referral_changes'";
    eventually("both nodes listen again", || async { test.number(listening).await == 2 }).await;
}

/// A fail-over or an administrator cuts every connection: reads are repeated, writes at worst told to look again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_fail_no_read_and_lose_no_write() {
    let test = Setup::Postgres.start_two().await;
    let callers = Callers::meet(&test).await;
    let load = Arc::new(Load::default());
    let tasks: Vec<_> = callers
        .0
        .iter()
        .enumerate()
        .map(|(place, caller)| {
            let (caller, load) = (caller.at(&test.nodes[place % 2].url), load.clone());
            tokio::spawn(async move { load.run(&caller).await })
        })
        .collect();
    for _ in 0..10 {
        let goal = load.written.load(Ordering::Relaxed) + 20;
        eventually("writes go on", || async { load.written.load(Ordering::Relaxed) >= goal }).await;
        test.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
    }
    load.over.store(true, Ordering::Relaxed);
    let acknowledged: Vec<String> =
        join_all(tasks).await.into_iter().flat_map(|task| task.expect("no caller failed")).collect();
    let rows = test.query("select code from codes").await;
    let kept: std::collections::HashSet<&str> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    assert!(acknowledged.len() >= 200 && acknowledged.iter().all(|code| kept.contains(code.as_str())));
    assert_eq!(load.refused_reads.load(Ordering::Relaxed), 0);
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
}

/// What callers who do not stop have met with.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    written: AtomicUsize,
    refused: AtomicUsize,
    refused_reads: AtomicUsize,
}

impl Load {
    /// Replaces the caller's code and reads it again, over and over; says which codes were acknowledged.
    async fn run(&self, caller: &Client) -> Vec<String> {
        let mut acknowledged = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            let answer = caller.post("/api/v1/codes?replace=true", &json!({"expires_at": FAR})).await;
            if answer.status == 503 {
                comes_back(&answer);
                self.refused.fetch_add(1, Ordering::Relaxed);
            } else {
                acknowledged.push(answer.expect(201).json()["code"].as_str().expect("a code").to_owned());
                self.written.fetch_add(1, Ordering::Relaxed);
            }
            let looked_up = format!("/api/v1/codes/{}", caller.email);
            for path in [&*looked_up, "/api/v1/codes?size=1", "/api/v1/me"] {
                let answer = caller.get(path).await;
                if answer.status == 503 {
                    comes_back(&answer);
                    self.refused_reads.fetch_add(1, Ordering::Relaxed);
                    self.refused.fetch_add(1, Ordering::Relaxed);
                } else {
                    answer.expect(200);
                }
            }
        }
        acknowledged
    }
}

/// The caller is told when to come back.
#[track_caller]
fn comes_back(answer: &Answer) {
    let seconds: u64 = answer.header("retry-after").parse().unwrap_or(0);
    assert!(seconds >= 1, "{answer:?}");
}
