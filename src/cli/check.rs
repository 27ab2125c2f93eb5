//! `referral check`

use crate::app::App;
use crate::config::Config;
use crate::db::migrate;
use crate::kernel::time::Clock;
use crate::web::{health, server};

/// Tries everything that `serve` needs, and says all that is wrong at once.
pub async fn run(config: Config) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut say = |what: &str, verdict: Result<String, String>| match verdict {
        Ok(text) => println!("ok    {what}: {text}"),
        Err(text) => {
            println!("WRONG {what}: {text}");
            wrong.push(what.to_owned());
        }
    };
    say("settings", Ok("complete and valid".to_owned()));
    say("http.listen", server::bind(&config.http.listen, "REFERRAL_LISTEN").await.map(|_| config.http.listen.clone()));
    if !config.http.metrics_listen.is_empty() {
        let listen = &config.http.metrics_listen;
        say("http.metrics_listen", server::bind(listen, "REFERRAL_METRICS_LISTEN").await.map(|_| listen.clone()));
    }
    if let Some(path) = config.database.url.strip_prefix("sqlite:")
        && !std::path::Path::new(path).exists()
    {
        say("database", Ok(format!("{path} does not exist yet; serve makes it")));
    } else {
        match App::connect(config.clone(), Clock::default()).await {
            Ok(app) => {
                say("database", database(&app).await);
                say("redis", redis(&app).await);
            }
            Err(text) => say("database", Err(text)),
        }
    }
    if !config.limits.enabled {
        println!("note  limits are off: for tests and load runs only");
    }
    if config.http.public_url.is_empty() {
        println!("note  http.public_url is not set: tokens name the address listened on as their issuer");
    }
    if config.email.check == crate::config::Policy::Block && !config.email.verifies() {
        println!("note  email.check is \"block\" without HUNTER_API_KEY: only disposable domains are refused");
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} of the above must be mended", wrong.len())) }
}

async fn database(app: &App) -> Result<String, String> {
    let version = migrate::version(&app.db).await.map_err(|error| format!("cannot read it: {error}"))?;
    let newest = migrate::newest();
    match version {
        Some(version) if version > newest => {
            Err(format!("it has schema {version}, this binary knows {newest}: run the newer binary"))
        }
        Some(version) if version == newest => {
            health::ping(&app.db).await.map_err(|error| error.to_string())?;
            Ok(format!("reached, schema {version}"))
        }
        Some(version) => Ok(format!("reached, schema {version}; serve migrates it to {newest}")),
        None => Ok(format!("reached, empty; serve makes schema {newest}")),
    }
}

async fn redis(app: &App) -> Result<String, String> {
    match &app.redis {
        None => Ok("none configured; each node caches for itself".to_owned()),
        Some(redis) => match redis.reach().await {
            Ok(()) => Ok("reached".to_owned()),
            Err(text) => {
                Err(format!("{text}. Check REDIS_URL and that the server runs; the service works without, slower"))
            }
        },
    }
}
