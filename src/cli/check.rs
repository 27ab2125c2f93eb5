//! `referral check`

use std::path::Path;
use std::time::Duration;

use super::say as line;
use crate::cache::redis::Redis;
use crate::config::Config;
use crate::db::{Db, Options, migrate};
use crate::features::signin::provider::{PATIENCE, Providers};
use crate::features::tokens::keyring::Keyring;
use crate::features::tokens::keys::locked;
use crate::kernel::time::Clock;
use crate::web::{descriptors, server};

/// Tries everything that `serve` needs, and says all that is wrong at once.
pub async fn run(config: Config) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut say = |what: &str, verdict: Result<String, String>| match verdict {
        Ok(text) => line(&format!("ok    {what}: {text}")),
        Err(text) => {
            line(&format!("WRONG {what}: {text}"));
            wrong.push(what.to_owned());
        }
    };
    say("settings", Ok("complete and valid".to_owned()));
    say("http.listen", server::bind(&config.http.listen, "REFERRAL_LISTEN").await.map(|_| config.http.listen.clone()));
    if !config.http.metrics_listen.is_empty() {
        let listen = &config.http.metrics_listen;
        say("http.metrics_listen", server::bind(listen, "REFERRAL_METRICS_LISTEN").await.map(|_| listen.clone()));
    }
    say("database", database(&config).await);
    if let Some(verdict) = keys(&config).await {
        say("signing keys", verdict);
    }
    say("redis", redis(&config).await);
    match Providers::open(&config.providers, PATIENCE) {
        Ok(providers) => {
            for name in config.providers.keys() {
                let what = format!("providers.{name}");
                say(&what, provider(&providers, name, &config).await);
            }
        }
        Err(text) => say("providers", Err(text)),
    }
    if !config.limits.enabled {
        line("note  limits are off: for tests and load runs only");
    }
    if let Some(note) = unnamed_proxy(&config).await {
        line(&format!("note  {note}"));
    }
    descriptors::raise();
    let most = descriptors::connections(&config);
    if most < config.http.connections {
        line(&format!(
            "note  the limit of open files leaves {most} connections at once, not the {} of http.connections",
            config.http.connections
        ));
    }
    if config.http.public_url.is_empty() {
        line("note  http.public_url is not set: tokens name the address listened on as their issuer");
    }
    if config.email.check == crate::config::Policy::Block && !config.email.verifies() {
        line("note  email.check is \"block\" without HUNTER_API_KEY: only disposable domains are refused");
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} of the above must be mended", wrong.len())) }
}

async fn database(config: &Config) -> Result<String, String> {
    let version = match file(&config.database.url) {
        Some(path) if !path.exists() => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
            return match folder {
                Some(folder) => {
                    Err(format!("its folder {} does not exist: make it, or change DATABASE_URL", folder.display()))
                }
                None => Ok(format!("{} does not exist yet; serve makes it", path.display())),
            };
        }
        Some(path) => migrate::version_of_file(path)?,
        None => {
            let db = connect(config).await?;
            migrate::version(&db).await?
        }
    };
    let newest = migrate::newest();
    match version {
        Some(version) if version > newest => {
            Err(format!("it has schema {version}, this binary knows {newest}: run the newer binary"))
        }
        Some(version) if version == newest => Ok(format!("reached, schema {version}")),
        Some(version) => Ok(format!("reached, schema {version}; serve migrates it to {newest}")),
        None => Ok(format!("reached, empty; serve makes schema {newest}")),
    }
}

/// Whether the master key opens the signing keys; nothing where there are none to read.
async fn keys(config: &Config) -> Option<Result<String, String>> {
    let keyring = Keyring::new(config.tokens.master_key()).ok()?;
    match file(&config.database.url) {
        Some(path) if migrate::version_of_file(path).ok()? == Some(migrate::newest()) => {
            keyring.read_file(path).ok()?;
        }
        Some(_) => return None,
        None => {
            let db = connect(config).await.ok()?;
            if migrate::version(&db).await.ok()? != Some(migrate::newest()) {
                return None;
            }
            keyring.read(&db).await.ok()?;
        }
    }
    Some(match keyring.locked() {
        Some(kid) => Err(locked(keyring.seals(), &kid)),
        None if keyring.published().is_empty() => return None,
        None => Ok("can be opened".to_owned()),
    })
}

/// The file of a SQLite database.
fn file(url: &str) -> Option<&Path> {
    url.strip_prefix("sqlite:").map(|path| Path::new(path.strip_prefix("//").unwrap_or(path)))
}

async fn connect(config: &Config) -> Result<Db, String> {
    let prepared_statements = config.database.prepared_statements;
    let options = Options { connections: 1, prepared_statements, request: config.http.request(), mapped_mib: 0 };
    Db::open(&config.database.url, options).await
}

async fn provider(providers: &Providers, name: &str, config: &Config) -> Result<String, String> {
    let issuer = config.providers.get(name).map_or("", |provider| provider.issuer.as_str());
    match providers.reach(name, Clock::default().now()).await {
        Ok(()) => Ok(format!("reached, {issuer}")),
        Err(why) => Err(format!(
            "{issuer} does not answer as a provider should ({why}). Check providers.{name}.issuer against the issuer \
             in {}/.well-known/openid-configuration, and that this machine reaches it; all else works without",
            issuer.trim_end_matches('/')
        )),
    }
}

/// Whether callers come through a proxy that the settings do not name.
async fn unnamed_proxy(config: &Config) -> Option<&'static str> {
    if config.limits.names_no_proxy() && config.http.public_url.starts_with("https://") {
        return Some(
            "limits.trusted_proxies is empty, but with an https address callers come through a proxy: all of them share \
             the limits of its one address. Name it as Referral sees it, for example 127.0.0.1",
        );
    }
    let seen = figures(&config.http.metrics_listen).await?.lines().any(|line| line == "referral_unnamed_proxy 1");
    seen.then_some(
        "all requests to the running service come from one private address that limits.trusted_proxies does not name: \
         if it is a proxy, its callers share the limits of one. Name it as Referral sees it",
    )
}

/// What a running service tells about itself, if one does.
async fn figures(listen: &str) -> Option<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().ok()?;
    client.get(format!("http://{listen}/metrics")).send().await.ok()?.text().await.ok()
}

async fn redis(config: &Config) -> Result<String, String> {
    if config.redis.url.is_empty() {
        return Ok("none configured; each node caches for itself".to_owned());
    }
    let reached = Redis::open(&config.redis.url)?.reach().await;
    reached
        .map(|()| "reached".to_owned())
        .map_err(|text| format!("{text}. Check REDIS_URL and that the server runs; the service works without, slower"))
}
