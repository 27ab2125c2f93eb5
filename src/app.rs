//! What an action may need, in one place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};

use crate::brand::Brand;
use crate::cache::changes::Changes;
use crate::cache::redis::Redis;
use crate::cache::{Cache, Recent};
use crate::clicks::Clicks;
use crate::config::Config;
use crate::crypto::audit_keys::AuditKeys;
use crate::crypto::hashing::Hasher;
use crate::crypto::keyring::Keyring;
use crate::crypto::mail_key::MailKeyring;
use crate::crypto::sealing::MasterKeys;
use crate::db::{Db, Options, Work};
use crate::idempotency::Sent;
use crate::jobs::Bells;
use crate::kernel::active_code::ActiveCode;
use crate::kernel::caller::Caller;
use crate::kernel::code::Code;
use crate::kernel::digest::AccessTokenHash;
use crate::kernel::error::{Error, Result};
use crate::kernel::handle::Handle;
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::link::LinkTarget;
use crate::kernel::program::Program;
use crate::kernel::time::Clock;
use crate::limits::Limits;
use crate::limits::turns::{Key, Rooms, Turn, Turns};
use crate::loops::Loops;
use crate::metrics::Metrics;
use crate::outbound::hunter::Hunter;
use crate::outbound::identity_provider::{PATIENCE, Providers};
use crate::outbound::receivers::Receivers;
use crate::outbound::smtp::Mailer;
use crate::readiness::Readiness;

/// How long the work of verifying a token is remembered.
const VERIFIED_FOR: Duration = Duration::from_secs(30);

/// How long a program's settings are believed: what managers change is so on every node after that.
const PROGRAM_FOR: Duration = Duration::from_secs(1);

/// How long it is believed whether anybody is told of what happens.
pub const HEARD_FOR: Duration = Duration::from_secs(1);

/// Deliveries of webhooks that are under way at once in a node.
const DELIVERIES: usize = 64;

pub struct App {
    pub config: Config,
    pub db: Db,
    /// For tokens and jobs. Codes live by the database's.
    pub clock: Clock,
    /// What this node must not believe any more.
    pub changes: Arc<Changes>,
    pub redis: Option<Arc<Redis>>,
    /// Active codes by the address of their owner.
    pub codes: Cache<ActiveCode>,
    /// The one program; see `programs::actions::current`.
    pub program: Recent<Program>,
    /// Whether anybody is told of what happens; see `outbox::actions::is_heard`.
    pub heard: Recent<bool>,
    /// Where links lead, by the hash of what was opened. In process only: what is erased must not be found elsewhere.
    pub links: Cache<LinkTarget>,
    /// Clicks on links that are not written yet.
    pub clicks: Clicks,
    pub hasher: Hasher,
    pub keyring: Keyring,
    /// By which the database signs what is noted of changes.
    pub audit_keys: AuditKeys,
    /// Access tokens verified a moment ago, by the key ring's era and their hash.
    pub verified: moka::sync::Cache<(u64, AccessTokenHash), Arc<Caller>>,
    pub hunter: Option<Hunter>,
    /// Who takes our mails, if any are sent.
    pub mailer: Option<Mailer>,
    pub mail_keyring: MailKeyring,
    /// The way to webhook endpoints.
    pub receivers: Receivers,
    /// A place for each delivery that is under way.
    pub deliveries: Arc<Semaphore>,
    /// Whom people may sign in with instead of a password.
    pub providers: Providers,
    pub limits: Limits,
    /// Who waits for the same rows waits here.
    pub turns: Arc<Turns>,
    pub metrics: Metrics,
    /// How pages are signed.
    pub brand: Brand,
    /// What goes on beside the requests, and how it is.
    pub loops: Loops,
    /// Whether the database takes part.
    pub readiness: Readiness,
    /// Rung when a job was added.
    pub work_to_do: Bells,
    /// Rung when there is something to tell others.
    pub to_tell: Notify,
    /// Rung when deliveries are due.
    pub to_deliver: Notify,
    /// Rung when messages have got their numbers.
    pub told: Notify,
    public_url: OnceLock<String>,
    stopping: AtomicBool,
    closed: AtomicBool,
}

impl App {
    /// Connects to everything, without touching what is in the database. The error is a sentence with a remedy.
    pub async fn connect(config: Config, clock: Clock) -> Result<Arc<Self>, String> {
        let options = Options {
            connections: config.database.connections,
            prepared_statements: config.database.prepared_statements,
            request: config.http.request(),
            mapped_mib: config.database.mapped_mib,
        };
        let opened = Db::open(&config.database.url, options.clone()).await;
        let db = opened.map_err(|fault| config.database.told(&fault))?;
        let readiness = Readiness::new(db.clone(), &config.database.url, options)?;
        let rooms = match &db {
            Db::Sqlite(_) => Rooms::of_groups(),
            Db::Postgres(_) => Rooms::of_connections(config.database.connections),
        };
        let redis = if config.redis.url.is_empty() { None } else { Some(Redis::open(&config.redis.url)?) };
        let changes = Arc::new(Changes::default());
        let public_url = OnceLock::new();
        if !config.http.public_url.is_empty() {
            let _ = public_url.set(config.http.public_url.clone());
        }
        Ok(Arc::new(Self {
            db,
            clock,
            codes: Cache::new("code", redis.clone(), changes.clone()),
            program: Recent::new(PROGRAM_FOR),
            heard: Recent::new(HEARD_FOR),
            limits: Limits::new(&config.limits, redis.clone()).map_err(|error| error.to_string())?,
            links: Cache::new("link", None, changes.clone()),
            clicks: Clicks::default(),
            changes,
            redis,
            hasher: Hasher::start(&config.hashing)?,
            keyring: MasterKeys::new(config.tokens.master_key(), config.tokens.former_master_key())
                .map(Keyring::new)
                .map_err(|error| error.to_string())?,
            audit_keys: AuditKeys::default(),
            verified: moka::sync::Cache::builder().max_capacity(50_000).time_to_live(VERIFIED_FOR).build(),
            hunter: Hunter::open(&config.email)?,
            mailer: Mailer::open(&config.mail)?,
            mail_keyring: MailKeyring::default(),
            receivers: Receivers::open(&config),
            deliveries: Arc::new(Semaphore::new(DELIVERIES)),
            providers: Providers::open(&config.providers, PATIENCE)?,
            turns: Arc::new(Turns::new(rooms)),
            metrics: Metrics::default(),
            brand: Brand::of(&config.branding)?,
            loops: Loops::default(),
            readiness,
            work_to_do: Bells::default(),
            to_tell: Notify::new(),
            to_deliver: Notify::new(),
            told: Notify::new(),
            public_url,
            stopping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            config,
        }))
    }

    /// Issuer and audience of tokens, base of links; without a slash at the end.
    pub fn public_url(&self) -> &str {
        self.public_url.get().map_or("http://127.0.0.1:8000", String::as_str)
    }

    /// Whether callers reach us through TLS.
    pub fn is_behind_tls(&self) -> bool {
        self.public_url().starts_with("https://")
    }

    /// Where it turned out that we listen: the public address unless one was set.
    pub fn listens_on(&self, address: std::net::SocketAddr) {
        let _ = self.public_url.set(format!("http://{address}"));
    }

    /// Whether this node is on its way out and load balancers should look elsewhere.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether nobody new is let in any more: each answer is its connection's last.
    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// A user's turn to change something, as often as they may.
    pub async fn turn_of(&self, user: UserId) -> Result<Turn<'_>> {
        self.limits.write(user.0).await?;
        self.turns.take(Key::User(user.0)).await
    }

    /// Runs a unit of work of somebody's that changes something for a user, in their turn and as often as they may.
    pub async fn write_for<I, T>(&self, sent: impl Into<Sent<T>>, user: UserId, input: I, work: Work<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let _turn = self.turn_of(user).await?;
        self.write(sent, input, work).await
    }

    /// Runs a unit of work when it is the turn of its key.
    pub async fn write_in_turn<I, T>(&self, sent: impl Into<Sent<T>>, key: Key, input: I, work: Work<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let _turn = self.turns.take(key).await?;
        self.write(sent, input, work).await
    }

    /// Runs a unit of work of somebody's. Those that were sent with one key wait for each other, and one is run.
    pub async fn write<I, T>(&self, sent: impl Into<Sent<T>>, input: I, work: Work<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let sent = sent.into();
        let _turn = match sent.turn() {
            Some(key) => Some(self.turns.take(Key::Grant(key)).await?),
            None => None,
        };
        sent.write(&self.db, input, work).await
    }

    /// Makes known, here and to the other nodes, that an owner's code has changed.
    pub async fn code_changed(&self, owner: UserId, version: i64) {
        self.changes.code_changed(owner, version);
        self.announce().await;
    }

    /// Makes known, here and to the other nodes, that sessions have ended.
    pub async fn sessions_ended(&self, sessions: &[SessionId]) {
        self.changes.sessions_ended(sessions);
        self.announce().await;
    }

    /// Makes known to the other nodes that the signing keys have changed.
    pub async fn keys_changed(&self) {
        self.changes.poke();
        self.announce().await;
    }

    async fn announce(&self) {
        if let Some(redis) = &self.redis {
            redis.announce().await;
        }
    }

    /// Bytes from the operating system.
    pub fn random<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Internal("the system has no random numbers".into()))?;
        Ok(bytes)
    }

    /// So many generated codes.
    pub fn random_codes(&self, count: usize) -> Result<Vec<Code>> {
        (0..count).map(|_| Code::generate(|| self.random())).collect()
    }

    /// So many generated handles.
    pub fn random_handles(&self, count: usize) -> Result<Vec<Handle>> {
        (0..count).map(|_| Handle::generate(|| self.random())).collect()
    }
}

/// Waits for the word to stop, or for whoever would give it to be gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
