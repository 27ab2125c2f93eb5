//! Whatever holds a request up, its answer comes in time, and says truly whether something may have been done.

use std::time::{Duration, Instant};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client};
use crate::support::raw;

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

on_every_setup! {
    async fn who_does_not_send_the_rest_of_a_request_is_told_so_when_its_time_is_up(setup: Setup) {
        let test = impatient(setup, "1").await;
        let head = raw::request("POST", "/api/v1/auth/user", &[("Content-Length", "100")], b"{");
        let began = Instant::now();
        let (_, answer) = raw::talk(&test.nodes[1].url, &head).await;
        answer.expect("an answer").expect_problem(408, "request_timeout");
        // Ten seconds are what every body has.
        assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    }
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
