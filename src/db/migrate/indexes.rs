//! Indexes of tables that were there before the step that wants them, on PostgreSQL: made behind all steps and beside
//! those who write, for within a step a large table would be kept from them until it is done. Nothing in a step may
//! count on one.
//!
//! What is missing is learnt from the steps and the database, at each start: whoever was killed has left an index that
//! is not valid, or none, and the next start makes it.

use std::collections::HashMap;
use std::time::Instant;

use tokio_postgres::Client;

use super::super::error::from_postgres;
use super::super::postgres::Postgres;
use super::{PATIENCE, PAUSE, STEPS, portions};
use crate::kernel::error::{Error, Result, Storage};

/// A transaction that stays open keeps an index waiting, and nobody else.
const LIMITS: &str = "set statement_timeout = '15min'; set lock_timeout = 0";
/// How often it is tried again when a connection was lost.
const TRIES: u32 = 5;

/// The index that a statement makes on a table that another step has made, if it does: its name, and the statement that
/// keeps nobody out.
pub(super) fn behind(statement: &str, step: &str) -> Option<(String, String)> {
    let lines: Vec<&str> =
        statement.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("--")).collect();
    let text = lines.join("\n");
    let (kind, rest) = text.split_once("index ").filter(|(kind, _)| ["create ", "create unique "].contains(kind))?;
    let name = rest.split([' ', '\n']).next()?.to_owned();
    let (_, table) = rest.split_once(" on ").or_else(|| rest.split_once("\n    on "))?;
    let table = table.split([' ', '(', '\n']).next()?;
    let is_behind = !step.contains(&format!("create table {table} "));
    is_behind.then(|| (name, format!("{kind}index concurrently {rest}")))
}

/// Makes what is missing; of several nodes one does, and the others wait for it.
pub(super) async fn complete(postgres: &Postgres) -> Result<()> {
    let (mut tried, began) = (0, Instant::now());
    loop {
        match turn(postgres).await {
            Ok(true) => return Ok(()),
            // Another node is at it.
            Ok(false) if began.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            Ok(false) => return Err(Error::Internal("another node makes indexes for too long".into())),
            Err(Error::Storage(Storage::Retry(_))) if tried < TRIES => {
                tried += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// False if it is another node's turn.
async fn turn(postgres: &Postgres) -> Result<bool> {
    const TRY: &str = "select pg_try_advisory_xact_lock(7378431277)";
    let mut lease = postgres.connection().await?;
    if missing(&***lease.connection()?).await?.is_empty() {
        return Ok(true);
    }
    // Whoever waits for a lock has a state of the database, which each index would wait for: so nobody waits in one.
    lease.begin("begin; set local idle_in_transaction_session_timeout = 0").await?;
    if !lease.value(TRY).await?.get::<bool>(0)? {
        return Ok(false);
    }
    let fault = |error: tokio_postgres::Error| Error::from(from_postgres(&error, "an index"));
    // The question before has kept its state until there is another one that has none.
    lease.connection()?.batch_execute("select").await.map_err(fault)?;
    let (worker, keeps) = postgres.apart().await?;
    if keeps {
        worker.batch_execute(LIMITS).await.map_err(fault)?;
    }
    for Missing { name, statement, half } in missing(&worker).await? {
        tracing::info!(name, "making an index beside those who write");
        #[cfg(debug_assertions)]
        super::super::crash::before_statement("INDEX");
        if half {
            worker.batch_execute(&format!("drop index concurrently {name}")).await.map_err(fault)?;
        }
        worker.batch_execute(&statement).await.map_err(fault)?;
    }
    Ok(true)
}

struct Missing {
    name: String,
    statement: String,
    /// Somebody has begun it, and not come to the end.
    half: bool,
}

async fn missing(client: &Client) -> Result<Vec<Missing>> {
    const THERE: &str = "select c.relname::text, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid \
                         join pg_namespace n on n.oid = c.relnamespace where n.nspname = current_schema()";
    // Without a name for the statement, which a pooler may not know.
    let rows = client.query_typed(THERE, &[]).await;
    let rows = rows.map_err(|error| Error::from(from_postgres(&error, "a look at indexes")))?;
    let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    let there: Result<HashMap<String, bool>, tokio_postgres::Error> = rows.iter().map(read).collect();
    let there = there.map_err(|error| Error::from(from_postgres(&error, "a look at indexes")))?;
    let mut missing = Vec::new();
    for version in 0..STEPS.len() as i64 {
        let step = super::next(version, "postgres").unwrap_or_default();
        for statement in portions(&step) {
            let Some((name, statement)) = behind(&statement, &step) else { continue };
            if there.get(&name) != Some(&true) {
                missing.push(Missing { half: there.contains_key(&name), name, statement });
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_a_table_that_was_there_is_made_behind() {
        let step = "create table a (id bigint);\n";
        for (statement, expected) in [
            ("create index a_by_id on a (id);\n", None),
            (
                "-- what create index says\n\ncreate index b_by_id on b (id);\n",
                Some(("b_by_id", "create index concurrently b_by_id on b (id);")),
            ),
            (
                "create unique index b_one\n    on b (x) where x is not null;\n",
                Some(("b_one", "create unique index concurrently b_one\n    on b (x) where x is not null;")),
            ),
            ("alter table b add column c text;\n", None),
        ] {
            let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
            assert_eq!(behind(statement, step), expected, "{statement}");
        }
    }
}
