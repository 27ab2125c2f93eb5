//! PostgreSQL: one that most tests share, and own ones that are killed, stopped, copied or shown certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use super::keeper::Keeper;
use super::{ATTEMPTS, LOOKS, PAUSE, free_port, postgres_user, program};

#[derive(Clone, Copy, Default)]
pub struct PostgresOptions {
    /// Wait for the disk, as a real server does: for tests that kill it.
    pub fsync: bool,
    /// Accept connections over TLS only, as `localhost`, with a certificate signed by [`Postgres::ca_pem_path`].
    pub tls: bool,
}

pub struct Postgres {
    keeper: Keeper,
    programs: PathBuf, // the folder they are in
    options: PostgresOptions,
    port: u16,
    databases: AtomicU32,
    /// The port of the one that it follows.
    primary: Option<u16>,
}

impl Postgres {
    /// The one most tests share, each with a database of its own; started by the first who asks.
    pub async fn shared() -> &'static Postgres {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(|| Postgres::start(PostgresOptions::default())).await
    }

    /// An own one, for tests that kill it or need it set up otherwise; ends when dropped.
    pub async fn start(options: PostgresOptions) -> Postgres {
        let server = program(&["postgres"], "postgres (PostgreSQL)");
        let root = if options.fsync { "" } else { throwaway_root() };
        // Immediate shutdown: it frees the shared memory that a plain kill would leave behind.
        let keeper = Keeper::new(postgres_user(), "QUIT", root);
        if options.tls {
            keeper.write_certificates();
        }
        // A plain connection over TCP is refused when the server is for TLS; ours goes through the socket.
        let host = if options.tls { "hostssl" } else { "host" };
        let replication = "host replication all 127.0.0.1/32 trust";
        keeper.write("hba", &format!("local all all trust\n{host} all all 127.0.0.1/32 trust\n{replication}\n"));

        let programs = server.parent().expect("a program is in a folder").to_owned();
        let mut postgres = Postgres { keeper, programs, options, port: 0, databases: AtomicU32::new(0), primary: None };
        postgres.launch(free_port).await;
        postgres
    }

    /// A copy of another that follows it, until it is promoted.
    pub async fn standby_of(primary: &Postgres) -> Postgres {
        let keeper = Keeper::new(postgres_user(), "QUIT", throwaway_root());
        keeper.write("hba", "local all all trust\nhost all all 127.0.0.1/32 trust\n");
        let (programs, options) = (primary.programs.clone(), primary.options);
        let primary = Some(primary.port);
        let mut postgres = Postgres { keeper, programs, options, port: 0, databases: AtomicU32::new(0), primary };
        postgres.launch(free_port).await;
        postgres
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Statements of whoever looks after the server.
    pub async fn sql(&self, sql: &str) {
        let client = connect(&self.keeper.folder, self.port).await.expect("PostgreSQL is up");
        // Each by itself: some may not be part of a transaction.
        for statement in sql.split("; ") {
            client.simple_query(statement).await.expect("it is done");
        }
    }

    /// The one value that a statement answers.
    pub async fn value(&self, sql: &str) -> String {
        self.in_database("postgres", sql).await
    }

    /// The one value that a statement answers in a database.
    pub async fn in_database(&self, name: &str, sql: &str) -> String {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.keeper.folder).port(self.port).user("postgres").dbname(name);
        let (client, connection) = config.connect(NoTls).await.expect("PostgreSQL is up");
        tokio::spawn(connection);
        let rows = client.simple_query(sql).await.expect("an answer");
        let value = rows.iter().find_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        value.expect("a row")
    }

    /// Creates an empty database and returns its address.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        let client = connect(&self.keeper.folder, self.port).await.expect("PostgreSQL is up");
        // Faster than writing 7 MB to the log, the default since PostgreSQL 15; older ones only copy, and do
        // not know the word.
        let create = format!("create database {name}");
        if client.batch_execute(&format!("{create} strategy file_copy")).await.is_err() {
            client.batch_execute(&create).await.expect("a new name");
        }
        let host = if self.options.tls { "localhost" } else { "127.0.0.1" };
        format!("postgres://postgres@{host}:{}/{name}", self.port)
    }

    /// SIGKILL; its children notice and end by themselves.
    pub fn kill(&mut self) {
        self.keeper.kill();
    }

    /// As if the machine had stopped: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.keeper.signal_all("STOP");
    }

    pub fn resume(&self) {
        self.keeper.signal_all("CONT");
    }

    /// Starts it again on the same data and port.
    pub async fn restart(&mut self) {
        self.keeper.kill();
        let port = self.port;
        self.launch(|| port).await;
    }

    /// The certificate authority to trust; only there with [`PostgresOptions::tls`].
    pub fn ca_pem_path(&self) -> PathBuf {
        self.keeper.folder.join("ca.pem")
    }

    /// From now on shows these certificates, the server's own first; only with [`PostgresOptions::tls`].
    pub async fn show(&self, certificates: &str, key: &str) {
        self.keeper.write("server.pem", certificates);
        self.keeper.write("server.key", key);
        let read_at = async || self.value("select pg_conf_load_time()").await;
        let before = read_at().await;
        self.sql("select pg_reload_conf()").await;
        for _ in 0..LOOKS {
            // Who connects after the server has read its settings again is shown the new ones.
            if read_at().await != before {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.keeper.give_up()
    }

    /// Whether PostgreSQL's own client connects to this address, and what it says.
    pub fn psql(&self, url: &str) -> (bool, String) {
        let mut psql = Command::new(self.programs.join("psql"));
        // Somebody may have authorities in their home.
        psql.args(["-X", "-c", "select 1", url]).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
        let output = psql.output().expect("psql is beside the server: run `cargo xtask test`, which installs it");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    async fn launch(&mut self, port: impl Fn() -> u16) {
        for _ in 0..ATTEMPTS {
            self.port = port();
            if self.run().await {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.keeper.give_up()
    }

    async fn run(&mut self) -> bool {
        let (folder, port) = (self.keeper.folder.clone(), self.port);
        // Hundreds of databases live for a second each: vacuuming them would only take the tests' processor.
        let mut settings = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='{}' -c hba_file='{}' \
             -c max_connections=400 -c shared_buffers=64MB -c max_wal_size=128MB -c autovacuum=off \
             -c dynamic_shared_memory_type=mmap",
            folder.display(),
            folder.join("hba").display(),
        );
        if !self.options.fsync {
            settings += " -c fsync=off -c full_page_writes=off";
        }
        if self.options.tls {
            let file = |name| folder.join(name).display().to_string();
            settings += &format!(
                " -c ssl=on -c ssl_ca_file='{}' -c ssl_cert_file='{}' -c ssl_key_file='{}'",
                file("ca.pem"),
                file("server.pem"),
                file("server.key"),
            );
        }
        let make = match self.primary {
            None => "initdb' -D data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync".to_owned(),
            Some(port) => format!(
                "pg_basebackup' -D data -h 127.0.0.1 -p {port} -U postgres --write-recovery-conf --checkpoint=fast \
                 --no-sync"
            ),
        };
        let programs = self.programs.display();
        self.keeper.start(&format!(
            "{{ [ -s data/PG_VERSION ] || '{programs}/{make}; }} && exec '{programs}/postgres' -D data {settings}"
        ));
        // Through the socket in our own folder: whatever else may listen on that port, this is ours.
        self.keeper.answers(async || connect(&folder, port).await.is_ok()).await
    }
}

async fn connect(folder: &Path, port: u16) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(folder).port(port).user("postgres").dbname("postgres");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection); // ends with the client
    Ok(client)
}

/// Data that nobody would miss is kept in memory where there is plenty of it (a test's database takes 8 MB):
/// making the 300 files of a new database was measured to take 10 ms there and up to 200 ms on a disk.
fn throwaway_root() -> &'static str {
    const ROOM_KB: u64 = 4 << 20;
    let number = |line: &str, column| line.split_whitespace().nth(column)?.parse::<u64>().ok();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find(|line| line.starts_with("MemAvailable")).and_then(|line| number(line, 1));
    let disk = Command::new("df").args(["-Pk", "/dev/shm"]).stderr(Stdio::null()).output();
    let disk = disk.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let disk = disk.lines().nth(1).and_then(|line| number(line, 3));
    let plenty = memory.is_some_and(|kb| kb > 2 * ROOM_KB) && disk.is_some_and(|kb| kb > ROOM_KB);
    if plenty { "/dev/shm" } else { "" }
}
