//! `referral backup`: one file, of one state of the database, looked through before it gets its name.

use std::path::Path;

use super::laws;
use super::{Tell, beside, newer, open};
use crate::config::Config;
use crate::db::dump::{self, Snapshot};
use crate::db::{self, Place, about, backup, migrate, schema};
use crate::start;

/// Writes a backup and tells what it holds. The error is a sentence with a remedy.
pub async fn run(config: &Config, file: &Path, tell: Tell) -> Result<String, String> {
    let file = &backup::plain(file);
    // A link that leads nowhere is there as well.
    if file.symlink_metadata().is_ok() {
        return Err(format!("{} is there already and is left as it is: name another file", file.display()));
    }
    if db::file(&config.database.url).is_some_and(|database| about::is_beside(database, file)) {
        return Err(format!(
            "{} is the name of a file that belongs to the database itself: name another file",
            file.display()
        ));
    }
    let part = beside(file, ".part");
    if part.exists() {
        return Err(format!(
            "{} is there: another backup writes it, or one was killed. Remove it if no other runs",
            part.display()
        ));
    }
    backup::make(&part)?;
    let written = match db::file(&config.database.url) {
        Some(path) => from_file(config, path, &part, tell).await,
        None => from_server(config, &part, tell).await,
    };
    let kept = written.and_then(|kept| {
        backup::settle(&part)?;
        std::fs::rename(&part, file).map_err(|error| format!("cannot make {}: {error}", file.display()))?;
        backup::settle(file)?;
        Ok(kept)
    });
    let Kept { version, breaches } = kept.inspect_err(|_| {
        for ending in ["", "-journal"] {
            let _ = std::fs::remove_file(beside(&part, ending));
        }
    })?;
    let (name, size) = (file.display(), file.metadata().map_or(0, |metadata| metadata.len()));
    match breaches {
        None => Ok(format!(
            "{name}: {size} bytes, schema {version}, whole. The schema is older than this binary's: its laws are looked \
             after when it is restored"
        )),
        Some(breaches) if breaches.is_empty() => Ok(format!("{name}: {size} bytes, schema {version}, whole")),
        Some(breaches) => {
            let what = "it holds all there is, but the database";
            Err(format!("{name} is written and kept: {}", laws::sentence(what, &breaches)))
        }
    }
}

/// What a file holds.
struct Kept {
    version: i64,
    /// Nothing where the laws of this binary cannot be looked after.
    breaches: Option<Vec<String>>,
}

async fn from_file(config: &Config, path: &Path, part: &Path, tell: Tell) -> Result<Kept, String> {
    let told = |fault: String| config.database.told(&fault);
    let version = if path.exists() { migrate::version_of_file(path).map_err(told)? } else { None };
    let version = known(config, version)?;
    let mut tenth = 0;
    tokio::task::block_in_place(|| {
        backup::copy_file(path, part, |done, all| {
            let now = done.saturating_mul(10).checked_div(all).unwrap_or(10);
            if now > tenth {
                tenth = now;
                tell(&format!("{done} of {all} pages"));
            }
        })
    })?;
    tell("looking through it");
    let damage = tokio::task::block_in_place(|| backup::damage(part));
    if !damage.is_empty() {
        return Err(format!("{} is damaged, and so would be its backup: {}", path.display(), damage.join("; ")));
    }
    if version < migrate::newest() {
        return Ok(Kept { version, breaches: None });
    }
    let breaches = laws::breaches(Place::File(part)).await;
    Ok(Kept { version, breaches: Some(breaches.map_err(|error| laws::not_looked("the backup", &error))?) })
}

async fn from_server(config: &Config, part: &Path, tell: Tell) -> Result<Kept, String> {
    let told = |fault: String| config.database.told(&fault);
    let db = open(&config.database.url, config).await.map_err(told)?;
    let version = known(config, migrate::version(&db).await.map_err(told)?)?;
    let unread = |error| told(format!("cannot read the database: {error}"));
    let mut snapshot = Snapshot::of(&db).await.map_err(unread)?;
    let looks = version == migrate::newest();
    let tables = if looks { schema::tables()? } else { Vec::new() };
    let counts = snapshot.counts(&tables).await.map_err(unread)?;
    tokio::task::block_in_place(|| dump::write(&config.database.url, &snapshot, part, tell))?;
    tell("looking through it");
    let dumped = tokio::task::block_in_place(|| dump::read(part))?;
    for (table, count) in &counts {
        let written = dumped.rows.get(table).copied().unwrap_or(0);
        if written != *count {
            return Err(format!("pg_dump has written {written} of the {count} rows of {table}: try again"));
        }
    }
    if !looks {
        return Ok(Kept { version, breaches: None });
    }
    let breaches = laws::breaches(Place::Snapshot(&mut snapshot)).await;
    Ok(Kept { version, breaches: Some(breaches.map_err(|error| laws::not_looked("the database", &error))?) })
}

/// The version of a database of ours that this binary knows.
fn known(config: &Config, version: Option<i64>) -> Result<i64, String> {
    let name = start::name(&config.database.url);
    match version {
        None => Err(config.database.told(&format!("there is no database of Referral's at {name}"))),
        Some(version) if version > migrate::newest() => Err(newer(&name, version, migrate::newest())),
        Some(version) => Ok(version),
    }
}
