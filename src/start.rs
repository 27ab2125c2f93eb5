//! What comes before the first request.

use std::sync::Arc;

use crate::app::App;
use crate::config::{Config, without_password};
use crate::db::{self, migrate};
use crate::features::{audit, mails, outbox, tokens};
use crate::kernel::error::{Error, OperatorError};
use crate::kernel::time::Clock;

/// Connects to everything and migrates the database: what a command beside the service needs. The error is a sentence
/// with a remedy.
pub async fn connect(config: Config, clock: Clock) -> Result<Arc<App>, String> {
    let app = App::connect(config, clock).await?;
    migrated(&app).await?;
    Ok(app)
}

/// Migrates the database and learns whose memory Redis keeps.
async fn migrated(app: &App) -> Result<(), String> {
    migrate::run(&app.db).await.map_err(|fault| app.config.database.told(&fault))?;
    belongs(app).await?;
    // Whatever changes something may have to note it.
    audit::actions::keys::open(app).await.map_err(unreadable)
}

/// Learns whose memory Redis keeps.
async fn belongs(app: &App) -> Result<(), String> {
    let installation = migrate::installation(&app.db).await.map_err(unreadable)?.ok_or_else(|| {
        app.config.database.told(
            "a restore into this database, or a copy, has not come to its end: let `referral copy` go on, or empty the \
             database and restore again",
        )
    })?;
    if let Some(redis) = &app.redis {
        redis.belongs_to(installation);
    }
    Ok(())
}

/// As [`connect`], for a command beside the service: a database that is not there is not made.
pub async fn beside(config: Config, clock: Clock) -> Result<Arc<App>, String> {
    let (name, database) = (name(&config.database.url), config.database.clone());
    let absent = || {
        database.told(&format!(
            "there is no database of Referral's at {name}: give the settings of the service, in the folder that it runs \
             in, or make a new one with `referral migrate`"
        ))
    };
    if let Some(path) = db::file(&config.database.url)
        && (!path.exists() || migrate::version_of_file(path).map_err(|fault| database.told(&fault))?.is_none())
    {
        return Err(absent());
    }
    let app = App::connect(config, clock).await?;
    let version = migrate::version(&app.db).await.map_err(|fault| database.told(&fault))?;
    if version.is_none() {
        return Err(absent());
    }
    migrated(&app).await?;
    Ok(app)
}

/// What to call a database: the whole path of a file, the address of a server without its password.
pub fn name(url: &str) -> String {
    let path = db::file(url).and_then(|path| std::path::absolute(path).ok());
    path.map_or_else(|| without_password(url), |path| path.display().to_string())
}

/// As [`connect`], and makes the first key: what a node needs.
pub async fn open(config: Config, clock: Clock) -> Result<Arc<App>, String> {
    let app = App::connect(config, clock).await?;
    make_ready(&app).await?;
    Ok(app)
}

/// What a node that has connected does before its first request.
pub async fn make_ready(app: &App) -> Result<(), String> {
    migrated(app).await?;
    outbox::actions::open(app).await.map_err(unreadable)?;
    read_keys(app).await
}

/// As [`make_ready`], for a node that changes nothing: the database has to be as this binary wants it.
pub async fn make_readable(app: &App) -> Result<(), String> {
    app.db.refuse_writes();
    let told = |fault: String| app.config.database.told(&fault);
    let (version, newest) = (migrate::version(&app.db).await.map_err(told)?, migrate::newest());
    if version != Some(newest) {
        let version = version.unwrap_or(0);
        return Err(told(format!(
            "the database has schema {version}, and without changing anything this binary serves schema {newest} alone: \
             serve it without --read-only first"
        )));
    }
    belongs(app).await?;
    read_keys(app).await
}

async fn read_keys(app: &App) -> Result<(), String> {
    let ready = async {
        // Before the keys are read: a change that comes between is told to whoever follows.
        app.changes.look(&app.db).await?;
        tokens::actions::keys::open(app).await?;
        mails::actions::keys::open(app).await
    };
    ready.await.map_err(|error| match error {
        OperatorError::Refused(sentence) => sentence,
        OperatorError::Failed(error) => unreadable(error),
    })
}

fn unreadable(error: Error) -> String {
    format!("cannot read from the database: {error}")
}
