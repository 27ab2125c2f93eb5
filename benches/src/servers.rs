//! The databases of a run: PostgreSQL and Redis, started for it.

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use testkit::{Kept, free_port, postgresql};
use tokio_postgres::{Client, NoTls};

/// What differs from PostgreSQL's defaults. Durability is the default: fsync, full_page_writes and synchronous_commit
/// are on.
pub const POSTGRES_SETTINGS: &[(&str, &str)] =
    &[("shared_buffers", "1GB"), ("max_wal_size", "4GB"), ("max_connections", "200")];

pub struct Postgres {
    kept: Kept,
    programs: PathBuf,
    pub port: u16,
}

impl Postgres {
    pub fn start() -> Result<Postgres, String> {
        let programs = postgresql::programs(&["initdb", "postgres", "pgbench"])
            .ok_or("PostgreSQL's initdb, postgres and pgbench are not there; `cargo xtask bench` installs them")?;
        let port = free_port()?;
        let settings: Vec<String> =
            POSTGRES_SETTINGS.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
        let make = postgresql::initdb(&programs);
        let mut kept = Kept::new(postgresql::user()?, postgresql::SIGNAL, "")?;
        kept.start(&postgresql::server(&programs, &make, port, &settings.join(" ")))?;
        kept.wait_for("PostgreSQL", |kept| kept.log().contains(postgresql::READY).then_some(()))?;
        Ok(Postgres { kept, programs, port })
    }

    /// The postmaster's process number; all others of the cluster are its children.
    pub fn pid(&self) -> u32 {
        self.kept.pid
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub fn pgbench(&self) -> PathBuf {
        self.programs.join("pgbench")
    }

    pub fn version(&self) -> String {
        let output = Command::new(self.programs.join("postgres")).arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.trim().replace("postgres (PostgreSQL)", "PostgreSQL")
    }

    /// Statements beside the service; of their rows the first column, as text.
    pub fn query(&self, database: &str, sql: &str) -> Result<Vec<String>, String> {
        block_on(async {
            let client = connect(&self.url(database)).await?;
            let messages = client.simple_query(sql).await.map_err(|error| format!("{sql}: {error:?}"))?;
            let texts = messages.iter().filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
                _ => None,
            });
            Ok(texts.collect())
        })
    }
}

pub async fn connect(url: &str) -> Result<Client, String> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.map_err(|error| format!("PostgreSQL: {error}"))?;
    tokio::spawn(connection);
    Ok(client)
}

pub fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start a runtime: {error}"))?.block_on(work)
}

pub struct Redis {
    kept: Kept,
    port: u16,
}

impl Redis {
    pub fn start() -> Result<Redis, String> {
        let port = free_port()?;
        let command = format!("exec redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no --dir .");
        let kept = Kept::running(&command, "KILL")?;
        kept.wait_for("Redis", |kept| {
            let ready = kept.log().contains("Ready to accept connections");
            (ready && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()).then_some(())
        })?;
        Ok(Redis { kept, port })
    }

    pub fn pid(&self) -> u32 {
        self.kept.pid
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
