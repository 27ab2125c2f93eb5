//! Where statements read that look through all of a database, whatever state it is in.

use std::path::Path;

use super::dump::Snapshot;
use super::value::{Row, Sql, Value};
use super::{Db, sqlite};
use crate::kernel::error::Result;

pub enum Place<'a> {
    Open(&'a Db),
    /// A SQLite file that nobody has opened and that stays as it is.
    File(&'a Path),
    /// One state of a PostgreSQL database.
    Snapshot(&'a mut Snapshot),
}

impl Place<'_> {
    /// One statement, for many rows.
    pub async fn scan(&mut self, sql: &'static Sql, params: impl Into<Vec<Value>>) -> Result<Vec<Row>> {
        match self {
            Self::Open(db) => db.scan(sql, params).await,
            Self::File(path) => sqlite::rows(&mut sqlite::unopened(path)?, sql, &params.into()),
            Self::Snapshot(snapshot) => snapshot.rows(sql, &params.into()).await,
        }
    }

    /// As [`scan`](Self::scan), for at most one row.
    pub async fn row(&mut self, sql: &'static Sql, params: impl Into<Vec<Value>>) -> Result<Option<Row>> {
        Ok(self.scan(sql, params).await?.pop())
    }
}
