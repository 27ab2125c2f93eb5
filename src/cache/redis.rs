//! Redis: memory that nodes share, and the fastest word of changes. It may vanish at any time: only speed is lost.
//!
//! A supervisor keeps the connection and is the breaker: the first failure takes Redis out of the way of requests until
//! it does again, several times in a row and as fast as requests need it, what requests ask of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, Script};
use tokio::sync::Notify;

use super::changes::Changes;
use crate::kernel::ids::InstallationId;
use crate::words;

/// The longest a request waits for Redis.
const PATIENCE: Duration = Duration::from_millis(50);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A connection that has been of no use for so long is replaced.
const USELESS: Duration = Duration::from_secs(5);
/// How often in a row it must do all we ask before it is used again: one that is slow now and then is not taken up and
/// dropped in turns.
const PROOFS: u32 = 3;
const CHANNEL: &str = "changes";
/// What is said on the channel to see whether that works. Changes are announced without a word.
const PROBE: &str = "probe";
const PROBED: &str = "probe";

/// Stores a value unless a newer version is there: the version stands in front of the text.
const SET_IF_NEWER: &str = r"
local old = redis.call('GET', KEYS[1])
if old and tonumber(string.match(old, '^%d+')) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1";

/// Counts one call against several callers' debts, or against none if one of them would owe too much; says what each
/// owed before. By the clock of Redis, which is one for all nodes. A debt that cannot be, because that clock has
/// jumped, is the largest that can.
const OWE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local passes, debts, news = true, {}, {}
for place, key in ipairs(KEYS) do
  local cost, most, known = tonumber(ARGV[3 * place - 2]), tonumber(ARGV[3 * place - 1]), tonumber(ARGV[3 * place])
  local free_at = tonumber(redis.call('GET', key) or 0)
  debts[place] = math.min(math.max(free_at - now, known, 0), most)
  news[place] = known > free_at - now
  if debts[place] + cost > most then passes = false end
end
for place, key in ipairs(KEYS) do
  local debt = debts[place] + (passes and tonumber(ARGV[3 * place - 2]) or 0)
  if debt > 0 and (passes or news[place]) then
    redis.call('SET', key, string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000))
  end
end
return debts";

/// What a call costs a caller, and what they may owe.
pub struct Owed {
    /// Theirs, without whose memory it is.
    pub name: String,
    pub cost: Duration,
    pub most: Duration,
    /// What they owe by what this node knows, should Redis know less.
    pub known: Duration,
}

pub struct Redis {
    client: Client,
    speaks_tls: bool,
    /// Whose names are in front of keys and channels: others may use the same Redis.
    installation: OnceLock<InstallationId>,
    connection: RwLock<Option<MultiplexedConnection>>,
    /// Closed breaker: requests may ask.
    up: AtomicBool,
    /// Why it is not used; nothing while it is, or while that is not known yet.
    trouble: Mutex<Option<Trouble>>,
    broken: Notify,
    set_if_newer: Script,
    owe: Script,
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
            speaks_tls: url.starts_with("rediss:"),
            installation: OnceLock::new(),
            connection: RwLock::new(None),
            up: AtomicBool::new(false),
            trouble: Mutex::new(None),
            broken: Notify::new(),
            set_if_newer: Script::new(SET_IF_NEWER),
            owe: Script::new(OWE),
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

    /// Why it is not used.
    pub fn trouble(&self) -> Option<Trouble> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether Redis does what we ask of it, for who wants to know why not.
    pub async fn reach(&self) -> Result<(), String> {
        let mut connection = self.connect().await.map_err(|trouble| match trouble {
            // A server without TLS waits for the rest of what it takes for a command.
            Trouble::Slow | Trouble::Unreachable if self.speaks_tls => {
                "it does not answer, or speaks no TLS at this port: write redis:// for one that does not".to_owned()
            }
            trouble => trouble.sentence().to_owned(),
        })?;
        self.prove(&mut connection).await.map_err(|trouble| trouble.sentence().to_owned())
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
        let _ = self.within(self.store(&mut connection, &key, version, text, millis)).await;
    }

    async fn store(
        &self,
        connection: &mut MultiplexedConnection,
        key: &str,
        version: i64,
        text: &str,
        millis: u64,
    ) -> RedisResult<i64> {
        let mut invocation = self.set_if_newer.prepare_invoke();
        invocation.key(key).arg(version).arg(text).arg(millis);
        invocation.invoke_async(connection).await
    }

    /// Counts a call against several debts, or against none; says what was owed before it, in the same order. Nothing
    /// when Redis is not used or does not answer in time.
    pub async fn owe(&self, owed: &[Owed]) -> Option<Vec<Duration>> {
        let mut connection = self.connection()?;
        let debts = self.within(self.counted(&mut connection, owed)).await?;
        Some(debts.into_iter().map(Duration::from_micros).collect())
    }

    async fn counted(&self, connection: &mut MultiplexedConnection, owed: &[Owed]) -> RedisResult<Vec<u64>> {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let mut invocation = self.owe.prepare_invoke();
        for one in owed {
            invocation.key(self.name(&one.name).unwrap_or_else(|| format!("referral:{}", one.name)));
            invocation.arg(micros(one.cost)).arg(micros(one.most)).arg(micros(one.known));
        }
        invocation.invoke_async(connection).await
    }

    /// Pokes all nodes, this one included.
    pub async fn announce(&self) {
        let (Some(mut connection), Some(channel)) = (self.connection(), self.name(CHANNEL)) else { return };
        let _: Option<i64> = self.within(connection.publish(channel, "")).await;
    }

    /// Keeps connecting and watching until the process ends.
    pub async fn supervise(&self) {
        loop {
            match self.connect().await {
                Ok(connection) => self.watch(connection).await,
                Err(trouble) => self.goes_down(trouble),
            }
            tokio::time::sleep(HEARTBEAT / 4).await;
        }
    }

    /// Returns when the connection is of no use any more.
    async fn watch(&self, mut connection: MultiplexedConnection) {
        let (mut proofs, mut last_good) = (0, Instant::now());
        loop {
            match self.prove(&mut connection).await {
                Ok(()) => {
                    last_good = Instant::now();
                    if self.is_up() {
                        proofs = 0;
                    } else {
                        proofs += 1;
                        // At the start one will do: nothing speaks against it yet.
                        if proofs >= PROOFS || self.trouble().is_none() {
                            self.goes_up(&connection);
                            proofs = 0;
                        }
                    }
                }
                Err(trouble) => {
                    proofs = 0;
                    self.goes_down(trouble);
                    if trouble == Trouble::Unreachable || last_good.elapsed() > USELESS {
                        break;
                    }
                }
            }
            let pause = if self.is_up() { HEARTBEAT } else { HEARTBEAT / 4 };
            // A request that fails wakes us, and what was proven before counts no more.
            if tokio::time::timeout(pause, self.broken.notified()).await.is_ok() {
                proofs = 0;
            }
        }
        self.connection.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether it does all that requests ask of it, each within their patience.
    async fn prove(&self, connection: &mut MultiplexedConnection) -> Result<(), Trouble> {
        async fn patient<T>(work: impl Future<Output = RedisResult<T>>) -> Result<T, Trouble> {
            match tokio::time::timeout(PATIENCE, work).await {
                Ok(answer) => answer.map_err(|error| Trouble::of(&error)),
                Err(_) => Err(Trouble::Slow),
            }
        }
        // Who only looks, before it is known whose memory this is, writes where nobody reads.
        let name = |name: &str| self.name(name).unwrap_or_else(|| format!("referral:{name}"));
        let (probed, channel) = (name(PROBED), name(CHANNEL));
        let life = 10 * u64::try_from(HEARTBEAT.as_millis()).unwrap_or(0);
        patient(connection.get::<_, Option<String>>(&probed)).await?;
        patient(self.store(connection, &probed, 0, "", life)).await?;
        let owed = Owed { name: format!("owed:{PROBE}"), cost: HEARTBEAT, most: HEARTBEAT, known: Duration::ZERO };
        patient(self.counted(connection, &[owed])).await?;
        patient(connection.publish::<_, _, i64>(channel, PROBE)).await?;
        Ok(())
    }

    fn goes_up(&self, connection: &MultiplexedConnection) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = None;
        if !self.up.swap(true, Ordering::Relaxed) {
            tracing::info!("Redis is up");
        }
    }

    /// Tells the log once, however often and for however many reasons it goes on.
    fn goes_down(&self, why: Trouble) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let told = trouble.replace(why).is_some();
        self.up.store(false, Ordering::Relaxed);
        if !told {
            let reason = why.word();
            tracing::warn!(reason, "Redis is not used; going on with the database alone");
        }
    }

    /// Keeps listening for word of changes until the process ends.
    pub async fn listen(&self, changes: &Changes) {
        let Some(name) = self.name(CHANNEL) else { return };
        loop {
            if let Ok(Ok(mut channel)) = tokio::time::timeout(HEARTBEAT, self.client.get_async_pubsub()).await
                && channel.subscribe(&name).await.is_ok()
            {
                // Whatever was said before we listened.
                changes.poke();
                let mut messages = channel.into_on_message();
                while let Some(message) = messages.next().await {
                    if message.get_payload_bytes() != PROBE.as_bytes() {
                        changes.poke();
                    }
                }
            }
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Trouble> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(HEARTBEAT)).set_response_timeout(Some(HEARTBEAT));
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| Trouble::of(&error))
    }

    fn connection(&self) -> Option<MultiplexedConnection> {
        self.is_up().then(|| self.connection.read().unwrap_or_else(PoisonError::into_inner).clone())?
    }

    /// Waits no longer than requests can; a failure opens the breaker.
    async fn within<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Option<T> {
        let trouble = match tokio::time::timeout(PATIENCE, work).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => Trouble::of(&error),
            Err(_) => Trouble::Slow,
        };
        // Of one value alone Redis is not the worse.
        if trouble != Trouble::Refused {
            self.goes_down(trouble);
            self.broken.notify_one();
        }
        None
    }
}

words! {
    /// Why Redis is not used.
    pub enum Trouble as "RedisTrouble" {
        Unreachable = "unreachable",
        Slow = "slow",
        Password = "password",
        Permission = "permission",
        Loading = "loading",
        MasterDown = "master_down",
        ReadOnly = "read_only",
        Full = "full",
        Busy = "busy",
        /// Anything else that it answers.
        Refused = "refused",
    }
}

impl Trouble {
    fn of(error: &RedisError) -> Self {
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Self::Password;
        }
        match error.code() {
            Some("NOAUTH" | "WRONGPASS") => Self::Password,
            Some("NOPERM") => Self::Permission,
            Some("LOADING") => Self::Loading,
            Some("MASTERDOWN" | "CLUSTERDOWN") => Self::MasterDown,
            Some("READONLY") => Self::ReadOnly,
            Some("OOM" | "MISCONF") => Self::Full,
            Some("BUSY") => Self::Busy,
            Some(_) => Self::Refused,
            None if error.is_timeout() => Self::Slow,
            None => Self::Unreachable,
        }
    }

    /// Never with what Redis said: that may hold the address with its password.
    fn sentence(self) -> &'static str {
        match self {
            Self::Unreachable => "it does not answer",
            Self::Slow => "it takes longer than 50 ms to answer",
            Self::Password => "it refuses the password, or wants one",
            Self::Permission => {
                "its user may not do all that is needed: GET, SET, TIME, EVALSHA, SCRIPT LOAD, PUBLISH and SUBSCRIBE, on \
                 keys and channels that begin with referral:"
            }
            Self::Loading => "it is loading its data",
            Self::MasterDown => "it is a replica without its master, or its cluster is down",
            Self::ReadOnly => "it is a replica and takes no writes",
            Self::Full => "it takes no more data",
            Self::Busy => "it is busy with somebody's script",
            Self::Refused => "it refuses what is asked of it",
        }
    }
}
