//! An operator with an engine, and what is in their database.

use std::collections::HashSet;

use super::app::Setup;
use super::process::Operator;
use super::servers::Postgres;

/// An operator with the engine of a set-up: SQLite in the working directory, or a database of PostgreSQL's.
pub async fn operator(setup: Setup) -> Operator {
    let mut operator = Operator::on_a_free_port();
    if setup != Setup::Sqlite {
        operator.set("DATABASE_URL", Postgres::shared().await.database().await);
    }
    operator
}

pub type Connection = tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>;

pub async fn connect(operator: &Operator) -> (tokio_postgres::Client, Connection) {
    let url = operator.get("DATABASE_URL").expect("an address");
    tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL")
}

/// Runs SQL beside the service.
pub async fn sql(operator: &Operator, sql: &str) {
    if operator.get("DATABASE_URL").is_none() {
        let connection = rusqlite::Connection::open(operator.path("referral.db")).expect("the file");
        connection.busy_timeout(std::time::Duration::from_secs(10)).expect("a time-out");
        let now = |_: &rusqlite::functions::Context<'_>| Ok(0_i64);
        let flags = rusqlite::functions::FunctionFlags::SQLITE_UTF8;
        connection.create_scalar_function("referral_now", 0, flags, now).expect("the clock");
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
