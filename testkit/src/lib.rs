//! What tests, interop and benchmarks share: programs of other people's that have to say what they are, PostgreSQL,
//! free ports, and servers that end with whoever started them.

mod kept;
pub mod postgresql;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use kept::Kept;

/// Whether a program says this word when it is asked for its version: what is in PATH under its name may be something
/// else.
pub fn says(program: impl AsRef<Path>, word: &str) -> bool {
    let output = Command::new(program.as_ref()).arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(word))
}

/// The first of these programs that says the word.
pub fn program(names: &[&str], word: &str) -> Option<PathBuf> {
    names.iter().map(PathBuf::from).find(|name| says(name, word))
}

/// Below the range from which the system takes ports for outgoing connections: there, a client that keeps knocking at a
/// killed server's port may be given that very port as its own, and talk to itself.
///
/// # Errors
///
/// When a thousand ports in a row are taken.
pub fn free_port() -> Result<u16, String> {
    let port = || 20_000 + (RandomState::new().hash_one(()) % 12_000) as u16;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(port).take(1000).find(free).ok_or_else(|| "no port is free on this machine".to_owned())
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// The Python that has the mail server of the tests, below the folder of the repository. `cargo xtask test` makes it.
pub fn mail_server(root: &Path) -> PathBuf {
    root.join("target/mail-server/venv/bin/python")
}

/// For the shell.
pub fn quoted(text: impl AsRef<Path>) -> String {
    format!("'{}'", text.as_ref().display().to_string().replace('\'', r"'\''"))
}
