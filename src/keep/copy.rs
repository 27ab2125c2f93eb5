//! `referral copy`: all of a database into another, of the other engine or of the same.

use std::path::Path;

use super::laws;
use super::{Tell, newer, open};
use crate::config::Config;
use crate::db::copy::{Reader, Writer, compare, copied};
use crate::db::{self, Db, Place, about, migrate, schema};
use crate::kernel::error::Error;
use crate::kernel::ids::InstallationId;
use crate::start;

/// Rows between two words about how far a table is.
const WORDS: u64 = 250_000;

/// Copies a database and tells what was done. The error is a sentence with a remedy.
pub async fn run(config: &Config, from: &str, to: &str, tell: Tell) -> Result<String, String> {
    let (source_name, target_name) = (start::name(from), start::name(to));
    if source_name == target_name {
        return Err(format!("--from and --to are one database: {source_name}"));
    }
    let source = open_source(config, from).await?;
    let _source_claim = Db::claim(from)
        .map_err(|fault| format!("{fault}. While its database is copied it may run as `referral serve --read-only`"))?;
    let installation = migrate::installation(&source).await.map_err(|error| unread(&source_name, &error))?;
    let installation = installation.ok_or_else(|| format!("{source_name} has not come whole: finish that first"))?;
    if let Some(complaint) = db::file(to).and_then(|path| about::file_complaints(path).into_iter().next()) {
        return Err(complaint);
    }
    let target = open(to, config).await?;
    let _target_claim = Db::claim(to)?;
    let tables = copied(schema::tables()?);
    let unwritten = |error: Error| format!("cannot write to {target_name}: {error}");
    let mut writer = Writer::of(&target, to).await.map_err(unwritten)?;
    let begun = writer.begun().await.map_err(unwritten)?;
    match begun {
        None if migrate::version(&target).await?.is_some() => {
            return Err(format!("{target_name} is not empty: name an empty database, which the copy fills"));
        }
        None => writer.begin(installation.0).await.map_err(unwritten)?,
        Some(begun) if begun.source != installation.0 => {
            return Err(format!("{target_name} holds half of another database: empty it, or let that copy go on"));
        }
        Some(_) => tell("going on with the copy that was begun"),
    }
    migrate::run(&target).await?;
    if !begun.is_some_and(|begun| begun.cleared) {
        writer.clear(&tables).await.map_err(unwritten)?;
    }
    let unreadable = |error: Error| unread(&source_name, &error);
    let reader = Reader::of(&source, from, &tables, true).await.map_err(unreadable)?;
    for table in &tables {
        let behind = writer.frontier(table).await.map_err(unwritten)?;
        let (mut parts, mut count, mut told) = (reader.rows(table, behind), 0, 0);
        while let Some(part) = parts.recv().await {
            let part = part.map_err(unreadable)?;
            count += part.len() as u64;
            writer.add(table, part).await.map_err(unwritten)?;
            if count - told >= WORDS {
                told = count;
                tell(&format!("{}: {count} rows", table.name));
            }
        }
        if table.numbered {
            let last = reader.last_number(table).await.map_err(unreadable)?;
            writer.draw_behind(table, last).await.map_err(unwritten)?;
        }
        tell(&format!("{}: {count} rows, done", table.name));
    }
    tell("comparing both sides");
    let rows = compared(&reader, &target, to, &tables).await?;
    tell("looking whether the laws hold");
    let breaches = laws::breaches(Place::Open(&target)).await;
    let breaches = breaches.map_err(|error| laws::not_looked(&target_name, &error))?;
    writer.finish(InstallationId::new().0).await.map_err(unwritten)?;
    let done = format!("{rows} rows of {} tables are in {target_name}, the same as in {source_name}", tables.len());
    if breaches.is_empty() { Ok(done) } else { Err(format!("{done}, but {}", laws::sentence("it", &breaches))) }
}

async fn open_source(config: &Config, from: &str) -> Result<Db, String> {
    let name = start::name(from);
    let absent = || format!("there is no database of Referral's at {name}");
    let version = match db::file(from).map(Path::new) {
        Some(path) if !path.exists() => return Err(absent()),
        Some(path) => migrate::version_of_file(path)?,
        None => migrate::version(&open(from, config).await?).await?,
    };
    match version {
        None => Err(absent()),
        Some(version) if version > migrate::newest() => Err(newer(&name, version, migrate::newest())),
        Some(version) if version < migrate::newest() => Err(format!(
            "{name} has schema {version}, and this binary copies schema {}: run `referral migrate` on it first",
            migrate::newest()
        )),
        Some(_) => open(from, config).await,
    }
}

async fn compared(reader: &Reader, target: &Db, to: &str, tables: &[schema::Table]) -> Result<u64, String> {
    let copy = Reader::of(target, to, tables, false).await;
    let copy = copy.map_err(|error| unread(&start::name(to), &error))?;
    let mut rows = 0;
    for table in tables {
        rows += compare(reader, &copy, table)
            .await
            .map_err(|fault| format!("the copy is not the same: {fault}. Empty {} and copy again", start::name(to)))?;
    }
    Ok(rows)
}

fn unread(name: &str, error: &Error) -> String {
    format!("cannot read {name}: {error}")
}
