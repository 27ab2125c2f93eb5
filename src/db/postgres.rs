//! PostgreSQL: reads pipelined over a few shared connections, transactions and long answers on a pool.

mod certificate;
mod connect;
mod lease;
mod listen;
mod parameters;
mod pooler;
mod shared;
mod tls;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Pool, PoolError, TimeoutType};
use tokio::sync::Semaphore;

use self::connect::{Connection, Connector, Fresh};
use self::lease::GRACE;
pub(super) use self::lease::Lease;
pub use self::listen::Listener;
pub(super) use self::parameters::without_password;
use self::pooler::Pooler;
use self::shared::Shared;
use super::damage::Damage;
use super::error::from_postgres;
use super::value::{Row, Sql, Value};
use super::{Attempt, Engine, Options, Signer, Tx, Usage, Work};
use crate::kernel::actor::Actor;
use crate::kernel::deadline;
use crate::kernel::error::{Cause, Error, Result, Storage};

/// One connection in so many may read lists at a time: writes always find one, and a server with many lists under way
/// answers fewer than one with few.
const LISTS: usize = 4;
/// For the first connection of a process, to each address of each server: nobody waits for it yet.
const START: Duration = Duration::from_secs(10);
/// Said each time, for a database may have another default: the locks and clocks of units count on it.
const BEGIN: &str = "start transaction isolation level read committed";
/// How often a read is tried on connections that turn out to be broken.
const READS: u32 = 8;

#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    pool: Pool<Fresh>,
    /// Whose turn it is to read a list.
    lists: Semaphore,
    shared: Shared,
    connector: Arc<Connector>,
    /// The epoch that the pool's idle connections are of.
    epoch: AtomicU64,
    limits: Limits,
    damage: Damage,
    signer: Signer,
    read_only: AtomicBool,
}

/// How long a request may wait for what, of the time that it has.
struct Limits {
    /// For a connection of the pool.
    place: Duration,
    /// For a server that is asked for a connection.
    connect: Duration,
    lock: Duration,
    statement: Duration,
    request: Duration,
}

impl Limits {
    fn of(request: Duration) -> Self {
        Self { place: request / 10, connect: request / 5, lock: request / 5, statement: request * 3 / 10, request }
    }

    /// What is said to a server first: nothing of ours may hold a lock for longer. And each statement has one plan for
    /// all parameters: planned for one long list, a page of it may look cheaper by a walk through everybody's.
    fn greeting(&self) -> String {
        format!(
            "set statement_timeout = {}; set lock_timeout = {}; set idle_in_transaction_session_timeout = {}; \
             set plan_cache_mode = force_generic_plan",
            self.statement.as_millis(),
            self.lock.as_millis(),
            self.request.as_millis(),
        )
    }

    /// The beginning of a transaction whose statements have this long, where that is not what the server was told.
    fn begin(&self, own: bool, statement: Option<Duration>) -> Cow<'static, str> {
        if own && statement.is_none() {
            return Cow::Borrowed(BEGIN);
        }
        Cow::Owned(format!(
            "{BEGIN}; set local statement_timeout = {}; set local lock_timeout = {}; \
             set local idle_in_transaction_session_timeout = {}",
            statement.unwrap_or(self.statement).as_millis(),
            statement.unwrap_or(self.lock).as_millis(),
            self.request.as_millis(),
        ))
    }
}

/// An open transaction.
pub struct Session<'c> {
    lease: &'c mut Lease,
    /// Whether a statement has failed: what was done before it is undone already.
    failed: bool,
}

impl Postgres {
    pub async fn open(url: &str, options: Options) -> Result<Self, String> {
        let postgres = Self::unconnected(url, options)?;
        // The first connection tells about wrong hosts, passwords and certificates before the first request does.
        let first = postgres.0.connector.reach(START, None).await.map_err(|fault| {
            let fault = Error::from(fault);
            format!("cannot connect to PostgreSQL: {fault}")
        })?;
        postgres.0.shared.adopt(first);
        Ok(postgres)
    }

    /// As [`open`](Self::open), but that connections are made when they are needed.
    pub fn unconnected(url: &str, options: Options) -> Result<Self, String> {
        parameters::check(url)?;
        let (mut config, tls) = tls::configure(url)?;
        let limits = Limits::of(options.request);
        config
            .application_name("referral")
            .connect_timeout(limits.connect)
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(limits.statement + GRACE);
        let pooler = Pooler::new(options.prepared_statements);
        let connector = Arc::new(Connector::new(&config, tls, limits.greeting(), limits.connect, pooler));
        let pool = Pool::builder(Fresh(connector.clone()))
            .max_size(options.connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(limits.place))
            .build()
            .map_err(|error| format!("cannot make a PostgreSQL connection pool: {error}"))?;
        let shared = Shared::new(connector.clone(), limits.statement + GRACE);
        let lists = Semaphore::new((options.connections / LISTS).max(1));
        Ok(Self(Arc::new(Inner {
            pool,
            lists,
            shared,
            connector,
            epoch: AtomicU64::new(0),
            limits,
            damage: Damage::default(),
            signer: Signer::default(),
            read_only: AtomicBool::new(false),
        })))
    }

    pub(super) fn damage(&self) -> &Damage {
        &self.0.damage
    }

    pub(super) fn signer(&self) -> &Signer {
        &self.0.signer
    }

    pub(super) fn read_only(&self) -> &AtomicBool {
        &self.0.read_only
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
                Err(Error::Storage(Storage::Retry(fault))) => return Err(Storage::Unavailable(fault).into()),
                other => return other,
            }
        }
    }

    /// Without a clock of its own: the connection's ends it where the server does not.
    async fn read_shared(&self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        self.clear_out();
        let connection = self.0.shared.get().await?;
        lease::query(&connection, self.0.connector.keeps(), sql, params).await.map_err(|fault| {
            self.0.connector.judge(&connection, &fault);
            from_postgres(&fault, sql.name).into()
        })
    }

    async fn read_alone(&self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        let lists = tokio::time::timeout(self.0.limits.place, self.0.lists.acquire()).await;
        let _turn = lists.map_err(|_| busy())?;
        self.lease().await?.alone(sql, params).await
    }

    pub async fn write<I, T>(&self, actor: Actor, input: &I, work: Work<I, T>) -> Result<T> {
        let mut lease = self.lease().await?;
        lease.begin(&self.0.limits.begin(self.0.connector.keeps(), deadline::statement())).await?;
        let engine = Engine::Postgres(Session { lease: &mut lease, failed: false });
        let mut tx = Tx { engine, actor, signer: self.0.signer.clone() };
        let outcome = work(&mut tx, input).await;
        let failed = matches!(tx.engine, Engine::Postgres(Session { failed: true, .. }));
        // What is not committed is rolled back with the lease.
        let value = outcome?;
        if failed {
            return Err(Error::Internal("a unit of work went on after a statement that had failed".into()));
        }
        let written = deadline::writing();
        #[cfg(debug_assertions)]
        super::crash::before_commit();
        let committed = lease.commit().await;
        #[cfg(debug_assertions)]
        super::crash::after_commit();
        if !matches!(committed, Ok(()) | Err(Error::Storage(Storage::OutcomeUnknown(_)))) {
            written.undone();
        }
        committed.map(|()| value)
    }

    pub async fn attempt(&self, sql: &'static Sql, params: impl FnOnce() -> Vec<Value>) -> Result<Attempt> {
        if !self.0.connector.keeps() {
            // It would wait for locks without an end: only a transaction can be told how long.
            return Ok(Attempt::NoSuchWay);
        }
        let mut lease = self.lease().await?;
        let written = deadline::writing();
        #[cfg(debug_assertions)]
        super::crash::before_statement(sql.name);
        let outcome = lease.alone(sql, &params()).await;
        #[cfg(debug_assertions)]
        super::crash::after_commit();
        match outcome {
            Ok(rows) if !rows.is_empty() => Ok(Attempt::Written(rows)),
            Ok(_) | Err(Error::Storage(Storage::Constraint(_))) => {
                written.undone();
                Ok(Attempt::NotWritten)
            }
            // It may have been carried out: the unit finds that out.
            Err(Error::Storage(Storage::Retry(_))) => Ok(Attempt::NotWritten),
            Err(Error::Storage(Storage::Unavailable(fault))) => Err(Storage::OutcomeUnknown(fault).into()),
            Err(fault) => {
                written.undone();
                Err(fault)
            }
        }
    }

    pub async fn prepare(&self, sql: &'static Sql) -> Result<()> {
        let mut lease = self.lease().await?;
        let prepared = lease.connection()?.prepare(sql.postgres).await;
        prepared.map(drop).map_err(|error| from_postgres(&error, sql.name).into())
    }

    /// A connection for who knows the driver: migrations.
    pub(super) async fn connection(&self) -> Result<Lease> {
        self.lease().await
    }

    /// A connection that is nobody else's, and whether it keeps what it is told: a pooler's does not.
    pub(super) async fn apart(&self) -> Result<(Connection, bool)> {
        let connector = &self.0.connector;
        Ok((connector.reach(START, None).await?, connector.keeps()))
    }

    pub fn is_pooled(&self) -> bool {
        self.0.connector.is_pooled()
    }

    pub fn listener(&self) -> Listener {
        Listener { connector: self.0.connector.clone(), limit: self.0.limits.connect }
    }

    /// Lets go of idle connections that were given up. There are reads all the time: the feed's.
    fn clear_out(&self) {
        let (epoch, connector) = (self.0.connector.epoch(), &self.0.connector);
        if self.0.epoch.load(Ordering::Relaxed) != epoch && self.0.epoch.swap(epoch, Ordering::Relaxed) != epoch {
            drop(self.0.pool.retain(|connection, _| connector.trusts(connection)));
        }
    }

    async fn lease(&self) -> Result<Lease> {
        let connection = self.0.pool.get().await.map_err(|fault| match fault {
            PoolError::Timeout(TimeoutType::Wait) => busy(),
            PoolError::Backend(fault) => fault.into(),
            _ => Storage::Unavailable(Cause::Unknown.fault("the pool of connections is closed")).into(),
        })?;
        let limit = deadline::statement().unwrap_or(self.0.limits.statement);
        Ok(Lease::new(connection, self.0.connector.clone(), self.0.connector.keeps(), limit))
    }
}

fn busy() -> Error {
    Error::Busy(Duration::from_secs(1))
}

impl Session<'_> {
    pub async fn rows(&mut self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        let rows = self.lease.rows(sql, params).await;
        self.failed |= rows.is_err();
        rows
    }

    pub async fn run(&mut self, sql: &'static Sql, params: &[Value]) -> Result<u64> {
        let touched = self.lease.run(sql, params).await;
        self.failed |= touched.is_err();
        touched
    }
}
