//! The databases of a run: PostgreSQL and Redis, started for it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

use tokio_postgres::{Client, NoTls};

use crate::keeper::{Kept, quoted};

/// What differs from PostgreSQL's defaults. Durability is as it comes: fsync, full_page_writes and synchronous_commit
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
        let programs = postgres_programs()?;
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let mut settings = format!("-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories=");
        for (name, value) in POSTGRES_SETTINGS {
            settings += &format!(" -c {name}={value}");
        }
        let command = format!(
            "{} -D data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync && exec {} -D data {settings}",
            quoted(programs.join("initdb")),
            quoted(programs.join("postgres")),
        );
        let kept = Kept::start(&command, "QUIT", postgres_user()?)?;
        let postgres = Postgres { kept, programs, port };
        postgres.kept.wait_for("PostgreSQL", |kept| {
            kept.log().contains("database system is ready to accept connections").then_some(())
        })?;
        Ok(postgres)
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
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let command = format!("exec redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no --dir .");
        let kept = Kept::start(&command, "KILL", None)?;
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

pub fn free_port() -> io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}

/// The newest of those that Debian's packages put side by side, else what is in PATH.
fn postgres_programs() -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort_by_key(|folder| {
        let name =
            folder.parent().and_then(|version| version.file_name()).map(|name| name.to_string_lossy().into_owned());
        std::cmp::Reverse(name.and_then(|name| name.parse::<u32>().ok()))
    });
    folders.push(PathBuf::new()); // makes a bare name, which is looked up in PATH
    let works = |folder: &PathBuf| {
        ["initdb", "postgres", "pgbench"].iter().all(|program| {
            let output = Command::new(folder.join(program)).arg("--version").output();
            output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("(PostgreSQL)"))
        })
    };
    folders.into_iter().find(works).ok_or_else(|| {
        "PostgreSQL's initdb, postgres and pgbench are not there; `cargo xtask bench` installs them".to_owned()
    })
}

/// Root may not run PostgreSQL; its packages come with a user who may.
fn postgres_user() -> Result<Option<(u32, u32)>, String> {
    if fs::metadata("/proc/self").is_ok_and(|me| me.uid() != 0) {
        return Ok(None);
    }
    let id = |which| {
        let output = Command::new("id").args([which, "postgres"]).output().map_err(|error| format!("`id`: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().parse::<u32>();
        text.map_err(|_| "there is no user `postgres` to run PostgreSQL as".to_owned())
    };
    Ok(Some((id("-u")?, id("-g")?)))
}
