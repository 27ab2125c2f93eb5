//! PostgreSQL: one that most tests share, and own ones that are killed, stopped, copied or shown certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use testkit::{Kept, postgresql};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use super::{ATTEMPTS, LOOKS, PAUSE, comes_up, free_port, give_up, postgres_user};

#[derive(Clone, Copy, Default)]
pub struct PostgresOptions {
    /// Wait for the disk, as a real server does: for tests that kill it.
    pub fsync: bool,
    /// Accept connections over TLS only, as `localhost`, with a certificate signed by [`Postgres::ca_pem_path`].
    pub tls: bool,
}

pub struct Postgres {
    kept: Kept,
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
        let programs =
            postgresql::programs(&["initdb", "postgres"]).expect("run `cargo xtask test`, which installs PostgreSQL");
        let root = if options.fsync { "" } else { throwaway_root() };
        let kept = Kept::new(postgres_user(), postgresql::SIGNAL, root).expect("a folder");
        if options.tls {
            write_certificates(&kept);
        }
        // A plain connection over TCP is refused when the server is for TLS; ours goes through the socket.
        let host = if options.tls { "hostssl" } else { "host" };
        let replication = "host replication all 127.0.0.1/32 trust";
        write(&kept, "hba", &format!("local all all trust\n{host} all all 127.0.0.1/32 trust\n{replication}\n"));

        let mut postgres = Postgres { kept, programs, options, port: 0, databases: AtomicU32::new(0), primary: None };
        postgres.launch(free_port).await;
        postgres
    }

    /// A copy of another that follows it, until it is promoted.
    pub async fn standby_of(primary: &Postgres) -> Postgres {
        let kept = Kept::new(postgres_user(), postgresql::SIGNAL, throwaway_root()).expect("a folder");
        write(&kept, "hba", "local all all trust\nhost all all 127.0.0.1/32 trust\n");
        let (programs, options) = (primary.programs.clone(), primary.options);
        let primary = Some(primary.port);
        let mut postgres = Postgres { kept, programs, options, port: 0, databases: AtomicU32::new(0), primary };
        postgres.launch(free_port).await;
        postgres
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Statements of whoever looks after the server.
    pub async fn sql(&self, sql: &str) {
        let client = connect(&self.kept.folder, self.port).await.expect("PostgreSQL is up");
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
        config.host_path(&self.kept.folder).port(self.port).user("postgres").dbname(name);
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
        let client = connect(&self.kept.folder, self.port).await.expect("PostgreSQL is up");
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
        self.kept.kill().expect("it ends");
    }

    /// As if the machine had stopped: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.kept.signal_all("STOP");
    }

    pub fn resume(&self) {
        self.kept.signal_all("CONT");
    }

    /// Starts it again on the same data and port.
    pub async fn restart(&mut self) {
        self.kept.kill().expect("it ends");
        let port = self.port;
        self.launch(|| port).await;
    }

    /// The certificate authority to trust; only there with [`PostgresOptions::tls`].
    pub fn ca_pem_path(&self) -> PathBuf {
        self.kept.folder.join("ca.pem")
    }

    /// From now on shows these certificates, the server's own first; only with [`PostgresOptions::tls`].
    pub async fn show(&self, certificates: &str, key: &str) {
        write(&self.kept, "server.pem", certificates);
        write(&self.kept, "server.key", key);
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
        give_up(&self.kept)
    }

    /// Whether PostgreSQL's own client connects to this address, and what it says.
    pub fn psql(&self, url: &str) -> (bool, String) {
        let mut psql = Command::new(self.programs.join("psql"));
        // Somebody may have authorities in their home.
        psql.args(["-X", "-c", "select 1", url]).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
        let output = psql.output().expect("psql is beside the server: run `cargo xtask test`, which installs it");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// All of a database, as `pg_dump` writes it.
    pub fn dump(&self, url: &str) -> String {
        let mut dump = Command::new(self.programs.join("pg_dump"));
        dump.args(["--inserts", url]).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
        let output = dump.output().expect("pg_dump is beside the server: run `cargo xtask test`, which installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn launch(&mut self, port: impl Fn() -> u16) {
        for _ in 0..ATTEMPTS {
            self.port = port();
            if self.run().await {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        give_up(&self.kept)
    }

    async fn run(&mut self) -> bool {
        let (folder, port) = (self.kept.folder.clone(), self.port);
        // Hundreds of databases live for a second each: vacuuming them would only take the tests' processor.
        let mut settings = format!(
            "-c unix_socket_directories='{}' -c hba_file='{}' -c max_connections=400 -c shared_buffers=64MB \
             -c max_wal_size=128MB -c autovacuum=off -c dynamic_shared_memory_type=mmap",
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
            None => postgresql::initdb(&self.programs),
            Some(port) => format!(
                "{} -D data -h 127.0.0.1 -p {port} -U postgres --write-recovery-conf --checkpoint=fast --no-sync",
                testkit::quoted(self.programs.join("pg_basebackup")),
            ),
        };
        let command = postgresql::server(&self.programs, &make, port, &settings);
        self.kept.start(&command).expect("the keeper answers");
        // Through the socket in our own folder: whatever else may listen on that port, this is ours.
        comes_up(&self.kept, async || connect(&folder, port).await.is_ok()).await
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

/// An authority and a certificate of its, for `localhost`.
fn write_certificates(kept: &Kept) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "referral test authority");
    let new_key = || KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, new_key()).expect("an authority");
    let key = new_key();
    let server = CertificateParams::new(["localhost".to_owned()]).expect("a host name");
    let server = server.signed_by(&key, &authority).expect("a certificate");
    write(kept, "ca.pem", &authority.pem());
    write(kept, "server.pem", &server.pem());
    write(kept, "server.key", &key.serialize_pem());
}

fn write(kept: &Kept, name: &str, text: &str) {
    kept.write(name, text).expect("the folder can be written");
}
