//! A database with something of everything in it, and all that is in one, read by a way of its own.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::app::Setup;
use crate::support::client::{Client, PASSWORD};
use crate::support::first_schema;
use crate::support::host::host_of;
use crate::support::process::{Operator, Serving};
use crate::support::servers::Postgres;
use crate::support::witness;

/// The address of an empty database of this engine's.
pub async fn empty(operator: &Operator, setup: Setup, file: &str) -> String {
    match setup {
        Setup::Sqlite => format!("sqlite:{}", operator.path(file).display()),
        _ => Postgres::shared().await.database().await,
    }
}

/// An operator with a database of this engine's as the first release has made them, and its address.
pub async fn with_the_first_schema(setup: Setup) -> (Operator, String) {
    let mut operator = Operator::on_a_free_port();
    let url = empty(&operator, setup, "referral.db").await;
    operator.set("DATABASE_URL", &url);
    let script = first_schema::script(if setup == Setup::Sqlite { "sqlite" } else { "postgres" });
    match setup {
        Setup::Sqlite => {
            let file = rusqlite::Connection::open(operator.path("referral.db")).expect("a file");
            file.execute_batch(&script).expect("the first schema");
        }
        _ => {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
            tokio::spawn(connection);
            client.batch_execute(&script).await.expect("the first schema");
        }
    }
    (operator, url)
}

/// An operator with a database of this engine's, where `boss` is a manager.
pub async fn operator(setup: Setup) -> Operator {
    let mut operator = Operator::on_a_free_port();
    let url = empty(&operator, setup, "referral.db").await;
    operator.set("DATABASE_URL", url);
    operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
    // A busy machine is no reason for a 503.
    operator.set("REFERRAL_HTTP_REQUEST_SECONDS", "60");
    operator.run(&["migrate"]).well();
    operator.run_with(&["admin", "create", "boss", "boss@example.com"], &format!("{PASSWORD}\n")).well();
    operator
}

/// Somebody of each kind.
pub struct People {
    pub boss: Client,
    /// Has had a code, has another, has brought four, and gets a part of what one of them has bought.
    pub olga: Client,
    /// Brought by her, and erased.
    pub leaver: String,
}

pub async fn people(serving: &Serving) -> People {
    let boss = serving.client().logged_in("boss").await;
    let olga = serving.client().signed_up("olga").await;
    olga.create_code("OLGAS1STCODE").await.expect(201);
    serving.client().register("nina", Some("OLGAS1STCODE")).await.expect(201);
    olga.revoke_code("OLGAS1STCODE").await.expect(204);
    olga.create_code("OLGAS2NDCODE").await.expect(201);
    serving.client().register("ivan", Some("OLGAS2NDCODE")).await.expect(201);
    serving.client().register("anna", Some("OLGAS2NDCODE")).await.expect(201);
    olga.patch("/api/v1/me", &json!({"handle": "olga7"})).await.expect(200);
    let leaver = serving.client().logged_in("anna").await.id;
    boss.delete_with(&format!("/api/v1/users/{leaver}"), &json!({"reason": "request"})).await.expect(204);
    let host = host_of(&boss).await;
    host.tell("hosts-7", json!({"name": "Гость", "code": "OLGAS2NDCODE"})).await.expect(201);
    let share = json!({"key": "share", "on": "purchase", "to": "referrer", "percent_bp": 1000, "event_unit": "EUR",
        "times": "every"});
    boss.post("/api/v1/programs/default/rules", &json!({"rules": [share]})).await.expect(201);
    let purchase = json!({"type": "purchase", "external_id": "order-1", "participant": {"external_id": "hosts-7"},
        "amount": 5000, "unit": "EUR"});
    host.post("/api/v1/events", &purchase).await.expect(201);
    People { boss, olga, leaver }
}

pub fn url(operator: &Operator) -> String {
    operator.get("DATABASE_URL").expect("an address")
}

/// Each table with its columns, as the database itself has them.
pub async fn columns(url: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let all = if url.starts_with("sqlite:") {
        "select t.name, c.name, c.type from sqlite_master t join pragma_table_info(t.name) c \
         where t.type = 'table' and t.name not like 'sqlite_%' order by t.name, c.name"
    } else {
        "select table_name, column_name, data_type from information_schema.columns where table_schema = 'public' \
         order by 1, 2"
    };
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for row in witness::query(url, all).await {
        let [Some(table), Some(column), Some(kind)] = &row[..] else { panic!("no column: {row:?}") };
        tables.entry(table.clone()).or_default().push((column.clone(), kind.clone()));
    }
    tables
}

/// All rows of all tables but those that say whose database it is: what both engines have to agree about.
pub async fn contents(url: &str) -> BTreeMap<String, Vec<String>> {
    let mut contents = BTreeMap::new();
    for (table, columns) in columns(url).await {
        if ["installation", "schema_migrations", "probes"].contains(&table.as_str()) {
            continue;
        }
        let cell = |(column, kind): &(String, String)| match kind.as_str() {
            _ if url.starts_with("sqlite:") => format!("\"{column}\""),
            "uuid" => format!("replace(\"{column}\"::text, '-', '')"),
            "boolean" => format!("\"{column}\"::int::text"),
            "bytea" => format!("encode(\"{column}\", 'hex')"),
            _ => format!("\"{column}\"::text"),
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        let rows = witness::query(url, &format!("select {} from \"{table}\"", cells.join(", "))).await;
        let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        contents.insert(table, rows);
    }
    contents
}

/// The tables in which two databases differ.
pub fn differing<'a>(one: &'a BTreeMap<String, Vec<String>>, other: &BTreeMap<String, Vec<String>>) -> Vec<&'a str> {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    one.iter().filter(|(table, rows)| other[*table] != **rows).map(|(table, _)| table.as_str()).collect()
}

/// Whose installation a database is.
pub async fn installation(url: &str) -> Option<String> {
    witness::query(url, "select id from installation").await.first().and_then(|row| row[0].clone())
}
