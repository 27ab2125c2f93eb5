//! Nodes of the service, in this process, on free ports, with a database of their own.

use std::sync::Arc;
use std::time::Duration;

use referral::app::App;
use referral::config::{self, Config, Environment};
use referral::kernel::time::Clock;
use referral::site::server;
use referral::start;
use referral::worker;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::client::Client;
use super::servers::{Postgres, Redis};
use super::witness;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    Sqlite,
    Postgres,
    PostgresAndRedis,
}

/// A set-up with its nodes. Everything stops when it is dropped.
pub struct TestApp {
    pub setup: Setup,
    pub nodes: Vec<Node>,
    pub redis: Option<Redis>,
    pub database_url: String,
    clock: Clock,
    environment: Environment,
    _folder: TempDir,
}

pub struct Node {
    pub app: Arc<App>,
    pub url: String,
    stop: watch::Sender<bool>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

impl Setup {
    /// One node with the default settings, without limits.
    pub async fn start(self) -> TestApp {
        self.start_with(&[]).await
    }

    /// One node with settings as the environment gives them.
    pub async fn start_with(self, settings: &[(&str, &str)]) -> TestApp {
        let mut test = self.prepare(settings).await;
        test.add_node().await;
        test
    }

    /// Two nodes on one database. SQLite has one writer process; there the second is a second process's worth of the
    /// same file.
    pub async fn start_two(self) -> TestApp {
        let mut test = self.start().await;
        test.add_node().await;
        test
    }

    /// The database and Redis, without a node.
    pub async fn prepare(self, settings: &[(&str, &str)]) -> TestApp {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database_url = match self {
            Setup::Sqlite => format!("sqlite:{}", folder.path().join("referral.db").display()),
            Setup::Postgres | Setup::PostgresAndRedis => Postgres::shared().await.database().await,
        };
        self.prepare_in(folder, database_url, settings).await
    }

    /// As [`prepare`](Self::prepare), on a database of a server that the test may kill.
    pub async fn prepare_on(self, database_url: String, settings: &[(&str, &str)]) -> TestApp {
        self.prepare_in(tempfile::tempdir().expect("a temporary folder"), database_url, settings).await
    }

    async fn prepare_in(self, folder: TempDir, database_url: String, settings: &[(&str, &str)]) -> TestApp {
        let redis = match self {
            Setup::PostgresAndRedis => Some(Redis::start().await),
            _ => None,
        };
        let mut environment: Environment = vec![
            ("DATABASE_URL".into(), database_url.clone()),
            ("REFERRAL_LIMITS".into(), "off".into()),
            ("REFERRAL_PUBLIC_URL".into(), "http://referral.test".into()),
            ("REFERRAL_DATABASE_CONNECTIONS".into(), "8".into()),
            // A busy machine is no reason for a 503.
            ("REFERRAL_HTTP_REQUEST_SECONDS".into(), "30".into()),
        ];
        if let Some(redis) = &redis {
            environment.push(("REDIS_URL".into(), redis.url()));
        }
        for (name, value) in settings {
            environment.retain(|(known, _)| known != name);
            environment.push(((*name).into(), (*value).into()));
        }
        TestApp {
            setup: self,
            nodes: Vec::new(),
            redis,
            database_url,
            clock: Clock::default(),
            environment,
            _folder: folder,
        }
    }
}

impl TestApp {
    /// The settings of the nodes, with these beside them.
    fn settings(&self, more: &[(&str, &str)]) -> Config {
        let mut environment = self.environment.clone();
        for (name, value) in more {
            environment.retain(|(known, _)| known != name);
            environment.push(((*name).into(), (*value).into()));
        }
        config::load(None, &environment).expect("the settings of the test")
    }

    /// Does what comes before the first request of a node with these settings beside the others'.
    pub async fn open(&self, more: &[(&str, &str)]) -> Result<Arc<App>, String> {
        start::open(self.settings(more), self.clock.clone()).await
    }

    /// What a command of the operator has, with these settings beside the nodes'.
    pub async fn command(&self, more: &[(&str, &str)]) -> Arc<App> {
        start::connect(self.settings(more), self.clock.clone()).await.expect("a command runs")
    }

    /// Starts another node on the same database.
    pub async fn add_node(&mut self) -> &Node {
        self.add_node_with(&[]).await
    }

    /// Starts another node on the same database, with these settings beside the others'.
    pub async fn add_node_with(&mut self, more: &[(&str, &str)]) -> &Node {
        let app = self.open(more).await.expect("a node starts");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        app.listens_on(address);
        worker::follow(&app);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(server::serve(app.clone(), listener, stopped));
        if let Some(redis) = &app.redis {
            eventually("Redis is known", || async { redis.is_up() || redis.trouble().is_some() }).await;
        }
        self.nodes.push(Node { app, url: format!("http://{address}"), stop });
        self.nodes.last().expect("the node just added")
    }

    pub fn app(&self) -> &Arc<App> {
        &self.nodes[0].app
    }

    /// A client of the first node, without a token.
    pub fn client(&self) -> Client {
        self.client_of(0)
    }

    pub fn client_of(&self, node: usize) -> Client {
        Client::new(&self.nodes[node].url)
    }

    /// A new user of this name, logged in.
    pub async fn user(&self, name: &str) -> Client {
        self.client().signed_up(name).await
    }

    /// As [`user`](Self::user), a manager.
    pub async fn manager(&self, name: &str) -> Client {
        self.client().register(name, None).await.expect(201);
        self.sql(&format!("update users set is_manager = true where username = '{name}'")).await;
        self.client().logged_in(name).await
    }

    /// Moves the application's clock of all nodes; codes do not notice.
    pub fn move_clock(&self, by: Duration) {
        self.clock.shift(i64::try_from(by.as_micros()).expect("a span"));
    }

    /// Moves the database's clock, by which codes live.
    pub async fn move_database_clock(&self, micros: i64) {
        match self.setup {
            Setup::Sqlite => {
                for node in &self.nodes {
                    let clock = node.app.db.sqlite_clock().expect("SQLite's clock");
                    clock.fetch_add(micros, std::sync::atomic::Ordering::Relaxed);
                }
            }
            Setup::Postgres | Setup::PostgresAndRedis => {
                let sql = format!(
                    "create or replace function referral_now() returns bigint language sql volatile \
                     as 'select (extract(epoch from clock_timestamp()) * 1000000)::bigint + {micros}'"
                );
                self.sql(&sql).await;
            }
        }
    }

    /// Runs the jobs that are due.
    pub async fn drain(&self) -> usize {
        worker::drain(self.app()).await.expect("the jobs run")
    }

    /// Runs SQL beside the service, for what no caller can do.
    pub async fn sql(&self, sql: &str) {
        self.query(sql).await;
    }

    /// What the database says to a statement that it refuses.
    pub async fn refusal(&self, sql: &str) -> String {
        match self.setup {
            Setup::Sqlite => {
                let path = self.database_url.trim_start_matches("sqlite:");
                let connection = rusqlite::Connection::open(path).expect("the database file");
                connection.busy_timeout(Duration::from_secs(10)).expect("a time-out");
                connection.execute_batch(sql).expect_err("a refusal").to_string()
            }
            Setup::Postgres | Setup::PostgresAndRedis => {
                let (client, connection) =
                    tokio_postgres::connect(&self.database_url, tokio_postgres::NoTls).await.expect("PostgreSQL");
                tokio::spawn(connection);
                let refusal = client.batch_execute(sql).await.expect_err("a refusal");
                refusal.as_db_error().expect("a word of the server").message().to_owned()
            }
        }
    }

    /// Rows of a statement run beside the service, as text.
    pub async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        witness::query(&self.database_url, sql).await
    }

    /// How many statements wait for a lock of PostgreSQL's.
    pub async fn waiting(&self) -> i64 {
        let waiting = "select count(*) from pg_stat_activity \
                       where datname = current_database() and wait_event_type = 'Lock'";
        self.number(waiting).await
    }

    /// A connection to PostgreSQL beside the service.
    pub async fn beside(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.database_url, tokio_postgres::NoTls).await.expect("PostgreSQL");
        tokio::spawn(connection);
        client
    }

    /// The one number that a statement answers.
    pub async fn number(&self, sql: &str) -> i64 {
        witness::number(&self.database_url, sql).await
    }
}

/// Looks until something is so; fails after a minute.
pub async fn eventually<F: Future<Output = bool>>(what: &str, look: impl Fn() -> F) {
    eventually_within(what, Duration::from_secs(60), look).await;
}

/// As [`eventually`], for what may have to wait for the end of a lease.
pub async fn eventually_within<F: Future<Output = bool>>(what: &str, most: Duration, look: impl Fn() -> F) {
    let began = std::time::Instant::now();
    while !look().await {
        assert!(began.elapsed() < most, "{what}: not within {most:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
