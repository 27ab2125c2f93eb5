//! Looks into a database beside the service: with a connection and statements of its own.

use std::time::Duration;

/// Rows of a statement, as text.
pub async fn query(url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let connection = rusqlite::Connection::open(path).expect("the database file");
        connection.busy_timeout(Duration::from_secs(10)).expect("a time-out");
        let mut statement = connection.prepare(sql).expect("a statement");
        let width = statement.column_count();
        let rows = statement
            .query_map([], |row| (0..width).map(|index| row.get_ref(index).map(text)).collect::<Result<Vec<_>, _>>());
        return rows.expect("rows").collect::<Result<_, _>>().expect("each row");
    }
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    let messages = client.simple_query(sql).await.expect("the statement runs");
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
        }
        _ => None,
    });
    rows.collect()
}

/// The one number that a statement answers.
pub async fn number(url: &str, sql: &str) -> i64 {
    query(url, sql).await[0][0].as_deref().expect("a value").parse().expect("a number")
}

fn text(value: rusqlite::types::ValueRef<'_>) -> Option<String> {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(value.to_string()),
        ValueRef::Real(value) => Some(value.to_string()),
        ValueRef::Text(value) => Some(String::from_utf8_lossy(value).into_owned()),
        ValueRef::Blob(value) => Some(value.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}
