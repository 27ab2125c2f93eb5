//! The seam: one SQL text, two engines. The only place that knows a driver.
//!
//! - [`Db::rows`] is one statement outside any transaction: on SQLite by a reader thread, on PostgreSQL pipelined over
//!   a few shared connections. [`Db::scan`] is the same for answers of many rows, which would delay others on a shared
//!   connection.
//! - [`Db::write`] is a unit of work: an input and a function that may be called again. On SQLite the waiting units run
//!   one after the other in a single transaction, each in its savepoint, and are answered after the one `fsync` that
//!   makes them all durable. On PostgreSQL each has a transaction of its own.
//! - [`Db::attempt`] is a unit that fits into one statement, on an engine that gains by it; its outcome tells whether
//!   the unit itself is still to be run.
//!
//! Units therefore never wait for anything but their own [`Tx`].

pub mod about;
pub mod backup;
pub mod batch;
pub mod copy;
#[cfg(debug_assertions)]
mod crash;
mod damage;
pub mod dump;
mod error;
mod found;
pub mod migrate;
mod place;
mod postgres;
pub mod reference;
pub mod schema;
mod sqlite;
mod value;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::future::BoxFuture;
use uuid::Uuid;

pub use self::about::file;
use self::damage::Damage;
pub use self::place::Place;
pub use self::sqlite::Claim;
pub use self::value::{Column, Row, Sql, Value};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal, Result, Storage};

/// One of the two engines. Cheap to clone.
#[derive(Clone)]
pub enum Db {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

/// What is in use, and who waits.
pub struct Usage {
    /// Connections that transactions and long answers take, where the engine has them: in use, idle, and at most.
    pub connections: Option<[usize; 3]>,
    /// How many wait, and for what.
    pub waiting: Vec<(&'static str, usize)>,
}

/// How to open a database; see `[database]` in the default settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// PostgreSQL's.
    pub connections: usize,
    /// PostgreSQL's.
    pub prepared_statements: bool,
    /// How long a request may take; PostgreSQL's limits follow from it.
    pub request: Duration,
    /// SQLite's.
    pub mapped_mib: u32,
}

/// An open transaction, as a unit of work sees it.
pub struct Tx<'c> {
    engine: Engine<'c>,
    actor: Actor,
    signer: Signer,
}

/// What units of work sign with, so that what they have noted is told from what SQL has written. Nothing until the
/// service has opened its key.
#[derive(Clone, Default)]
struct Signer(Arc<RwLock<Option<hmac::Key>>>);

enum Engine<'c> {
    Sqlite(&'c mut rusqlite::Connection),
    Postgres(postgres::Session<'c>),
}

/// A unit of work. It may run more than once, so all it knows is in its input and in the database.
pub type Work<I, T> = for<'a, 'c> fn(&'a mut Tx<'c>, &'a I) -> BoxFuture<'a, Result<T>>;

/// What became of a unit of work that was tried as one statement. Unless it is written, the unit is to be run.
#[must_use]
pub enum Attempt {
    /// With the rows that it gave.
    Written(Vec<Row>),
    /// The statement gave no row or failed. The unit can tell why, and notices if the statement was carried out and
    /// only its answer got lost.
    NotWritten,
    /// Nothing was tried.
    NoSuchWay,
}

/// How often a unit is tried when the database says that it may succeed the next time.
const TRIES: u32 = 6;

impl Db {
    /// Opens `sqlite:PATH` or `postgres://…`; the error is a sentence with a remedy.
    pub async fn open(url: &str, options: Options) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            sqlite::Sqlite::open(path, options.mapped_mib).map(Self::Sqlite)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            postgres::Postgres::open(url, options).await.map(Self::Postgres)
        } else {
            // Behind whatever is no word there may be a piece of a password.
            let is_word = |text: &&str| text.bytes().all(|byte| byte.is_ascii_lowercase());
            let scheme = url.split_once("://").map(|(scheme, _)| scheme).filter(is_word);
            let scheme =
                scheme.map_or("an unknown scheme".to_owned(), |scheme| format!("the unknown scheme \"{scheme}\""));
            Err(format!(
                "DATABASE_URL has {scheme}: write sqlite:PATH (for example sqlite:referral.db) or \
                 postgres://USER:PASSWORD@HOST/NAME"
            ))
        }
    }

    /// The same database for somebody who must not wait for the others: on PostgreSQL with connections of their own,
    /// made when they are needed. The error is a sentence with a remedy.
    pub fn apart(&self, url: &str, options: Options) -> Result<Self, String> {
        match self {
            Self::Sqlite(_) => Ok(self.clone()),
            Self::Postgres(_) => postgres::Postgres::unconnected(url, options).map(Self::Postgres),
        }
    }

    /// Keeps other processes from serving from the same file, until the claim is dropped; nothing where any number may.
    /// The error is a sentence with a remedy.
    pub fn claim(url: &str) -> Result<Option<Claim>, String> {
        url.strip_prefix("sqlite:").map(sqlite::Sqlite::claim).transpose()
    }

    /// One statement outside any transaction, for few rows.
    pub async fn rows(&self, sql: &'static Sql, params: impl Into<Vec<Value>>) -> Result<Vec<Row>> {
        let params = params.into();
        let rows = match self {
            Self::Sqlite(sqlite) => sqlite.rows(sql, params).await,
            Self::Postgres(postgres) => postgres.rows(sql, params).await,
        };
        self.damage().seen_in(rows)
    }

    /// As [`rows`](Self::rows), from a SQLite file that nobody has opened yet: not even its mode is changed.
    pub fn rows_of_file(path: &Path, sql: &'static Sql) -> Result<Vec<Row>> {
        sqlite::rows(&mut sqlite::unopened(path)?, sql, &[])
    }

    /// As [`rows`](Self::rows), for at most one row.
    pub async fn row(&self, sql: &'static Sql, params: impl Into<Vec<Value>>) -> Result<Option<Row>> {
        Ok(self.rows(sql, params).await?.pop())
    }

    /// One statement outside any transaction, for many rows.
    pub async fn scan(&self, sql: &'static Sql, params: impl Into<Vec<Value>>) -> Result<Vec<Row>> {
        let params = params.into();
        let rows = match self {
            Self::Sqlite(sqlite) => sqlite.rows(sql, params).await,
            Self::Postgres(postgres) => postgres.scan(sql, params).await,
        };
        self.damage().seen_in(rows)
    }

    /// Runs a unit of work of somebody's and answers after its commit is durable. Any error rolls the unit back.
    pub async fn write<I, T>(&self, actor: Actor, input: I, work: Work<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        if self.is_read_only() {
            return Err(Refusal::ReadOnly.into());
        }
        let input = Arc::new(input);
        let mut tried = 0;
        loop {
            let outcome = match self {
                Self::Sqlite(sqlite) => sqlite.write(actor, input.clone(), work).await,
                Self::Postgres(postgres) => postgres.write(actor, &*input, work).await,
            };
            let outcome = self.damage().seen_in(outcome);
            tried += 1;
            match outcome {
                Err(Error::Storage(Storage::Retry(_))) if tried < TRIES => {
                    // Apart from each other, so that those who collided do not collide again.
                    let spread = u64::from(Uuid::from_u128(Arc::as_ptr(&input).addr() as u128).as_fields().0 % 7);
                    tokio::time::sleep(Duration::from_millis((1 << tried) + spread)).await;
                }
                Err(Error::Storage(Storage::Retry(fault))) => return Err(Storage::Unavailable(fault).into()),
                other => return other,
            }
        }
    }

    /// Tries a unit of work of somebody's as one statement that has all of its effect and gives a row, or has none.
    /// The parameters are made where there is such a way only, and may tell the actor. SQLite has none: a statement is
    /// not faster there than a unit.
    pub async fn attempt(
        &self,
        actor: Actor,
        sql: &'static Sql,
        params: impl FnOnce(Actor) -> Vec<Value>,
    ) -> Result<Attempt> {
        match self {
            _ if self.is_read_only() => Err(Refusal::ReadOnly.into()),
            Self::Sqlite(_) => Ok(Attempt::NoSuchWay),
            Self::Postgres(postgres) => postgres.attempt(sql, || params(actor)).await,
        }
    }

    /// How far the database's clock has been moved, in microseconds: SQLite's half of what tests do to PostgreSQL's
    /// `referral_now()` with SQL.
    pub fn sqlite_clock(&self) -> Option<Arc<AtomicI64>> {
        match self {
            Self::Sqlite(sqlite) => Some(sqlite.clock.clone()),
            Self::Postgres(_) => None,
        }
    }

    /// The connection settings of a listener for notifications, where the engine has them.
    pub fn listener(&self) -> Option<postgres::Listener> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(postgres) => Some(postgres.listener()),
        }
    }

    /// Units of work sign with this key from now on.
    pub fn sign_with(&self, key: hmac::Key) {
        let signer = match self {
            Self::Sqlite(sqlite) => &sqlite.signer,
            Self::Postgres(postgres) => postgres.signer(),
        };
        *signer.0.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// Whether a request or a job has met lately that something cannot be read back.
    pub fn is_damaged(&self) -> bool {
        self.damage().is_recent()
    }

    fn damage(&self) -> &Damage {
        match self {
            Self::Sqlite(sqlite) => &sqlite.damage,
            Self::Postgres(postgres) => postgres.damage(),
        }
    }

    /// From now on units of work are refused. Reads go on.
    pub fn refuse_writes(&self) {
        self.gate().store(true, Ordering::Relaxed);
    }

    pub fn is_read_only(&self) -> bool {
        self.gate().load(Ordering::Relaxed)
    }

    fn gate(&self) -> &AtomicBool {
        match self {
            Self::Sqlite(sqlite) => &sqlite.read_only,
            Self::Postgres(postgres) => postgres.read_only(),
        }
    }

    /// How busy it is.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Sqlite(sqlite) => sqlite.usage(),
            Self::Postgres(postgres) => postgres.usage(),
        }
    }

    /// Bytes that show whether a typical request's writes find room: SQLite writes whole pages of tables and indexes to
    /// its log, PostgreSQL hardly more than what has changed.
    pub fn typical_write(&self) -> usize {
        match self {
            Self::Sqlite(_) => 32 * 1024,
            Self::Postgres(_) => 8 * 1024,
        }
    }

    /// Leaves the database as whoever copies it wants to find it; for the end of a process.
    pub async fn checkpoint(&self) -> Result<()> {
        match self {
            Self::Sqlite(sqlite) => sqlite.checkpoint().await,
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Prepares a statement without running it.
    pub async fn prepare(&self, sql: &'static Sql) -> Result<()> {
        match self {
            Self::Sqlite(sqlite) => sqlite.prepare(sql).await,
            Self::Postgres(postgres) => postgres.prepare(sql).await,
        }
    }
}

impl Tx<'_> {
    /// Whose unit of work it is.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// A MAC by the key that the service has opened, which SQL alone cannot make.
    pub fn signature(&self, text: &[u8]) -> Result<Vec<u8>> {
        let key = self.signer.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let key = key.ok_or_else(|| {
            Error::Internal(
                "the key that the audit is signed with is sealed: give the master key of the service as \
                 tokens.master_key (REFERRAL_MASTER_KEY or REFERRAL_MASTER_KEY_FILE)"
                    .into(),
            )
        })?;
        Ok(hmac::sign(&key, text).as_ref().to_vec())
    }

    pub async fn rows(&mut self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        #[cfg(debug_assertions)]
        crash::before_statement(sql.name);
        match &mut self.engine {
            Engine::Sqlite(connection) => sqlite::rows(connection, sql, params),
            Engine::Postgres(session) => session.rows(sql, params).await,
        }
    }

    /// As [`rows`](Self::rows), for at most one row.
    pub async fn row(&mut self, sql: &'static Sql, params: &[Value]) -> Result<Option<Row>> {
        Ok(self.rows(sql, params).await?.pop())
    }

    /// A part of a unit of work as one statement, where the engine gains by it: see [`Db::attempt`]. No rows elsewhere.
    pub async fn attempt(
        &mut self,
        sql: &'static Sql,
        params: impl FnOnce() -> Result<Vec<Value>>,
    ) -> Result<Vec<Row>> {
        match self.engine {
            Engine::Sqlite(_) => Ok(Vec::new()),
            Engine::Postgres(_) => self.rows(sql, &params()?).await,
        }
    }

    /// Runs a statement for its effect and says how many rows it touched.
    pub async fn run(&mut self, sql: &'static Sql, params: &[Value]) -> Result<u64> {
        #[cfg(debug_assertions)]
        crash::before_statement(sql.name);
        match &mut self.engine {
            Engine::Sqlite(connection) => sqlite::run(connection, sql, params),
            Engine::Postgres(session) => session.run(sql, params).await,
        }
    }
}
