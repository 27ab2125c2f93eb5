//! The service under load, as a process: the shipped binary, or the one without hashing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Kept, quoted};

use crate::http;

/// Where everything that is run was built.
pub struct Programs {
    /// The shipped binary.
    pub referral: PathBuf,
    /// This program, whose commands are the yardsticks and the service without hashing.
    pub bench: PathBuf,
}

impl Programs {
    /// Those that were built with this one.
    pub fn beside_this() -> Result<Programs, String> {
        let program = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
        program.parent().map(Programs::of).ok_or_else(|| "this program does not know where it is".to_owned())
    }

    /// Those in a folder.
    pub fn of(folder: &Path) -> Programs {
        Programs { referral: folder.join("referral"), bench: folder.join("referral-bench") }
    }
}

/// How tokens name their issuer: the same on all nodes.
const PUBLIC_URL: &str = "http://referral.bench";

/// Limits stay on, so that their work is part of what is measured, but nobody reaches them.
const LIMITS: [&str; 6] = [
    "LOGINS_PER_ACCOUNT",
    "LOGINS_PER_ADDRESS",
    "REGISTRATIONS_PER_ADDRESS",
    "VALIDATIONS_PER_ADDRESS",
    "LOOKUPS_PER_USER",
    "CLICKS_PER_ADDRESS",
];

pub struct Service {
    kept: Kept,
    pub address: SocketAddr,
}

/// What a service is started with.
#[derive(Clone, Default)]
pub struct Options {
    pub database: String,
    pub redis: Option<String>,
    /// Passwords are not hashed.
    pub without_hashing: bool,
    /// The only processor it may use.
    pub pinned: Option<usize>,
    /// A library that is loaded before all others.
    pub preload: Option<PathBuf>,
    /// Limits are off, those that only one of two versions has included.
    pub unlimited: bool,
    /// The port of the server that takes mails; none are sent without.
    pub mail: Option<u16>,
    /// A registration does not tell whether an address has an account.
    pub quiet: bool,
}

impl Service {
    pub fn start(programs: &Programs, options: &Options) -> Result<Service, String> {
        let mut environment = vec![
            ("DATABASE_URL".to_owned(), options.database.clone()),
            ("REFERRAL_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("REFERRAL_PUBLIC_URL".to_owned(), PUBLIC_URL.to_owned()),
        ];
        match options.unlimited {
            true => environment.push(("REFERRAL_LIMITS".to_owned(), "off".to_owned())),
            false => environment.extend(LIMITS.map(|name| (format!("REFERRAL_LIMITS_{name}"), "1000000".to_owned()))),
        }
        if let Some(port) = options.mail {
            environment.push(("SMTP_URL".to_owned(), format!("smtp://127.0.0.1:{port}")));
            environment.push(("REFERRAL_MAIL_FROM".to_owned(), "referral@referral.bench".to_owned()));
        }
        if options.quiet {
            environment.push(("REFERRAL_ACCOUNTS_REGISTRATION".to_owned(), "quiet".to_owned()));
        }
        if let Some(redis) = &options.redis {
            environment.push(("REDIS_URL".to_owned(), redis.clone()));
        }
        if let Some(library) = &options.preload {
            environment.push(("LD_PRELOAD".to_owned(), library.display().to_string()));
        }
        let program = match options.without_hashing {
            true => format!("{} without-hashing", quoted(&programs.bench)),
            false => format!("{} serve", quoted(&programs.referral)),
        };
        let pin = options.pinned.map(|core| format!("taskset -c {core} ")).unwrap_or_default();
        let set: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name}={}", quoted(Path::new(value)))).collect();
        let kept = Kept::running(&format!("exec {pin}env -i {} {program}", set.join(" ")), "TERM")?;
        let address = kept.wait_for("the service", listens_on)?;
        Ok(Service { kept, address })
    }

    pub fn pid(&self) -> u32 {
        self.kept.pid
    }
}

/// A yardstick that serves, a command of this program.
pub fn start_yardstick(programs: &Programs, command: &str) -> Result<Service, String> {
    let kept = Kept::running(&format!("exec {} {command}", quoted(&programs.bench)), "TERM")?;
    let address = kept.wait_for(command, listens_on)?;
    Ok(Service { kept, address })
}

fn listens_on(kept: &Kept) -> Option<SocketAddr> {
    let log = kept.log();
    let (_, rest) = log.split_once("listens on http://")?;
    // The whole line, not half of a port.
    let (line, _) = rest.split_once('\n')?;
    line.split(' ').next()?.parse().ok()
}

/// Brings an empty database to the service's schema.
pub fn migrate(programs: &Programs, database: &str) -> Result<(), String> {
    let output = Command::new(&programs.referral).arg("migrate").env_clear().env("DATABASE_URL", database).output();
    let output = output.map_err(|error| format!("{}: {error}", programs.referral.display()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("migrate: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Logs a person in, through the API.
pub fn log_in(service: &Service, name: &str, password: &str) -> Result<String, String> {
    let body = serde_json::json!({ "username": name, "password": password }).to_string();
    let answer = http::ask(service.address, "POST", "/api/v1/auth/token", None, Some(&body))?;
    let json = answer.json(200)?;
    json["access_token"].as_str().map(str::to_owned).ok_or_else(|| "no access token in the answer".to_owned())
}
