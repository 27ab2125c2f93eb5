//! Migrations from the command line, at once and killed midway.

use std::collections::BTreeSet;

use referral::db::migrate;

use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::operator::{connect, operator, sql, texts};
use crate::support::process::{Operator, Running, Serving};
use crate::support::thorough;

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

/// Brings an empty database to a version, step by step, with somebody in it from the first on.
async fn come_to(operator: &Operator, engine: &str, version: i64) {
    for step in 0..version {
        sql(operator, &migrate::next(step, engine).expect("a step")).await;
        if step == 0 {
            let (id, hash) = match engine {
                "sqlite" => ("x'00000000000000000000000000000007'", "x'00'"),
                _ => ("'00000000-0000-0000-0000-000000000007'", "'x'"),
            };
            let user = format!(
                "insert into users (id, username, email, name_key, email_key, created_at, is_manager, discoverable,
                                    email_verdict, erased_at)
                     values ({id}, 'olga', '', 'olga', '', 1, false, true, 'unchecked', 5);
                 insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at, expires_at,
                                             counter, current_hash, salt)
                     values ({id}, {hash}, {id}, '', '', 3, 3, 3, 0, {hash}, {hash})"
            );
            sql(operator, &user).await;
        }
    }
}

/// All that a schema has, as the engine describes it, and which steps were applied.
async fn shape(operator: &Operator, setup: Setup) -> BTreeSet<String> {
    let parts: &[&str] = match setup {
        Setup::Sqlite => &["select type || name || coalesce(sql, '') from sqlite_schema"],
        _ => &[
            "select concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default)
             from information_schema.columns where table_schema = 'public'",
            "select indexdef from pg_indexes where schemaname = 'public'",
            "select conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) from pg_constraint
             where connamespace = 'public'::regnamespace",
            "select proname::text from pg_proc where pronamespace = 'public'::regnamespace",
            "select tgname::text from pg_trigger where not tgisinternal",
        ],
    };
    let mut shape = BTreeSet::new();
    for part in parts {
        shape.extend(texts(operator, part).await);
    }
    if shape.iter().any(|thing| thing.contains("schema_migrations")) {
        shape.extend(texts(operator, "select 'step ' || version from schema_migrations").await);
    }
    shape
}

on_both_engines!(a_step_that_is_killed_at_any_statement_has_left_nothing_and_is_done_by_the_next);
/// Each step by itself, and all of them at once in an empty database; a few of their statements where there is no time.
async fn a_step_that_is_killed_at_any_statement_has_left_nothing_and_is_done_by_the_next(setup: Setup) {
    let engine = if setup == Setup::Sqlite { "sqlite" } else { "postgres" };
    let newest = migrate::newest();
    let whole = operator(setup).await;
    come_to(&whole, engine, newest).await;
    let whole = shape(&whole, setup).await;
    let (mut killed, mut committed, mut indexes) = (0, 0, 0);
    for version in (0..newest).step_by(if thorough() { 1 } else { 3 }) {
        let mut operator = operator(setup).await;
        operator.set("FAULT_CRASH_FILE", operator.path("crash"));
        come_to(&operator, engine, version).await;
        let before = shape(&operator, setup).await;
        for statement in (1..).step_by(if thorough() { 1 } else { 7 }) {
            operator.write("crash", format!("MIGRATION {statement}"));
            let ended = operator.run(&["migrate"]);
            let place = std::fs::read_to_string(operator.path("crash")).expect("it was armed");
            if place.starts_with("MIGRATION") {
                // It has not so many.
                ended.well();
                break;
            }
            assert_eq!(ended.code, None, "{version}, {place}");
            killed += 1;
            if place.starts_with("after the commit") {
                committed += 1;
                let all = if version == 0 { newest } else { version + 1 };
                let step = format!("step {all}");
                assert!(shape(&operator, setup).await.contains(&step), "{version}, {place}");
                break;
            }
            assert_eq!(shape(&operator, setup).await, before, "{version}, {place} {statement}");
        }
        // Behind the steps indexes are made, on PostgreSQL: at the second of those that are missing.
        for _ in 0..if thorough() { 100 } else { 1 } {
            operator.write("crash", "INDEX 2");
            if operator.run(&["migrate"]).code.is_some() {
                break;
            }
            indexes += 1;
        }
        operator.unset("FAULT_CRASH_FILE");
        operator.run(&["migrate"]).well();
        assert_eq!(shape(&operator, setup).await, whole, "{version}");
        let people = "select username from users where erased_at is not null and id in (select user_id from erased)";
        assert_eq!(texts(&operator, people).await.len(), usize::from(version > 0), "{version}");
    }
    assert!(killed > 10 && (committed > 0 || !thorough()), "{killed}, {committed}");
    assert!(setup == Setup::Sqlite || indexes > 0 || !thorough(), "{indexes}");
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
