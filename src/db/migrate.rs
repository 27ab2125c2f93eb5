//! Migrations: each a text for both engines, applied once in a transaction of its own together with its number. In an
//! empty database there is nothing that one of them could hold up: all go into one transaction there, which is one wait
//! for the disk.
//!
//! However many nodes start at once, one applies a step and the others wait for it; a step that was killed has left
//! nothing and is tried again by the next start.

mod indexes;

use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::error::{causes, from_postgres, from_sqlite};
use super::found::{self, Found};
use super::postgres::Postgres;
use super::{Db, Work, sqlite};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Result, Storage};
use crate::kernel::ids::InstallationId;
use crate::{params, sql};

/// How long a step is tried again that gives way to who uses its tables, and how long apart.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(300);

/// In order; the number of a step is its place, from 1. Steps are added, never changed.
pub(super) const STEPS: &[(&str, &str)] = &[
    ("first", include_str!("../../migrations/0001_first.sql")),
    ("oauth", include_str!("../../migrations/0002_oauth.sql")),
    ("slot_times", include_str!("../../migrations/0003_slot_times.sql")),
    ("identity", include_str!("../../migrations/0004_identity.sql")),
    ("installation", include_str!("../../migrations/0005_installation.sql")),
    ("probes", include_str!("../../migrations/0006_probes.sql")),
    ("pkce", include_str!("../../migrations/0007_pkce.sql")),
    ("jobs", include_str!("../../migrations/0008_jobs.sql")),
    ("programs", include_str!("../../migrations/0009_programs.sql")),
    ("mails", include_str!("../../migrations/0010_mails.sql")),
    ("idempotency", include_str!("../../migrations/0011_idempotency.sql")),
    ("participants", include_str!("../../migrations/0012_participants.sql")),
    ("links", include_str!("../../migrations/0013_links.sql")),
    ("audit", include_str!("../../migrations/0014_audit.sql")),
    ("new_address", include_str!("../../migrations/0015_new_address.sql")),
    ("webhooks", include_str!("../../migrations/0016_webhooks.sql")),
    ("rewards", include_str!("../../migrations/0017_rewards.sql")),
    ("decisions", include_str!("../../migrations/0018_decisions.sql")),
    ("payouts", include_str!("../../migrations/0019_payouts.sql")),
    ("sign_ups", include_str!("../../migrations/0020_sign_ups.sql")),
    ("budgets", include_str!("../../migrations/0021_budgets.sql")),
    ("versions", include_str!("../../migrations/0022_versions.sql")),
];

const KNOWN: &str = "create table if not exists schema_migrations (\
                         version bigint not null primary key, name text not null, applied_at bigint not null)";

sql! {
    INSTALLATION = "select id from installation";
    DISOWN = "delete from installation";
    DRAW = "insert into installation (one, id, made_at) values (1, $1, referral_now())";
}

/// What this binary's schema is.
pub fn newest() -> i64 {
    STEPS.len() as i64
}

/// Applies what is missing and says how many steps that were. A database that is not ours is left as it is.
pub async fn run(db: &Db) -> Result<i64, String> {
    let mut applied = 0;
    loop {
        let step = step(db).await.map_err(|error| format!("cannot migrate the database: {error}"))?;
        let (version, steps) = match step {
            Step::Applied { version, steps } => (version, steps),
            Step::Refused(sentence) => return Err(sentence),
        };
        applied += steps;
        match version {
            _ if version > newest() => {
                return Err(format!(
                    "the database has schema {version}, this binary knows {}: run the newer binary that migrated it, or \
                     restore a backup from before",
                    newest()
                ));
            }
            _ if version + steps == newest() => break,
            _ => {}
        }
    }
    // In an empty database they were made with their tables.
    if let Db::Postgres(postgres) = db
        && applied < newest()
    {
        let complete = indexes::complete(postgres).await;
        complete.map_err(|error| format!("cannot migrate the database: {error}"))?;
    }
    Ok(applied)
}

/// The id of the installation that a migrated database belongs to; nothing while what is in it has not come whole, by a
/// restore or a copy.
pub async fn installation(db: &Db) -> Result<Option<InstallationId>> {
    let row = db.row(&INSTALLATION, params![]).await?;
    row.map(|row| row.get(0).map(InstallationId)).transpose()
}

/// Makes a database that was restored or copied an installation of its own: where it meets the one that it came from,
/// in a Redis that both use, each has its own names.
pub async fn draw_installation(db: &Db) -> Result<InstallationId> {
    let draw: Work<InstallationId, ()> = |tx, id| {
        Box::pin(async move {
            tx.run(&DISOWN, &params![]).await?;
            tx.run(&DRAW, &params![id.0]).await.map(drop)
        })
    };
    let id = InstallationId::new();
    db.write(Actor::OPERATOR, id, draw).await.map(|()| id)
}

/// The schema that a database has, without touching it; nothing for an empty one. The error is a sentence with a
/// remedy: it cannot be read, or it is not ours.
pub async fn version(db: &Db) -> Result<Option<i64>, String> {
    let found = match db {
        Db::Postgres(postgres) => found_in(postgres).await,
        Db::Sqlite(sqlite) => sqlite.script(found::in_sqlite).await,
    };
    found.map_err(|error| format!("cannot read the database: {error}"))?.version()
}

async fn found_in(postgres: &Postgres) -> Result<Found> {
    let mut lease = postgres.connection().await?;
    let connection = lease.connection()?;
    found::in_postgres(&****connection).await
}

/// As [`version`], for a SQLite file that nobody has opened yet: not even its mode is changed.
pub fn version_of_file(path: &Path) -> Result<Option<i64>, String> {
    let explain = |error: Error| {
        format!("cannot read {}: {error}. May this user read it, and is it a SQLite file?", path.display())
    };
    if let Some(sentence) = sqlite::name_complaint(path) {
        return Err(sentence);
    }
    sqlite::unopened(path).and_then(|connection| found::in_sqlite(&connection)).map_err(explain)?.version()
}

/// What came of one transaction.
enum Step {
    /// The version that was found, and how many steps were applied to it.
    Applied { version: i64, steps: i64 },
    /// Nothing can be applied: a sentence with a remedy.
    Refused(String),
}

/// Applies what is due in one transaction, if anything is.
async fn step(db: &Db) -> Result<Step> {
    let (mut tried, began) = (0, Instant::now());
    loop {
        let outcome = match db {
            Db::Postgres(postgres) => step_on_postgres(postgres).await,
            Db::Sqlite(sqlite) => sqlite.script(step_on_sqlite).await,
        };
        tried += 1;
        match outcome {
            // It gave way to who uses a table.
            Err(Error::Storage(Storage::TimedOut(_))) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(Error::Storage(Storage::Retry(_))) if tried < 5 => continue,
            other => return other,
        }
    }
}

/// In one transaction, under a lock that all nodes share.
async fn step_on_postgres(postgres: &Postgres) -> Result<Step> {
    // The wait for another node's step may take as long as it takes.
    const UNLIMITED: &str = "set local statement_timeout = 0; set local lock_timeout = 0; \
                             set local idle_in_transaction_session_timeout = 0; \
                             set local client_min_messages = warning";
    // A table that is in use is waited for in vain rather than for long: who waits for all of it keeps everybody from
    // it who comes later. The work itself has longer, but not for ever.
    const GIVING_WAY: &str = "set local lock_timeout = '800ms'; set local statement_timeout = '15min'";
    const LOCK: &str = "select pg_advisory_xact_lock(7378431276)";
    let fault = |error: tokio_postgres::Error| {
        if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            let text = "migration: its role may not make or change what is needed: `grant create on schema SCHEMA to \
                        ROLE`, and let it own Referral's tables (`alter table NAME owner to ROLE`)";
            return Error::Internal(format!("{text} ({})", causes(&error)));
        }
        Error::from(from_postgres(&error, "migration"))
    };
    let mut lease = postgres.connection().await?;
    let transaction = lease.connection()?.transaction().await.map_err(fault)?;
    transaction.batch_execute(UNLIMITED).await.map_err(fault)?;
    transaction.batch_execute(LOCK).await.map_err(fault)?;
    transaction.batch_execute(GIVING_WAY).await.map_err(fault)?;
    let (version, texts) = match due(&found::in_postgres(&*transaction).await?, "postgres") {
        Ok(due) => due,
        Err(sentence) => return Ok(Step::Refused(sentence)),
    };
    let is_empty = version == 0;
    let wanted = |text: &String| -> Vec<String> {
        // In one message, where nobody is to be killed between two.
        if is_empty && !cfg!(debug_assertions) {
            return vec![text.clone()];
        }
        let mut portions = portions(text);
        portions.retain(|portion| is_empty || indexes::behind(portion, text).is_none());
        portions
    };
    transaction.batch_execute(&locks(version)).await.map_err(fault)?;
    for text in texts.iter().flat_map(wanted) {
        #[cfg(debug_assertions)]
        super::crash::before_statement("MIGRATION");
        transaction.batch_execute(&text).await.map_err(fault)?;
    }
    #[cfg(debug_assertions)]
    super::crash::before_commit();
    transaction.commit().await.map_err(fault)?;
    #[cfg(debug_assertions)]
    super::crash::after_commit();
    Ok(Step::Applied { version, steps: texts.len() as i64 })
}

fn step_on_sqlite(connection: &rusqlite::Connection) -> Result<Step> {
    let (version, texts) = match due(&found::in_sqlite(connection)?, "sqlite") {
        Ok(due) => due,
        Err(sentence) => return Ok(Step::Refused(sentence)),
    };
    for text in texts.iter().flat_map(|text| portions(text)) {
        #[cfg(debug_assertions)]
        super::crash::before_statement("MIGRATION");
        connection.execute_batch(&text).map_err(|error| from_sqlite(&error, "migration"))?;
    }
    Ok(Step::Applied { version, steps: texts.len() as i64 })
}

/// The version of what was found, and the texts of the next transaction.
fn due(found: &Found, engine: &str) -> Result<(i64, Vec<String>), String> {
    let version = found.version()?.unwrap_or(0);
    let until = if version == 0 { newest() } else { version + 1 };
    Ok((version, (version..until).filter_map(|version| next(version, engine)).collect()))
}

/// The text that leads on from a version, for one engine, with the record of having been applied.
pub fn next(version: i64, engine: &str) -> Option<String> {
    let (name, text) = STEPS.get(usize::try_from(version).ok()?)?;
    let identity = match engine {
        "postgres" => "bigint generated by default as identity primary key",
        _ => "integer primary key autoincrement",
    };
    let mut wanted = true;
    let id = InstallationId::new().0;
    let drawn = match engine {
        "postgres" => format!("'{id}'"),
        _ => format!("x'{}'", id.simple()),
    };
    let mut script = format!("{KNOWN};\n");
    for line in text.lines() {
        if let Some(only) = line.strip_prefix("--[") {
            wanted = only.trim() == engine;
        } else if line.starts_with("--]") {
            wanted = true;
        } else if wanted {
            script.push_str(&line.replace("{identity}", identity).replace("{drawn_id}", &drawn));
            script.push('\n');
        }
    }
    let number = version + 1;
    script.push_str(&format!("insert into schema_migrations values ({number}, '{name}', referral_now());"));
    Some(script)
}

/// The statements of a text.
fn portions(text: &str) -> Vec<String> {
    let (mut portions, mut portion) = (Vec::new(), String::new());
    for line in text.lines() {
        portion.push_str(line);
        portion.push('\n');
        if line.ends_with(';') && !line.trim_start().starts_with("--") {
            portions.push(std::mem::take(&mut portion));
        }
    }
    portions.push(portion);
    portions.retain(|portion| !portion.trim().is_empty());
    portions
}

/// Locks what the step behind a version changes, or points to, of the tables that are there: those first that others
/// point to, as whoever writes goes. In the order of its own statements a step would meet writers in a circle, and give
/// way each time.
fn locks(version: i64) -> String {
    let version = usize::try_from(version).unwrap_or(0);
    let Some((_, step)) = STEPS.get(version) else { return String::new() };
    // One of that name is SQLite's, for as long as its step takes.
    let there =
        STEPS.iter().take(version).flat_map(|(_, text)| made(text)).filter(|table| *table != "token_families_2");
    let lock = |table: &str| {
        let mode = if step.contains(&format!("alter table {table} ")) {
            "access exclusive"
        } else if step.contains(&format!("references {table} ")) {
            "share row exclusive"
        } else {
            return None;
        };
        Some(format!("lock table {table} in {mode} mode; "))
    };
    there.filter_map(lock).collect()
}

/// The tables that the steps make.
pub fn tables() -> Vec<&'static str> {
    STEPS.iter().flat_map(|(_, text)| made(text)).collect()
}

fn made(step: &str) -> impl Iterator<Item = &str> {
    step.lines().filter_map(|line| line.strip_prefix("create table ")?.split([' ', '(']).next())
}
