//! Which database is ours, and what becomes of one that is not, is served by somebody else, is moved away or cannot be
//! read.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use referral::db::migrate;
use serde_json::json;

use crate::binary::{operator, sql, texts};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::process::Operator;

// --------------------------------------------------------------------------------------------- ours or not

/// Everything that changes a database, and needs it to be ours.
const COMMANDS: &[&[&str]] =
    &[&["serve"], &["migrate"], &["admin", "create", "anna", "anna@example.com"], &["keys", "list"]];

/// What is in the database, down to its rows.
async fn content(operator: &Operator) -> Vec<String> {
    if operator.get("DATABASE_URL").is_none() {
        return operator.files().iter().map(|(name, bytes)| format!("{name} {bytes:?}")).collect();
    }
    let all = "select concat_ws(' ', n.nspname, c.relname, c.relkind, c.relfilenode) \
               from pg_class c join pg_namespace n on n.oid = c.relnamespace \
               where n.nspname not like 'pg_%' and n.nspname <> 'information_schema' \
               union all select proname::text from pg_proc where proname like 'referral%'";
    let mut found: Vec<String> = texts(operator, all).await.into_iter().collect();
    found.sort();
    found
}

/// Each command that would use the database refuses it, `check` says the same, and nothing in it is touched.
async fn left_alone(operator: &Operator, parts: &[&str]) {
    let before = content(operator).await;
    for command in COMMANDS {
        operator.run_with(command, PASSWORD).refused(parts);
    }
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let line = told.stdout.lines().find(|line| line.starts_with("WRONG database: ")).expect("a verdict");
    for part in parts {
        assert!(line.contains(part), "no {part:?} in: {line}");
    }
    assert_eq!(content(operator).await, before);
}

on_both_engines!(somebody_elses_tables_are_told_as_what_they_are_and_left_alone);
async fn somebody_elses_tables_are_told_as_what_they_are_and_left_alone(setup: Setup) {
    let remedy = if setup == Setup::Sqlite { "a file of its own" } else { "a schema of its own" };
    for (theirs, parts) in [
        (
            "create table schema_migrations (version bigint not null primary key, dirty boolean not null); \
             insert into schema_migrations values (20260101, false)",
            ["schema_migrations (version, dirty)", "golang-migrate's"],
        ),
        (
            "create table schema_migrations (version varchar(255) not null primary key); \
             insert into schema_migrations values ('20260101120000')",
            ["schema_migrations (version)", "Rails'"],
        ),
        (
            "create table schema_migrations (version bigint not null primary key, inserted_at timestamp)",
            ["schema_migrations (version, inserted_at)", "Ecto's"],
        ),
        (
            "create table schema_migrations (version bigint primary key, name text, applied_at bigint); \
             insert into schema_migrations values (1, 'create people', 0)",
            ["schema_migrations, somebody else's", "version 1 is called \"create people\""],
        ),
        ("create table users (id integer primary key, name text)", ["users (id, name)", "a name that Referral gives"]),
        (
            "create table changes (what text); create view jobs as select 1 as one; create table users (id bigint)",
            ["users (id)", "and 1 more"],
        ),
        ("create table installation (machine text)", ["installation (machine)", "a name that Referral gives"]),
    ] {
        let operator = operator(setup).await;
        sql(&operator, theirs).await;
        left_alone(&operator, &[parts[0], parts[1], remedy, "Nothing was changed"]).await;
    }
}

on_both_engines!(tables_with_other_names_may_stay_beside_ours);
/// Only what is in the way is in the way.
async fn tables_with_other_names_may_stay_beside_ours(setup: Setup) {
    let operator = operator(setup).await;
    sql(&operator, "create table people (id bigint); insert into people values (1)").await;
    operator.run(&["migrate"]).well();
    assert!(operator.run(&["check"]).well().stdout.contains("ok    database: reached"));
    assert_eq!(texts(&operator, "select 'there' from people").await.len(), 1);
}

on_both_engines!(a_database_from_before_is_known_by_its_first_migrations);
/// A database from before the table by which ours is known now: it is known by the names of its migrations, and gets
/// an id.
async fn a_database_from_before_is_known_by_its_first_migrations(setup: Setup) {
    let operator = operator(setup).await;
    let engine = if setup == Setup::Sqlite { "sqlite" } else { "postgres" };
    sql(
        &operator,
        "create table schema_migrations (version bigint not null primary key, name text not null, \
         applied_at bigint not null)",
    )
    .await;
    for version in 0..2 {
        // The clock is the service's on SQLite.
        let text = migrate::next(version, engine).expect("a step");
        let text = if setup == Setup::Sqlite { text.replace("referral_now()", "0") } else { text };
        sql(&operator, &text).await;
    }
    let told = operator.run(&["check"]).well().stdout;
    assert!(told.contains("reached, schema 2; serve migrates it"), "{told}");
    operator.run(&["migrate"]).well();
    let newest = format!("reached, schema {}", migrate::newest());
    assert!(operator.run(&["check"]).well().stdout.contains(&newest));
    let id = "select case when count(*) = 1 and min(made_at) > 0 then 'one' else 'none' end from installation";
    assert!(texts(&operator, id).await.contains("one"));
    // Known by its table from then on, whatever else is called how.
    sql(&operator, "update schema_migrations set name = 'renamed' where version = 1").await;
    assert!(operator.run(&["check"]).well().stdout.contains(&newest));
    // The control: without the table the names decide.
    sql(&operator, "drop table installation").await;
    assert!(operator.run(&["check"]).stdout.contains("version 1 is called \"renamed\""));
}

/// The remedy that the sentences name.
#[tokio::test]
async fn a_schema_of_its_own_is_enough_beside_somebody_elses_tables_on_postgresql() {
    let mut operator = operator(Setup::Postgres).await;
    let theirs = "create table schema_migrations (version bigint primary key, dirty boolean); \
                  create table users (id bigint); create schema referral";
    sql(&operator, theirs).await;
    let url = operator.get("DATABASE_URL").expect("an address");
    operator.set("DATABASE_URL", format!("{url}?options=-csearch_path%3Dreferral"));
    operator.run(&["check"]).well();
    let serving = operator.serve();
    serving.client().signed_up("olga").await;
    let ours = "select schemaname || '.' || tablename from pg_tables where tablename = 'users'";
    assert_eq!(texts(&operator, ours).await, ["public.users", "referral.users"].map(str::to_owned).into());
    assert_eq!(texts(&operator, "select 'row' from public.users").await.len(), 0);
    serving.stop().well();

    // Whoever has both on the path means the first, which is ours here.
    operator.set("DATABASE_URL", format!("{url}?options=-csearch_path%3Dreferral,public"));
    operator.run(&["check"]).well();
    // And one that would begin anew in front of our tables is told.
    sql(&operator, "create schema other").await;
    operator.set("DATABASE_URL", format!("{url}?options=-csearch_path%3Dother,referral"));
    left_alone(&operator, &["are in the schema \"referral\"", "search_path has \"other\" in front"]).await;
    operator.set("DATABASE_URL", format!("{url}?options=-csearch_path%3Dnowhere"));
    left_alone(&operator, &["search_path names no schema that exists"]).await;
}

// ------------------------------------------------------------------------------------------------ encodings

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused_on_postgresql() {
    let mut operator = operator(Setup::Postgres).await;
    let url = operator.get("DATABASE_URL").expect("an address");
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("other_{}", encoding.to_lowercase());
        let other = url.rsplit_once('/').map(|(server, _)| format!("{server}/{name}")).expect("a name");
        // Beside the shared server's others, which run on the same names.
        sql(&operator, &format!("drop database if exists {name}")).await;
        let create = format!("create database {name} encoding '{encoding}' template template0 locale 'C'");
        sql(&operator, &create).await;
        operator.set("DATABASE_URL", other);
        left_alone(&operator, &[&format!("is {encoding}"), "needs UTF8", "createdb --encoding=UTF8"]).await;
        operator.set("DATABASE_URL", url.clone());
    }
}

#[tokio::test]
async fn a_file_that_is_not_utf8_is_refused_on_sqlite() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        let operator = operator(Setup::Sqlite).await;
        sql(&operator, &format!("pragma encoding = '{encoding}'; create table x (y); drop table x")).await;
        left_alone(&operator, &[&format!("are {encoding}"), "needs UTF-8", ".dump"]).await;
    }
}

// --------------------------------------------------------------------------------------- one process at a time

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

// ------------------------------------------------------------------------------------- moved, cut, unreadable

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

/// PostgreSQL's words for the same: a page that cannot be read, or is not what was written.
#[tokio::test]
async fn what_postgresql_cannot_read_is_503() {
    let operator = operator(Setup::Postgres).await;
    let serving = operator.serve();
    let client = serving.client().signed_up("olga").await;
    client.create_code("SPRING2030AB").await.expect(201);
    for state in ["58030", "XX001", "XX002", "53100"] {
        let broken = format!(
            "create or replace function referral_now() returns bigint language plpgsql volatile \
             as 'begin raise sqlstate ''{state}''; end'"
        );
        sql(&operator, &broken).await;
        let validated = client.post("/api/v1/codes/validate", &json!({"code": "SPRING2030AB"})).await;
        validated.expect_problem(503, "unavailable");
        if state.starts_with("XX") {
            let told = async || client.get("/readyz?reads").await.json()["reason"] == "malformed";
            eventually("readiness tells", told).await;
        }
    }
}

/// A minute of the feed, of a service that makes and revokes codes as fast as it can.
#[tokio::test]
async fn a_crowded_feed_is_not_read_into_memory_at_once() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    let client = serving.client().signed_up("olga").await;
    client.create_code("SPRING2030AB").await.expect(201);
    let crowd = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 1000000) \
                 insert into changes (at, topic, subject, version) \
                 select unixepoch() * 1000000 + i, 'code', x'018f0000000070008000000000000001', i from n";
    sql(&operator, crowd).await;
    // The last row of all is heard of, so each was read.
    let session = texts(&operator, "select lower(hex(id)) from token_families").await.into_iter().next().expect("one");
    let end = format!(
        "insert into changes (at, topic, subject, version) \
         values (unixepoch() * 1000000 + 500000, 'session', x'{session}', 0)"
    );
    sql(&operator, &end).await;
    eventually("the end of the feed is heard of", || async { client.get("/api/v1/me").await.status == 401 }).await;
    let most = serving.resident_mb();
    assert!(most < 150, "{most} MB");
}
