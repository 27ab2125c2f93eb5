//! A connection of the pool in use, and what becomes of it when its user leaves, at whatever point.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Object;
use tokio::time::error::Elapsed;
use tokio_postgres::types::{ToSql, Type};

use super::super::error::{at_commit, from_postgres, is_stale};
use super::super::value::{Row, Sql, Value};
use super::connect::{Connection, Connector, Fresh};
use crate::kernel::error::{Cause, Error, Result, Storage};

/// A server that holds its statements to their time answers by then, if it answers at all.
pub const GRACE: Duration = Duration::from_millis(500);

pub struct Lease {
    connection: Option<Object<Fresh>>,
    after: After,
    connector: Arc<Connector>,
    /// Whether statements are sent prepared.
    prepared: bool,
    /// For one statement.
    limit: Duration,
}

/// What a connection needs before somebody else can use it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    /// To answer what it was asked.
    Answer,
    /// To undo what was begun, beside that.
    RollBack,
    /// It is not to be used any more.
    End,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let text = match self.after {
            After::Nothing => return,
            After::Answer => "",
            After::RollBack => "rollback",
            After::End => return drop(Object::take(connection)),
        };
        // Beside whoever leaves: they may not wait. The place in the pool is free when the server is done.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(finish(connection, text, self.limit + GRACE))),
            Err(_) => drop(Object::take(connection)),
        }
    }
}

/// Gives a connection back when the server is done with it, or closes it.
async fn finish(connection: Object<Fresh>, text: &'static str, limit: Duration) {
    if !matches!(tokio::time::timeout(limit, connection.batch_execute(text)).await, Ok(Ok(()))) {
        drop(Object::take(connection));
    }
}

impl Lease {
    pub fn new(connection: Object<Fresh>, connector: Arc<Connector>, prepared: bool, limit: Duration) -> Self {
        Self { connection: Some(connection), after: After::Nothing, connector, prepared, limit }
    }

    pub fn connection(&mut self) -> Result<&mut Object<Fresh>> {
        self.connection.as_mut().ok_or_else(|| Error::Internal("a connection was used after its lease".into()))
    }

    /// One statement, outside any transaction.
    pub async fn alone(&mut self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        self.after = After::Answer;
        let rows = self.rows(sql, params).await;
        self.answered();
        rows
    }

    pub async fn begin(&mut self, text: &str) -> Result<()> {
        self.after = After::RollBack;
        let limit = self.limit + GRACE;
        let begun = tokio::time::timeout(limit, self.connection()?.batch_execute(text)).await;
        self.judge("begin", begun)
    }

    /// Ends what was begun; until its answer nobody knows how.
    pub async fn commit(&mut self) -> Result<()> {
        self.after = After::Answer;
        let limit = self.limit + GRACE;
        let asked = tokio::time::timeout(limit, self.connection()?.batch_execute("commit")).await;
        let unknown = asked.as_ref().ok().and_then(|answer| answer.as_ref().err()).map(at_commit);
        let judged = self.judge("commit", asked);
        self.answered();
        match (judged, unknown) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(fault)) => Err(fault.into()),
            (Err(_), None) => {
                Err(Storage::OutcomeUnknown(Cause::Silent.fault("commit: the database is silent")).into())
            }
        }
    }

    pub async fn rows(&mut self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        let (limit, prepared) = (self.limit + GRACE, self.prepared);
        let asked = tokio::time::timeout(limit, query(self.connection()?, prepared, sql, params)).await;
        self.judge(sql.name, asked)
    }

    pub async fn run(&mut self, sql: &'static Sql, params: &[Value]) -> Result<u64> {
        let (limit, prepared) = (self.limit + GRACE, self.prepared);
        let asked = tokio::time::timeout(limit, execute(self.connection()?, prepared, sql, params)).await;
        self.judge(sql.name, asked)
    }

    /// The one row of a text that no store has: for who looks after the database itself.
    pub async fn value(&mut self, text: &str) -> Result<Row> {
        let limit = self.limit + GRACE;
        // Without a name for the statement, which a pooler may not know.
        let asked = tokio::time::timeout(limit, self.connection()?.query_typed_one(text, &[])).await;
        self.judge("a look", asked).map(Row::Postgres)
    }

    fn answered(&mut self) {
        if self.after == After::Answer {
            self.after = After::Nothing;
        }
    }

    fn judge<T>(&mut self, what: &str, asked: Result<Result<T, tokio_postgres::Error>, Elapsed>) -> Result<T> {
        match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(fault)) => {
                if let Some(connection) = &self.connection {
                    self.connector.judge(connection, &fault);
                    if !self.connector.trusts(connection) {
                        self.after = After::End;
                    }
                }
                Err(from_postgres(&fault, what).into())
            }
            Err(_) => {
                // Behind a pooler the server may only be slow: there is no saying how long it gives a statement.
                if let (Some(connection), true) = (&self.connection, self.prepared) {
                    self.connector.renew(connection, "the server is silent");
                }
                self.after = After::End;
                Err(Storage::Unavailable(Cause::Silent.fault(format!("{what}: the database is silent"))).into())
            }
        }
    }
}

pub async fn query(
    client: &Connection,
    prepared: bool,
    sql: &'static Sql,
    params: &[Value],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let rows = if prepared {
        let statement = client.prepare_cached(sql.postgres).await?;
        client.query(&statement, &borrowed(params)).await
    } else {
        client.query_typed(sql.postgres, &typed(params)).await
    };
    if rows.as_ref().is_err_and(is_stale) {
        client.statement_cache.clear();
    }
    Ok(rows?.into_iter().map(Row::Postgres).collect())
}

async fn execute(
    client: &Connection,
    prepared: bool,
    sql: &'static Sql,
    params: &[Value],
) -> Result<u64, tokio_postgres::Error> {
    let touched = if prepared {
        let statement = client.prepare_cached(sql.postgres).await?;
        client.execute(&statement, &borrowed(params)).await
    } else {
        client.execute_typed(sql.postgres, &typed(params)).await
    };
    if touched.as_ref().is_err_and(is_stale) {
        client.statement_cache.clear();
    }
    touched
}

fn borrowed(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn typed(params: &[Value]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    params.iter().map(|value| (value as &(dyn ToSql + Sync), value.postgres_type())).collect()
}
