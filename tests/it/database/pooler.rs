//! Behind a pooler: PgBouncer, which hands its connections around, in both of its modes.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::Client;
use crate::support::process::Operator;
use crate::support::servers::{PgBouncer, Postgres};
use crate::support::spy::Spy;

/// Many callers at once, more than the pooler has connections, of the kinds of statement that there are: read, listed,
/// written in one statement and by steps. Each gets what is right.
async fn everybody_gets_what_is_right(test: &TestApp, round: u32) {
    let owner = test.user(&format!("owner{round}")).await;
    owner.create_code(&format!("SPRING2030R{round}")).await.expect(201);
    let callers = (0..6).map(|n| async move {
        let caller = test.user(&format!("caller{round}x{n}")).await;
        caller.at(&test.nodes[n % test.nodes.len()].url)
    });
    let callers: Vec<Client> = join_all(callers).await;
    let work = callers.iter().enumerate().map(|(n, caller)| {
        let owner = &owner;
        async move {
            for turn in 0..15 {
                let path = format!("/api/v1/codes/owner{round}@example.com");
                assert_eq!(caller.get(&path).await.expect(200).json()["code"], format!("SPRING2030R{round}"));
                assert_eq!(caller.get("/api/v1/me").await.expect(200).json()["username"], caller.username);
                caller.get(&format!("/api/v1/users/{}", owner.id)).await.expect(200);
                caller.patch("/api/v1/me", &json!({"discoverable": turn % 2 == 0})).await.expect(200);
                let code = format!("R{round}C{n}T{turn:08}");
                let body = json!({"code": code, "expires_at": "2099-01-01"});
                caller.post("/api/v1/codes?replace=true", &body).await.expect(201);
                assert_eq!(caller.get("/api/v1/codes").await.expect(200).json()["total"], turn + 1);
            }
        }
    });
    join_all(work).await;
}

async fn through_a_pooler(mode: &str) {
    let server = Postgres::shared().await;
    let pooler = PgBouncer::before(server, mode).await;
    let spy = Spy::before(&pooler.url(&server.database().await)).await;
    let mut test = Setup::Postgres.prepare_on(spy.url.clone(), &[]).await;
    // Two nodes, whose statements would have the same names.
    test.add_node().await;
    test.add_node().await;
    everybody_gets_what_is_right(&test, 1).await;
    let prepared = spy.prepared();
    assert!(prepared.iter().all(String::is_empty), "named statements: {prepared:?}");
    assert!(prepared.len() > 500, "the spy has seen the statements: {}", prepared.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_in_transaction_mode_answers_are_right_and_nothing_is_prepared() {
    through_a_pooler("transaction").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_in_session_mode_answers_are_right_and_nothing_is_prepared() {
    through_a_pooler("session").await;
}

/// The address leads to the server itself first, and to a pooler after its connections were cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_comes_later_is_noticed_before_its_first_connection_is_used() {
    let server = Postgres::shared().await;
    let direct = server.database().await;
    let pooler = PgBouncer::before(server, "transaction").await;
    let spy = Spy::before(&direct).await;
    let mut test = Setup::Postgres.prepare_on(spy.url.clone(), &[]).await;
    test.add_node().await;
    everybody_gets_what_is_right(&test, 1).await;
    assert!(spy.prepared().iter().any(|name| !name.is_empty()), "the server's own connections have named ones");

    spy.redirect(&pooler.url(&direct));
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
               where datname = current_database() and application_name = 'referral'";
    let own = tokio_postgres::connect(&direct, tokio_postgres::NoTls).await.expect("PostgreSQL");
    let (own, connection) = own;
    tokio::spawn(connection);
    let ended = own.query(cut, &[]).await.expect("they are ended").len();
    assert!(ended > 2, "there were connections to cut: {ended}");
    let before = spy.prepared().len();
    let client = test.client().logged_in("owner1").await;
    eventually("it works again", || async { client.get("/api/v1/me").await.status == 200 }).await;
    everybody_gets_what_is_right(&test, 2).await;
    let prepared = spy.prepared().split_off(before);
    assert!(prepared.iter().all(String::is_empty), "named statements: {prepared:?}");
    assert!(prepared.len() > 250, "the spy has seen the statements: {}", prepared.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_of_a_pooler_once() {
    let server = Postgres::shared().await;
    let direct = server.database().await;
    let pooler = PgBouncer::before(server, "transaction").await;
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", pooler.url(&direct));
    let serving = operator.serve();
    serving.client().signed_up("somebody").await.get("/api/v1/codes").await.expect(200);
    let request = serving.client().request(Method::GET, "/readyz");
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let log = serving.stop().well().stderr;
    assert_eq!(log.matches("leads to a connection pooler").count(), 1, "{log}");
    let told = operator.run(&["check"]).well().stdout;
    assert!(told.contains("note  database: a connection pooler"), "{told}");

    operator.set("DATABASE_URL", direct);
    assert!(!operator.run(&["check"]).well().stdout.contains("pooler"));
    let serving = operator.serve();
    serving.client().get("/readyz").await.expect(200);
    assert!(!serving.stop().well().stderr.contains("pooler"));
}
