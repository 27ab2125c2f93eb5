//! What comes before the first request.

use std::sync::Arc;

use crate::app::App;
use crate::config::Config;
use crate::db::migrate;
use crate::features::tokens;
use crate::kernel::error::Error;
use crate::kernel::time::Clock;

/// Connects to everything and migrates the database: what a command beside the service needs. The error is a sentence
/// with a remedy.
pub async fn connect(config: Config, clock: Clock) -> Result<Arc<App>, String> {
    let app = App::connect(config, clock).await?;
    migrate::run(&app.db).await?;
    let installation = migrate::installation(&app.db).await.map_err(unreadable)?;
    if let Some(redis) = &app.redis {
        redis.belongs_to(installation);
    }
    Ok(app)
}

/// As [`connect`], and makes the first key: what a node needs.
pub async fn open(config: Config, clock: Clock) -> Result<Arc<App>, String> {
    let app = connect(config, clock).await?;
    let ready = async {
        // Before the keys are read: a change that comes between is told to whoever follows.
        app.changes.look(&app.db).await?;
        tokens::keys::open(&app).await
    };
    ready.await.map_err(unreadable)??;
    Ok(app)
}

fn unreadable(error: Error) -> String {
    format!("cannot read from the database: {error}")
}
