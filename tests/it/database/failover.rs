//! A standby takes over, and the former primary stays up with its sessions open and takes no more writes.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::Client;
use crate::support::relay::Relay;
use crate::support::servers::{Postgres, PostgresOptions};

/// What a node may take to be with the new primary.
const RECOVERY: Duration = Duration::from_secs(5);
const READ_ONLY: &str = "alter system set default_transaction_read_only = on; select pg_reload_conf()";
const SESSIONS: &str = "select count(*) from pg_stat_activity where application_name = 'referral'";
const LISTENERS: &str = "select count(*) from pg_stat_activity where query = 'listen referral_changes'";

struct Pair {
    primary: Postgres,
    standby: Postgres,
    name: String,
}

impl Pair {
    async fn start() -> Pair {
        let primary = Postgres::start(PostgresOptions::default()).await;
        let url = primary.database().await;
        let standby = Postgres::standby_of(&primary).await;
        let name = url.rsplit('/').next().expect("a database").to_owned();
        Pair { primary, standby, name }
    }

    fn url(&self, ports: &[u16]) -> String {
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("postgres://postgres@{}/{}", hosts.join(","), self.name)
    }

    /// The primary stays up and takes no more writes; the standby, which has all of them, takes over.
    async fn fail_over(&self) {
        self.primary.sql(READ_ONLY).await;
        let written = self.primary.value("select pg_current_wal_lsn()").await;
        let has_all = format!("select pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
        eventually("the standby has all", || async { self.standby.value(&has_all).await == "t" }).await;
        self.standby.sql("select pg_promote()").await;
        let follows = "select pg_is_in_recovery()";
        eventually("the standby takes over", || async { self.standby.value(follows).await == "f" }).await;
    }
}

async fn is_valid(client: &Client, code: &str) -> Option<bool> {
    let answer = client.post("/api/v1/codes/validate", &json!({"code": code})).await;
    if answer.status == 503 { None } else { answer.expect(200).json()["valid"].as_bool() }
}

/// A node that nobody asks to write, and one that is asked for nothing else.
async fn comes_through(pair: &Pair, url: String, elsewhere: impl AsyncFn()) {
    let new = pair.url(&[pair.standby.port()]);
    let mut test: TestApp = Setup::Postgres.prepare_on(url, &[("REFERRAL_HTTP_REQUEST_SECONDS", "10")]).await;
    test.add_node().await;
    test.add_node().await;
    let user = test.user("user").await;
    let (reader, writer) = (user.at(&test.nodes[0].url), user.at(&test.nodes[1].url));
    user.create_code("SPRING2030AB").await.expect(201);
    assert_eq!(is_valid(&reader, "SPRING2030AB").await, Some(true));

    pair.fail_over().await;
    elsewhere().await;
    let began = Instant::now();
    eventually("writes go on", || async {
        writer.patch("/api/v1/me", &json!({"discoverable": true})).await.status == 200
    })
    .await;
    assert!(began.elapsed() < RECOVERY, "writes came back after {:?}", began.elapsed());

    // Revoked by somebody who is with the new primary.
    test.add_node_with(&[("DATABASE_URL", &new)]).await;
    let began = Instant::now();
    user.at(&test.nodes[2].url).revoke_code("SPRING2030AB").await.expect(204);
    reader.register("friend", Some("SPRING2030AB")).await.expect_problem(404, "code_not_usable");
    eventually("the revoked code is not valid", || async { is_valid(&reader, "SPRING2030AB").await == Some(false) })
        .await;
    assert!(began.elapsed() < RECOVERY, "it looked valid for {:?}", began.elapsed());

    // Nothing of ours stays with the former primary, and whoever listens does so at the new one.
    eventually("no session is left behind", || async { pair.primary.value(SESSIONS).await == "0" }).await;
    eventually("all listen there", || async { pair.standby.value(LISTENERS).await == "3" }).await;
    reader.create_code("SUMMER2030AB").await.expect(201);
    assert_eq!(pair.standby.in_database(&pair.name, "select count(*) from codes").await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_know_both_servers_go_over_to_the_new_primary() {
    let pair = Pair::start().await;
    let url = pair.url(&[pair.primary.port(), pair.standby.port()]);
    comes_through(&pair, url, async || ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_behind_a_proxy_that_keeps_open_connections_go_over_to_the_new_primary() {
    let pair = Pair::start().await;
    let relay = Relay::to(pair.primary.port()).await;
    let url = pair.url(&[relay.port]);
    comes_through(&pair, url, async || relay.lead_to(pair.standby.port())).await;
}

/// A node that is only ever asked to read is told by nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_reads_leaves_a_server_that_takes_no_writes() {
    let pair = Pair::start().await;
    let url = pair.url(&[pair.primary.port(), pair.standby.port()]);
    let mut test = Setup::Postgres.prepare_on(url, &[("REFERRAL_HTTP_REQUEST_SECONDS", "10")]).await;
    test.add_node().await;
    let reader = test.user("user").await;
    reader.create_code("SPRING2030AB").await.expect(201);
    pair.fail_over().await;
    let began = Instant::now();
    eventually("it reads at the new primary", || async {
        is_valid(&reader, "SPRING2030AB").await == Some(true) && pair.primary.value(SESSIONS).await == "0"
    })
    .await;
    assert!(began.elapsed() < RECOVERY, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_one_that_is_silent_holds_up_nobody() {
    let server = Postgres::start(PostgresOptions::default()).await;
    let name = server.database().await.rsplit('/').next().expect("a database").to_owned();
    let silent = Relay::to(server.port()).await;
    silent.silence(true);
    let url = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{name}", silent.port, server.port());
    let mut test = Setup::Postgres.prepare_on(url, &[]).await;
    test.add_node().await;
    // What was found once is asked first from then on: nobody waits for the silent one again.
    let client = test.client();
    for round in 0..5 {
        client.post("/api/v1/codes/validate", &json!({"code": format!("SPRING203{round}AB")})).await.expect(200);
    }
}
