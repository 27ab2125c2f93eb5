//! The service is killed at each statement of telling: whatever was committed arrives.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::process::{Operator, Serving};
use crate::support::receiver::{ENDPOINTS, Receiver};
use crate::support::witness;

/// Kills it at each step that is counted from a statement on, until a registration and its message get through. Says
/// which steps these were.
async fn killed_from(setup: Setup, first: &str) -> Vec<String> {
    let receiver = Receiver::start().await;
    let mut operator = Operator::on_a_free_port();
    let url = match setup {
        Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
        _ => setup.prepare(&[]).await.database_url,
    };
    operator.set("DATABASE_URL", &url);
    operator.set("REFERRAL_WEBHOOKS_ALLOW_NETWORKS", "127.0.0.0/8");
    operator.set("FAULT_CRASH_FILE", operator.path("crash"));
    operator.run(&["migrate"]).well();
    operator.run_with(&["admin", "create", "boss", "boss@example.com"], &format!("{PASSWORD}\n")).well();
    let mut serving: Serving = operator.serve();
    let boss = serving.client().logged_in("boss").await;
    boss.post(ENDPOINTS, &json!({"url": receiver.url, "types": ["*"]})).await.expect(201);
    let mut steps = Vec::new();
    for turn in 1..40 {
        operator.write("crash.new", format!("{first} {turn}"));
        std::fs::rename(operator.path("crash.new"), operator.path("crash")).expect("it is armed");
        let sent = serving.client();
        let body =
            json!({"username": format!("person{turn}"), "email": format!("p{turn}@example.com"), "password": PASSWORD});
        // It may end before it answers.
        let registering = tokio::spawn(async move { sent.post("/api/v1/auth/user", &body).await.status });
        let _ = registering.await;
        let crash = operator.path("crash");
        let ended = || {
            std::fs::read_to_string(&crash).is_ok_and(|text| text.starts_with("before") || text.starts_with("after"))
        };
        let all = "select count(*) from deliveries where state <> 'delivered'";
        let waiting = "select count(*) from outbox where fanned_out_at is null";
        let quiet = || async { witness::number(&url, waiting).await == 0 && witness::number(&url, all).await == 0 };
        eventually("it is killed, or all has arrived", || async { ended() || quiet().await }).await;
        if ended() {
            steps.push(std::fs::read_to_string(&crash).expect("it was armed"));
            assert_eq!(serving.wait().code, None, "it was ended by a signal");
            std::fs::remove_file(&crash).expect("it was armed");
            // The lease of whoever was killed is over.
            witness::query(&url, "update deliveries set lease_until = 1 where lease_until is not null").await;
            serving = operator.serve();
            eventually("all has arrived", quiet).await;
        }
        let told: BTreeSet<String> = receiver.received().iter().map(|one| one.id().to_owned()).collect();
        let messages = witness::number(&url, "select count(*) from outbox").await;
        let people = witness::number(&url, "select count(*) from users").await;
        assert_eq!((told.len() as i64, messages), (people - 1, people - 1), "{steps:?}");
        if steps.len() < turn {
            return steps;
        }
    }
    panic!("it never got through: {steps:?}");
}

async fn killed_everywhere(setup: Setup) {
    let writing = if setup == Setup::Sqlite { "INSERT_USER" } else { "REGISTER_AND_TELL" };
    for (first, steps) in [
        (writing, &[][..]),
        ("LOCK_OUTBOX", &["before UNNUMBERED", "before NUMBER", "before SET_LAST_NUMBER", "before FAN_OUT"]),
        ("LOCK_ENDPOINT", &["before UNDER_WAY", "before CLAIM_DELIVERIES", "before ENDPOINT_SECRETS"]),
        ("SETTLE", &["before SETTLE", "before NOTE_ATTEMPTS"]),
    ] {
        let seen = killed_from(setup, first).await;
        assert!(steps.iter().all(|step| seen.iter().any(|known| known == step)), "{setup:?} {first}: {seen:?}");
        // One statement alone has no other step before its commit.
        for place in ["before the commit", "after the commit"].iter().skip(usize::from(first.ends_with("AND_TELL"))) {
            assert!(seen.iter().any(|step| step.starts_with(place)), "{setup:?} {first}: {seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_12_what_is_committed_is_told_wherever_the_service_is_killed() {
    killed_everywhere(Setup::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_12_what_is_committed_is_told_wherever_the_service_is_killed_on_postgres() {
    killed_everywhere(Setup::Postgres).await;
}
