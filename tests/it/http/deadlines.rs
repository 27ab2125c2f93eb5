//! Whatever holds a request up, its answer comes in time, and says truly whether something may have been done.

use std::time::{Duration, Instant};

use referral::db::Work;
use referral::kernel::actor::Actor;
use referral::kernel::error::Error;
use referral::{params, sql};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client};
use crate::support::raw;
use crate::support::relay::Relay;

const REQUEST: &str = "REFERRAL_HTTP_REQUEST_SECONDS";
/// Far beyond a deadline of a second or two, and far below how long what holds requests up goes on.
const LATE: Duration = Duration::from_secs(30);

/// A set-up whose second node gives requests so many seconds; the first is as patient as ever, to prepare things.
async fn impatient(setup: Setup, seconds: &str) -> TestApp {
    let mut test = setup.start().await;
    test.add_node_with(&[(REQUEST, seconds)]).await;
    test
}

fn there(test: &TestApp, client: &Client) -> Client {
    client.at(&test.nodes[1].url)
}

#[track_caller]
fn refused(answer: Answer, word: &str) {
    let answer = answer.expect_problem(503, word);
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
}

on_every_setup!(who_does_not_send_the_rest_of_a_request_is_told_so_when_its_time_is_up);
async fn who_does_not_send_the_rest_of_a_request_is_told_so_when_its_time_is_up(setup: Setup) {
    let test = impatient(setup, "1").await;
    let head = raw::request("POST", "/api/v1/auth/user", &[("Content-Length", "100")], b"{");
    let began = Instant::now();
    let (_, answer) = raw::talk(&test.nodes[1].url, &head).await;
    answer.expect("an answer").expect_problem(408, "request_timeout");
    // Ten seconds are what every body has.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

/// Another process holds the file. What the writer has begun may still be done; what it has not is not, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_locked_file_is_answered_in_time_and_told_whether_it_may_be_done() {
    let test = impatient(Setup::Sqlite, "1").await;
    let user = there(&test, &test.user("user").await);
    let other = rusqlite::Connection::open(test.database_url.trim_start_matches("sqlite:")).expect("the file");
    other.execute_batch("begin immediate").expect("the lock");
    let began = Instant::now();
    refused(user.create_code("FIRST2030ABC").await, "unavailable");
    refused(user.create_code("SECOND2030AB").await, "overloaded");
    assert!(began.elapsed() < LATE, "{:?}", began.elapsed());
    // Reads go on, and so do writes when the file is free; what was given up before it began does not come back.
    user.get("/api/v1/codes").await.expect(200);
    other.execute_batch("commit").expect("the end of the lock");
    eventually("writes go on", || async { user.post("/api/v1/codes?replace=true", &far()).await.status == 201 }).await;
    let second = "select count(*) from codes where code = 'SECOND2030AB'";
    assert_eq!(test.number(second).await, 0);
}

fn far() -> serde_json::Value {
    serde_json::json!({"expires_at": "2099-01-01"})
}

/// Locked by somebody else for as long as they like.
async fn locked_slot(test: &TestApp) -> tokio_postgres::Client {
    let other = test.beside().await;
    other.batch_execute("begin; select 1 from code_slots for update").await.expect("the lock");
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_locked_slot_is_told_once_that_nothing_was_done() {
    let test = impatient(Setup::Postgres, "20").await;
    let owner = there(&test, &test.user("owner").await);
    owner.create_code("SPRING2030AB").await.expect(201);
    let other = locked_slot(&test).await;
    let began = Instant::now();
    let guests = (0..20).map(|number| {
        let owner = owner.anonymous();
        async move { owner.register(&format!("guest{number}"), Some("SPRING2030AB")).await }
    });
    for answer in futures_util::future::join_all(guests).await {
        refused(answer, "overloaded");
    }
    refused(owner.revoke_code("SPRING2030AB").await, "overloaded");
    assert!(began.elapsed() < LATE, "{:?}", began.elapsed());
    assert_eq!(test.number("select count(*) from users").await, 1);
    // No connection is left waiting, or in the middle of what nobody waits for.
    let busy =
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'referral'
                and state <> 'idle'";
    eventually("nothing waits", || async { test.number(busy).await == 0 }).await;
    other.batch_execute("rollback").await.expect("the end of the lock");
    owner.register("friend", Some("SPRING2030AB")).await.expect(201);
}

/// Not a word comes from it, and nobody says that it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_database_is_noticed_in_time_and_used_again_when_it_speaks() {
    let url = Setup::Postgres.prepare(&[]).await.database_url;
    let (_, rest) = url.split_once('@').expect("a user");
    let (server, name) = rest.split_once('/').expect("a database");
    let relay = Relay::to(server.rsplit(':').next().expect("a port").parse().expect("a number")).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}", relay.port);
    let mut test = Setup::Postgres.prepare_on(url, &[(REQUEST, "5")]).await;
    test.add_node().await;
    let user = test.user("user").await;
    user.create_code("SPRING2030AB").await.expect(201);
    for _ in 0..2 {
        relay.silence(true);
        let began = Instant::now();
        let body = far();
        let (read, list, write) = tokio::join!(
            user.get("/api/v1/me"),
            user.get("/api/v1/codes"),
            user.post("/api/v1/codes?replace=true", &body),
        );
        for answer in [read, list, write] {
            assert!(matches!(answer.json()["code"].as_str(), Some("unavailable" | "overloaded")), "{answer:?}");
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
        }
        assert!(began.elapsed() < LATE, "{:?}", began.elapsed());
        relay.silence(false);
        eventually("reads go on", || async { user.get("/api/v1/me").await.status == 200 }).await;
        eventually("lists go on", || async { user.get("/api/v1/codes").await.status == 200 }).await;
        eventually("writes go on", || async { user.post("/api/v1/codes?replace=true", &far()).await.status == 201 })
            .await;
    }
}

sql! {
    CLASH = "insert into logins (login_key, user_id) select login_key, user_id from logins";
}

/// PostgreSQL undoes it all when a statement has failed, and says no word about it at the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_goes_on_after_a_failed_statement_is_not_told_to_be_done() {
    let test = Setup::Postgres.start().await;
    test.user("user").await;
    let goes_on: Work<(), ()> = |tx, ()| {
        Box::pin(async move {
            assert!(tx.run(&CLASH, &params![]).await.is_err());
            Ok(())
        })
    };
    let outcome = test.app().db.write(Actor::SERVICE, (), goes_on).await;
    assert!(matches!(outcome, Err(Error::Internal(_))), "{outcome:?}");
}
