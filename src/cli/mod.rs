//! The command line.

mod admin;
mod audit;
mod check;
mod erase_log;
mod health;
mod jobs;
mod keep;
mod keys;
mod ledger;
mod mail;
mod people;
mod serve;
mod webhook;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::App;
use crate::config::{self, Config, Sources};
use crate::db::{Db, Options, migrate};
use crate::keep::restore::Wish;
use crate::kernel::time::Clock;
use crate::kernel::{deadline, version};
use crate::log;
use crate::site::router::document;
use crate::start;

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
    Serve {
        /// Answer reads and refuse changes, log-ins among them, with 503: while the database is copied
        ///
        /// Migrates nothing, works on no jobs, and keeps nobody from the database.
        #[arg(long)]
        read_only: bool,
    },
    /// Bring the database up to this binary's schema and exit
    ///
    /// `serve` does the same at its start; any number of nodes may do so at once.
    Migrate,
    /// Write a backup of the database into a file, while the service runs
    ///
    /// A SQLite file, or what `pg_dump` writes of PostgreSQL. It is looked through before it gets its name: whole, and
    /// whether the laws hold. A file that is there already is left as it is.
    Backup {
        /// The file to make
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make a new database of a backup; stop the service first
    ///
    /// Into the database of the settings, which must be empty. All of it is there at the end, or nothing.
    Restore {
        /// What `referral backup` has written
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Erase those again whom this file names, which `referral erase-log` has printed
        #[arg(long, value_name = "FILE")]
        erase_log: Option<PathBuf>,
        /// End all sessions: everybody logs in anew
        #[arg(long)]
        end_sessions: bool,
        /// Restore it also if a law does not hold in it
        #[arg(long)]
        as_it_is: bool,
    },
    /// Copy a database into an empty one of the other engine, or of the same
    ///
    /// The side that is left out is the database of the settings: name one with a password there. While it is copied
    /// nobody may write to the source: `referral serve --read-only` answers reads. One that was killed goes on where it
    /// was.
    Copy {
        /// The database to read, sqlite:PATH or postgres://…
        #[arg(long, value_name = "URL")]
        from: Option<String>,
        /// The empty database to fill, sqlite:PATH or postgres://…
        #[arg(long, value_name = "URL")]
        to: Option<String>,
    },
    /// Bring people, codes and referrals from the reference service
    ///
    /// Prints each row that cannot come, or not as it was, with the reason and what would be done. Nothing is written
    /// without --apply, and with it all or nothing.
    Import {
        /// The reference service's database, postgres://…; one with a password belongs into the environment
        #[arg(long, value_name = "URL", env = "REFERENCE_URL", hide_env_values = true)]
        from_reference: String,
        /// Do it
        #[arg(long)]
        apply: bool,
    },
    /// Manage accounts from the machine that runs the service
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Replace the keys that sign tokens
    #[command(subcommand)]
    Keys(keys::Keys),
    /// See and try the mails that the service sends
    #[command(subcommand)]
    Mail(mail::Mail),
    /// Print who was erased, by id and date; to be kept beside the backups
    ///
    /// What a backup brings back that is restored, `--apply` erases again: of the output that was kept, not of what the
    /// restored database says. Whoever was erased after it was printed is back.
    EraseLog {
        /// Erase those again whom this file names, which an earlier `referral erase-log` has printed
        #[arg(long, value_name = "FILE")]
        apply: Option<PathBuf>,
    },
    /// Is the configuration right? Tells what is wrong, and the remedy
    ///
    /// Reads the settings, reaches for the database, Redis, identity providers and the addresses to listen on, and
    /// changes nothing, but that it stores a key in Redis for ten seconds.
    Check,
    /// Print the settings with their defaults and what they mean, as a file to begin from
    Config {
        /// Print what is in force instead, secrets hidden, and where each value comes from
        #[arg(long)]
        effective: bool,
    },
    /// Ask the service that runs here whether it is ready; for containers, which have no other program
    ///
    /// Asks /readyz at http.listen, read from the same settings as the service's. The exit code is 0 or 1.
    Health {
        /// Ask whether the process runs (/livez), whatever its database does
        #[arg(long)]
        live: bool,
    },
    /// Print the OpenAPI document
    Openapi,
    /// Print completions for a shell
    ///
    /// For bash, for example: referral completions bash > /etc/bash_completion.d/referral
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write those of all commands into a folder
    ///
    /// For example: referral man /usr/local/share/man/man1
    Man {
        /// The folder; without one, the page of `referral` alone is printed
        folder: Option<PathBuf>,
    },
}

/// Runs the command given; what goes wrong is a sentence on the standard error, or several, each on a line.
pub fn main() -> ExitCode {
    let arguments = match Arguments::from_arg_matches(&command().get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let sentences: Vec<String> = message.lines().map(|sentence| format!("referral: {sentence}")).collect();
            log::last_words(&sentences.join("\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let command = arguments.command.unwrap_or(Command::Serve { read_only: false });
    let file = arguments.config.as_deref();
    match command {
        Command::Config { effective: false } => {
            if let Some(path) = file {
                std::fs::File::open(path).map_err(|error| config::cannot_read(path, &error))?;
            }
            say(config::DEFAULTS.trim_end());
            return Ok(());
        }
        Command::Openapi => {
            let text = document().to_pretty_json().map_err(|error| format!("cannot write the document: {error}"))?;
            say(&text);
            return Ok(());
        }
        Command::Completions { shell } => {
            return generated(|text| {
                clap_complete::generate(shell, &mut self::command(), "referral", text);
                Ok(())
            });
        }
        Command::Man { folder: None } => return generated(manual),
        Command::Man { folder: Some(folder) } => {
            return clap_mangen::generate_to(self::command(), &folder)
                .map_err(|error| format!("cannot write the manual into {}: {error}", folder.display()));
        }
        _ => {}
    }
    let reading = config::read(&sources(file));
    if let Command::Config { .. } = command {
        let text = config::effective(&reading);
        reading.valid()?;
        say(text.trim_end());
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        match command {
            Command::Migrate => migrate(reading.valid()?).await,
            Command::Admin(command) => {
                let app = beside(reading.valid()?).await?;
                deadline::patiently(PATIENCE, admin::run(app, command)).await
            }
            Command::Keys(command) => {
                let app = beside(reading.valid()?).await?;
                deadline::patiently(PATIENCE, keys::run(app, command)).await
            }
            Command::Mail(command) => mail::run(reading.valid()?, command).await,
            Command::EraseLog { apply } => {
                let app = beside(reading.valid()?).await?;
                deadline::patiently(PATIENCE, erase_log::run(&app, apply.as_deref())).await
            }
            Command::Backup { file } => keep::backup(&reading.valid()?, &file).await,
            Command::Restore { file, erase_log, end_sessions, as_it_is } => {
                keep::restore(reading.valid()?, Wish { file, erase_log, end_sessions, as_it_is }).await
            }
            Command::Copy { from, to } => keep::copy(&reading.valid()?, from, to).await,
            Command::Import { from_reference, apply } => {
                let app = beside(reading.valid()?).await?;
                keep::import(&app, &from_reference, apply).await
            }
            Command::Check => check::run(reading).await,
            Command::Health { live } => health::run(&reading.valid()?, live),
            Command::Serve { read_only } => serve::run(reading.valid()?, read_only).await,
            // Those that need no runtime are done.
            _ => Ok(()),
        }
    })
}

/// Where settings come from.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn sources(file: Option<&Path>) -> Sources {
    Sources::of_process(file, std::env::vars_os())
}

/// The command line, with the version that says what the binary was built from.
fn command() -> clap::Command {
    Arguments::command().version(version::text())
}

/// The page of `referral` alone, which names no other page.
fn manual(text: &mut Vec<u8>) -> std::io::Result<()> {
    let mut page = Vec::new();
    let command = command().override_usage("referral [--config FILE] [COMMAND]");
    clap_mangen::Man::new(command).render(&mut page)?;
    for line in String::from_utf8_lossy(&page).lines() {
        let line = if line.contains("(1)") {
            line.replace("referral\\-", "referral ").replace("(1)", "")
        } else {
            line.into()
        };
        writeln!(text, "{line}")?;
    }
    Ok(())
}

/// Writes a text that other programs make.
fn generated(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<(), String> {
    let mut text = Vec::new();
    write(&mut text).map_err(|error| format!("cannot write: {error}"))?;
    let _ = std::io::stdout().write_all(&text);
    Ok(())
}

/// Opens the database that is there, and says which.
async fn beside(config: Config) -> Result<Arc<App>, String> {
    let name = start::name(&config.database.url);
    // On the standard error: what a command prints is for programs as well. Whoever does not want to hear it may have
    // closed it.
    let _ = writeln!(std::io::stderr(), "database: {name}");
    start::beside(config, Clock::default()).await
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
    let told = |fault: String| config.database.told(&fault);
    let db = Db::open(&config.database.url, options).await.map_err(told)?;
    let applied = migrate::run(&db).await.map_err(told)?;
    say(&format!("schema {}; {applied} step(s) applied", migrate::newest()));
    Ok(())
}
