//! The SQLite file: what it acknowledges, who may serve it, and what becomes of one that is moved, cut or damaged.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use referral::db::{Sql, Work};
use referral::kernel::actor::Actor;
use referral::params;
use serde_json::json;

use super::helpers::{Fate, open, run};
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::operator::texts;
use crate::support::process::Operator;

referral::sql! {
    SYNCHRONOUS = { sqlite: "pragma synchronous", postgres: "select 2" };
    JOURNAL = { sqlite: "pragma journal_mode", postgres: "select 'wal'" };
    FOREIGN_KEYS = { sqlite: "pragma foreign_keys", postgres: "select 1" };
    SECURE_DELETE = { sqlite: "pragma secure_delete", postgres: "select 1" };
}

#[tokio::test]
async fn sqlite_acknowledges_nothing_that_a_power_cut_would_take() {
    let test = Setup::Sqlite.start().await;
    let pragma = async |sql: &'static Sql| -> i64 {
        let unit: Work<&'static Sql, i64> =
            |tx, sql| Box::pin(async move { tx.row(sql, &params![]).await?.expect("a row").get(0) });
        test.app().db.write(Actor::SERVICE, sql, unit).await.expect("a pragma")
    };
    assert_eq!(pragma(&SYNCHRONOUS).await, 2, "FULL");
    assert_eq!(pragma(&FOREIGN_KEYS).await, 1);
    assert_eq!(pragma(&SECURE_DELETE).await, 1);
    let unit: Work<(), String> =
        |tx, ()| Box::pin(async move { tx.row(&JOURNAL, &params![]).await?.expect("a row").get(0) });
    assert_eq!(test.app().db.write(Actor::SERVICE, (), unit).await.expect("a pragma"), "wal");
    // For any other program as well: the mode is a property of the file.
    assert_eq!(test.query("pragma journal_mode").await[0][0].as_deref(), Some("wal"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_waits_for_another_writer_instead_of_failing() {
    let test = Setup::Sqlite.start().await;
    let other = rusqlite::Connection::open(test.database_url.trim_start_matches("sqlite:")).expect("the file");
    other.execute_batch("begin immediate").expect("the lock");
    let waiting = tokio::spawn(run(test.app().db.clone(), 1, Fate::Fine));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    other.execute_batch("commit").expect("the end of the lock");
    waiting.await.expect("no panic").expect("the unit runs once the other is done");
}

/// SQLite waits by itself for most locks, but not for the one that the change to WAL takes while somebody is about to
/// write: of several that start at once on a new file, some would fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_waits_for_who_is_about_to_write_when_a_new_file_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("referral.db");
    let other = rusqlite::Connection::open(&file).expect("a file");
    other.execute_batch("begin immediate").expect("the lock");
    let url = format!("sqlite:{}", file.display());
    let opening = tokio::spawn(async move { open(&url).await.map(drop) });
    // Every chance to be wrong; waiting longer than this only makes the right answer later.
    let began = Instant::now();
    while !opening.is_finished() && began.elapsed() < Duration::from_millis(300) {
        tokio::task::yield_now().await;
    }
    other.execute_batch("commit").expect("the end of the lock");
    opening.await.expect("no panic").expect("it opens once the other is done");
}

#[tokio::test]
async fn a_second_service_on_one_sqlite_file_is_refused_and_commands_work_beside_one() {
    let mut operator = Operator::on_a_free_port();
    let serving = operator.serve();
    serving.client().register("olga", None).await.expect(201);
    let refused = |operator: &Operator| {
        operator.run(&["serve"]).refused(&["another `referral serve` serves from", "DATABASE_URL", "PostgreSQL"]);
    };
    refused(&operator);
    // Whatever else opens and closes the file does not free it.
    operator.run_with(&["admin", "create", "anna", "anna@example.com"], PASSWORD).well();
    operator.run(&["admin", "promote", "olga"]).well();
    operator.run(&["keys", "list"]).well();
    operator.run(&["migrate"]).well();
    operator.run(&["check"]).well();
    refused(&operator);
    std::os::unix::fs::symlink(operator.path("referral.db"), operator.path("link.db")).expect("a link");
    operator.set("DATABASE_URL", "sqlite:link.db");
    refused(&operator);
    operator.unset("DATABASE_URL");
    serving.client().log_in("anna", PASSWORD).await.expect(200);
    serving.client().register("pavel", None).await.expect(201);
    // It goes with its process, however that ends.
    serving.kill();
    let serving = operator.serve();
    serving.client().log_in("pavel", PASSWORD).await.expect(200);
    serving.stop().well();
    assert!(!operator.path("referral.db-lock").exists(), "a stopped service leaves no lock");
    // Two databases in one folder are two.
    let serving = operator.serve();
    operator.set("DATABASE_URL", "sqlite:other.db");
    operator.serve().client().register("olga", None).await.expect(201);
    serving.client().log_in("pavel", PASSWORD).await.expect(200);
}

/// What is written by one name of a file lies in a log that another name does not have.
#[tokio::test]
async fn a_sqlite_file_is_served_by_one_name() {
    let mut operator = Operator::on_a_free_port();
    let check_tells = |operator: &Operator, parts: &[&str]| {
        let told = operator.run(&["check"]);
        let line = told.stdout.lines().find(|line| line.starts_with("WRONG database: "));
        let line = line.unwrap_or_else(|| panic!("nothing is wrong: {told:?}"));
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    };
    let serving = operator.serve();
    serving.client().register("olga", None).await.expect(201);
    fs::create_dir(operator.path("other")).expect("a folder");
    let (lock, other) = (operator.path("referral.db-lock"), operator.path("other/name.db"));
    fs::hard_link(operator.path("referral.db"), &other).expect("another name");
    for url in ["sqlite:other/name.db", "sqlite:referral.db"] {
        operator.set("DATABASE_URL", url);
        operator.run(&["serve"]).refused(&["another `referral serve` serves from"]);
        check_tells(&operator, &["has 2 names (hard links)", "find -samefile"]);
        operator.run_with(&["admin", "create", "anna", "anna@example.com"], PASSWORD).refused(&["has 2 names"]);
    }
    operator.unset("DATABASE_URL");
    fs::remove_file(&other).expect("it is there");
    // As by another mount of the file, beside which no lock is to be seen: the file itself is locked.
    fs::remove_file(&lock).expect("it is there");
    operator.run(&["serve"]).refused(&["another `referral serve` serves from"]);
    assert!(!lock.exists(), "who is refused leaves no lock");
    check_tells(&operator, &["by another name", "referral.db-lock was removed"]);
    operator.run_with(&["admin", "create", "anna", "anna@example.com"], PASSWORD).refused(&["by another name"]);
    serving.client().register("pavel", None).await.expect(201);
    // A lock that is not its own is left where it is.
    fs::write(&lock, "somebody else's").expect("a file");
    serving.stop().well();
    assert!(lock.exists());
    let names = texts(&operator, "select username from users").await;
    assert_eq!(names, ["olga".to_owned(), "pavel".to_owned()].into());
    fs::hard_link(operator.path("referral.db"), &other).expect("another name");
    operator.run(&["serve"]).refused(&["has 2 names (hard links)"]);
    fs::remove_file(&other).expect("it is there");
    operator.serve().client().log_in("olga", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_sqlite_file_that_is_moved_or_replaced_takes_no_more_writes() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    let client = serving.client().signed_up("olga").await;
    let aside = operator.path("aside");
    for name in ["referral.db", "referral.db-wal", "referral.db-shm"] {
        let file = operator.path(name);
        for there in [Replaced::Nothing, Replaced::Copy] {
            fs::rename(&file, &aside).expect("it is there");
            if there == Replaced::Copy {
                fs::copy(&aside, &file).expect("a copy");
            }
            let refused = serving.client().register("pavel", None).await.expect_problem(503, "unavailable");
            assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
            client.get("/api/v1/me").await.expect(200);
            let reason = format!("{name} was removed or replaced");
            // The log is written beside the answers.
            eventually("it is in the log", || async {
                let log = serving.log();
                let is_error = |line: &&str| line.contains(r#""level":"ERROR""#) && line.contains("a request failed");
                log.lines().rfind(is_error).is_some_and(|line| line.contains(&reason))
            })
            .await;
            fs::rename(&aside, &file).expect("it is put back");
            let put = json!({"discoverable": false});
            client.patch("/api/v1/me", &put).await.expect(200);
        }
    }
    let log = serving.stop().well().stderr;
    let changes = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(changes("nothing is written until it is put back"), 6, "once each time: {log}");
    // Nothing that was refused is there, and what was acknowledged is.
    let names = texts(&operator, "select username from users").await;
    assert_eq!(names, ["olga".to_owned()].into());
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Replaced {
    Nothing,
    Copy,
}

#[tokio::test]
async fn a_truncated_sqlite_file_fails_requests_with_503_and_never_the_process() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    let client = serving.client().signed_up("olga").await;
    client.create_code("SPRING2030AB").await.expect(201);
    cut(&operator.path("referral.db"));
    let me = client.get("/api/v1/me").await.expect_problem(503, "unavailable");
    assert!(!me.header("retry-after").is_empty(), "{me:?}");
    client.post("/api/v1/codes/validate", &json!({"code": "SPRING2030AB"})).await.expect_problem(503, "unavailable");
    serving.client().register("pavel", None).await.expect_problem(503, "unavailable");
    client.revoke_code("SPRING2030AB").await.expect_problem(503, "unavailable");
    for path in ["/readyz", "/readyz?reads"] {
        assert_eq!(client.get(path).await.expect_problem(503, "unavailable").json()["reason"], "malformed", "{path}");
    }
    client.get("/livez").await.expect(200);
    let log = serving.stop().stderr;
    assert!(!log.contains("panicked"), "{log}");
}

/// A look at a few rows finds nothing; what requests meet is told.
#[tokio::test]
async fn damage_that_only_requests_meet_makes_the_service_unready() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    let client = serving.client().signed_up("olga").await;
    client.create_code("SPRING2030AB").await.expect(201);
    client.get("/readyz").await.expect(200);
    let file = operator.path("referral.db");
    let other = settled(&file);
    let mut statement =
        other.prepare("select rootpage from sqlite_schema where tbl_name = 'codes'").expect("a statement");
    let roots: Vec<u32> =
        statement.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect();
    let pages = fs::OpenOptions::new().write(true).open(&file).expect("the file");
    for root in roots.iter().filter(|root| **root > 0) {
        pages.write_all_at(&[0xff; 4096], u64::from(root - 1) * 4096).expect("it is written over");
    }
    client.get("/api/v1/codes").await.expect_problem(503, "unavailable");
    for path in ["/readyz", "/readyz?reads"] {
        let told = async || client.get(path).await.json()["reason"] == "malformed";
        eventually("readiness tells", told).await;
    }
    client.get("/api/v1/me").await.expect(200);
    serving.stop();
}

/// Everything but the first page is gone, and nobody remembers it.
fn cut(file: &Path) {
    drop(settled(file));
    fs::OpenOptions::new().write(true).open(file).expect("the file").set_len(4096).expect("it is cut");
}

/// Opens a file beside the service, moves all into it that was written, and makes the service forget what it has read.
fn settled(file: &Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(file).expect("the file");
    other.busy_timeout(std::time::Duration::from_secs(10)).expect("a time-out");
    other.execute_batch("update users set is_manager = true").expect("a change");
    let left: i64 = other.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0)).expect("a checkpoint");
    assert_eq!(left, 0, "all is in the file");
    other
}

#[tokio::test]
async fn the_file_is_mapped_only_where_that_is_asked_for() {
    let mut operator = Operator::on_a_free_port();
    let file = operator.path("referral.db");
    let serving = operator.serve();
    serving.client().signed_up("olga").await;
    assert!(!serving.has_mapped(&file));
    assert!(serving.has_mapped(&operator.path("referral.db-shm")), "the control: what SQLite's processes share");
    serving.stop().well();
    operator.set("REFERRAL_DATABASE_MAPPED_MIB", "2047");
    let serving = operator.serve();
    serving.client().signed_up("pavel").await;
    assert!(serving.has_mapped(&file));
    serving.stop().well();
    operator.set("REFERRAL_DATABASE_MAPPED_MIB", "2048");
    operator.run(&["serve"]).refused(&["database.mapped_mib (REFERRAL_DATABASE_MAPPED_MIB) is 2048", "0..2047"]);
}
