//! The command line.

mod admin;
mod check;
mod keys;
mod serve;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, Environment};
use crate::db::{Db, Options, migrate};
use crate::kernel::deadline;
use crate::kernel::time::Clock;
use crate::log;
use crate::start;
use crate::web::router::document;

/// For a statement of a command, or a lock that it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A self-hosted referral-program service.
///
/// Alone, it serves on http://127.0.0.1:8000 with a SQLite database in the working directory; the API explains itself
/// at /docs. DATABASE_URL=postgres://… and REDIS_URL=redis://… make it one of any number of nodes. Every setting, its
/// default and its name in the environment: `referral config`.
#[derive(Parser)]
#[command(name = "referral", version, arg_required_else_help = false, max_term_width = 100)]
struct Arguments {
    /// Settings beside the defaults and the environment; see `referral config` for what can be set
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (the default)
    ///
    /// Migrates the database first. SIGTERM or Ctrl-C lets requests under way finish and then stops.
    Serve,
    /// Bring the database up to this binary's schema and exit
    ///
    /// `serve` does the same at its start; any number of nodes may do so at once.
    Migrate,
    /// Manage accounts from the machine that runs the service
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Replace the keys that sign tokens
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Is the configuration right? Tells what is wrong, and the remedy
    ///
    /// Reads the settings, reaches for the database, Redis, identity providers and the addresses to listen on, and
    /// changes nothing.
    Check,
    /// Print the settings with their defaults and what they mean, as a file to begin from
    Config,
    /// Print the OpenAPI document
    Openapi,
}

/// Runs the command given; what goes wrong is a sentence on the standard error.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log::last_words(&format!("referral: {message}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let command = arguments.command.unwrap_or(Command::Serve);
    match command {
        Command::Config => {
            say(config::DEFAULTS.trim_end());
            return Ok(());
        }
        Command::Openapi => {
            let text = document().to_pretty_json().map_err(|error| format!("cannot write the document: {error}"))?;
            say(&text);
            return Ok(());
        }
        _ => {}
    }
    let config = config::load(arguments.config.as_deref(), &environment()?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        match command {
            Command::Migrate => migrate(config).await,
            Command::Admin(command) => {
                let app = start::connect(config, Clock::default()).await?;
                deadline::patiently(PATIENCE, admin::run(app, command)).await
            }
            Command::Keys(command) => {
                let app = start::connect(config, Clock::default()).await?;
                deadline::patiently(PATIENCE, keys::run(app, command)).await
            }
            Command::Check => check::run(config).await,
            _ => serve::run(config).await,
        }
    })
}

/// The process's environment, with `./.env` beneath it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> Result<Environment, String> {
    let mut variables: Environment = Vec::new();
    // This folder's alone: what lies above it is somebody else's.
    match dotenvy::from_path_iter("./.env") {
        Ok(lines) => {
            for line in lines {
                // The error quotes the line, which may hold a secret.
                variables.push(line.map_err(|_| ".env has a line that is not NAME=VALUE".to_owned())?);
            }
        }
        Err(error) if error.not_found() => {}
        Err(_) => return Err("cannot read .env: remove it or make it readable".to_owned()),
    }
    let mut process: Environment = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => process.push((name, value)),
            Err(_) if config::is_setting(&name) => return Err(format!("{name} is not text: write it in UTF-8")),
            Err(_) => {}
        }
    }
    variables.retain(|(name, _)| !process.iter().any(|(set, _)| set == name));
    variables.extend(process);
    Ok(variables)
}

/// A line on the standard output; whoever does not want to hear it may have closed it.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

async fn migrate(config: Config) -> Result<(), String> {
    let options = Options {
        connections: config.database.connections,
        prepared_statements: config.database.prepared_statements,
        request: config.http.request(),
        mapped_mib: config.database.mapped_mib,
    };
    let db = Db::open(&config.database.url, options).await?;
    let applied = migrate::run(&db).await?;
    say(&format!("schema {}; {applied} step(s) applied", migrate::newest()));
    Ok(())
}
