//! `referral restore`: whole, or not at all, and an installation of its own.

use super::helpers::{empty, installation, operator, people, url, with_the_first_schema};
use crate::on_both_engines;
use crate::support::app::Setup;
use crate::support::witness;

on_both_engines!(what_is_no_whole_backup_is_refused_and_nothing_is_made);
async fn what_is_no_whole_backup_is_refused_and_nothing_is_made(setup: Setup) {
    let mut operator = operator(setup).await;
    people(&operator.serve()).await;
    operator.run(&["backup", "whole.backup"]).well();
    let whole = std::fs::read(operator.path("whole.backup")).expect("a file");
    let source = url(&operator);
    operator.run(&["restore", "whole.backup"]).refused(&["is not empty"]);
    let target = empty(&operator, setup, "restored.db").await;
    operator.set("DATABASE_URL", &target);
    operator.write("half.backup", &whole[..whole.len() / 2]);
    operator.write("short.backup", &whole[..whole.len() - 20]);
    operator.write("empty.backup", "");
    operator.write("other.backup", "-- PostgreSQL database dump\n");
    operator.run(&["restore", "half.backup"]).refused(&["half.backup is cut off or damaged"]);
    operator.run(&["restore", "short.backup"]).refused(&["short.backup is cut off or damaged"]);
    operator.run(&["restore", "empty.backup"]).refused(&["empty.backup is empty"]);
    operator.run(&["restore", "other.backup"]).refused(&["other.backup is no backup of Referral's"]);
    operator.run(&["restore", "absent.backup"]).refused(&["cannot read absent.backup"]);
    operator.write("ids.txt", "nobody\n");
    operator.run(&["restore", "whole.backup", "--erase-log", "ids.txt"]).refused(&["ids.txt, line 1"]);
    // A database of another program's, by the same tool.
    if setup == Setup::Sqlite {
        let others = rusqlite::Connection::open(operator.path("others.backup")).expect("a file");
        others.execute_batch("create table things (id integer)").expect("a table");
        drop(others);
        operator.run(&["restore", "others.backup"]).refused(&["holds no tables of Referral's"]);
        assert!(!operator.path("restored.db").exists() && !operator.path("restored.db.restoring").exists());
    } else {
        let tables = "select count(*) from pg_tables where schemaname = 'public'";
        assert_eq!(witness::number(&target, tables).await, 0);
    }
    // By a binary that knows more.
    operator.set("DATABASE_URL", &source);
    witness::query(&source, "insert into schema_migrations values (999, 'from the future', 0)").await;
    operator.run(&["backup", "newer.backup"]).refused(&["has schema 999"]);
    witness::query(&source, "delete from schema_migrations where version = 999").await;
    operator.set("DATABASE_URL", &target);
    operator.run(&["restore", "whole.backup"]).well();
    operator.serve().client().logged_in("olga").await;
}

on_both_engines!(a_restored_database_is_an_installation_of_its_own_without_those_who_were_erased);
async fn a_restored_database_is_an_installation_of_its_own_without_those_who_were_erased(setup: Setup) {
    let mut operator = operator(setup).await;
    let serving = operator.serve();
    let people = people(&serving).await;
    let token = people.olga.refresh_token.clone().expect("a token");
    operator.run(&["backup", "early.backup"]).well();
    operator.run(&["admin", "erase", "nina"]).well();
    let log = operator.run(&["erase-log"]).well().stdout;
    operator.write("erased.txt", &log);
    serving.stop().well();
    let source = url(&operator);
    let target = empty(&operator, setup, "restored.db").await;
    operator.set("DATABASE_URL", &target);
    let said = operator.run(&["restore", "early.backup", "--erase-log", "erased.txt", "--end-sessions"]).well();
    assert!(said.stdout.contains("2 people of the log are erased; all sessions have ended"), "{said:?}");
    let (one, other) = (installation(&source).await, installation(&target).await);
    assert!(one.is_some() && other.is_some() && one != other, "{one:?} {other:?}");
    let left = "select count(*) from users where username in ('nina', 'anna') and erased_at is null";
    assert_eq!(witness::number(&target, left).await, 0);
    assert_eq!(witness::number(&target, "select count(*) from erased").await, 2);
    let serving = operator.serve();
    serving.client().refresh(&token).await.expect(401);
    // Nor does an access token of before it do anything.
    people.olga.at(&serving.url).get("/api/v1/me").await.expect(401);
    let boss = serving.client().logged_in("boss").await;
    assert_eq!(boss.get(&format!("/api/v1/users/{}", people.olga.id)).await.expect(200).json()["total"], 4);
    assert!(log.contains(&people.leaver) && people.boss.id == boss.id);
}

/// A newer schema in a SQLite file is seen before anything is copied; in a dump after it was read.
#[tokio::test]
async fn a_backup_of_a_newer_schema_or_of_the_other_engine_is_refused() {
    let mut operator = operator(Setup::Sqlite).await;
    operator.run(&["backup", "newer.backup"]).well();
    let newer = format!("sqlite:{}", operator.path("newer.backup").display());
    witness::query(&newer, "insert into schema_migrations values (999, 'from the future', 0)").await;
    operator.set("DATABASE_URL", empty(&operator, Setup::Sqlite, "restored.db").await);
    operator.run(&["restore", "newer.backup"]).refused(&["newer.backup has schema 999"]);
    operator.set("DATABASE_URL", empty(&operator, Setup::Postgres, "").await);
    operator.run(&["restore", "newer.backup"]).refused(&["is the backup of a SQLite database", "referral copy"]);
}

on_both_engines!(a_backup_of_an_older_schema_is_taken_and_migrated_when_it_is_restored);
async fn a_backup_of_an_older_schema_is_taken_and_migrated_when_it_is_restored(setup: Setup) {
    let (mut operator, _) = with_the_first_schema(setup).await;
    let said = operator.run(&["backup", "old.backup"]).well().stdout;
    assert!(said.contains("schema 1, whole. The schema is older"), "{said}");
    operator.run(&["copy", "--to", "sqlite:copied.db"]).refused(&["has schema 1", "referral migrate"]);
    let target = empty(&operator, setup, "restored.db").await;
    operator.set("DATABASE_URL", &target);
    operator.run(&["restore", "old.backup"]).well();
    assert!(installation(&target).await.is_some());
    operator.serve().client().signed_up("somebody").await;
}
