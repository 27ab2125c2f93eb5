//! Every statement prepares on both engines, and a broken constraint has one name.

use std::path::Path;

use referral::db::{Sql, Value};
use referral::features::codes;
use referral::kernel::error::{Error, Storage};
use referral::kernel::ids::UserId;
use referral::{cache, params};

use super::helpers::{STORES, alone};
use crate::on_both_engines;
use crate::support::app::Setup;
use crate::support::client::Client;

referral::sql! {
    ADD_LOGIN = "insert into logins (login_key, user_id) values ($1, $2)";
    ADD_USER_AGAIN = "insert into users select * from users where id = $1";
    ADD_STRING = "insert into code_strings (id, code_hash, owner_id, ordinal) values ($1, $2, $3, 1)";
    ADD_SLOT = "insert into code_slots (owner_id, issued, version) values ($1, 0, 0)";
    ADD_CODE = "insert into codes (owner_id, ordinal, id, code, created_at, expires_at, revoked_at)
                values ($1, 1, $2, 'X', 10, $3, $4)";
    ADD_REFERRAL = "insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status)
                    values ($1, $2, 1, 0, 'confirmed')";
}

/// Those that PostgreSQL alone gains by.
const POSTGRES_ALONE: &[&str] = &["ADMIT", "ADMIT_AND_TELL", "REGISTER", "REGISTER_AND_SIGN_UP", "REGISTER_AND_TELL"];

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn no_module_with_statements_is_missing_from_the_list_of_these_tests() {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read_to_string(&path).is_ok_and(|text| text.lines().any(begins_statements)) {
                found.push(path.strip_prefix(ROOT).expect("below the root").display().to_string());
            }
        }
    }
    found.sort();
    let listed: Vec<&str> = STORES.iter().map(|(file, _)| *file).collect();
    assert_eq!(found, listed);
}

fn begins_statements(line: &str) -> bool {
    let line = line.trim_start();
    !line.starts_with("//") && line.contains("sql! {") && !line.starts_with("macro_rules!")
}

/// What is asked every second, or for many rows, by the clock: a plan that may not scan finds its rows by the index
/// only if the clock is one value to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_found_by_the_clock_through_an_index() {
    let test = Setup::Postgres.start().await;
    let statements = [codes::store::STATEMENTS, cache::changes::STATEMENTS].concat();
    for (name, expected) in [
        ("HAS_EXPIRED", "Index Only Scan using code_slots_by_expiry"),
        ("TAKE_EXPIRED", "Index Cond: (expires_at <="),
        ("FORGET", "Index Cond: (at <"),
    ] {
        let sql = statements.iter().find(|sql| sql.name == name).expect("the statement");
        let text = sql.postgres.replace("$1", "1");
        let plan = test.query(&format!("set enable_seqscan = off; explain {text}")).await;
        let plan: Vec<&str> = plan.iter().filter_map(|row| row[0].as_deref()).collect();
        assert!(plan.iter().any(|line| line.contains(expected)), "{name}: {plan:#?}");
    }
}

/// A text with many rows is read once, and each of its rows is found by an index. Read for each row of the table, as
/// SQLite does where an index promises few of them, a few thousand that wait take minutes.
#[tokio::test]
async fn sqlite_reads_a_text_of_many_changes_once() {
    let test = Setup::Sqlite.start().await;
    let connection = rusqlite::Connection::open(test.database_url.trim_start_matches("sqlite:")).expect("the file");
    let texts = STORES.iter().flat_map(|(file, statements)| statements.iter().map(move |sql| (file, sql)));
    let changes: Vec<_> = texts
        .filter_map(|(file, sql)| Some((file, sql.name, sql.sqlite?)))
        .filter(|(.., text)| text.starts_with("update") && text.contains("from (select") && text.contains("json_each"))
        .collect();
    assert!(changes.len() >= 3, "{changes:?}");
    for (file, name, text) in changes {
        let lines = plan(&connection, text);
        assert!(reads_once(&lines), "{file}: {name}: {lines:?}");
    }
    // That it finds one.
    let planted = "update audit set seq = p.seq from (select unhex(json_extract(value, '$.id')) as id,
                   json_extract(value, '$.seq') as seq from json_each($1)) p where audit.id = p.id and audit.seq is null";
    assert!(!reads_once(&plan(&connection, planted)));
}

fn plan(connection: &rusqlite::Connection, text: &str) -> Vec<String> {
    let mut plan = connection.prepare(&format!("explain query plan {text}")).expect("a plan");
    let mut rows = plan.raw_query();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().expect("a row") {
        lines.push(row.get(3).expect("a line"));
    }
    lines
}

fn reads_once(lines: &[String]) -> bool {
    matches!(lines, [first, second] if first.starts_with("SCAN json_each") && second.starts_with("SEARCH"))
}

on_both_engines!(every_statement_prepares_on_both_engines);
async fn every_statement_prepares_on_both_engines(setup: Setup) {
    let test = setup.start().await;
    for (file, statements) in STORES.iter().chain(&[("these tests", STATEMENTS)]) {
        assert!(!statements.is_empty(), "{file}");
        for sql in *statements {
            if setup == Setup::Sqlite && sql.sqlite.is_none() {
                assert!(POSTGRES_ALONE.contains(&sql.name), "{file}: {}", sql.name);
                continue;
            }
            let prepared = test.app().db.prepare(sql).await;
            assert!(prepared.is_ok(), "{file}: {}: {:?}", sql.name, prepared.err());
        }
    }
}

on_both_engines!(a_statement_that_names_what_is_not_there_does_not_prepare);
/// The negative control of the test above.
async fn a_statement_that_names_what_is_not_there_does_not_prepare(setup: Setup) {
    static WRONG: Sql = Sql { name: "WRONG", sqlite: Some("select x from nowhere"), postgres: "select x from nowhere" };
    let test = setup.start().await;
    let refused = test.app().db.prepare(&WRONG).await;
    assert!(matches!(&refused, Err(Error::Storage(Storage::Broken(text))) if text.starts_with("WRONG: ")));
}

on_both_engines!(each_named_constraint_has_one_name_on_both_engines);
async fn each_named_constraint_has_one_name_on_both_engines(setup: Setup) {
    let test = setup.start().await;
    let db = &test.app().db;
    let id = |client: Client| UserId::parse(&client.id).expect("an id");
    let (one, two) = (id(test.user("one").await), id(test.user("two").await));
    for (sql, params) in [
        (&ADD_LOGIN, params!["someone@example.com", one].to_vec()),
        (&ADD_STRING, params![1, vec![7_u8; 32], one].to_vec()),
        (&ADD_SLOT, params![one].to_vec()),
        (&ADD_CODE, params![one, 1, 20, None::<i64>].to_vec()),
        (&ADD_REFERRAL, params![one, two].to_vec()),
    ] {
        alone(db, sql, params).await.expect("nothing is violated yet");
    }
    let violations: &[(&str, &'static Sql, Vec<Value>)] = &[
        ("logins_pk", &ADD_LOGIN, params!["someone@example.com", two].to_vec()),
        ("users_pk", &ADD_USER_AGAIN, params![one].to_vec()),
        ("code_strings_hash_unique", &ADD_STRING, params![2, vec![7_u8; 32], two].to_vec()),
        ("codes_pk", &ADD_CODE, params![one, 1, 20, None::<i64>].to_vec()),
        ("referrals_referee_unique", &ADD_REFERRAL, params![one, two].to_vec()),
        ("referrals_not_self", &ADD_REFERRAL, params![one, one].to_vec()),
        // A code that ends when it begins, and one revoked before it was made.
        ("codes_life", &ADD_CODE, params![two, 1, 10, None::<i64>].to_vec()),
        ("codes_life", &ADD_CODE, params![two, 1, 20, 9].to_vec()),
    ];
    for (name, sql, params) in violations {
        match alone(db, sql, params.clone()).await {
            Err(Error::Storage(Storage::Constraint(violated))) => assert_eq!(violated, *name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let mut tried: Vec<&str> = violations.iter().map(|(name, ..)| *name).collect();
    tried.dedup();
    assert_eq!(tried, known_constraints(), "each constraint of the seam's table is violated here");
}

on_both_engines!(any_other_violation_is_a_fault_of_ours_without_values);
/// Constraints that nobody answers for are faults of ours, and the log gets no value of a row.
async fn any_other_violation_is_a_fault_of_ours_without_values(setup: Setup) {
    let test = setup.start().await;
    let db = &test.app().db;
    let nobody = UserId::new();
    for (what, sql, params) in [
        ("an unknown user", &ADD_LOGIN, params!["someone@example.com", nobody].to_vec()),
        ("null", &ADD_LOGIN, params!["someone@example.com", None::<i64>].to_vec()),
    ] {
        match alone(db, sql, params).await {
            Err(Error::Storage(Storage::Broken(text))) => {
                assert!(text.starts_with("ADD_LOGIN: "), "{what}: {text}");
                assert!(!text.contains("someone"), "{what}: {text}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// The names in the seam's own table, which is not visible from here.
fn known_constraints() -> Vec<&'static str> {
    let (_, table) = include_str!("../../../src/db/error.rs").split_once("const CONSTRAINTS").expect("the table");
    let (table, _) = table.split_once("];").expect("its end");
    table.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next()).collect()
}
