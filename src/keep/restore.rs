//! `referral restore`: a backup becomes a database of its own, whole or not at all.
//!
//! Into SQLite everything is done in a file beside, which gets its name at the end. Into PostgreSQL everything comes in
//! one transaction, without the row that says whose installation it is: nothing serves from such a database, and that
//! row is drawn last.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::laws;
use super::{Tell, beside, newer, open};
use crate::app::App;
use crate::config::Config;
use crate::db::backup::{self, Format};
use crate::db::dump::{self, Snapshot};
use crate::db::{self, Place, about, migrate};
use crate::features::accounts::actions::management;
use crate::features::audit::actions::verify::{self, Asked};
use crate::features::{audit, tokens};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal};
use crate::kernel::ids::UserId;
use crate::kernel::time::Clock;
use crate::start;

/// What is to be restored, and how.
pub struct Wish {
    pub file: PathBuf,
    pub erase_log: Option<PathBuf>,
    pub end_sessions: bool,
    /// Whether it is restored although it does not keep the laws.
    pub as_it_is: bool,
}

/// Restores a backup into the database of the settings and tells what was done. The error is a sentence with a remedy.
pub async fn run(config: Config, wish: &Wish, tell: Tell) -> Result<String, String> {
    let erased = wish.erase_log.as_deref().map(read_log).transpose()?.unwrap_or_default();
    let name = wish.file.display();
    match (backup::format(&wish.file)?, db::file(&config.database.url)) {
        (Format::Sqlite, Some(path)) => into_file(config.clone(), path, wish, &erased, tell).await,
        (Format::Dump, None) => into_server(config, wish, &erased, tell).await,
        (Format::Sqlite, None) => Err(config.database.told(&format!(
            "{name} is the backup of a SQLite database, and DATABASE_URL names PostgreSQL: restore it into a file \
             (DATABASE_URL=sqlite:PATH), then `referral copy` takes it there"
        ))),
        (Format::Dump, Some(_)) => Err(config.database.told(&format!(
            "{name} is the backup of a PostgreSQL database, and DATABASE_URL names a SQLite file: restore it into \
             PostgreSQL (DATABASE_URL=postgres://…)"
        ))),
    }
}

async fn into_file(config: Config, path: &Path, wish: &Wish, erased: &[UserId], tell: Tell) -> Result<String, String> {
    let (file, name) = (&wish.file, wish.file.display());
    if let Some(complaint) = about::file_complaints(path).into_iter().next() {
        return Err(config.database.told(&complaint));
    }
    let holds = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.len() > 0);
    if holds(path) || holds(&beside(path, "-wal")) {
        return Err(config.database.told(&format!(
            "{0} is not empty, and a restore makes a new database: stop the service and move {0}, and what lies beside \
             it ({0}-wal, {0}-shm), to another place",
            path.display()
        )));
    }
    let damage = tokio::task::block_in_place(|| backup::damage(file));
    if !damage.is_empty() {
        return Err(format!("{name} is cut off or damaged: {}. Take another backup", damage.join("; ")));
    }
    check_version(file, migrate::version_of_file(file)?)?;
    let part = beside(path, ".restoring");
    let forget = || {
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(beside(&part, ending));
        }
    };
    // Of a restore that was killed.
    forget();
    let restored = async {
        tell("copying it");
        copy(file, &part)?;
        let url = format!("sqlite:{}", part.display());
        let app = make_good(&config, &url, wish, erased, tell).await?;
        app.db.checkpoint().await.map_err(|error| format!("cannot write {}: {error}", part.display()))?;
        backup::settle(&part)?;
        std::fs::rename(&part, path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        backup::settle(path)
    };
    let restored = restored.await;
    forget();
    restored.map(|()| done(wish, &start::name(&config.database.url), erased))
}

async fn into_server(config: Config, wish: &Wish, erased: &[UserId], tell: Tell) -> Result<String, String> {
    let told = |fault: String| config.database.told(&fault);
    let url = config.database.url.clone();
    let db = open(&url, &config).await.map_err(told)?;
    if migrate::version(&db).await.map_err(told)?.is_some() {
        return Err(told(format!(
            "the database {} is not empty, and a restore makes a new one: name an empty one (createdb), or empty this \
             one (drop schema, create schema)",
            start::name(&url)
        )));
    }
    tell("looking through it");
    let dumped = tokio::task::block_in_place(|| dump::read(&wish.file))?;
    check_version(&wish.file, dumped.version)?;
    let schema = Snapshot::of(&db).await.map_err(|error| told(format!("cannot read the database: {error}")))?.schema;
    if schema != dumped.schema {
        return Err(told(format!(
            "{} holds the schema \"{1}\", and DATABASE_URL leads to \"{schema}\": make that schema and name it \
             (…/NAME?options=-csearch_path%3D{1})",
            wish.file.display(),
            dumped.schema
        )));
    }
    tokio::task::block_in_place(|| dumped.bring_back(&wish.file, &url, tell))?;
    let made = make_good(&config, &url, wish, erased, tell).await;
    made.map(|_| done(wish, &start::name(&url), erased))
        .map_err(|fault| format!("{fault}. What was restored serves nobody: empty the database before the next try"))
}

fn check_version(file: &Path, version: Option<i64>) -> Result<(), String> {
    let name = file.display().to_string();
    match version {
        None => Err(format!("{name} holds no tables of Referral's: it is no backup of its")),
        Some(version) if version > migrate::newest() => Err(newer(&name, version, migrate::newest())),
        Some(_) => Ok(()),
    }
}

fn copy(file: &Path, part: &Path) -> Result<(), String> {
    backup::make(part)?;
    let copied =
        File::open(file).and_then(|mut from| std::io::copy(&mut from, &mut OpenOptions::new().write(true).open(part)?));
    copied.map(drop).map_err(|error| format!("cannot copy {} to {}: {error}", file.display(), part.display()))
}

/// What has come from a backup becomes a database that may be served from: of today's schema, with the laws kept,
/// without those who were erased since, and an installation of its own.
async fn make_good(config: &Config, url: &str, wish: &Wish, erased: &[UserId], tell: Tell) -> Result<Arc<App>, String> {
    let mut config = config.clone();
    url.clone_into(&mut config.database.url);
    // Nobody has been told anything yet.
    config.redis.url = String::new();
    let app = App::connect(config.clone(), Clock::default()).await?;
    migrate::run(&app.db).await?;
    tell("looking whether the laws hold");
    let db = open(url, &config).await?;
    let what = wish.file.display().to_string();
    let looked = laws::breaches(Place::Open(&db)).await;
    let mut breaches = looked.map_err(|error| laws::not_looked(&what, &error))?;
    let unread = |error: Error| format!("cannot read what was restored: {error}");
    audit::actions::keys::open(&app).await.map_err(unread)?;
    if let Some(fault) = verify::run(&app, Asked::default()).await.map_err(unread)?.fault {
        breaches.push(format!("law 15: row {} of the audit is not as it was noted ({})", fault.seq, fault.kind.word()));
    }
    if !breaches.is_empty() && !wish.as_it_is {
        let sentence = laws::sentence(&what, &breaches);
        return Err(format!("{sentence}. Take another backup, or restore it all the same with --as-it-is"));
    }
    for breach in breaches {
        tell(&format!("it does not keep {breach}"));
    }
    erase_again(&app, erased).await?;
    if wish.end_sessions {
        tokens::actions::sessions::end_everybodys(&app)
            .await
            .map_err(|error| format!("cannot end sessions: {error}"))?;
    }
    let drawn = migrate::draw_installation(&app.db).await;
    drawn.map(|_| app).map_err(|error| format!("cannot write what was restored: {error}"))
}

fn done(wish: &Wish, name: &str, erased: &[UserId]) -> String {
    let sessions = if wish.end_sessions { "; all sessions have ended" } else { "" };
    format!("{} is restored into {name}; {} people of the log are erased{sessions}", wish.file.display(), erased.len())
}

/// The people whom a file names, which `referral erase-log` has printed.
pub fn read_log(file: &Path) -> Result<Vec<UserId>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let id = line.split_whitespace().next().and_then(UserId::parse);
        let place = || format!("{}, line {}: no id begins it; nothing was done", file.display(), number + 1);
        users.push(id.ok_or_else(place)?);
    }
    Ok(users)
}

/// Erases people, and says how many were there.
pub async fn erase_again(app: &App, users: &[UserId]) -> Result<usize, String> {
    let mut erased = 0;
    for user in users {
        match management::erase(app, Actor::OPERATOR.into(), *user, None).await {
            Ok(()) => erased += 1,
            // Erased still, or made after the backup.
            Err(Error::Refused(Refusal::UserNotFound)) => {}
            Err(error) => return Err(format!("{user}: {error}; {erased} were erased before")),
        }
    }
    Ok(erased)
}
