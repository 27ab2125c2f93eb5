//! The way to the server that takes writes: which of several hosts, how long each is waited for, and which connections
//! have had their day.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::error::{self, causes, has_io, is_past, is_read_only, remedy};
use super::pooler::Pooler;
use crate::kernel::error::{Cause, Storage};

/// Opens connections. Those opened before something was found to be wrong with the server are of another epoch.
pub struct Connector {
    /// One for each host of the address.
    servers: Vec<Config>,
    tls: MakeRustlsConnect,
    /// What is said first on each connection that keeps what is said on it.
    greeting: String,
    pooler: Pooler,
    /// For each address of each server.
    limit: Duration,
    /// The server that was right the last time.
    right: AtomicUsize,
    epoch: AtomicU64,
}

/// A connection, with what is to be known to judge it.
pub struct Connection {
    client: ClientWrapper,
    talk: AbortHandle,
    epoch: u64,
}

impl Connector {
    pub fn new(config: &Config, tls: MakeRustlsConnect, greeting: String, limit: Duration, pooler: Pooler) -> Self {
        let servers = servers(config);
        Self { servers, tls, greeting, pooler, limit, right: AtomicUsize::new(0), epoch: AtomicU64::new(0) }
    }

    /// Whether connections are ours alone and keep what is prepared and set on them. A pooler hands its connections
    /// around. Ask after a connection was taken, not before.
    pub fn keeps(&self) -> bool {
        self.pooler.keeps()
    }

    pub fn is_pooled(&self) -> bool {
        self.pooler.is_there()
    }

    /// Whether a server that takes no writes is none of ours.
    pub fn wants_writes(&self) -> bool {
        self.servers.iter().any(|server| server.get_target_session_attrs() == TargetSessionAttrs::ReadWrite)
    }

    /// A connection to the first server that is as the address wants it.
    pub fn connect(&self) -> BoxFuture<'_, Result<Connection, Storage>> {
        self.reach(self.limit, None)
    }

    /// As [`connect`](Self::connect), with another patience for each address of each server, and with somebody who is
    /// told of notifications.
    pub fn reach(
        &self,
        limit: Duration,
        heard: Option<mpsc::Sender<()>>,
    ) -> BoxFuture<'_, Result<Connection, Storage>> {
        Box::pin(self.try_each(limit, heard))
    }

    async fn try_each(&self, limit: Duration, heard: Option<mpsc::Sender<()>>) -> Result<Connection, Storage> {
        let epoch = self.epoch();
        let (first, count) = (self.right.load(Ordering::Relaxed), self.servers.len());
        let mut faults = Vec::new();
        let (mut again, mut cause) = (true, Cause::Unknown);
        for place in (0..count).map(|place| (first + place) % count) {
            let Some(server) = self.servers.get(place) else { continue };
            for server in addresses(server, limit).await {
                match tokio::time::timeout(limit, self.greet(&server, epoch, heard.clone())).await {
                    Ok(Ok(connection)) => {
                        self.right.store(place, Ordering::Relaxed);
                        return Ok(connection);
                    }
                    Ok(Err(fault)) => {
                        again &= fault.is_closed() || has_io(&fault) || is_past(&fault);
                        cause = known(cause, error::cause(&fault));
                        faults.push(named(&server, &format!("{} ({})", causes(&fault), remedy(&fault))));
                    }
                    Err(_) => {
                        // Whoever asks again would wait as long again.
                        again = false;
                        cause = known(cause, Cause::Silent);
                        faults.push(named(
                            &server,
                            "no answer (check host and port in DATABASE_URL, and that the server runs)",
                        ));
                    }
                }
            }
        }
        let fault = cause.fault(faults.join("; "));
        Err(if again { Storage::Retry(fault) } else { Storage::Unavailable(fault) })
    }

    async fn greet(
        &self,
        server: &Config,
        epoch: u64,
        heard: Option<mpsc::Sender<()>>,
    ) -> Result<Connection, tokio_postgres::Error> {
        let (client, mut connection) = server.connect(self.tls.clone()).await?;
        let talk = tokio::spawn(async move {
            // Ends when the connection breaks or its client is dropped.
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let (AsyncMessage::Notification(_), Some(heard)) = (message, &heard) {
                    let _ = heard.try_send(());
                }
            }
        });
        let abort = talk.abort_handle();
        let client = ClientWrapper::new(client, talk);
        self.pooler.meet(&client).await?;
        if self.keeps() {
            client.batch_execute(&self.greeting).await?;
        }
        Ok(Connection { client, talk: abort, epoch })
    }

    /// Gives up all connections that are as old as this one, for what was found on it is true of their server.
    pub fn renew(&self, found_on: &Connection, why: &str) {
        let (old, new) = (found_on.epoch, found_on.epoch + 1);
        if self.epoch.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            tracing::warn!(why, "connections to PostgreSQL are given up and made anew");
        }
    }

    /// Notes what a connection has answered: one that has met the end of its server, or of its server's being the one
    /// that takes writes, is not used again.
    pub fn judge(&self, connection: &Connection, fault: &tokio_postgres::Error) {
        if is_past(fault) {
            connection.abort();
        }
        if is_read_only(fault) && self.wants_writes() {
            self.renew(connection, "the server takes no writes");
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether a connection may be used.
    pub fn trusts(&self, connection: &Connection) -> bool {
        !connection.is_closed() && connection.epoch == self.epoch()
    }
}

impl Connection {
    /// Ends it for all who wait for answers on it.
    pub fn abort(&self) {
        self.talk.abort();
    }
}

impl Deref for Connection {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

/// Makes connections for the pool, and looks whether those in it are still good.
pub struct Fresh(pub Arc<Connector>);

impl Manager for Fresh {
    type Type = Connection;
    type Error = Storage;

    async fn create(&self) -> Result<Connection, Storage> {
        self.0.connect().await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Storage> {
        if self.0.trusts(connection) { Ok(()) } else { Err(RecycleError::message("it has had its day")) }
    }
}

/// The settings of an address with several hosts, one for each.
fn servers(config: &Config) -> Vec<Config> {
    let (hosts, numbers, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let servers = (0..hosts.len().max(numbers.len())).map(|place| {
        let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
        only(config, hosts.get(place), numbers.get(place).copied(), port)
    });
    servers.collect()
}

/// The same settings for one host. A driver's settings can be added to, but not taken from.
fn only(config: &Config, host: Option<&Host>, number: Option<IpAddr>, port: u16) -> Config {
    let mut one = Config::new();
    match host {
        Some(Host::Tcp(name)) => drop(one.host(name)),
        #[cfg(unix)]
        Some(Host::Unix(folder)) => drop(one.host_path(folder)),
        None => {}
    }
    if let Some(number) = number {
        one.hostaddr(number);
    }
    one.port(port);
    macro_rules! copy {
        ($($get:ident => $set:ident;)*) => {
            $(if let Some(value) = config.$get() {
                one.$set(value.to_owned());
            })*
        };
    }
    copy! {
        get_user => user;
        get_password => password;
        get_dbname => dbname;
        get_options => options;
        get_application_name => application_name;
        get_connect_timeout => connect_timeout;
        get_tcp_user_timeout => tcp_user_timeout;
        get_keepalives_interval => keepalives_interval;
        get_keepalives_retries => keepalives_retries;
    }
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding());
    one
}

/// One for each address that the name of a server stands for: of two, one may be silent. The server itself where its
/// name cannot be looked up, which connecting then tells.
async fn addresses(server: &Config, limit: Duration) -> Vec<Config> {
    if let (Some(host @ Host::Tcp(name)), true) = (server.get_hosts().first(), server.get_hostaddrs().is_empty()) {
        let port = server.get_ports().first().copied().unwrap_or(5432);
        let found = tokio::time::timeout(limit, tokio::net::lookup_host((name.as_str(), port))).await;
        if let Ok(Ok(found)) = found {
            return found.map(|address| only(server, Some(host), Some(address.ip()), port)).collect();
        }
    }
    vec![server.clone()]
}

/// The first cause that is known, of several servers.
fn known(first: Cause, next: Cause) -> Cause {
    if first == Cause::Unknown { next } else { first }
}

/// What happened, and where: of several servers each has its own reason.
fn named(server: &Config, text: &str) -> String {
    let port = server.get_ports().first().copied().unwrap_or(5432);
    match (server.get_hosts().first(), server.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) => format!("{name}:{port}: {text}"),
        (None, Some(number)) => format!("{number}:{port}: {text}"),
        _ => text.to_owned(),
    }
}
