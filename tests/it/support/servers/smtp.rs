//! A mail server that keeps what it gets.

use std::fs;
use std::path::Path;

use serde_json::Value;
use testkit::Kept;

use super::{ask, comes_up, give_up};

pub struct Smtp {
    kept: Kept,
    pub port: u16,
}

impl Smtp {
    pub async fn start() -> Smtp {
        let python = testkit::mail_server(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(python.exists(), "aiosmtpd is not on this machine: run `cargo xtask test`, which installs it");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/servers/smtp.py");
        let mut kept = Kept::new(None, "KILL", "").expect("a folder");
        let (program, script) = (testkit::quoted(&python), testkit::quoted(&script));
        let command = format!("PYTHONDONTWRITEBYTECODE=1 exec {program} {script} {}", testkit::quoted(&kept.folder));
        kept.start(&command).expect("the keeper answers");
        // It finds a free port by itself, and tells.
        let log = kept.folder.join("log");
        let port = || {
            let log = fs::read_to_string(&log).ok()?;
            let (_, rest) = log.split_once("listening on port ")?;
            rest.split_once(" .")?.0.parse().ok()
        };
        if !comes_up(&kept, async || port().is_some_and(|port| ask(port, "", "220 "))).await {
            give_up(&kept)
        }
        Smtp { port: port().expect("it has answered there"), kept }
    }

    /// From now on it says this to the end of each mail; nothing for it takes them.
    pub fn answer(&self, answer: &str) {
        fs::write(self.kept.folder.join("answer"), answer).expect("the folder can be written");
    }

    /// Each mail that it has taken, as it came.
    pub fn taken(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.kept.folder.join("mails")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a mail")).collect()
    }
}
