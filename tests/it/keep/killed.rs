//! A restore that is killed, wherever it is, has left nothing that anybody serves from, and can be had again.

use super::helpers::{empty, installation, operator, people, url};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::process::{Operator, Running};
use crate::support::servers::Postgres;
use crate::support::{thorough, witness};

const ARGUMENTS: &[&str] = &["restore", "whole.backup", "--erase-log", "erased.txt", "--end-sessions"];

/// An operator with a backup, and a log of who was erased after it.
async fn with_a_backup(setup: Setup) -> Operator {
    let operator = operator(setup).await;
    let serving = operator.serve();
    people(&serving).await;
    operator.run(&["backup", "whole.backup"]).well();
    operator.run(&["admin", "erase", "nina"]).well();
    operator.write("erased.txt", operator.run(&["erase-log"]).well().stdout);
    serving.stop().well();
    operator
}

async fn tables(url: &str) -> i64 {
    witness::number(url, "select count(*) from pg_tables where schemaname = 'public'").await
}

async fn pg_restore_has_ended(url: &str) {
    let at_work = "select count(*) from pg_stat_activity
                   where datname = current_database() and application_name = 'pg_restore'";
    eventually("pg_restore has ended", || async { witness::number(url, at_work).await == 0 }).await;
}

/// All of it: who was erased since is erased, and all sessions have ended.
async fn is_whole(url: &str) {
    for (sql, expected) in [
        ("select count(*) from users where username in ('olga', 'ivan') and erased_at is null", 2),
        ("select count(*) from users where username = 'nina' and erased_at is null", 0),
        ("select count(*) from erased", 2),
        ("select count(*) from referrals", 4),
        ("select count(*) from ledger", 1),
        ("select count(*) from token_families where ended_at is null and user_id is not null", 0),
    ] {
        assert_eq!(witness::number(url, sql).await, expected, "{sql}");
    }
    assert!(installation(url).await.is_some());
}

/// Looks at what a killed restore has left, does it again, and leaves an empty place for the next.
async fn comes_whole_after_a_kill(operator: &mut Operator, setup: Setup) {
    let target = url(operator);
    operator.unset("FAULT_CRASH_FILE");
    if setup == Setup::Sqlite {
        let length = operator.path("restored.db").metadata().map_or(0, |file| file.len());
        if length == 0 {
            operator.run(ARGUMENTS).well();
        }
        is_whole(&target).await;
        assert!(!operator.path("restored.db.restoring").exists());
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(operator.path(&format!("restored.db{ending}")));
        }
        return;
    }
    pg_restore_has_ended(&target).await;
    if tables(&target).await > 0 && installation(&target).await.is_none() {
        operator.run(&["serve"]).refused(&["has not come to its end"]);
        operator.run(ARGUMENTS).refused(&["serves nobody", "empty this one"]);
        witness::query(&target, "drop schema public cascade; create schema public").await;
    }
    if tables(&target).await == 0 {
        operator.run(ARGUMENTS).well();
    }
    is_whole(&target).await;
    operator.set("DATABASE_URL", Postgres::shared().await.database().await);
}

on_both_engines!(a_restore_that_is_killed_at_any_statement_of_ours_is_done_by_the_next);
async fn a_restore_that_is_killed_at_any_statement_of_ours_is_done_by_the_next(setup: Setup) {
    let mut operator = with_a_backup(setup).await;
    operator.set("DATABASE_URL", empty(&operator, setup, "restored.db").await);
    let mut steps = Vec::new();
    for step in (1..).step_by(if thorough() { 1 } else { 9 }) {
        operator.write("crash", format!("* {step}"));
        operator.set("FAULT_CRASH_FILE", operator.path("crash"));
        let ended = operator.run(ARGUMENTS);
        let place = std::fs::read_to_string(operator.path("crash")).expect("it was armed");
        if place.starts_with('*') {
            // It has not so many.
            ended.well();
            break;
        }
        assert_eq!(ended.code, None, "{place}: {ended:?}");
        steps.push(place);
        comes_whole_after_a_kill(&mut operator, setup).await;
    }
    is_whole(&url(&operator)).await;
    assert!(steps.len() > 3, "{steps:?}");
}

on_both_engines!(a_restore_that_is_killed_at_any_word_of_its_progress_is_done_by_the_next);
async fn a_restore_that_is_killed_at_any_word_of_its_progress_is_done_by_the_next(setup: Setup) {
    let mut operator = with_a_backup(setup).await;
    operator.set("DATABASE_URL", empty(&operator, setup, "restored.db").await);
    let words = |running: &Running| running.said().matches("progress: ").count();
    let (mut most, mut said) = (0, 0);
    while said <= most {
        said += if thorough() || setup == Setup::Sqlite { 1 } else { 15 };
        let mut running = operator.start(ARGUMENTS);
        while words(&running) < said && !running.ended() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        if !running.ended() {
            running.signal("KILL");
        }
        running.wait();
        most = most.max(words(&running));
        comes_whole_after_a_kill(&mut operator, setup).await;
    }
    assert!(most >= 2, "{most}");
}

/// What the killed one has begun goes on by itself for as long as it waits: nobody else begins beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pg_restore_of_a_killed_restore_is_waited_for() {
    let mut operator = with_a_backup(Setup::Postgres).await;
    let target = empty(&operator, Setup::Postgres, "").await;
    operator.set("DATABASE_URL", &target);
    let (client, connection) = tokio_postgres::connect(&target, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client.batch_execute("begin; create table users (id bigint)").await.expect("a table");
    let mut running = operator.start(ARGUMENTS);
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("it is in the middle", || async { witness::number(&target, waiting).await == 1 }).await;
    running.signal("KILL");
    assert_eq!(running.wait().code, None);
    operator.run(ARGUMENTS).refused(&["a pg_restore is at work", "Wait until it has ended"]);
    client.batch_execute("rollback").await.expect("the table is gone");
    comes_whole_after_a_kill(&mut operator, Setup::Postgres).await;
}

/// A service does not begin to serve from what is about to be restored, and two restores do not meet in one place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_restored_into_is_nobody_elses_meanwhile() {
    let mut operator = with_a_backup(Setup::Sqlite).await;
    operator.set("DATABASE_URL", empty(&operator, Setup::Sqlite, "restored.db").await);
    let claim = referral::db::Db::claim(&url(&operator)).expect("nobody has it");
    operator.run(ARGUMENTS).refused(&["another `referral serve` serves from", "Another `referral restore`"]);
    assert!(!operator.path("restored.db.restoring").exists());
    drop(claim);
    let is_done = |operator: &Operator| operator.path("restored.db").metadata().is_ok_and(|file| file.len() > 0);
    loop {
        let mut running = operator.start(ARGUMENTS);
        eventually("it is at work", || async { running.said().contains("copying it") }).await;
        running.signal("STOP");
        // It may have been done before it was stopped.
        let stopped = !is_done(&operator);
        if stopped {
            operator.run(&["serve"]).refused(&["another `referral serve` serves from"]);
            operator.run(&["restore", "whole.backup"]).refused(&["Another `referral restore`"]);
        }
        running.signal("CONT");
        running.wait().well();
        is_whole(&url(&operator)).await;
        if stopped {
            break;
        }
        std::fs::remove_file(operator.path("restored.db")).expect("it is done");
    }
}

/// A database that a link leads to, and a backup that is a database which was in use: with the log beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_followed_and_a_log_beside_the_backup_is_read() {
    let mut operator = operator(Setup::Sqlite).await;
    let serving = operator.serve();
    people(&serving).await;
    let users = witness::number(&url(&operator), "select count(*) from users").await;
    serving.kill();
    assert!(operator.path("referral.db-wal").metadata().is_ok_and(|file| file.len() > 0), "what is in the log only");
    operator.write("disk/some.txt", "");
    std::os::unix::fs::symlink("disk/restored.db", operator.path("link.db")).expect("a link");
    operator.set("DATABASE_URL", "sqlite:link.db");
    operator.run(&["restore", "referral.db"]).well();
    assert!(operator.path("link.db").is_symlink());
    let restored = format!("sqlite:{}", operator.path("disk/restored.db").display());
    assert_eq!(witness::number(&restored, "select count(*) from users").await, users);
    operator.serve().client().logged_in("olga").await;
}

/// A disk that is full, as far as a limit on the size of files is one: told, and nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_told_and_leaves_nothing() {
    let mut operator = with_a_backup(Setup::Sqlite).await;
    let small = |rest: &str| format!("trap '' XFSZ; ulimit -f 100; exec \"$0\" {rest}");
    operator.run_by(&small("backup small.backup"), None).refused(&["cannot copy"]);
    assert!(!operator.path("small.backup").exists() && !operator.path("small.backup.part").exists());
    operator.set("DATABASE_URL", "sqlite:restored.db");
    operator.run_by(&small("restore whole.backup"), None).refused(&["cannot copy"]);
    let left: Vec<String> = operator.files().into_iter().map(|(name, _)| name).collect();
    assert!(!left.iter().any(|name| name.starts_with("restored.db")), "{left:?}");
    operator.run(&["restore", "whole.backup"]).well();
}
