//! What comes before the first request.

use std::sync::Arc;

use crate::app::App;
use crate::config::Config;
use crate::db::migrate;
use crate::features::tokens;
use crate::kernel::time::Clock;

/// Connects to everything, migrates the database and makes the first key. The error is a sentence with a remedy.
pub async fn open(config: Config, clock: Clock) -> Result<Arc<App>, String> {
    let app = App::connect(config, clock).await?;
    migrate::run(&app.db).await?;
    let ready = async {
        tokens::actions::load_keys(&app).await?;
        app.changes.look(&app.db).await
    };
    ready.await.map_err(|error| format!("cannot read from the database: {error}"))?;
    Ok(app)
}
