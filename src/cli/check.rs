//! `referral check`

use std::time::Duration;

use tokio::net::TcpListener;

use super::{health, say as line};
use crate::cache::redis::Redis;
use crate::config::{Config, Policy, Reading};
use crate::crypto::hashing::Hasher;
use crate::crypto::keyring::Keyring;
use crate::crypto::sealing::MasterKeys;
use crate::db::{Db, Options, about, file, migrate};
use crate::features::tokens::actions::keys::{self, locked};
use crate::jobs;
use crate::kernel::error::Error;
use crate::kernel::time::Clock;
use crate::outbound::hunter::Hunter;
use crate::outbound::identity_provider::{PATIENCE, Providers};
use crate::outbound::smtp::Mailer;
use crate::site::{descriptors, server};

/// Says how each part is, and counts what is wrong.
#[derive(Default)]
struct Said {
    wrong: usize,
}

impl Said {
    fn say(&mut self, what: &str, verdict: Result<String, String>) {
        match verdict {
            Ok(text) => line(&format!("ok    {what}: {text}")),
            Err(text) => self.wrong(what, &text),
        }
    }

    fn wrong(&mut self, what: &str, text: &str) {
        self.wrong += 1;
        line(&format!("WRONG {what}: {text}"));
    }
}

/// Goes the way of `serve` up to its first request and says all that is wrong at once. What hangs on a setting that is
/// wrong is not tried. Nothing is changed, but for a key in Redis that is gone after ten seconds: whether Redis stores
/// something cannot be known otherwise.
pub async fn run(reading: Reading) -> Result<(), String> {
    let mut said = Said::default();
    for fault in &reading.faults {
        said.wrong("settings", &fault.text);
    }
    if reading.faults.is_empty() {
        said.say("settings", Ok("complete and valid".to_owned()));
    }
    if let Some(config) = &reading.config {
        parts(config, &reading, &mut said).await;
        for note in notes(config).await {
            line(&format!("note  {note}"));
        }
    }
    if said.wrong == 0 { Ok(()) } else { Err(format!("{} of the above must be mended", said.wrong)) }
}

async fn parts(config: &Config, reading: &Reading, said: &mut Said) {
    let good = |section: &str| reading.faults.iter().all(|fault| !fault.setting.starts_with(section));
    // Kept while the second is tried: they may be one.
    let mut first = None;
    if good("http.listen") {
        let ours = |body: &str| body == "ok";
        let verdict = listen(&config.http.listen, "REFERRAL_LISTEN", None, "/livez", ours).await;
        first = verdict.listener;
        said.say("http.listen", verdict.text);
    }
    if good("http.metrics_listen") && !config.http.metrics_listen.is_empty() {
        let ours = |body: &str| body.contains("referral_");
        let address = &config.http.metrics_listen;
        let verdict = listen(address, "REFERRAL_METRICS_LISTEN", first.as_ref(), "/metrics", ours).await;
        said.say("http.metrics_listen", verdict.text);
    }
    drop(first);
    if good("database.") {
        database(config, good("tokens.master_key"), said).await;
    }
    if good("redis.") {
        said.say("redis", redis(config).await);
    }
    if good("hashing.")
        && let Err(text) = Hasher::start(&config.hashing)
    {
        said.wrong("hashing", &text);
    }
    if good("email.")
        && let Err(text) = Hunter::open(&config.email)
    {
        said.wrong("email", &text);
    }
    if good("mail.") {
        said.say("mail", mail(config).await);
    }
    if good("providers.") {
        match Providers::open(&config.providers, PATIENCE) {
            Ok(providers) => {
                for name in config.providers.keys() {
                    said.say(&format!("providers.{name}"), provider(&providers, name, config).await);
                }
            }
            Err(text) => said.wrong("providers", &text),
        }
    }
}

/// How it is with an address to listen on, and the listener if there is one.
struct Listening {
    listener: Option<TcpListener>,
    text: Result<String, String>,
}

/// Whether an address can be listened on, or a service of ours does already: `check` may run beside it.
async fn listen(
    address: &str,
    name: &str,
    other: Option<&TcpListener>,
    path: &'static str,
    ours: impl Fn(&str) -> bool,
) -> Listening {
    let text = match server::bind(address, name).await {
        Ok(listener) => return Listening { listener: Some(listener), text: Ok(address.to_owned()) },
        Err(text) => text,
    };
    let other = other.and_then(|other| other.local_addr().ok());
    if other.is_some_and(|other| address.rsplit(':').next() == Some(&other.port().to_string())) {
        let text = format!("{address} is that of http.listen: choose another port with {name}");
        return Listening { listener: None, text: Err(text) };
    }
    let asked = address.to_owned();
    let answer = tokio::task::spawn_blocking(move || health::answer(&asked, path)).await;
    let text = if answer.ok().flatten().is_some_and(|body| ours(&body)) {
        Ok(format!("{address}, where a service of Referral's runs now"))
    } else {
        Err(text)
    };
    Listening { listener: None, text }
}

/// What is as it was set, and yet worth a word.
async fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if !config.limits.enabled {
        notes.push("limits are off: for tests and load runs only".to_owned());
    }
    notes.extend(unnamed_proxy(config).await.map(str::to_owned));
    descriptors::raise();
    let most = descriptors::connections(config);
    if most < config.http.connections {
        notes.push(format!(
            "the limit of open files leaves {most} connections at once, not the {} of http.connections: raise it \
             (LimitNOFILE= in systemd, ulimit -n)",
            config.http.connections
        ));
    }
    if config.http.public_url.is_empty() {
        notes.push("http.public_url is not set: tokens name the address listened on as their issuer".to_owned());
    }
    if config.mail.is_open() {
        notes.push(
            "mail.smtp_url speaks without TLS to another machine: links to choose a password with can be read on the way; \
             add ?tls=required, or write smtps://"
                .to_owned(),
        );
    }
    if config.mail.is_on() && config.http.public_url.is_empty() {
        notes.push("http.public_url is not set: links in mails lead to the address listened on".to_owned());
    }
    if config.email.check == Policy::Block && !config.email.verifies() {
        let note = "email.check is \"block\" without HUNTER_API_KEY: only disposable domains are refused";
        notes.push(note.to_owned());
    }
    notes
}

async fn database(config: &Config, master_key: bool, said: &mut Said) {
    let today = config.tokens.master_key().filter(|_| master_key);
    let keyring = MasterKeys::new(today, config.tokens.former_master_key()).map(Keyring::new).ok();
    let version = if let Some(path) = file(&config.database.url) {
        let complaints = about::file_complaints(path);
        for text in &complaints {
            said.wrong("database", &config.database.told(text));
        }
        if !path.is_file() {
            if complaints.is_empty() {
                said.say("database", Ok(format!("{} does not exist yet; serve makes it", path.display())));
            }
            return;
        }
        if about::is_served(path) {
            let path = path.display();
            line(&format!("note  database: a `referral serve` serves from {path}; until it stops, another is refused"));
        }
        let version = migrate::version_of_file(path);
        if version == Ok(Some(migrate::newest()))
            && let Some(keyring) = keyring
            && keys::read_file(&keyring, path).is_ok()
        {
            sealing(&keyring, said);
        }
        if version == Ok(Some(migrate::newest())) {
            given_up(jobs::count_given_up_in_file(path));
        }
        if !complaints.is_empty() && version.is_ok() {
            return;
        }
        version
    } else {
        let prepared_statements = config.database.prepared_statements;
        let options = Options { connections: 1, prepared_statements, request: config.http.request(), mapped_mib: 0 };
        let db = match Db::open(&config.database.url, options).await {
            Ok(db) => db,
            Err(text) => return said.wrong("database", &config.database.told(&text)),
        };
        if db.is_pooled() {
            line("note  database: a connection pooler stands before it, so no statements are prepared");
        }
        let version = migrate::version(&db).await;
        let mut complaints = Vec::new();
        if let Ok(version) = &version {
            let pending = version.is_none_or(|version| version < migrate::newest());
            match db.complaints(pending).await {
                Ok(found) => complaints = found,
                Err(error) => complaints.push(format!("cannot read what may be done in it: {error}")),
            }
        }
        for text in &complaints {
            said.wrong("database", &config.database.told(text));
        }
        if version == Ok(Some(migrate::newest()))
            && let Some(keyring) = keyring
            && keys::read(&keyring, &db).await.is_ok()
        {
            sealing(&keyring, said);
        }
        if version == Ok(Some(migrate::newest())) {
            given_up(jobs::count_given_up(&db).await);
        }
        if !complaints.is_empty() {
            return;
        }
        version
    };
    let newest = migrate::newest();
    said.say(
        "database",
        match version {
            Ok(Some(version)) if version > newest => {
                Err(format!("it has schema {version}, this binary knows {newest}: run the newer binary"))
            }
            Ok(Some(version)) if version == newest => Ok(format!("reached, schema {version}")),
            Ok(Some(version)) => Ok(format!("reached, schema {version}; serve migrates it to {newest}")),
            Ok(None) => Ok(format!("reached, empty; serve makes schema {newest}")),
            Err(text) => Err(config.database.told(&text)),
        },
    );
}

/// What is left undone; what cannot be counted is told elsewhere.
fn given_up(count: Result<i64, Error>) {
    if let Ok(count @ 1..) = count {
        line(&format!("note  jobs: {count} given up: `referral admin jobs` lists them"));
    }
}

/// Whether the master key opens the signing keys; nothing where there are none.
fn sealing(keyring: &Keyring, said: &mut Said) {
    match keyring.locked() {
        Some(kid) => said.wrong("signing keys", &locked(keyring.seals(), &kid)),
        None if keyring.published().is_empty() => {}
        None => said.say("signing keys", Ok("can be opened".to_owned())),
    }
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

async fn mail(config: &Config) -> Result<String, String> {
    let Some(mailer) = Mailer::open(&config.mail)? else {
        return Ok(
            "none is sent, for mail.smtp_url (SMTP_URL) is not set; passwords are reset by the operator".to_owned()
        );
    };
    let reached =
        mailer.reach().await.map(|()| "the mail server was reached; `referral mail test` sends one".to_owned());
    reached.map_err(|said| {
        format!(
            "the mail server does not answer as it should ({said}). Check mail.smtp_url; mails wait two days for it"
        )
    })
}

async fn redis(config: &Config) -> Result<String, String> {
    if config.redis.url.is_empty() {
        return Ok("none configured; each node caches for itself".to_owned());
    }
    let reached = Redis::open(&config.redis.url)?.reach().await;
    let stored = "the key referral:probe was stored there for ten seconds, and referral:owed:probe for one";
    reached
        .map(|()| format!("reached; {stored}"))
        .map_err(|text| format!("{text}. Check REDIS_URL and that the server runs; the service works without, slower"))
}
