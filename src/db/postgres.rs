//! PostgreSQL: reads pipelined over a few shared connections, transactions and long answers on a pool.

mod parameters;
mod pooler;
mod tls;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    TimeoutType, Timeouts,
};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, IsolationLevel};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::pooler::Pooler;
use super::error::{at_commit, causes, from_postgres, is_stale};
use super::value::{Row, Sql, Value};
use super::{Tx, Usage, Work};
use crate::kernel::error::{Error, Result, Storage};

/// How to talk to PostgreSQL; see `[database]` in the default settings.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    pub connections: usize,
    pub prepared_statements: bool,
}

/// Connections that reads share: one saturates a core of ours, two keep the second busy.
const SHARED: usize = 2;
/// One connection in so many may read lists at a time: writes always find one, and a server with many lists under way
/// answers fewer than one with few.
const LISTS: usize = 4;
/// A statement that takes longer is cancelled: nothing of ours may hold a lock for longer. And each has one plan for
/// all parameters: planned for one long list, a page of it may look cheaper by a walk through everybody's.
const SESSION: &str = "set statement_timeout = '15s'; set lock_timeout = '5s'; \
     set idle_in_transaction_session_timeout = '10s'; set plan_cache_mode = force_generic_plan";
/// How often a read is tried on connections that turn out to be broken.
const READS: u32 = 8;
const WAIT: Duration = Duration::from_secs(5);
/// A server that is silent for longer, though its statements are limited, is gone, and with it the connection.
const SILENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    pool: Pool,
    /// Whose turn it is to read a list.
    lists: Semaphore,
    sharing: Pool,
    shared: [Shared; SHARED],
    next: AtomicUsize,
    pooler: Arc<Pooler>,
    config: Config,
    tls: MakeRustlsConnect,
}

#[derive(Default)]
struct Shared {
    connection: RwLock<Option<Arc<ClientWrapper>>>,
    opening: Mutex<()>,
}

/// An open transaction.
pub struct Session<'c> {
    transaction: deadpool_postgres::Transaction<'c>,
    prepared: bool,
}

impl Postgres {
    pub async fn open(url: &str, options: PostgresOptions) -> Result<Self, String> {
        parameters::check(url)?;
        let (mut config, tls) = tls::configure(url)?;
        config
            .application_name("referral")
            .connect_timeout(WAIT)
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(SILENCE);
        let pooler = Arc::new(Pooler::new(options.prepared_statements));
        let pool = |size| {
            let manager = Manager::from_config(
                config.clone(),
                tls.clone(),
                ManagerConfig { recycling_method: RecyclingMethod::Fast },
            );
            let pooler = pooler.clone();
            let limit = Hook::async_fn(move |client: &mut ClientWrapper, _| {
                let pooler = pooler.clone();
                Box::pin(async move {
                    pooler.meet(client).await.map_err(HookError::Backend)?;
                    // A pooler hands its connections around: what is set on one would reach others.
                    let limit = if pooler.keeps() { SESSION } else { "" };
                    client.batch_execute(limit).await.map_err(HookError::Backend)
                })
            });
            Pool::builder(manager)
                .max_size(size)
                .runtime(Runtime::Tokio1)
                .timeouts(Timeouts { wait: Some(WAIT), create: Some(WAIT), recycle: Some(WAIT) })
                .post_create(limit)
                .build()
                .map_err(|error| format!("cannot make a PostgreSQL connection pool: {error}"))
        };
        let inner = Inner {
            pool: pool(options.connections)?,
            lists: Semaphore::new((options.connections / LISTS).max(1)),
            sharing: pool(SHARED)?,
            shared: Default::default(),
            next: AtomicUsize::new(0),
            pooler: pooler.clone(),
            config: config.clone(),
            tls: tls.clone(),
        };
        let postgres = Self(Arc::new(inner));
        // The first connection tells about wrong hosts, passwords and certificates before the first request does.
        let _first = postgres.0.pool.get().await.map_err(|error| {
            format!("cannot connect to PostgreSQL: {}. Check DATABASE_URL and that the server runs", causes(&error))
        })?;
        Ok(postgres)
    }

    pub fn usage(&self) -> Usage {
        let pool = self.0.pool.status();
        let idle = pool.available.min(pool.size);
        Usage {
            connections: Some([pool.size - idle, idle, pool.max_size]),
            waiting: vec![("connection", pool.waiting)],
        }
    }

    pub async fn rows(&self, sql: &'static Sql, params: Vec<Value>) -> Result<Vec<Row>> {
        self.read(sql, &params, false).await
    }

    pub async fn scan(&self, sql: &'static Sql, params: Vec<Value>) -> Result<Vec<Row>> {
        self.read(sql, &params, true).await
    }

    /// A read outside a transaction may always be repeated; a broken connection is replaced.
    async fn read(&self, sql: &'static Sql, params: &[Value], alone: bool) -> Result<Vec<Row>> {
        let mut tried = 0;
        loop {
            tried += 1;
            let answer = if alone { self.read_alone(sql, params).await } else { self.read_shared(sql, params).await };
            match answer {
                // Where one connection was cut all were, and each must be noticed.
                Err(Error::Storage(Storage::Retry(_))) if tried < READS => {
                    tokio::time::sleep(Duration::from_millis(1 << tried)).await;
                }
                Err(Error::Storage(Storage::Retry(text))) => return Err(Storage::Unavailable(text).into()),
                other => return other,
            }
        }
    }

    async fn read_shared(&self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        let (slot, connection) = self.shared().await?;
        let answer = tokio::time::timeout(SILENCE, query(&connection, self.0.pooler.keeps(), sql, params)).await;
        answer.unwrap_or_else(|_| {
            // Nobody else is to wait for it.
            slot.set(None);
            Err(silent(sql.name))
        })
    }

    async fn read_alone(&self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        let lists = tokio::time::timeout(WAIT, self.0.lists.acquire()).await;
        let _turn = lists.map_err(|_| Error::Busy(Duration::from_secs(1)))?;
        let connection = self.0.pool.get().await.map_err(from_pool)?;
        let answer = tokio::time::timeout(SILENCE, query(&connection, self.0.pooler.keeps(), sql, params)).await;
        answer.unwrap_or_else(|_| {
            drop(Object::take(connection));
            Err(silent(sql.name))
        })
    }

    pub async fn write<I, T>(&self, input: &I, work: Work<I, T>) -> Result<T> {
        let mut connection = self.0.pool.get().await.map_err(from_pool)?;
        let finished = tokio::time::timeout(SILENCE, self.transact(&mut connection, input, work)).await;
        finished.unwrap_or_else(|_| {
            drop(Object::take(connection));
            Err(Storage::OutcomeUnknown("a unit of work: the database is silent".into()).into())
        })
    }

    pub async fn attempt(&self, sql: &'static Sql, params: &[Value]) -> Result<bool> {
        let connection = self.0.pool.get().await.map_err(from_pool)?;
        match tokio::time::timeout(SILENCE, query(&connection, self.0.pooler.keeps(), sql, params)).await {
            Ok(Ok(rows)) => Ok(!rows.is_empty()),
            Ok(Err(Error::Storage(Storage::Constraint(_) | Storage::Retry(_) | Storage::Unavailable(_)))) => Ok(false),
            Ok(Err(fault)) => Err(fault),
            Err(_) => {
                drop(Object::take(connection));
                Err(Storage::OutcomeUnknown(format!("{}: the database is silent", sql.name)).into())
            }
        }
    }

    async fn transact<I, T>(&self, connection: &mut Object, input: &I, work: Work<I, T>) -> Result<T> {
        // Said each time, for a database may have another default: the locks and clocks of units count on it.
        let begin = connection.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
        let transaction = begin.start().await.map_err(|error| from_postgres(&error, "begin"))?;
        let mut tx = Tx::Postgres(Session { transaction, prepared: self.0.pooler.keeps() });
        let outcome = work(&mut tx, input).await;
        // An error drops the transaction, which rolls it back.
        if let (Ok(_), Tx::Postgres(session)) = (&outcome, tx) {
            session.transaction.commit().await.map_err(|error| at_commit(&error))?;
        }
        outcome
    }

    pub async fn prepare(&self, sql: &'static Sql) -> Result<()> {
        let connection = self.0.pool.get().await.map_err(from_pool)?;
        let prepared = connection.prepare(sql.postgres).await;
        prepared.map(drop).map_err(|error| from_postgres(&error, sql.name).into())
    }

    /// Runs a migration step: a text of several statements in one transaction, under a lock that all nodes share.
    pub async fn script(&self, known: &str, text: impl Fn(i64) -> Result<Option<String>>) -> Result<i64> {
        // A step may take as long as it takes, and so may the wait for another node's.
        const UNLIMITED: &str = "set local statement_timeout = 0; set local lock_timeout = 0; \
                                 set local idle_in_transaction_session_timeout = 0; \
                                 set local client_min_messages = warning";
        const LOCK: &str = "select pg_advisory_xact_lock(7378431276)";
        let fault = |error: tokio_postgres::Error| Error::from(from_postgres(&error, "migration"));
        let mut connection = self.0.pool.get().await.map_err(from_pool)?;
        let transaction = connection.transaction().await.map_err(fault)?;
        transaction.batch_execute(UNLIMITED).await.map_err(fault)?;
        transaction.batch_execute(LOCK).await.map_err(fault)?;
        transaction.batch_execute(known).await.map_err(fault)?;
        let row = transaction
            .query_typed_one("select coalesce(max(version), 0) from schema_migrations", &[])
            .await
            .map_err(fault)?;
        let version: i64 = row.try_get(0).map_err(fault)?;
        if let Some(text) = text(version)? {
            transaction.batch_execute(&text).await.map_err(fault)?;
            transaction.commit().await.map_err(fault)?;
        }
        Ok(version)
    }

    /// The version of the schema, without touching it.
    pub async fn version(&self) -> Result<Option<i64>> {
        let fault = |error: tokio_postgres::Error| Error::from(from_postgres(&error, "schema version"));
        let connection = self.0.pool.get().await.map_err(from_pool)?;
        let exists = connection
            .query_typed_one("select to_regclass('schema_migrations') is not null", &[])
            .await
            .map_err(fault)?;
        if !exists.try_get::<_, bool>(0).map_err(fault)? {
            return Ok(None);
        }
        let row = connection
            .query_typed_one("select coalesce(max(version), 0) from schema_migrations", &[])
            .await
            .map_err(fault)?;
        row.try_get(0).map(Some).map_err(fault)
    }

    pub fn is_pooled(&self) -> bool {
        self.0.pooler.is_there()
    }

    pub fn listener(&self) -> Listener {
        Listener { config: self.0.config.clone(), tls: self.0.tls.clone() }
    }

    /// One of the shared connections, opened again when it has broken.
    async fn shared(&self) -> Result<(&Shared, Arc<ClientWrapper>)> {
        let index = self.0.next.fetch_add(1, Ordering::Relaxed) % SHARED;
        let Some(slot) = self.0.shared.get(index) else { return Err(Error::Internal("no shared connection".into())) };
        if let Some(connection) = slot.get() {
            return Ok((slot, connection));
        }
        // One opens it; the others wait for that, but not in a queue of failures.
        let opening = tokio::time::timeout(WAIT, slot.opening.lock()).await;
        let _opening = opening.map_err(|_| Error::Busy(Duration::from_secs(1)))?;
        if let Some(connection) = slot.get() {
            return Ok((slot, connection));
        }
        slot.set(None);
        // Out of its pool for good: when it is given up, nobody is handed it again.
        let connection = Arc::new(Object::take(self.0.sharing.get().await.map_err(from_pool)?));
        slot.set(Some(connection.clone()));
        Ok((slot, connection))
    }
}

impl Shared {
    fn get(&self) -> Option<Arc<ClientWrapper>> {
        let connection = self.connection.read().unwrap_or_else(PoisonError::into_inner).clone();
        connection.filter(|connection| !connection.is_closed())
    }

    fn set(&self, connection: Option<Arc<ClientWrapper>>) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }
}

fn silent(statement: &str) -> Error {
    Storage::Unavailable(format!("{statement}: the database is silent")).into()
}

impl Session<'_> {
    pub async fn rows(&self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        let fault = |error: tokio_postgres::Error| Error::from(from_postgres(&error, sql.name));
        let rows = if self.prepared {
            let statement = self.transaction.prepare_cached(sql.postgres).await.map_err(fault)?;
            self.transaction.query(&statement, &borrowed(params)).await
        } else {
            self.transaction.query_typed(sql.postgres, &typed(params)).await
        };
        if rows.as_ref().is_err_and(is_stale) {
            self.transaction.statement_cache.clear();
        }
        Ok(rows.map_err(fault)?.into_iter().map(Row::Postgres).collect())
    }

    pub async fn run(&self, sql: &'static Sql, params: &[Value]) -> Result<u64> {
        let fault = |error: tokio_postgres::Error| Error::from(from_postgres(&error, sql.name));
        let touched = if self.prepared {
            let statement = self.transaction.prepare_cached(sql.postgres).await.map_err(fault)?;
            self.transaction.execute(&statement, &borrowed(params)).await
        } else {
            self.transaction.execute_typed(sql.postgres, &typed(params)).await
        };
        if touched.as_ref().is_err_and(is_stale) {
            self.transaction.statement_cache.clear();
        }
        touched.map_err(fault)
    }
}

async fn query(client: &ClientWrapper, prepared: bool, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
    let fault = |error: tokio_postgres::Error| Error::from(from_postgres(&error, sql.name));
    let rows = if prepared {
        let statement = client.prepare_cached(sql.postgres).await.map_err(fault)?;
        client.query(&statement, &borrowed(params)).await
    } else {
        client.query_typed(sql.postgres, &typed(params)).await
    };
    if rows.as_ref().is_err_and(is_stale) {
        client.statement_cache.clear();
    }
    Ok(rows.map_err(fault)?.into_iter().map(Row::Postgres).collect())
}

fn borrowed(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn typed(params: &[Value]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    params.iter().map(|value| (value as &(dyn ToSql + Sync), value.postgres_type())).collect()
}

fn from_pool(error: PoolError) -> Error {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => Error::Busy(Duration::from_secs(1)),
        // Nothing has been sent yet, so nothing speaks against another try.
        PoolError::Backend(fault) | PoolError::PostCreateHook(HookError::Backend(fault)) => {
            match from_postgres(&fault, "connect") {
                Storage::Retry(text) | Storage::Unavailable(text) => Storage::Retry(text).into(),
                other => other.into(),
            }
        }
        other => Storage::Unavailable(causes(&other)).into(),
    }
}

/// What is needed to listen for notifications on a connection of its own.
pub struct Listener {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Listener {
    /// Listens on a channel.
    pub async fn listen(&self, channel: &str) -> Result<Notifications> {
        let fault = |error: tokio_postgres::Error| Error::from(from_postgres(&error, "listen"));
        let (client, mut connection) = self.config.connect(self.tls.clone()).await.map_err(fault)?;
        // One waiting message says as much as a hundred.
        let (heard, messages) = mpsc::channel(1);
        tokio::spawn(async move {
            // Ends when the connection breaks or its client is dropped.
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(_) = message {
                    let _ = heard.try_send(());
                }
            }
        });
        client.batch_execute(&format!("listen {channel}")).await.map_err(fault)?;
        Ok(Notifications { messages, _client: client })
    }
}

/// What is heard on a channel.
pub struct Notifications {
    messages: mpsc::Receiver<()>,
    _client: Client,
}

impl Notifications {
    /// Waits for the next notification; nothing when the connection has broken.
    pub async fn next(&mut self) -> Option<()> {
        self.messages.recv().await
    }
}
