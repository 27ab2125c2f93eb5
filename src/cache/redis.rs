//! Redis: memory that nodes share, and the fastest word of changes. It may vanish at any time: only speed is lost.
//!
//! A supervisor keeps the connection and is the breaker: the first failure takes Redis out of the way of requests until
//! it answers again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult, Script};
use tokio::sync::Notify;

use super::changes::Changes;
use crate::kernel::ids::InstallationId;

/// The longest a request waits for Redis.
const PATIENCE: Duration = Duration::from_millis(50);
const HEARTBEAT: Duration = Duration::from_secs(1);
const CHANNEL: &str = "changes";

/// Stores a value unless a newer version is there: the version stands in front of the text.
const SET_IF_NEWER: &str = r"
local old = redis.call('GET', KEYS[1])
if old and tonumber(string.match(old, '^%d+')) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1";

pub struct Redis {
    client: Client,
    /// Whose names are in front of keys and channels: others may use the same Redis.
    installation: OnceLock<InstallationId>,
    connection: RwLock<Option<MultiplexedConnection>>,
    /// Closed breaker: requests may ask.
    up: AtomicBool,
    broken: Notify,
    script: Script,
}

impl Redis {
    /// The error is a sentence with a remedy. A server that is down is none: it may come back.
    pub fn open(url: &str) -> Result<Arc<Self>, String> {
        let client = Client::open(url).map_err(|_| {
            "REDIS_URL is not a Redis address: write redis://[:PASSWORD@]HOST:PORT[/N], with reserved characters of the \
             password percent-encoded"
                .to_owned()
        })?;
        Ok(Arc::new(Self {
            client,
            installation: OnceLock::new(),
            connection: RwLock::new(None),
            up: AtomicBool::new(false),
            broken: Notify::new(),
            script: Script::new(SET_IF_NEWER),
        }))
    }

    /// Says whose memory this is; nothing is read or written before.
    pub fn belongs_to(&self, installation: InstallationId) {
        let _ = self.installation.set(installation);
    }

    /// A name of ours, which no other installation has.
    fn name(&self, name: &str) -> Option<String> {
        self.installation.get().map(|installation| format!("referral:{installation}:{name}"))
    }

    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Whether Redis answers at all, for who wants to know why not.
    pub async fn reach(&self) -> Result<(), String> {
        let reach = async {
            let mut connection = self.connect().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await
        };
        // The kind only: the message may hold the address with its password.
        reach.await.map(drop).map_err(|error| format!("it does not answer ({:?})", error.kind()))
    }

    pub async fn get(&self, key: &str) -> Option<String> {
        let mut connection = self.connection()?;
        let found: Option<String> = self.within(connection.get(self.name(key)?)).await?;
        found.and_then(|text| text.split_once(' ').map(|(_, value)| value.to_owned()))
    }

    pub async fn set_if_newer(&self, key: &str, version: i64, text: &str, life: Duration) {
        let millis = u64::try_from(life.as_millis()).unwrap_or(0);
        let Some(mut connection) = self.connection().filter(|_| millis > 0) else { return };
        let Some(key) = self.name(key) else { return };
        let mut invocation = self.script.prepare_invoke();
        invocation.key(key).arg(version).arg(text).arg(millis);
        let _: Option<i64> = self.within(invocation.invoke_async(&mut connection)).await;
    }

    /// Pokes all nodes, this one included.
    pub async fn announce(&self) {
        let (Some(mut connection), Some(channel)) = (self.connection(), self.name(CHANNEL)) else { return };
        let _: Option<i64> = self.within(connection.publish(channel, "")).await;
    }

    /// Keeps connecting, watching and listening until the process ends.
    pub async fn supervise(self: Arc<Self>, changes: Arc<Changes>) {
        let listener = self.clone();
        tokio::spawn(async move { listener.listen(&changes).await });
        let mut said = false;
        loop {
            match self.connect().await {
                Ok(connection) => {
                    *self.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
                    self.up.store(true, Ordering::Relaxed);
                    tracing::info!("Redis is up");
                    said = false;
                    self.watch(connection).await;
                    self.up.store(false, Ordering::Relaxed);
                    self.connection.write().unwrap_or_else(PoisonError::into_inner).take();
                    tracing::warn!("Redis does not answer; going on with the database alone");
                }
                Err(error) if !said => {
                    said = true;
                    // The kind only: the message may hold the address with its password.
                    tracing::warn!(kind = ?error.kind(), "cannot connect to Redis; going on with the database alone");
                }
                Err(_) => {}
            }
            tokio::time::sleep(HEARTBEAT / 4).await;
        }
    }

    /// Returns when the connection has failed.
    async fn watch(&self, mut connection: MultiplexedConnection) {
        loop {
            let _ = tokio::time::timeout(HEARTBEAT, self.broken.notified()).await;
            let pong: Option<RedisResult<String>> =
                tokio::time::timeout(PATIENCE * 4, redis::cmd("PING").query_async(&mut connection)).await.ok();
            if !matches!(pong, Some(Ok(_))) {
                return;
            }
            self.up.store(true, Ordering::Relaxed);
        }
    }

    async fn listen(&self, changes: &Changes) {
        let Some(name) = self.name(CHANNEL) else { return };
        loop {
            if let Ok(Ok(mut channel)) = tokio::time::timeout(HEARTBEAT, self.client.get_async_pubsub()).await
                && channel.subscribe(&name).await.is_ok()
            {
                // Whatever was said before we listened.
                changes.poke();
                let mut messages = channel.into_on_message();
                while messages.next().await.is_some() {
                    changes.poke();
                }
            }
            tokio::time::sleep(HEARTBEAT / 4).await;
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(HEARTBEAT)).set_response_timeout(Some(HEARTBEAT));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn connection(&self) -> Option<MultiplexedConnection> {
        self.is_up().then(|| self.connection.read().unwrap_or_else(PoisonError::into_inner).clone())?
    }

    /// Waits no longer than requests can; a failure opens the breaker.
    async fn within<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Option<T> {
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(Ok(value)) => Some(value),
            // Redis answered, if only to refuse (out of memory, loading): not worth a reconnect.
            Ok(Err(error)) if error.code().is_some() => None,
            _ => {
                self.up.store(false, Ordering::Relaxed);
                self.broken.notify_one();
                None
            }
        }
    }
}
