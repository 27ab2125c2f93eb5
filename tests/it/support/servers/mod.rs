//! Real servers for the tests: PostgreSQL, Redis, ChromeDriver and a mail server, each in a folder of its own, on a
//! port of its own, and gone with the test process however that ends.

mod chromedriver;
mod haproxy;
mod pgbouncer;
mod postgres;
mod redis;
mod smtp;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use testkit::Kept;

pub use chromedriver::ChromeDriver;
pub use haproxy::HaProxy;
pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, PostgresOptions};
pub use redis::Redis;
pub use smtp::Smtp;

/// Between two looks at a server that is starting or ending.
const PAUSE: Duration = Duration::from_millis(10);
/// A minute of such looks: a busy machine is slow, a minute of silence is a fault.
const LOOKS: usize = 6000;
/// A port can be taken, and a dead PostgreSQL's children can outlive it for a moment: start again this often.
const ATTEMPTS: usize = 50;

/// Root may not run PostgreSQL; its packages come with a user who may.
pub fn postgres_user() -> Option<(u32, u32)> {
    testkit::postgresql::user().expect("run `cargo xtask test`, which installs PostgreSQL")
}

/// The first of the named programs that says what it should when asked for its version.
fn program(names: &[&str], says: &str) -> PathBuf {
    let Some(path) = testkit::program(names, says) else {
        panic!("{} is not on this machine: run `cargo xtask test`, which installs it", names[0]);
    };
    path
}

pub fn free_port() -> u16 {
    testkit::free_port().expect("one port of thousands is free")
}

/// Waits until the server answers; false when it ended instead.
async fn comes_up(kept: &Kept, answers: impl AsyncFn() -> bool) -> bool {
    for _ in 0..LOOKS {
        if answers().await {
            return true;
        }
        if !kept.alive() {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
    give_up(kept)
}

fn give_up(kept: &Kept) -> ! {
    panic!("a test server does not do as told; its log ends:\n{}", kept.end_of_log())
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
