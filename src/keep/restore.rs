//! `referral restore`: a backup becomes a database of its own, whole or not at all.
//!
//! Into SQLite everything is done in a file beside, which gets its name at the end. Into PostgreSQL everything comes in
//! one transaction, without the row that says whose installation it is: nothing serves from such a database, and that
//! row is drawn last.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::laws;
use super::{Tell, beside, newer, open};
use crate::app::App;
use crate::config::Config;
use crate::db::backup::{self, Format};
use crate::db::dump::{self, Snapshot};
use crate::db::{self, Db, Place, about, migrate};
use crate::features::accounts::actions::management;
use crate::features::audit::actions::verify::{self, Asked};
use crate::features::{audit, tokens};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal};
use crate::kernel::ids::UserId;
use crate::kernel::time::Clock;
use crate::{params, sql, start};

sql! {
    RESTORING = {
        sqlite: "select 1 where false",
        postgres: "select 1 from pg_stat_activity
                   where datname = current_database() and application_name = 'pg_restore' limit 1",
    };
}

/// What is to be restored, and how.
#[derive(Clone)]
pub struct Wish {
    pub file: PathBuf,
    pub erase_log: Option<PathBuf>,
    pub end_sessions: bool,
    /// Whether it is restored although it does not keep the laws.
    pub as_it_is: bool,
}

/// Restores a backup into the database of the settings and tells what was done. The error is a sentence with a remedy.
pub async fn run(config: Config, wish: &Wish, tell: Tell) -> Result<String, String> {
    let wish = &Wish { file: backup::plain(&wish.file), ..wish.clone() };
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
    let told = |fault: String| config.database.told(&fault);
    if let Some(complaint) = about::file_complaints(path).into_iter().next() {
        return Err(told(complaint));
    }
    // The database lies where a link leads, and so do the files beside it.
    let path = &about::led(path);
    let holds = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.len() > 0);
    let empty = || match holds(path) || holds(&beside(path, "-wal")) {
        false => Ok(()),
        true => Err(told(format!(
            "{0} is not empty, and a restore makes a new database: stop the service and move {0}, and what lies beside \
             it ({0}-wal, {0}-shm), to another place",
            path.display()
        ))),
    };
    empty()?;
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
    let was_there = path.exists();
    // Until the end nobody else restores into it, and no service begins to serve from it: it would write beside what
    // then gets its name.
    let _claim = Db::claim(&config.database.url)
        .map_err(|fault| told(format!("{fault}. Another `referral restore` into it keeps others out as well")))?;
    // Of a restore that was killed.
    forget();
    let restored = async {
        tell("copying it");
        backup::make(&part)?;
        // With what is in a log beside it, if it is no backup of ours but a database that was in use.
        tokio::task::block_in_place(|| backup::copy_file(file, &part, |_, _| {}))?;
        let url = format!("sqlite:{}", part.display());
        let app = make_good(&config, &url, wish, erased, tell).await?;
        app.db.checkpoint().await.map_err(|error| format!("cannot write {}: {error}", part.display()))?;
        backup::settle(&part)?;
        empty()?;
        std::fs::rename(&part, path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        backup::settle(path)
    };
    let restored = restored.await;
    forget();
    if restored.is_err() && !was_there && empty().is_ok() {
        // The claim has made it.
        let _ = std::fs::remove_file(path);
    }
    restored.map(|()| done(wish, &start::name(&config.database.url), erased))
}

async fn into_server(config: Config, wish: &Wish, erased: &[UserId], tell: Tell) -> Result<String, String> {
    let told = |fault: String| config.database.told(&fault);
    let url = config.database.url.clone();
    let db = open(&url, &config).await.map_err(told)?;
    if migrate::version(&db).await.map_err(told)?.is_some() {
        let what = match migrate::installation(&db).await {
            Ok(None) => "holds what a restore or a copy has left that has not come to its end, and serves nobody",
            _ => "is not empty, and a restore makes a new one",
        };
        return Err(told(format!(
            "the database {} {what}: name an empty one (createdb), or empty this one (drop schema, create schema)",
            start::name(&url)
        )));
    }
    let others = db.row(&RESTORING, params![]).await.map_err(|error| told(format!("cannot read it: {error}")))?;
    if others.is_some() {
        return Err(told(format!(
            "a pg_restore is at work in the database {}: another restore's, or that of one that was killed. Wait until it \
             has ended",
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
    let people = match erased.len() {
        1 => "1 person of the log is erased".to_owned(),
        many => format!("{many} people of the log are erased"),
    };
    format!("{} is restored into {name}; {people}{sessions}", wish.file.display())
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
