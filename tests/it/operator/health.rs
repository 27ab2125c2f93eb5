//! What the service says of itself, and what it takes for no reason to stop: a log that cannot be written, a database
//! that takes no writes, a Redis that answers and refuses.

use std::fs::OpenOptions;
use std::io::pipe;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use referral::db::Db;
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::Client;
use crate::support::hunter::{Hunter, Reply};
use crate::support::process::{Operator, Serving};
use crate::support::servers::{Postgres, PostgresOptions, Redis, free_port};

// ------------------------------------------------------------------------------------------------------ the log

/// Requests, background work and the end of the process do not depend on whoever reads the log.
async fn goes_on_without_its_log(stderr: Stdio) {
    let mut operator = Operator::on_a_free_port();
    let figures = format!("127.0.0.1:{}", free_port());
    operator.set("REFERRAL_LOG", "trace");
    operator.set("REFERRAL_METRICS_LISTEN", figures.as_str());
    let serving = operator.serve_telling(stderr);
    let user = serving.client().signed_up("user").await;
    let lost = async || {
        let text =
            reqwest::get(format!("http://{figures}/metrics")).await.expect("figures").text().await.expect("text");
        let line = text.lines().find(|line| line.starts_with("referral_log_lines_lost_total ")).expect("a line");
        line.rsplit(' ').next().expect("a number").parse::<u64>().expect("a number")
    };
    let began = Instant::now();
    while lost().await == 0 {
        let many = (0..200).map(|_| async {
            user.get("/api/v1/me").await.expect(200);
            user.anonymous().get("/api/v1/me").await.expect(401);
        });
        join_all(many).await;
        assert!(began.elapsed() < Duration::from_secs(60), "no line is lost");
    }
    // The loops go on as well: what an emergency takes back is refused without a restart.
    operator.run(&["keys", "rotate", "--emergency"]).well();
    eventually("the former key is not believed", || async { user.get("/api/v1/me").await.status == 401 }).await;
    serving.client().get("/readyz").await.expect(200);
    serving.stop().well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_on_a_full_disk_stops_nothing() {
    goes_on_without_its_log(OpenOptions::new().write(true).open("/dev/full").expect("a full device").into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_is_gone_stops_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    goes_on_without_its_log(writer.into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    goes_on_without_its_log(writer.into()).await;
    drop(reader);
}

// ----------------------------------------------------------------------------------------------------- readiness

/// Why it is not ready; nothing if it is.
async fn reason(client: &Client, path: &str) -> Option<String> {
    let answer = client.get(path).await;
    match answer.status {
        200 => None,
        _ => {
            let problem = answer.expect_problem(503, "unavailable");
            assert_eq!(problem.header("retry-after"), "1");
            Some(problem.json()["reason"].as_str().expect("a reason").to_owned())
        }
    }
}

async fn becomes(client: &Client, expected: Option<&str>) {
    eventually("readiness tells", || async { reason(client, "/readyz").await.as_deref() == expected }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_written_is_told_while_reads_go_on() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve_limitable();
    let user = serving.client().signed_up("user").await;
    user.create_code("SPRING2030AB").await.expect(201);
    becomes(&user, None).await;
    serving.limit_files("1");
    becomes(&user, Some("io_error")).await;
    assert_eq!(user.post("/api/v1/codes?replace=true", &json!({"expires_at": "2099-01-01"})).await.status, 503);
    assert_eq!(reason(&user, "/readyz?reads").await, None);
    user.get("/api/v1/codes/user@example.com").await.expect(200);
    serving.limit_files("unlimited");
    becomes(&user, None).await;
    user.post("/api/v1/codes?replace=true", &json!({"expires_at": "2099-01-01"})).await.expect(201);
    serving.stop().well();
}

/// As a disk without room, but that what has its pages goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_sqlite_is_told_while_reads_go_on() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    user.create_code("SPRING2030AB").await.expect(201);
    let Db::Sqlite(sqlite) = &test.app().db else { panic!("it is SQLite") };
    let limit = async |pages: u32| {
        let set = move |connection: &rusqlite::Connection| {
            let set = format!("pragma max_page_count = {pages}");
            connection.query_row(&set, [], |row| row.get::<_, i64>(0)).expect("a limit");
            Ok(())
        };
        sqlite.script(set).await.expect("it is set");
    };
    // As many as there are.
    limit(1).await;
    becomes(&user, Some("full")).await;
    assert_eq!(reason(&user, "/readyz?reads").await, None);
    user.get("/api/v1/codes/user@example.com").await.expect(200);
    limit(u32::MAX).await;
    becomes(&user, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_without_room_or_with_a_bad_disk_is_told_while_reads_go_on() {
    let test = Setup::Postgres.start().await;
    let client = test.client();
    becomes(&client, None).await;
    for (state, expected) in [("53100", "full"), ("58030", "io_error")] {
        test.sql(&format!(
            "create or replace function fail() returns trigger language plpgsql \
             as 'begin raise exception using errcode = ''{state}'', message = ''could not extend file''; end'; \
             create or replace trigger fail before insert on probes for each row execute function fail()"
        ))
        .await;
        becomes(&client, Some(expected)).await;
        assert_eq!(reason(&client, "/readyz?reads").await, None);
    }
    test.sql("drop trigger fail on probes").await;
    becomes(&client, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_program_holds_is_told_while_reads_go_on() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    let user = serving.client().signed_up("user").await;
    user.create_code("SPRING2030AB").await.expect(201);
    becomes(&user, None).await;
    let other = rusqlite::Connection::open(operator.path("referral.db")).expect("the database");
    other.execute_batch("begin immediate").expect("it is held");
    becomes(&user, Some("locked")).await;
    // Also while the next try waits for the file.
    for _ in 0..3 {
        assert_eq!(reason(&user, "/readyz").await.as_deref(), Some("locked"));
    }
    assert_eq!(reason(&user, "/readyz?reads").await, None);
    user.get("/api/v1/codes/user@example.com").await.expect(200);
    other.execute_batch("rollback").expect("it is let go");
    becomes(&user, None).await;
    serving.stop().well();
}

async fn node_on(postgres: &Postgres) -> TestApp {
    node_at(postgres.database().await).await
}

async fn node_at(url: String) -> TestApp {
    let mut test = Setup::Postgres.prepare_on(url, &[]).await;
    test.add_node().await;
    becomes(&test.client(), None).await;
    test
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_postgresql_is_told_while_reads_go_on() {
    let postgres = Postgres::start(PostgresOptions::default()).await;
    // By default a server that takes no writes is not read either: it may be a former primary.
    let url = postgres.database().await;
    let strict = node_at(url.clone()).await;
    let test = node_at(format!("{url}{}target_session_attrs=any", if url.contains('?') { '&' } else { '?' })).await;
    let user = test.user("user").await;
    user.create_code("SPRING2030AB").await.expect(201);
    let admin = test.beside().await;
    admin.batch_execute("set default_transaction_read_only = off").await.expect("for this connection");
    for (set, expected) in [
        ("alter system set default_transaction_read_only = on", Some("read_only")),
        ("alter system reset default_transaction_read_only", None),
    ] {
        admin.batch_execute(set).await.expect("a setting");
        admin.batch_execute("select pg_reload_conf()").await.expect("a reload");
        becomes(&user, expected).await;
        assert_eq!(reason(&user, "/readyz?reads").await, None);
        user.get("/api/v1/codes/user@example.com").await.expect(200);
        becomes(&strict.client(), expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_postgresql_is_told_in_time() {
    let postgres = Postgres::start(PostgresOptions::default()).await;
    let test = node_on(&postgres).await;
    postgres.pause();
    let client = test.client();
    becomes(&client, Some("silent")).await;
    let began = Instant::now();
    for path in ["/readyz", "/readyz?reads", "/readyz?reads=1"] {
        assert_eq!(reason(&client, path).await.as_deref(), Some("silent"), "{path}");
    }
    // Each within two seconds; the rest is for a machine with much else to do.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    postgres.resume();
    becomes(&client, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_background_loop_that_has_ended_is_told() {
    let test = Setup::Sqlite.start().await;
    let app = test.app().clone();
    let ending = tokio::spawn(async move { app.loops.keep("some", || false, || async {}).await });
    becomes(&test.client(), Some("background")).await;
    ending.abort();
}

// --------------------------------------------------------------------------------------------------------- Redis

/// A node with a Redis, its log in view.
struct Watched {
    serving: Serving,
    redis: redis::aio::MultiplexedConnection,
    server: Redis,
    _operator: Operator,
}

impl Watched {
    async fn start() -> Self {
        let server = Redis::start().await;
        let mut operator = Operator::on_a_free_port();
        operator.set("REDIS_URL", server.url());
        let serving = operator.serve();
        let client = redis::Client::open(server.url()).expect("an address");
        let redis = client.get_multiplexed_async_connection().await.expect("Redis is up");
        let watched = Self { serving, redis, server, _operator: operator };
        watched.becomes(json!({"status": "ok", "redis": "up"})).await;
        watched
    }

    async fn run(&self, words: &str) {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().expect("a command"));
        for word in words {
            command.arg(word);
        }
        command.query_async::<()>(&mut self.redis.clone()).await.expect("Redis does it");
    }

    async fn health(&self) -> Value {
        self.serving.client().get("/readyz").await.expect(200).json()
    }

    async fn becomes(&self, health: Value) {
        eventually("health tells of Redis", || async { self.health().await == health }).await;
    }

    /// Down for this reason, and down without a break for as long as fifty looks at a database take.
    async fn stays_down(&self, why: &str) {
        self.becomes(json!({"status": "degraded", "redis": "down", "redis_reason": why})).await;
        let user = self.serving.client().signed_up(&format!("user_{why}")).await;
        for _ in 0..50 {
            user.get("/api/v1/codes/nobody@example.com").await.expect(404);
            // Why may be another reason for a moment: a machine with much to do is slow.
            assert_eq!(self.health().await["redis"], "down");
        }
    }

    async fn comes_back(&self) {
        self.becomes(json!({"status": "ok", "redis": "up"})).await;
    }

    /// The log was told of one time that Redis was not used, however long it was.
    async fn was_down_once(self) {
        self.comes_back().await;
        let log = self.serving.stop().well().stderr;
        assert_eq!(log.matches("Redis is not used").count(), 1, "{log}");
        assert_eq!(log.matches("Redis is up").count(), 2, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_is_down_for_a_reason_and_said_to_be_so_once() {
    let watched = Watched::start().await;
    let refusals = [
        // Connections that are there stay as they are.
        (
            "password",
            &["CONFIG SET requirepass secret", "CLIENT KILL TYPE normal SKIPME yes"][..],
            &["CONFIG SET requirepass "][..],
        ),
        ("permission", &["ACL SETUSER default -evalsha"][..], &["ACL SETUSER default +evalsha"][..]),
        ("permission", &["ACL SETUSER default -publish"][..], &["ACL SETUSER default +publish"][..]),
        (
            "master_down",
            &["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"][..],
            &["REPLICAOF NO ONE", "CONFIG SET replica-serve-stale-data yes"][..],
        ),
        ("read_only", &["REPLICAOF 127.0.0.1 1"][..], &["REPLICAOF NO ONE"][..]),
        (
            "full",
            &["CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1"][..],
            &["CONFIG SET maxmemory 0"][..],
        ),
    ];
    for (number, (why, strike, mend)) in refusals.iter().enumerate() {
        for command in *strike {
            watched.run(command).await;
        }
        let down = json!({"status": "degraded", "redis": "down", "redis_reason": why});
        watched.becomes(down.clone()).await;
        for _ in 0..50 {
            assert_eq!(watched.health().await, down);
        }
        for command in *mend {
            watched.run(command).await;
        }
        watched.comes_back().await;
        let count = |text| watched.serving.log().matches(text).count();
        // The log is written beside the answers.
        eventually("it is logged", || async { count("Redis is up") == number + 2 }).await;
        assert_eq!(count("Redis is not used"), number + 1, "{}", watched.serving.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_paused_is_down_until_it_answers_in_time() {
    let watched = Watched::start().await;
    // Reads go on: it is what stores and announces that waits.
    watched.run("CLIENT PAUSE 600000 WRITE").await;
    watched.stays_down("slow").await;
    watched.run("CLIENT UNPAUSE").await;
    watched.was_down_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_is_down_until_it_goes_on() {
    let watched = Watched::start().await;
    watched.server.pause();
    watched.stays_down("slow").await;
    watched.server.resume();
    watched.was_down_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_busy_with_a_script_is_down_until_that_ends() {
    let watched = Watched::start().await;
    watched.run("CONFIG SET lua-time-limit 1").await;
    let client = redis::Client::open(watched.server.url()).expect("an address");
    let mut other = client.get_multiplexed_async_connection().await.expect("Redis is up");
    let script =
        tokio::spawn(
            async move { redis::cmd("EVAL").arg("while true do end").arg(0).query_async::<()>(&mut other).await },
        );
    watched.stays_down("busy").await;
    watched.run("SCRIPT KILL").await;
    script.await.expect("no panic").expect_err("it was killed");
    watched.was_down_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_loads_is_down_until_it_has_loaded() {
    let mut watched = Watched::start().await;
    watched.run("CONFIG SET rdbcompression no").await;
    let fill = "for i = 1, 3000 do redis.call('SET', 'key' .. i, string.rep('x', 1200)) end";
    redis::cmd("EVAL").arg(fill).arg(0).query_async::<()>(&mut watched.redis).await.expect("it is filled");
    watched.run("SAVE").await;
    watched.server.restart_loading().await;
    watched.stays_down("loading").await;
    watched.server.load_the_rest();
    watched.was_down_once().await;
}

// ---------------------------------------------------------------------------------------------------------- jobs

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_silent_verifier_and_its_job_goes_back() {
    let hunter = Hunter::saying(|_| Reply::Silence).await;
    let mut operator = Operator::on_a_free_port();
    for (name, value) in hunter.settings("flag") {
        operator.set(name, value);
    }
    let serving = operator.serve();
    serving.client().register("patient", None).await.expect(201);
    eventually("Hunter is asked", || async { hunter.asked().len() == 1 }).await;
    serving.stop().well();
    let database = rusqlite::Connection::open(operator.path("referral.db")).expect("the database");
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get(2)?));
    let sql = "select attempts, lease_until, done_at from jobs";
    let job: (i64, Option<i64>, Option<i64>) = database.query_row(sql, [], read).expect("the job");
    assert_eq!(job, (0, None, None), "as if nobody had claimed it");
}
