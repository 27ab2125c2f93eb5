//! Real servers for the tests: PostgreSQL, Redis and ChromeDriver, each in a folder of its own, on a port of
//! its own, and gone with the test process however that ends.

mod chromedriver;
mod keeper;
mod pgbouncer;
mod postgres;
mod redis;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub use chromedriver::ChromeDriver;
pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, PostgresOptions};
pub use redis::Redis;

/// Between two looks at a server that is starting or ending.
const PAUSE: Duration = Duration::from_millis(10);
/// A minute of such looks: a busy machine is slow, a minute of silence is a fault.
const LOOKS: usize = 6000;
/// A port can be taken, and a dead PostgreSQL's children can outlive it for a moment: start again this often.
const ATTEMPTS: usize = 50;

/// Root may not run PostgreSQL; its packages come with a user who may.
pub fn postgres_user() -> Option<(u32, u32)> {
    let root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let id = |which| {
        let output = Command::new("id").args([which, "postgres"]).output().expect("`id` runs");
        let text = String::from_utf8_lossy(&output.stdout).trim().parse();
        text.expect("there is no user `postgres`: run `cargo xtask test`, which installs PostgreSQL")
    };
    root.then(|| (id("-u"), id("-g")))
}

/// The first of the named programs that says what it should when asked for its version.
/// Packages keep PostgreSQL's servers out of PATH, and what is in PATH under these names may be something else.
fn program(names: &[&str], says: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.push(PathBuf::new()); // makes a bare name, which is looked up in PATH
    folders.sort(); // the empty one first, the newest last
    let works = |path: &PathBuf| {
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(says))
    };
    let mut paths = names.iter().flat_map(|name| folders.iter().rev().map(move |folder| folder.join(name)));
    let Some(path) = paths.find(works) else {
        panic!("{} is not on this machine: run `cargo xtask test`, which installs it", names[0]);
    };
    path
}

/// Below the range from which the system takes ports for outgoing connections: there, a client that keeps
/// knocking at a killed server's port may be given that very port as its own, and talk to itself.
pub fn free_port() -> u16 {
    let port = || 20_000 + (RandomState::new().hash_one(()) % 12_000) as u16;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(port).take(1000).find(free).expect("one port of thousands is free")
}

/// Whether the server at this port answers `request` with a text that holds `expected`.
fn ask(port: u16, request: &str, expected: &str) -> bool {
    let timeout = Duration::from_millis(200);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, timeout) else { return false };
    let _ = stream.set_read_timeout(Some(timeout));
    let _ = stream.write_all(request.as_bytes());
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut part) {
        answer.extend_from_slice(&part[..length]);
        if String::from_utf8_lossy(&answer).contains(expected) {
            return true;
        }
    }
    false
}
