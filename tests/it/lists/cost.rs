//! Any page costs what the first costs.

use referral::db::Sql;
use referral::features::referrals;
use referral::features::referrals::model::Viewer;
use referral::kernel::ids::UserId;
use referral::kernel::page::{PageRequest, Start};
use referral::kernel::time::Time;
use rusqlite::StatementStatus;
use serde_json::Value;

use super::helpers::{add_referees, fold, referrer};
use crate::on_both_engines;
use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;

const MANY: i64 = 100_000;

/// The statements of the referees' list, by name.
fn statement(name: &str) -> &'static Sql {
    referrals::store::STATEMENTS.iter().find(|sql| sql.name == name).expect("the statement is still named so")
}

/// The reads of the list, each at its beginning and at its end: name, what $2 is there. The rows of the list are
/// numbered from 1 in an otherwise empty database.
const READS: [(&str, i64); 5] = [("PAGE", 0), ("PAGE", MANY - 50), ("AFTER", 0), ("AFTER", MANY - 50), ("COUNT", 0)];

async fn long_list(setup: Setup) -> (TestApp, Client) {
    let test = setup.start().await;
    let owner = referrer(&test).await;
    add_referees(&test, &owner, 1, MANY).await;
    fold(&test, &owner).await;
    // A few that have come since.
    add_referees(&test, &owner, MANY + 1, MANY + 30).await;
    (test, owner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_page_of_a_long_list_touches_as_few_rows_as_the_first_on_postgresql() {
    let (test, owner) = long_list(Setup::Postgres).await;
    let client = test.beside().await;
    client.batch_execute("analyze").await.expect("statistics");
    for (name, start) in READS {
        // As the service does it: prepared, and executed often enough that PostgreSQL may choose a generic plan.
        let types = if name == "COUNT" { "uuid" } else { "uuid, bigint, bigint, uuid" };
        let text = statement(name).postgres;
        client.batch_execute(&format!("deallocate all; prepare p({types}) as {text}")).await.expect("it prepares");
        let id = &owner.id;
        let execute = match name {
            "COUNT" => format!("execute p('{id}')"),
            _ => format!("execute p('{id}', {start}, 51, '{id}')"),
        };
        for _ in 0..10 {
            client.simple_query(&execute).await.expect("it runs");
        }
        let messages = client.simple_query(&format!("explain (analyze, format json) {execute}")).await.expect("a plan");
        let plan = messages
            .iter()
            .find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            })
            .expect("a plan");
        let plan: Value = serde_json::from_str(plan).expect("JSON");
        let mut scans = Vec::new();
        collect_scans(&plan[0]["Plan"], &mut scans);
        assert!(scans.iter().any(|scan| scan.0.contains("referrals")), "{name}: {plan}");
        let rows: f64 = scans.iter().map(|(_, rows)| rows).sum();
        assert!(rows <= 400.0, "{name} at {start}: {rows} rows: {scans:?}");
        for large in ["referrals", "referral_marks", "users"] {
            assert!(
                !scans.iter().any(|(scan, _)| *scan == format!("Seq Scan on {large}")),
                "{name} at {start}: {scans:?}"
            );
        }
    }
}

/// The nodes of a plan that read a table: which, and how many rows they looked at.
fn collect_scans(node: &Value, scans: &mut Vec<(String, f64)>) {
    if let Some(table) = node["Relation Name"].as_str() {
        let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
        let looked_at =
            number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
        let kind = node["Node Type"].as_str().unwrap_or_default();
        scans.push((format!("{kind} on {table}"), looked_at * number("Actual Loops")));
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect_scans(child, scans);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_page_of_a_long_list_costs_sqlite_as_few_steps_as_the_first() {
    let (test, owner) = long_list(Setup::Sqlite).await;
    let connection = rusqlite::Connection::open(test.database_url.trim_start_matches("sqlite:")).expect("the file");
    let id = UserId::parse(&owner.id).expect("an id").0.into_bytes();
    for (name, start) in READS {
        let text = statement(name).sqlite.expect("a text for SQLite");
        let mut plan = connection.prepare(&format!("explain query plan {text}")).expect("a plan");
        let mut rows = plan.raw_query();
        let mut lines: Vec<String> = Vec::new();
        while let Some(row) = rows.next().expect("a row") {
            lines.push(row.get(3).expect("a line"));
        }
        assert!(lines.iter().any(|line| line.starts_with("SEARCH r")), "{name}: {lines:?}");
        // Whole passes only over what the statement itself has made.
        for line in lines.iter().filter(|line| line.starts_with("SCAN")) {
            let made = ["SCAN last_mark", "SCAN near_mark", "SCAN head", "SCAN p", "SCAN page", "SCAN CONSTANT ROW"];
            assert!(made.contains(&line.trim_end_matches(" LEFT-JOIN")), "{name}: {lines:?}");
        }
        let mut statement = connection.prepare(text).expect("it prepares");
        // By name, as the seam does: their places are where they first appear.
        let values: [(&str, &dyn rusqlite::ToSql); 4] = [("$1", &id), ("$2", &start), ("$3", &51), ("$4", &id)];
        let values = if name == "COUNT" { &values[..1] } else { &values[..] };
        let rows = count_rows(&mut statement, values);
        assert_eq!(rows, if name == "COUNT" { 1 } else { 51 }, "{name} at {start}");
        // Some 100 steps a row; a hundred thousand rows would be millions.
        let steps = statement.get_status(StatementStatus::VmStep);
        assert!(steps < 10_000, "{name} at {start}: {steps} steps");
        let passed = statement.get_status(StatementStatus::FullscanStep);
        assert!(passed <= 100, "{name} at {start}: {passed} rows passed over");
    }
}

fn count_rows(statement: &mut rusqlite::Statement<'_>, values: &[(&str, &dyn rusqlite::ToSql)]) -> usize {
    let mut rows = statement.query(values).expect("it runs");
    let mut count = 0;
    while rows.next().expect("a row").is_some() {
        count += 1;
    }
    count
}

on_both_engines!(a_long_list_is_whole_at_both_ends);
async fn a_long_list_is_whole_at_both_ends(setup: Setup) {
    let (test, owner) = long_list(setup).await;
    let id = UserId::parse(&owner.id).expect("an id");
    let list = async |start: Start| {
        let viewer = Viewer::Person { user: id, may_manage: false, may_read_codes: true };
        let page = referrals::actions::list(test.app(), id, viewer, PageRequest { start, size: 50 }).await;
        let page = page.expect("a page");
        assert_eq!(page.total, MANY + 30);
        (page.items.iter().map(|item| item.joined_at).collect::<Vec<_>>(), page.next)
    };
    let times = |from: i64, to: i64| (from..=to).map(Time).collect::<Vec<_>>();
    assert_eq!(list(Start::Page(1)).await.0, times(1, 50));
    assert_eq!(list(Start::Page(1001)).await.0, times(50_001, 50_050));
    let (items, next) = list(Start::Page(MANY / 50)).await;
    assert_eq!(items, times(MANY - 49, MANY));
    assert_eq!(list(Start::After(next.expect("there are more"))).await, (times(MANY + 1, MANY + 30), None));
    assert_eq!(list(Start::Page(MANY / 50 + 1)).await, (times(MANY + 1, MANY + 30), None));
}
