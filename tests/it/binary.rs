//! The binary as an operator meets it: the command line, settings, signals, logs and figures.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use referral::db::migrate;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::on_both_engines;
use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::hunter::{Hunter, Reply};
use crate::support::process::{Ended, Operator, Running, Serving};
use crate::support::servers::{Postgres, PostgresOptions, Redis, free_port};

/// An operator with the engine of a set-up: SQLite in the working directory, or a database of PostgreSQL's.
pub async fn operator(setup: Setup) -> Operator {
    let mut operator = Operator::on_a_free_port();
    if setup != Setup::Sqlite {
        operator.set("DATABASE_URL", Postgres::shared().await.database().await);
    }
    operator
}

// ---------------------------------------------------------------------------------------------- the command line

#[tokio::test]
async fn with_nothing_configured_it_serves_on_sqlite_in_the_working_directory() {
    let mut operator = Operator::new();
    operator.set("REFERRAL_LISTEN", "127.0.0.1:0");
    let serving = operator.serve();
    assert!(serving.url.starts_with("http://127.0.0.1:"), "{}", serving.url);
    assert!(operator.path("referral.db").exists());
    let root = serving.client().get("/").await.expect(307);
    assert_eq!(root.header("location"), "/docs");
    serving.client().get("/docs").await.expect(200);
    serving.client().get("/readyz").await.expect(200);
    serving.client().signed_up("somebody").await;
    let ended = serving.stop().well();
    let said = format!("Referral listens on {0} (docs: {0}/docs)\n", ended.stdout.split(' ').nth(3).expect("a url"));
    assert_eq!(ended.stdout, said);
}

/// The port may be somebody else's on the machine that runs the tests; it is named either way.
#[test]
fn without_any_setting_it_listens_on_port_8000_of_this_machine_alone() {
    let operator = Operator::new();
    let mut running = operator.start(&[]);
    while running.listens_on().is_none() && !running.ended() {
        std::thread::yield_now();
    }
    match running.listens_on() {
        Some(url) => assert_eq!(url, "http://127.0.0.1:8000"),
        None => drop(running.wait().refused(&["127.0.0.1:8000", "REFERRAL_LISTEN"])),
    }
}

/// The subcommands that a help text lists.
fn commands(help: &str) -> Vec<&str> {
    let (_, rest) = help.split_once("Commands:\n").unwrap_or_default();
    let lines = rest.lines().take_while(|line| !line.is_empty());
    // What belongs to the line before is indented further.
    lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split(' ').next()).collect()
}

#[test]
fn it_tells_its_version_and_every_command_helps() {
    let operator = Operator::new();
    let version = operator.run(&["--version"]).well();
    let built = concat!("referral ", env!("CARGO_PKG_VERSION"), " (");
    let commit = version.stdout.strip_prefix(built).and_then(|rest| rest.strip_suffix(")\n")).expect("a commit");
    let is_hash = commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    // An archive of the sources has no repository.
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists();
    assert!(is_hash || !repository && commit == "unknown", "{version:?}");
    let help = operator.run(&["--help"]).well().stdout;
    assert!(help.contains("A self-hosted referral-program service"), "{help}");
    for command in ["serve", "migrate", "admin", "keys", "check", "config", "health", "openapi", "completions", "man"] {
        assert!(commands(&help).contains(&command), "{command}: {help}");
    }
    for command in commands(&help).into_iter().filter(|command| *command != "help") {
        let help = operator.run(&[command, "--help"]).well().stdout;
        assert!(help.contains(&format!("Usage: referral {command}")), "{help}");
        assert_eq!(operator.run(&["help", command]).well().stdout, help);
        for below in commands(&help).into_iter().filter(|below| *below != "help") {
            let help = operator.run(&[command, below, "--help"]).well().stdout;
            assert!(help.contains(&format!("Usage: referral {command} {below}")), "{help}");
        }
    }
    assert!(operator.files().is_empty(), "asking for help makes nothing");
}

#[test]
fn a_command_that_there_is_not_is_told_with_the_usage() {
    let operator = Operator::new();
    for arguments in [&["sevre"][..], &["admin"], &["admin", "create"], &["admin", "create", "name"], &["--nonsense"]] {
        let ended = operator.run(arguments);
        assert_ne!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("Usage: referral"), "{ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    }
    assert!(operator.files().is_empty());
}

#[test]
fn the_printed_settings_load_again() {
    let operator = Operator::on_a_free_port();
    let printed = operator.run(&["config"]).well().stdout;
    operator.write("referral.toml", &printed);
    operator.run(&["--config", "referral.toml", "check"]).well();
    operator.run(&["check", "--config", "referral.toml"]).well();
    // They are read, not merely accepted.
    let changed = printed.replace("\"sqlite:referral.db\"", "\"sqlite:elsewhere.db\"");
    operator.write("referral.toml", &changed);
    operator.run(&["--config", "referral.toml", "migrate"]).well();
    assert!(operator.path("elsewhere.db").exists());
    assert!(!operator.path("referral.db").exists());
}

#[test]
fn the_document_in_the_repository_is_the_one_of_the_binary() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let kept = std::fs::read_to_string(kept).expect("docs/openapi.json");
    let printed = Operator::new().run(&["openapi"]).well().stdout;
    assert!(
        kept == printed,
        "the API has changed: run `cargo run -- openapi > docs/openapi.json` and look at the change"
    );
}

#[tokio::test]
async fn the_served_document_is_the_printed_one() {
    let operator = Operator::on_a_free_port();
    let printed: Value = serde_json::from_str(&operator.run(&["openapi"]).well().stdout).expect("JSON");
    assert_eq!(operator.serve().client().get("/openapi.json").await.expect(200).json(), printed);
}

// ---------------------------------------------------------------------------------------------------- migrations

on_both_engines!(migrating_twice_applies_everything_once);
async fn migrating_twice_applies_everything_once(setup: Setup) {
    let operator = operator(setup).await;
    let newest = migrate::newest();
    let first = operator.run(&["migrate"]).well().stdout;
    assert_eq!(first, format!("schema {newest}; {newest} step(s) applied\n"));
    let second = operator.run(&["migrate"]).well().stdout;
    assert_eq!(second, format!("schema {newest}; 0 step(s) applied\n"));
}

on_both_engines!(five_processes_that_migrate_at_once_apply_everything_once);
async fn five_processes_that_migrate_at_once_apply_everything_once(setup: Setup) {
    for _ in 0..3 {
        let operator = operator(setup).await;
        let mut running: Vec<_> = (0..5).map(|_| operator.start(&["migrate"])).collect();
        let mut applied = 0;
        for ended in running.iter_mut().map(|process| process.wait().well()) {
            let (_, steps) = ended.stdout.split_once("; ").expect("how many steps");
            applied += steps.split(' ').next().expect("a number").parse::<i64>().expect("a number");
        }
        assert_eq!(applied, migrate::newest());
    }
}

on_both_engines!(of_five_that_start_at_once_on_nothing_all_serve_who_may);
/// On SQLite one serves; the others are told so, and have disturbed nobody.
async fn of_five_that_start_at_once_on_nothing_all_serve_who_may(setup: Setup) {
    let operator = operator(setup).await;
    let mut running: Vec<_> = (0..5).map(|_| operator.start(&["serve"])).collect();
    if setup == Setup::Sqlite {
        let started = |running: &[Running]| running.iter().any(|process| process.listens_on().is_some());
        eventually("one serves", || async { started(&running) }).await;
        let (mut one, others): (Vec<_>, Vec<_>) =
            running.into_iter().partition(|process| process.listens_on().is_some());
        for mut other in others {
            other.wait().refused(&["another `referral serve` serves from referral.db"]);
        }
        running = vec![one.pop().expect("one serves")];
        assert!(one.is_empty(), "two serve");
    }
    let serving: Vec<Serving> = running.into_iter().map(Serving::of).collect();
    let client = serving[0].client().signed_up("somebody").await;
    let keys = async |node: &Serving| node.client().get("/.well-known/jwks.json").await.expect(200).text;
    // The second key is made after the start.
    eventually("there are two keys", || async { keys(&serving[0]).await.contains("RSA") }).await;
    for node in &serving {
        let all = keys(&serving[0]).await;
        eventually("all have the same keys", || async { keys(node).await == all }).await;
        node.client().log_in("somebody", PASSWORD).await.expect(200);
    }
    client.get("/api/v1/me").await.expect(200);
}

on_both_engines!(a_migration_that_is_killed_midway_is_done_by_the_next);
async fn a_migration_that_is_killed_midway_is_done_by_the_next(setup: Setup) {
    let operator = operator(setup).await;
    let waits = match setup {
        // Whatever the writer does first waits for this one.
        Setup::Sqlite => {
            let other = rusqlite::Connection::open(operator.path("referral.db")).expect("a file");
            other.execute_batch("pragma journal_mode = wal; begin immediate; create table t (x)").expect("the lock");
            Err(other)
        }
        // A table of the same name, which nobody else sees yet, stands in the middle of the step.
        _ => {
            let (client, connection) = connect(&operator).await;
            tokio::spawn(connection);
            client.batch_execute("begin; create table jobs (id bigint)").await.expect("a table");
            Ok(client)
        }
    };
    let mut migrating = operator.start(&["migrate"]);
    match &waits {
        Ok(_) => {
            // Not from within the transaction, which sees one state of all others.
            let waiting = "select pid::text from pg_stat_activity \
                           where datname = current_database() and wait_event_type = 'Lock'";
            eventually("it is in the middle", || async { texts(&operator, waiting).await.len() == 1 }).await;
        }
        Err(_) => {
            let file = operator.path("referral.db");
            eventually("it is at work", || async { migrating.has_open(&file) }).await;
        }
    }
    assert!(!migrating.ended());
    migrating.signal("KILL");
    assert_eq!(migrating.wait().code, None);
    match waits {
        Ok(client) => client.batch_execute("rollback").await.expect("the table is gone"),
        Err(other) => other.execute_batch("rollback").expect("the end of the lock"),
    }
    let newest = migrate::newest();
    assert_eq!(operator.run(&["migrate"]).well().stdout, format!("schema {newest}; {newest} step(s) applied\n"));
    operator.serve().client().signed_up("somebody").await;
}

on_both_engines!(a_newer_schema_is_left_alone);
async fn a_newer_schema_is_left_alone(setup: Setup) {
    let operator = operator(setup).await;
    operator.run(&["migrate"]).well();
    sql(&operator, "insert into schema_migrations values (999, 'from the future', 0)").await;
    for command in ["serve", "migrate"] {
        operator.run(&[command]).refused(&["schema 999", "run the newer binary"]);
    }
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains("WRONG database: it has schema 999"), "{told:?}");
}

type Connection = tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>;

async fn connect(operator: &Operator) -> (tokio_postgres::Client, Connection) {
    let url = operator.get("DATABASE_URL").expect("an address");
    tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL")
}

/// Runs SQL beside the service.
pub async fn sql(operator: &Operator, sql: &str) {
    if operator.get("DATABASE_URL").is_none() {
        let connection = rusqlite::Connection::open(operator.path("referral.db")).expect("the file");
        connection.busy_timeout(std::time::Duration::from_secs(10)).expect("a time-out");
        connection.execute_batch(sql).expect("it runs");
    } else {
        let (client, connection) = connect(operator).await;
        tokio::spawn(connection);
        client.batch_execute(sql).await.expect("it runs");
    }
}

/// The texts of the first column of an answer.
pub async fn texts(operator: &Operator, sql: &str) -> HashSet<String> {
    if operator.get("DATABASE_URL").is_none() {
        let connection = rusqlite::Connection::open(operator.path("referral.db")).expect("the file");
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("texts")
    } else {
        let (client, connection) = connect(operator).await;
        tokio::spawn(connection);
        client.query(sql, &[]).await.expect("rows").iter().map(|row| row.get(0)).collect()
    }
}

// --------------------------------------------------------------------------------------------------------- check

on_every_setup!(check_finds_nothing_wrong_where_nothing_is_and_changes_nothing);
async fn check_finds_nothing_wrong_where_nothing_is_and_changes_nothing(setup: Setup) {
    let mut operator = operator(setup).await;
    let redis = if setup == Setup::PostgresAndRedis { Some(Redis::start().await) } else { None };
    if let Some(redis) = &redis {
        operator.set("REDIS_URL", redis.url());
    }
    // Before there is anything.
    let told = operator.run(&["check"]).well();
    assert!(told.stdout.contains("ok    database: "), "{told:?}");
    if let Some(redis) = &redis {
        assert!(told.stdout.contains("ok    redis: reached; the key referral:probe was stored"), "{told:?}");
        assert_eq!(redis.keys().await, ["referral:probe"]);
    }
    assert!(operator.files().is_empty(), "{:?}", operator.files());
    if setup != Setup::Sqlite {
        let tables = texts(&operator, "select tablename::text from pg_tables where schemaname = 'public'").await;
        assert!(tables.is_empty(), "{tables:?}");
    }
    // And when there is.
    operator.run(&["migrate"]).well();
    let before = operator.files();
    let told = operator.run(&["check"]).well();
    assert!(told.stdout.contains(&format!("reached, schema {}", migrate::newest())), "{told:?}");
    assert_eq!(changed(&before, &operator.files()), [""; 0]);
    // While the service runs the port is its own, and anybody else's is told.
    let serving = operator.serve();
    operator.set("REFERRAL_LISTEN", serving.url.trim_start_matches("http://"));
    let told = operator.run(&["check"]).well();
    assert!(told.stdout.contains("where a service of Referral's runs now"), "{told:?}");
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    operator.set("REFERRAL_LISTEN", other.local_addr().expect("an address").to_string());
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains("WRONG http.listen"), "{told:?}");
    assert!(told.stdout.contains("ok    database"), "{told:?}");
    drop(other);
    // Any number of nodes may serve from PostgreSQL.
    let held = told.stdout.contains("note  database: a `referral serve` serves from referral.db;");
    assert_eq!(held, setup == Setup::Sqlite, "{told:?}");
    serving.stop().well();
    let told = operator.run(&["check"]).well();
    assert!(!told.stdout.contains("note  database"), "{told:?}");
}

/// The names of files that were made, removed or written.
fn changed<'a>(before: &'a [(String, Vec<u8>)], after: &'a [(String, Vec<u8>)]) -> Vec<&'a str> {
    let missing = |these: &'a [(String, Vec<u8>)], those: &'a [(String, Vec<u8>)]| {
        these.iter().filter(|file| !those.contains(file)).map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    [missing(before, after), missing(after, before)].concat()
}

#[test]
fn check_changes_nothing_in_a_database_that_was_restored_from_a_copy() {
    let operator = Operator::on_a_free_port();
    operator.run(&["migrate"]).well();
    let original = rusqlite::Connection::open(operator.path("referral.db")).expect("the file");
    let copy = operator.path("copy.db");
    original.execute("vacuum into ?1", [copy.to_str().expect("a plain path")]).expect("a copy");
    drop(original);
    for file in ["referral.db", "referral.db-wal", "referral.db-shm"] {
        let _ = std::fs::remove_file(operator.path(file));
    }
    std::fs::rename(copy, operator.path("referral.db")).expect("the copy takes its place");
    let before = operator.files();
    operator.run(&["check"]).well();
    assert_eq!(changed(&before, &operator.files()), [""; 0]);
}

#[tokio::test]
async fn check_names_each_thing_that_is_wrong() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let _keep = std::net::TcpListener::bind(&taken);
    let mut redis = Redis::start().await;
    redis.kill();
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", "postgres://postgres:s3cr3t@127.0.0.1:1/n");
    operator.set("REDIS_URL", redis.url());
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains("WRONG database: cannot connect to PostgreSQL"), "{told:?}");
    assert!(!told.stdout.contains("s3cr3t"), "{told:?}");
    // All at once: what is behind the database is tried as well.
    assert!(told.stdout.contains("WRONG redis: "), "{told:?}");

    for database in [None, Some("sqlite:referral.db"), Some("sqlite:other.db")] {
        operator.unset("DATABASE_URL");
        if let Some(database) = database {
            operator.set("DATABASE_URL", database);
        }
        let told = operator.run(&["check"]);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.stdout.contains("ok    database"), "{told:?}");
        assert!(told.stdout.contains("WRONG redis: it does not answer"), "{told:?}");
        assert!(told.stdout.contains("REDIS_URL"), "{told:?}");
        operator.run(&["migrate"]).well();
    }

    operator.unset("REDIS_URL");
    operator.write("nonsense.db", [b'x'; 8192]);
    for (url, part) in [
        ("sqlite:nonsense.db", "nonsense.db"),
        ("sqlite:no/such/folder/referral.db", "no/such/folder"),
        ("sqlite:.", "names the folder"),
    ] {
        operator.set("DATABASE_URL", url);
        let told = operator.run(&["check"]);
        assert_eq!(told.code, Some(1), "{url}: {told:?}");
        assert!(told.stdout.lines().any(|line| line.starts_with("WRONG database") && line.contains(part)), "{told:?}");
    }
}

// --------------------------------------------------------------------------------------------------------- admin

async fn roles(client: &Client) -> Value {
    client.get("/api/v1/me").await.expect(200).json()["roles"].clone()
}

on_both_engines!(accounts_are_managed_from_the_machine_beside_the_running_service);
async fn accounts_are_managed_from_the_machine_beside_the_running_service(setup: Setup) {
    let operator = operator(setup).await;
    let serving = operator.serve();
    let admin =
        |arguments: &[&str], input: &str| -> Ended { operator.run_with(&[&["admin"], arguments].concat(), input) };

    let made = admin(&["create", "boss", "boss@example.com"], "Q123werty!23\n").well();
    assert!(made.stdout.contains("boss is a manager"), "{made:?}");
    assert!(!made.stdout.contains(PASSWORD) && !made.stderr.contains(PASSWORD), "{made:?}");
    let boss = serving.client().logged_in("boss").await;
    assert_eq!(roles(&boss).await, json!(["user", "manager"]));

    let user = serving.client().signed_up("user").await;
    user.create_code("SPRING2030AB").await.expect(201);
    assert_eq!(roles(&user).await, json!(["user"]));
    admin(&["promote", "user@example.com"], "").well();
    assert_eq!(roles(&user).await, json!(["user", "manager"]));
    admin(&["demote", "USER"], "").well();
    assert_eq!(roles(&user).await, json!(["user"]));

    // A new password ends every session of the old one.
    admin(&["reset-password", "user"], "quite another one").well();
    eventually("the session ends", || async { user.get("/api/v1/me").await.status == 401 }).await;
    user.refresh(user.refresh_token.as_deref().expect("a token")).await.expect(401);
    user.log_in("user", PASSWORD).await.expect_problem(401, "bad_credentials");
    let mut user = serving.client();
    user.take_tokens(&user.log_in("user", "quite another one").await.expect(200));

    admin(&["disable", "user"], "").well();
    eventually("the session ends", || async { user.get("/api/v1/me").await.status == 401 }).await;
    user.log_in("user", "quite another one").await.expect_problem(401, "bad_credentials");
    let friend = serving.client().register("friend", Some("SPRING2030AB")).await;
    friend.expect_problem(404, "code_not_usable");
    admin(&["enable", "user"], "").well();
    user.log_in("user", "quite another one").await.expect(200);
    // Dead is dead: letting the owner in again does not revive the code.
    serving.client().register("friend", Some("SPRING2030AB")).await.expect_problem(404, "code_not_usable");
    serving.stop().well();
}

#[test]
fn wrong_uses_of_admin_are_told_in_a_sentence() {
    let operator = Operator::on_a_free_port();
    operator.run(&["migrate"]).well();
    operator.run_with(&["admin", "create", "boss", "boss@example.com"], "Q123werty!23\n").well();
    for (arguments, input, part) in [
        (&["create", "boss", "other@example.com"][..], PASSWORD, "Username already taken"),
        (&["create", "other", "boss@example.com"], PASSWORD, "Email already registered"),
        (&["create", "a b", "other@example.com"], PASSWORD, "letters, digits"),
        (&["create", "other", "nonsense"], PASSWORD, "@-sign"),
        (&["create", "third@example.com", "other@example.com"], PASSWORD, "your own address"),
        (&["create", "other", "other@example.com"], "short", "12"),
        (&["create", "other", "other@example.com"], "passwordpassword", "common"),
        (&["create", "other", "other@example.com"], "", "standard input"),
        (&["create", "other", "other@example.com"], "\n", "standard input"),
        (&["reset-password", "boss"], "short", "12"),
        (&["reset-password", "boss"], "", "standard input"),
        (&["reset-password", "nobody"], PASSWORD, "no user nobody"),
        (&["promote", "nobody"], "", "no user nobody"),
        (&["demote", "nobody@example.com"], "", "no user nobody@example.com"),
        (&["disable", "nobody"], "", "no user nobody"),
        (&["enable", "no body"], "", "no user no body"),
    ] {
        let ended = operator.run_with(&[&["admin"], arguments].concat(), input).refused(&[part]);
        assert!(input.trim().is_empty() || !ended.stderr.contains(input), "{ended:?}");
    }
    let connection = rusqlite::Connection::open(operator.path("referral.db")).expect("the file");
    let users: i64 = connection.query_row("select count(*) from users", [], |row| row.get(0)).expect("a row");
    assert_eq!(users, 1);
}

// ------------------------------------------------------------------------------------------------------ settings

#[test]
fn each_bad_setting_is_told_in_a_sentence_before_the_first_request() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("an address");
    for (name, value, parts) in [
        ("REFERRAL_LISTEN", "8000", &["REFERRAL_LISTEN", "host:port"][..]),
        ("REFERRAL_LISTEN", &taken.1, &["REFERRAL_LISTEN", &taken.1]),
        ("REFERRAL_LISTEN", "no-such-host.invalid:80", &["REFERRAL_LISTEN", "no-such-host.invalid:80"]),
        ("REFERRAL_METRICS_LISTEN", &taken.1, &["REFERRAL_METRICS_LISTEN", &taken.1]),
        ("REFERRAL_METRICS_LISTEN", "metrics", &["REFERRAL_METRICS_LISTEN", "host:port"]),
        ("REFERRAL_PUBLIC_URL", "referral.example.com", &["REFERRAL_PUBLIC_URL", "https://"]),
        ("DATABASE_URL", "mysql://root:s3cr3t@h/n", &["DATABASE_URL", "\"mysql\"", "sqlite:"]),
        ("DATABASE_URL", "referral.db", &["DATABASE_URL", "sqlite:"]),
        ("DATABASE_URL", "sqlite:", &["DATABASE_URL", "sqlite:PATH"]),
        ("DATABASE_URL", "sqlite:no/such/folder.db", &["no/such/folder.db", "folder exist"]),
        ("DATABASE_URL", "sqlite:nonsense", &["nonsense", "SQLite file"]),
        ("DATABASE_URL", "sqlite:.", &["DATABASE_URL", "folder"]),
        ("DATABASE_URL", "postgres://u:s3cr3t@127.0.0.1:1/n", &["PostgreSQL", "DATABASE_URL"]),
        ("DATABASE_URL", "postgres://u:s3cr3t@h:port/n", &["PostgreSQL", "DATABASE_URL"]),
        ("DATABASE_URL", "postgres://u:s3cr3t@h/n?sslmode=on", &["sslmode=on", "verify-full"]),
        ("DATABASE_URL_FILE", "./no-such-file", &["DATABASE_URL_FILE", "no-such-file"]),
        ("REDIS_URL", "localhost:6379", &["REDIS_URL", "redis://"]),
        ("REDIS_URL", "redis://:s3cr3t@h:port", &["REDIS_URL", "redis://"]),
        ("HUNTER_URL", "api.hunter.io", &["HUNTER_URL", "https://"]),
        ("REFERRAL_EMAIL_CHECK", "maybe", &["maybe", "block"]),
        ("REFERRAL_LOG", "referral=loud", &["REFERRAL_LOG", "info"]),
        ("REFERRAL_LOG_FORMAT", "xml", &["xml", "json"]),
        ("REFERRAL_LIMITS", "some", &["REFERRAL_LIMITS"]),
        ("REFERRAL_LIMITS_TRUSTED_PROXIES", "proxy", &["trusted_proxies", "10.0.0.0/8"]),
        ("REFERRAL_TOKENS_ACCESS_MINUTES", "60", &["access_minutes", "1..10"]),
        ("REFERRAL_HASHING_MEMORY_KIB", "64", &["memory_kib", "19456"]),
        ("REFERRAL_HTTP_SHUTDOWN_SECONDS", "0", &["shutdown_seconds"]),
        ("REFERRAL_DATABASE_CONNECTIONS", "many", &["REFERRAL_DATABASE_CONNECTIONS", "whole number"]),
        ("REFERRAL_LISTN", "127.0.0.1:0", &["REFERRAL_LISTN", "did you mean REFERRAL_LISTEN?"]),
        ("DATABASE_URL", "postgres://u:s3cr3t@h/n?pgbouncer=true", &["DATABASE_URL", "pgbouncer", "pooler"]),
    ] {
        let mut operator = Operator::on_a_free_port();
        operator.write("nonsense", [b'x'; 8192]);
        operator.set(name, value);
        let ended = operator.run(&[]).refused(parts);
        assert_eq!(ended.stdout, "", "{name}={value}");
        assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
    }
}

#[test]
fn a_setting_that_is_no_text_is_told_and_not_passed_over() {
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", std::ffi::OsString::from_vec(b"sqlite:\xff.db".to_vec()));
    let mut running = operator.start(&[]);
    while running.listens_on().is_none() && !running.ended() {
        std::thread::yield_now();
    }
    assert_eq!(running.listens_on(), None, "it serves from another database than it was told");
    running.wait().refused(&["DATABASE_URL"]);
}

#[test]
fn bad_files_of_settings_are_told_in_a_sentence() {
    let operator = Operator::on_a_free_port();
    operator.run(&["--config", "missing.toml"]).refused(&["missing.toml"]);
    for (text, part) in [
        ("nonsense", "bad.toml"),
        ("[accounts]\nmin_length = 15\n", "accounts.min_length"),
        ("[acounts]\n", "[acounts]"),
        ("[accounts]\nmin_password_length = 4\n", "accounts.min_password_length"),
        ("[database]\nurl = 5\n", "string"),
        ("[database]\nurl = \"postgres://u:s3cr3t@h/n\nprepared_statements = true\n", "bad.toml"),
    ] {
        operator.write("bad.toml", text);
        let ended = operator.run(&["--config", "bad.toml"]).refused(&[part]);
        assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
    }
    for text in ["nonsense with s3cr3t\n", "REDIS_URL='redis://:s3cr3t@h\n"] {
        operator.write(".env", text);
        let ended = operator.run(&[]).refused(&[".env"]);
        assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
    }
    operator.write(".env", b"NAME=\xff\n");
    operator.run(&[]).refused(&[".env"]);
}

#[test]
fn settings_come_from_the_file_then_dot_env_then_the_environment() {
    let mut operator = Operator::new();
    operator.set("REFERRAL_LISTEN", "127.0.0.1:0");
    operator.write("referral.toml", "[database]\nurl = \"sqlite:from-file.db\"\n");
    operator.run(&["migrate"]).well();
    assert!(operator.path("referral.db").exists(), "a file is read only when it is named");
    operator.run(&["migrate", "--config", "referral.toml"]).well();
    assert!(operator.path("from-file.db").exists());
    operator.write(".env", "# a comment\nexport DATABASE_URL=\"sqlite:from-dot-env.db\"\nOTHER=x\n");
    operator.run(&["migrate", "--config", "referral.toml"]).well();
    assert!(operator.path("from-dot-env.db").exists());
    operator.set("DATABASE_URL", "sqlite:from-environment.db");
    operator.run(&["migrate", "--config", "referral.toml"]).well();
    assert!(operator.path("from-environment.db").exists());
    operator.unset("DATABASE_URL");
    operator.write("secret", "sqlite:from-secret.db\n");
    operator.set("DATABASE_URL_FILE", "secret");
    operator.write(".env", "");
    operator.run(&["migrate"]).well();
    assert!(operator.path("from-secret.db").exists());
}

/// What lies above the working directory belongs to somebody else.
#[test]
fn dot_env_is_read_from_the_working_directory_alone() {
    let operator = Operator::on_a_free_port();
    operator.write(".env", "DATABASE_URL=sqlite:from-above.db\n");
    operator.write("below/empty", "");
    let mut migrating = operator.start_in("below", &["migrate"]);
    migrating.wait().well();
    assert!(operator.path("below/referral.db").exists());
    assert!(!operator.path("below/from-above.db").exists());
}

#[tokio::test]
async fn secrets_are_read_from_files() {
    let hunter = Hunter::saying(|_| Reply::verdict("valid")).await;
    let mut operator = Operator::on_a_free_port();
    operator.write("key", "from a file\n");
    operator.set("HUNTER_API_KEY_FILE", "key");
    operator.set("HUNTER_URL", &hunter.url);
    let serving = operator.serve();
    serving.client().register("somebody", None).await.expect(201);
    eventually("Hunter is asked", || async { !hunter.asked().is_empty() }).await;
    assert_eq!(hunter.asked()[0].header("x-api-key"), Some("from a file"));
}

#[tokio::test]
async fn a_redis_that_is_down_keeps_it_from_nothing() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REDIS_URL", "redis://:s3cr3t@127.0.0.1:1");
    let serving = operator.serve();
    let health = serving.client().get("/readyz").await.expect(200).json();
    assert_eq!(health, json!({"status": "degraded", "redis": "down", "redis_reason": "unreachable"}));
    serving.client().signed_up("somebody").await.create_code("SPRING2030AB").await.expect(201);
    let ended = serving.stop().well();
    assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
}

// ------------------------------------------------------------------------------------------------------- SIGTERM

/// What went wrong for a client under load, and when it had sent the request.
struct Failure {
    sent: Instant,
    refused: bool,
    text: String,
}

/// Asks over and over on its own keep-alive connection until it is refused one.
async fn loops(client: Client, number: usize, answered: Arc<AtomicUsize>) -> (Vec<String>, Option<Failure>) {
    let mut made = Vec::new();
    loop {
        let code = format!("LOOP{number}X{:08}", made.len());
        let body = json!({"code": code, "expires_at": "2099-01-01"}).to_string();
        let login = json!({"username": client.username, "password": PASSWORD}).to_string();
        let requests = [
            client.request(Method::GET, "/api/v1/me"),
            client.request(Method::POST, "/api/v1/codes?replace=true").body(body),
            client.request(Method::GET, "/livez"),
            // Under way for as long as hashing takes.
            client.request(Method::POST, "/api/v1/auth/token").body(login),
        ];
        for (place, request) in requests.into_iter().enumerate() {
            let sent = Instant::now();
            let answer = match request.send().await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    response.bytes().await.map(|_| status)
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(status) => {
                    assert!(matches!(status, 200 | 201), "{status}");
                    if place == 1 {
                        made.push(code.clone());
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let failure = Failure { sent, refused: error.is_connect(), text: format!("{error:?}") };
                    return (made, Some(failure));
                }
            }
        }
    }
}

on_both_engines!(sigterm_under_load_fails_no_request);
async fn sigterm_under_load_fails_no_request(setup: Setup) {
    let mut operator = operator(setup).await;
    operator.set("REFERRAL_HASHING_THREADS", "2");
    let serving = operator.serve();
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for number in 0..8 {
        let client = serving.client().signed_up(&format!("user{number}")).await;
        clients.push(tokio::spawn(loops(client, number, answered.clone())));
    }
    eventually("all are at work", || async { answered.load(Ordering::Relaxed) > 200 }).await;
    let stopped = Instant::now();
    let ended = serving.stop().well();
    assert!(ended.stderr.contains("\"message\":\"stopped\""), "{ended:?}");
    assert!(!ended.stderr.contains("cut off"), "{ended:?}");
    let mut acknowledged = Vec::new();
    for client in clients {
        let (made, failure) = client.await.expect("every answer is a good one");
        acknowledged.extend(made);
        // Who comes when the door is closed is told at the door; nobody is thrown out.
        let failure = failure.expect("it ends when the service does");
        assert!(
            failure.refused,
            "sent {:?} after the signal: {}",
            failure.sent.checked_duration_since(stopped),
            failure.text
        );
        assert!(failure.sent > stopped, "sent before the signal: {}", failure.text);
    }
    let stored = texts(&operator, "select code from codes").await;
    for code in acknowledged {
        assert!(stored.contains(&code), "{code} was acknowledged");
    }
}

/// Whoever has sent the next request on a connection that is closed just then does not know whether it was read, and
/// must not repeat one that writes. So no connection in use ends without an answer that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_is_told_that_an_answer_is_its_last() {
    let serving = Operator::on_a_free_port().serve();
    let address = serving.url.trim_start_matches("http://").to_owned();
    let answered = Arc::new(AtomicUsize::new(0));
    let connections: Vec<_> = (0..32)
        .map(|_| {
            let (address, answered) = (address.clone(), answered.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(&address).await.expect("it listens");
                loop {
                    let mut answer = Vec::new();
                    let sent = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok();
                    while !answer.ends_with(b"\r\n\r\nok") {
                        if !sent || !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
                            return false;
                        }
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    if String::from_utf8_lossy(&answer).to_lowercase().contains("connection: close") {
                        return matches!(stream.read_buf(&mut answer).await, Ok(0));
                    }
                }
            })
        })
        .collect();
    eventually("all are at work", || async { answered.load(Ordering::Relaxed) > 1000 }).await;
    let ended = serving.stop().well();
    assert!(!ended.stderr.contains("cut off"), "{ended:?}");
    let mut untold = 0;
    for connection in connections {
        untold += usize::from(!connection.await.expect("no panic"));
    }
    assert_eq!(untold, 0, "connections that were closed without a word");
}

#[tokio::test]
async fn a_request_that_is_half_sent_at_sigterm_is_answered_and_idle_connections_are_not_waited_for() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    serving.client().signed_up("somebody").await;
    let address = serving.url.trim_start_matches("http://").to_owned();
    // Three connections: one idle after a request, one that never asked anything, one in the middle of a body.
    let mut idle = TcpStream::connect(&address).await.expect("it listens");
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut part = [0; 4096];
    assert!(idle.read(&mut part).await.expect("an answer") > 0);
    let _silent = TcpStream::connect(&address).await.expect("it listens");
    let mut half = TcpStream::connect(&address).await.expect("it listens");
    let body = json!({"username": "somebody", "password": PASSWORD}).to_string();
    let head = format!(
        "POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    half.write_all(head.as_bytes()).await.expect("sent");
    let length = half.read(&mut part).await.expect("an answer");
    // Said when somebody begins to read the body: from here on the request is under way.
    assert!(part[..length].starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&part[..length]));
    let (first, second) = body.as_bytes().split_at(10);
    half.write_all(first).await.expect("sent");

    serving.signal("TERM");
    eventually("the door is closed", || async { TcpStream::connect(&address).await.is_err() }).await;
    half.write_all(second).await.expect("still open");
    let mut answer = Vec::new();
    half.read_to_end(&mut answer).await.expect("an answer, and the end");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("access_token"), "{answer}");
    assert_eq!(idle.read(&mut part).await.expect("closed in order"), 0);
    let ended = serving.wait().well();
    assert!(!ended.stderr.contains("cut off"), "{ended:?}");
}

/// Nobody knows whether the rest of it comes.
#[tokio::test]
async fn a_stop_does_not_wait_for_the_rest_of_a_head() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_HTTP_SHUTDOWN_SECONDS", "1");
    let serving = operator.serve();
    let mut streams = Vec::new();
    for part in ["GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n", "\r\n", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /"] {
        let mut stream = TcpStream::connect(serving.url.trim_start_matches("http://")).await.expect("it listens");
        stream.write_all(part.as_bytes()).await.expect("sent");
        streams.push(stream);
    }
    // Whoever has come later is answered: the others have been read.
    serving.client().get("/livez").await.expect(200);
    let ended = serving.stop().well();
    assert!(!ended.stderr.contains("did not finish in time"), "{ended:?}");
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_when_its_time_is_up() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_HTTP_SHUTDOWN_SECONDS", "1");
    let serving = operator.serve();
    let mut half = TcpStream::connect(serving.url.trim_start_matches("http://")).await.expect("it listens");
    let head = b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    half.write_all(head).await.expect("sent");
    let mut part = [0; 4096];
    assert!(half.read(&mut part).await.expect("an answer") > 0);
    let ended = serving.stop().well();
    assert!(ended.stderr.contains("did not finish in time"), "{ended:?}");
}

/// A load balancer is told to look elsewhere while everybody is still served.
#[tokio::test]
async fn while_it_drains_it_is_not_ready_and_serves_everybody() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_HTTP_DRAIN_SECONDS", "2");
    let serving = operator.serve();
    let user = serving.client().signed_up("somebody").await;
    user.get("/readyz").await.expect(200);
    serving.signal("TERM");
    eventually("it says that it is not ready", || async { user.get("/readyz").await.status == 503 }).await;
    assert_eq!(user.get("/readyz").await.expect_problem(503, "unavailable").header("retry-after"), "1");
    user.anonymous().get("/livez").await.expect(200);
    user.get("/api/v1/me").await.expect(200);
    serving.wait().well();
}

/// Who copies the file of a service that is stopped has everything.
#[tokio::test]
async fn after_a_clean_stop_the_sqlite_database_is_one_file() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    serving.client().register("somebody", None).await.expect(201);
    serving.stop().well();
    let copy = operator.path("copy.db");
    std::fs::copy(operator.path("referral.db"), &copy).expect("a copy");
    let connection = rusqlite::Connection::open(copy).expect("the copy");
    let users = connection.query_row("select count(*) from users", [], |row| row.get::<_, i64>(0));
    assert_eq!(users.ok(), Some(1), "what was acknowledged is in another file");
}

#[tokio::test]
async fn ctrl_c_stops_it_as_well() {
    let serving = Operator::on_a_free_port().serve();
    serving.client().get("/livez").await.expect(200);
    serving.signal("INT");
    serving.wait().well();
}

// ------------------------------------------------------------------------------------------------------- SIGKILL

on_both_engines!(whatever_was_acknowledged_before_kill_9_is_there_afterwards);
async fn whatever_was_acknowledged_before_kill_9_is_there_afterwards(setup: Setup) {
    let operator = operator(setup).await;
    let mut expected = HashSet::new();
    for round in 0..3 {
        let serving = operator.serve();
        let (codes, names) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let over = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for writer in 0..4 {
            let client = serving.client().signed_up(&format!("writer{round}x{writer}")).await;
            let (codes, names, over) = (codes.clone(), names.clone(), over.clone());
            writers.push(tokio::spawn(async move {
                for number in 0.. {
                    let code = format!("KILL{round}W{writer}X{number:06}");
                    let body = json!({"code": code, "expires_at": "2099-01-01"}).to_string();
                    let request = client.request(Method::POST, "/api/v1/codes?replace=true").body(body);
                    match request.send().await {
                        Ok(answer) if answer.status() == 201 => codes.lock().expect("no panic").push(code),
                        Ok(answer) => panic!("{answer:?}"),
                        Err(_) => break,
                    }
                    if number % 20 == 0 {
                        let name = format!("friend{round}x{writer}x{number}");
                        let email = format!("{name}@example.com");
                        let body = json!({"username": name, "email": email, "password": PASSWORD}).to_string();
                        let request = client.request(Method::POST, "/api/v1/auth/user").body(body);
                        match request.send().await {
                            Ok(answer) if answer.status() == 201 => names.lock().expect("no panic").push(name),
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) => break,
                        }
                    }
                }
                assert!(over.load(Ordering::SeqCst), "nothing fails before the end");
            }));
        }
        eventually("there is something to lose", || async { codes.lock().expect("no panic").len() >= 100 }).await;
        over.store(true, Ordering::SeqCst);
        serving.kill();
        for writer in writers {
            writer.await.expect("nothing but 201");
        }
        expected.extend(codes.lock().expect("no panic").drain(..));
        expected.extend(names.lock().expect("no panic").drain(..));
        let mut stored = texts(&operator, "select code from codes").await;
        stored.extend(texts(&operator, "select username from users").await);
        let lost: Vec<_> = expected.difference(&stored).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        if setup == Setup::Sqlite {
            let sound = texts(&operator, "pragma integrity_check").await;
            assert_eq!(sound, HashSet::from(["ok".to_owned()]));
        }
        let halves = "select ordinal::text from codes where revoked_at is null group by owner_id, ordinal \
                      having count(*) > 1";
        if setup != Setup::Sqlite {
            assert!(texts(&operator, halves).await.is_empty());
        }
    }
    // The next start serves what is there.
    let serving = operator.serve();
    serving.client().logged_in("writer0x0").await.get("/api/v1/codes").await.expect(200);
}

// ---------------------------------------------------------------------------------------------------------- logs

/// What must never be in a log: everything that the tour says of people, and what it was given.
struct Secrets(Vec<String>);

impl Secrets {
    fn of(&mut self, texts: &[&str]) {
        self.0.extend(texts.iter().map(|text| (*text).to_owned()));
    }

    /// As it is, in another case, or as a URL has it.
    #[track_caller]
    fn assert_not_in(&self, log: &str) {
        let folded = log.to_lowercase();
        for secret in &self.0 {
            let secret = secret.to_lowercase();
            let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for form in [secret, encoded.to_lowercase()] {
                let lines: Vec<&str> =
                    log.lines().zip(folded.lines()).filter(|(_, l)| l.contains(&form)).map(|(l, _)| l).collect();
                assert!(lines.is_empty(), "{form} is in the log: {lines:?}");
            }
        }
    }
}

/// Everything that a person can do and do wrong, with names and words that are in no log by accident.
async fn tour(serving: &Serving) -> Secrets {
    let mut secrets = Secrets(Vec::new());
    let client = serving.client();
    let tokens = |answer: &Value| {
        let access = answer["access_token"].as_str().expect("a token").to_owned();
        let claims = access.split('.').nth(1).expect("claims").to_owned();
        [access, claims, answer["refresh_token"].as_str().expect("a token").to_owned()]
    };
    let person =
        |name: &str, email: &str, password: &str| json!({"username": name, "email": email, "password": password});
    secrets.of(&["zebulon", "private-domain", "xq9-unusual-pass", "fig-tree-unlikely-8"]);
    secrets.of(&["ANTELOPE2030", "BUFFALOE2030", "quokka", "wombat"]);

    let zebulon = person("Zebulon77", "Zebulon+tag@private-domain.example", "xq9-unusual-pass");
    client.post("/api/v1/auth/user", &zebulon).await.expect(201);
    client.post("/api/v1/auth/user", &zebulon).await.expect(409);
    client.post("/api/v1/auth/user", &person("quokka 1", "quokka", "wombat")).await.expect(422);
    client.post_raw("/api/v1/auth/user", "application/json", "{\"username\": \"quokka\", \"email").await.expect(422);
    client.log_in("Zebulon77", "wombat-wombat-wombat").await.expect(401);
    client.log_in("zebulon-nobody@private-domain.example", "wombat-wombat-wombat").await.expect(401);
    let mut me = client.clone();
    let answer = client.log_in("zebulon+tag@private-domain.example", "xq9-unusual-pass").await.expect(200);
    secrets.0.extend(tokens(&answer.json()));
    me.take_tokens(&answer);
    me.get("/api/v1/me").await.expect(200);
    me.create_code("ANTELOPE2030").await.expect(201);
    me.create_code("ANTELOPE2030").await.expect(409);
    client.post("/api/v1/codes/validate", &json!({"code": "ANTELOPE2030"})).await.expect(200);
    let friend = person("Zebulon78", "zebulon78@private-domain.example", "xq9-unusual-pass");
    client.post("/api/v1/auth/user/antelope2030", &friend).await.expect(201);
    client
        .post(
            "/api/v1/auth/user/BUFFALOE2030",
            &person("Zebulon79", "zebulon79@private-domain.example", "xq9-unusual-pass"),
        )
        .await
        .expect(404);
    let mut other = client.clone();
    let answer = client.log_in("zebulon78", "xq9-unusual-pass").await.expect(200);
    secrets.0.extend(tokens(&answer.json()));
    other.take_tokens(&answer);
    other.get("/api/v1/codes/zebulon+tag@private-domain.example").await.expect(200);
    other.get("/api/v1/codes/zebulon%2Btag%40private-domain.example").await.expect(200);
    other.get("/api/v1/codes/quokka@private-domain.example").await.expect(404);
    other.get("/api/v1/codes/quokka").await.expect(422);
    other.post("/api/v1/codes/lookup", &json!({"email": "zebulon+tag@private-domain.example"})).await.expect(200);
    let id = me.get("/api/v1/me").await.expect(200).json()["id"].as_str().expect("an id").to_owned();
    me.get(&format!("/api/v1/users/{id}?cursor=quokka")).await.expect(422);
    me.get(&format!("/api/v1/users/{id}")).await.expect(200);
    other.get(&format!("/api/v1/users/{id}/referrals")).await.expect(200);
    other.revoke_code("ANTELOPE2030").await.expect(403);
    me.revoke_code("antelope2030").await.expect(204);
    me.revoke_code("BUFFALOE2030").await.expect(404);
    me.patch("/api/v1/me", &json!({"discoverable": false})).await.expect(200);
    client.get("/quokka/wombat?email=zebulon@private-domain.example").await.expect(404);
    client.request(Method::PUT, "/api/v1/codes/quokka").send().await.expect("an answer");
    for token in ["quokka.wombat.quokka", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJxdW9ra2EifQ."] {
        let request = client.request(Method::GET, "/api/v1/me").bearer_auth(token);
        client.send(request).await.expect(401);
        secrets.of(&[token]);
    }
    let request = client.request(Method::GET, "/api/v1/me").header("authorization", "Basic cXVva2thOndvbWJhdA==");
    client.send(request).await.expect(401);
    secrets.of(&["cXVva2thOndvbWJhdA"]);
    // Refreshed, and the old token used again when its time is over: the session is ended, and the log says so.
    let old = other.refresh_token.clone().expect("a token");
    let answer = other.refresh(&old).await.expect(200).json();
    secrets.0.extend(tokens(&answer));
    let answer = other.refresh(answer["refresh_token"].as_str().expect("a token")).await.expect(200).json();
    secrets.0.extend(tokens(&answer));
    other.refresh(&old).await.expect(401);
    other.refresh("rt_quokka").await.expect(401);
    let change = json!({"current_password": "wombat-wombat-wombat", "new_password": "fig-tree-unlikely-8"});
    me.post("/api/v1/me/password", &change).await.expect(403);
    let change = json!({"current_password": "xq9-unusual-pass", "new_password": "fig-tree-unlikely-8"});
    me.post("/api/v1/me/password", &change).await.expect(204);
    let answer = client.log_in("Zebulon77", "fig-tree-unlikely-8").await.expect(200);
    secrets.0.extend(tokens(&answer.json()));
    me.take_tokens(&answer);
    me.delete_with("/api/v1/me", &json!({"password": "fig-tree-unlikely-8"})).await.expect(204);
    secrets
}

on_every_setup!(at_level_debug_no_person_is_in_the_log);
async fn at_level_debug_no_person_is_in_the_log(setup: Setup) {
    let redis = if setup == Setup::PostgresAndRedis { Some(Redis::start().await) } else { None };
    let hunter = Hunter::saying(|_| Reply::verdict("valid")).await;
    let mut operator = operator(setup).await;
    if let Some(redis) = &redis {
        operator.set("REDIS_URL", redis.url());
    }
    operator.set("REFERRAL_LOG", "debug");
    operator.set("HUNTER_URL", &hunter.url);
    operator.set("HUNTER_API_KEY", "a-key-of-hunters");
    let serving = operator.serve();
    let mut secrets = tour(&serving).await;
    secrets.of(&["a-key-of-hunters"]);
    eventually("Hunter is asked", || async { !hunter.asked().is_empty() }).await;
    let admin =
        operator.run_with(&["admin", "create", "Quokka5", "quokka5@private-domain.example"], "xq9-unusual-pass").well();
    let ended = serving.stop().well();
    let log: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(log.iter().filter(|entry| entry["message"] == "answered").count() > 30, "every request is in the log");
    assert!(log.iter().any(|entry| entry["message"].as_str().is_some_and(|text| text.contains("used again"))));
    secrets.assert_not_in(&ended.stderr);
    secrets.assert_not_in(&ended.stdout);
    secrets.assert_not_in(&admin.stderr);
}

#[tokio::test]
async fn the_id_of_a_refused_request_is_in_the_log_at_level_debug() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_LOG", "referral=debug,warn");
    let serving = operator.serve();
    let refused = serving.client().get("/api/v1/me").await.expect(401);
    let id = refused.header("x-request-id").to_owned();
    assert_eq!(refused.json()["instance"], format!("urn:uuid:{id}"));
    eventually("it is logged", || async { serving.log().contains(&id) }).await;
    let ended = serving.stop().well();
    let entry = ended.stderr.lines().find(|line| line.contains(&id) && line.contains("refused")).expect("an entry");
    let entry: Value = serde_json::from_str(entry).expect("JSON");
    assert_eq!(
        (&entry["request"], &entry["status"], &entry["code"]),
        (&json!(id), &json!(401), &json!("not_authenticated"))
    );
}

#[tokio::test]
async fn the_id_of_a_request_that_failed_is_in_the_log_at_level_info_and_no_person_with_it() {
    let mut server = Postgres::start(PostgresOptions::default()).await;
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", server.database().await);
    let serving = operator.serve();
    server.kill();
    let failed = Mutex::new(None);
    // What is left of the server may answer for another moment.
    eventually("the database is missed", || async {
        let answer = serving.client().log_in("zebulon@private-domain.example", "xq9-unusual-pass").await;
        let missed = answer.status == 503;
        *failed.lock().expect("no panic in here") = Some(answer);
        missed
    })
    .await;
    let failed = failed.into_inner().expect("no panic in there").expect("an answer");
    assert!(!failed.header("retry-after").is_empty());
    let id = failed.header("x-request-id").to_owned();
    eventually("it is logged", || async { serving.log().contains(&id) }).await;
    let ended = serving.stop().well();
    let entry = ended.stderr.lines().find(|line| line.contains(&id)).expect("an entry");
    let entry: Value = serde_json::from_str(entry).expect("JSON");
    assert_eq!((&entry["level"], &entry["status"]), (&json!("ERROR"), &json!(503)));
    assert!(entry["context"].as_str().is_some_and(|text| !text.is_empty()), "{entry}");
    Secrets(vec!["zebulon".into(), "private-domain".into(), "xq9".into()]).assert_not_in(&ended.stderr);
}

// ------------------------------------------------------------------------------------------------------- figures

/// A family of figures, as the text exposition has it.
struct Family {
    name: String,
    kind: String,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: String,
    value: f64,
}

fn read_metrics(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').expect("a word");
            let (name, rest) = rest.split_once(' ').expect("a name");
            if word == "TYPE" {
                assert!(!families.iter().any(|family| family.name == name), "{name} comes twice");
                families.push(Family { name: name.to_owned(), kind: rest.to_owned(), samples: Vec::new() });
            } else {
                assert!(matches!(word, "HELP" | "UNIT"), "{line}");
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = sample
            .split_once('{')
            .map_or((sample, ""), |(name, rest)| (name, rest.strip_suffix('}').expect("the end of the labels")));
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(name.chars().all(plain), "{line}");
        for label in labels.split_terminator("\",") {
            let (key, value) = label.split_once("=\"").expect("a label");
            assert!(key.chars().all(plain) && !value.trim_end_matches('"').contains('"'), "{line}");
        }
        let family = families.last_mut().expect("a TYPE comes first");
        let end = name.strip_prefix(family.name.as_str()).expect("a sample of its family");
        let known: &[&str] = match family.kind.as_str() {
            "gauge" => &[""],
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        assert!(known.contains(&end), "{line} is no {}", family.kind);
        let value = value.parse().expect("a number");
        family.samples.push(Sample { name: name.to_owned(), labels: labels.to_owned(), value });
    }
    families
}

#[tokio::test]
async fn figures_are_on_a_listener_of_their_own_by_route_and_without_persons() {
    let mut operator = Operator::on_a_free_port();
    let figures = format!("127.0.0.1:{}", free_port());
    operator.set("REFERRAL_METRICS_LISTEN", &figures);
    let serving = operator.serve();
    let secrets = tour(&serving).await;
    for method in ["XYZZY", "ZEBULON"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        serving.client().request(method, "/api/v1/me").send().await.expect("an answer");
    }
    let answer = reqwest::get(format!("http://{figures}/metrics")).await.expect("figures");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().expect("a type").to_owned();
    assert!(kind.starts_with("application/openmetrics-text") || kind.starts_with("text/plain"), "{kind}");
    let text = answer.text().await.expect("a text");
    let families = read_metrics(&text);
    let family = |name: &str| {
        let found = families.iter().find(|family| family.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let requests = family("referral_http_requests");
    assert_eq!(requests.kind, "counter");
    let count = |method: &str, route: &str, status: u16| -> f64 {
        let wanted = [("method", method), ("route", route), ("status", &status.to_string())];
        let wanted = wanted.map(|(name, value)| format!("{name}=\"{value}\""));
        let of = requests.samples.iter().filter(|sample| wanted.iter().all(|label| sample.labels.contains(label)));
        of.map(|sample| sample.value).sum()
    };
    assert_eq!(count("GET", "/api/v1/codes/{code}", 200), 2.0, "{text}");
    assert_eq!(count("DELETE", "/api/v1/codes/{code}", 204), 1.0);
    assert_eq!(count("DELETE", "/api/v1/codes/{code}", 404), 1.0);
    assert_eq!(count("POST", "/api/v1/auth/user/{code}", 201), 1.0);
    // Methods that callers make up would be labels without end.
    assert!(!text.contains("XYZZY") && !text.contains("ZEBULON"), "{text}");
    secrets.assert_not_in(&text);
    let mut series = HashMap::new();
    for family in families.iter().filter(|family| family.kind == "histogram") {
        for bucket in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            // All labels but the bound name the series; each bucket holds those before it.
            let labels: Vec<&str> = bucket.labels.split(',').filter(|label| !label.starts_with("le=")).collect();
            let before = series.insert(labels.join(","), bucket.value).unwrap_or(0.0);
            assert!(bucket.value >= before, "{}{{{}}} is less than the one before", bucket.name, bucket.labels);
        }
    }
    assert!(series.len() > 10, "{series:?}");
    for gauge in ["referral_jobs_waiting", "referral_password_queue", "referral_redis_up"] {
        assert_eq!(family(gauge).kind, "gauge");
    }

    // Each listener has its own, and nothing of the other.
    serving.client().get("/metrics").await.expect_problem(404, "not_found");
    for path in ["/livez", "/docs", "/api/v1/me"] {
        assert_eq!(reqwest::get(format!("http://{figures}{path}")).await.expect("an answer").status(), 404, "{path}");
    }
    serving.stop().well();
}

#[tokio::test]
async fn no_figures_are_served_unless_they_are_asked_for() {
    let serving = Operator::on_a_free_port().serve();
    serving.client().get("/metrics").await.expect_problem(404, "not_found");
}
