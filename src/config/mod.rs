//! Settings: the commented defaults, a file, the environment, in this order.
//!
//! Whatever is wrong is said in a sentence with a remedy before anything starts.

mod branding;
mod complaints;
mod dotenv;
mod effective;
mod file;
mod level;
mod links;
mod load;
mod mail;
mod names;
mod password;
mod provider;
mod sources;
mod webhooks;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use self::complaints::Complaints;
pub use branding::{Branding, Logo};
pub use effective::effective;
pub use file::cannot_read;
pub use links::{Credit, Links};
pub use load::{DEFAULTS, Reading, load, read};
pub use mail::Mail;
pub use password::{RESERVED, is_ambiguous, without_password};
pub use provider::Provider;
pub use sources::{Environment, Origin, Sources};
pub use webhooks::Webhooks;

/// What is wrong with a setting (empty where it is none), in a sentence.
#[derive(Clone, Debug)]
pub struct Fault {
    pub setting: String,
    pub text: String,
}

impl Fault {
    fn of(setting: &str, text: String) -> Self {
        Self { setting: setting.to_owned(), text }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub http: Http,
    pub database: Database,
    pub redis: Redis,
    pub accounts: Accounts,
    pub hashing: Hashing,
    pub tokens: Tokens,
    pub email: EmailCheck,
    pub mail: Mail,
    /// By name; in the order of names.
    #[serde(default)]
    pub providers: BTreeMap<String, Provider>,
    pub links: Links,
    pub webhooks: Webhooks,
    pub branding: Branding,
    pub limits: Limits,
    pub retention: Retention,
    pub log: Log,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub listen: String,
    pub public_url: String,
    pub metrics_listen: String,
    /// As browsers write them.
    pub cors_origins: Vec<String>,
    request_seconds: u64,
    /// At once, as far as the limit of open files allows it.
    pub connections: usize,
    shutdown_seconds: u64,
    drain_seconds: u64,
}

impl Http {
    /// How long the answer to a request may take to begin.
    pub fn request(&self) -> Duration {
        Duration::from_secs(self.request_seconds)
    }

    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    pub fn shutdown(&self) -> Duration {
        Duration::from_secs(self.shutdown_seconds)
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: String,
    /// Where the address came from.
    #[serde(skip)]
    origin: String,
    pub connections: usize,
    pub prepared_statements: bool,
    pub mapped_mib: u32,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    pub url: String,
}

impl Database {
    /// What is wrong with the database, and where its address came from.
    pub fn told(&self, fault: &str) -> String {
        if self.origin.is_empty() { fault.to_owned() } else { format!("{fault} (database.url: {})", self.origin) }
    }
}

// Both addresses may hold a password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    pub min_password_length: usize,
    pub referees_visible_to: Visibility,
    pub registration: RegistrationMode,
    confirm_before_log_in: bool,
    confirm_before_referral: bool,
}

/// What a registration tells of whether an address has an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    /// That it has one already.
    Open,
    /// Nothing: whoever has the address is told by mail.
    Quiet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    Owner,
    Masked,
    All,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashing {
    pub memory_kib: u32,
    pub passes: u32,
    pub threads: usize,
    pub queue: usize,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    access_minutes: u64,
    refresh_idle_days: u64,
    refresh_absolute_days: u64,
    master_key: String,
    former_master_key: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("access_minutes", &self.access_minutes).finish_non_exhaustive()
    }
}

impl Tokens {
    /// The longest that an access token can be told to live, whatever the settings of the node that made it.
    pub const LONGEST: Duration = Duration::from_secs(10 * 60);

    /// What signing keys are sealed under.
    pub fn master_key(&self) -> Option<[u8; 32]> {
        STANDARD.decode(&self.master_key).ok()?.try_into().ok()
    }

    /// What they were sealed under before, while the master key changes.
    pub fn former_master_key(&self) -> Option<[u8; 32]> {
        STANDARD.decode(&self.former_master_key).ok()?.try_into().ok()
    }

    pub fn access(&self) -> Duration {
        Duration::from_secs(self.access_minutes * 60)
    }

    pub fn idle(&self) -> Duration {
        days(self.refresh_idle_days)
    }

    pub fn absolute(&self) -> Duration {
        days(self.refresh_absolute_days)
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailCheck {
    pub check: Policy,
    pub hunter_api_key: String,
    pub hunter_url: String,
    pub checks_per_second: u32,
    give_up_minutes: u64,
}

impl EmailCheck {
    pub fn give_up(&self) -> Duration {
        Duration::from_secs(self.give_up_minutes * 60)
    }

    /// Whether addresses are sent to the verifier.
    pub fn verifies(&self) -> bool {
        self.check != Policy::Off && !self.hunter_api_key.is_empty()
    }
}

impl std::fmt::Debug for EmailCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmailCheck").field("check", &self.check).finish_non_exhaustive()
    }
}

/// What becomes of addresses that receive no mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    Off,
    Flag,
    Block,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub enabled: bool,
    pub logins_per_account: u32,
    pub logins_per_address: u32,
    pub registrations_per_address: u32,
    pub validations_per_address: u32,
    pub clicks_per_address: u32,
    pub lookups_per_user: u32,
    pub tokens_per_address: u32,
    pub writes_per_user: u32,
    pub calls_per_client: u32,
    pub codes_per_user_and_day: u32,
    pub sessions_per_user: u32,
    pub resets_per_account: u32,
    pub resets_per_address: u32,
    trusted_proxies: Vec<String>,
}

impl Limits {
    pub fn names_no_proxy(&self) -> bool {
        self.trusted_proxies.is_empty()
    }

    /// Whether a peer is a proxy whose word about the client's address counts.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().filter_map(|text| network(text)).any(|(net, bits)| within(peer, net, bits))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    jobs_days: u64,
    sessions_days: u64,
    mails_days: u64,
    attempts_days: u64,
    messages_days: u64,
}

impl Retention {
    pub fn jobs(&self) -> Duration {
        days(self.jobs_days)
    }

    pub fn sessions(&self) -> Duration {
        days(self.sessions_days)
    }

    pub fn mails(&self) -> Duration {
        days(self.mails_days)
    }

    pub fn attempts(&self) -> Duration {
        days(self.attempts_days)
    }

    pub fn messages(&self) -> Duration {
        days(self.messages_days)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = if bits.is_empty() { most } else { bits.parse().ok()? };
    (bits <= most).then_some((address, bits))
}

fn within(peer: IpAddr, net: IpAddr, bits: u32) -> bool {
    match (peer.to_canonical(), net) {
        (IpAddr::V4(peer), IpAddr::V4(net)) => {
            (u32::from(peer) ^ u32::from(net)).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(peer), IpAddr::V6(net)) => {
            (u128::from(peer) ^ u128::from(net)).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

impl Config {
    /// Whether a log-in waits until the person has shown that the address is theirs. Where no mail is sent nobody can.
    pub fn confirms_before_log_in(&self) -> bool {
        self.mail.is_on() && (self.accounts.confirm_before_log_in || self.is_quiet())
    }

    /// Whether a registration does not tell that an address has an account.
    pub fn is_quiet(&self) -> bool {
        self.accounts.registration == RegistrationMode::Quiet
    }

    /// The same of a referral. Where registrations are quiet, one with an address of somebody else's leaves an account
    /// that nobody will ever log in to: it would count for good.
    pub fn confirms_before_referral(&self) -> bool {
        self.mail.is_on() && (self.accounts.confirm_before_referral || self.is_quiet())
    }

    /// What no type can say: ranges, and settings that must agree with each other. The texts go on behind the name.
    fn check(&self) -> Vec<Fault> {
        let mut wrong = Complaints(Vec::new());
        wrong.range("accounts.min_password_length", self.accounts.min_password_length as u64, 8, 128);
        wrong.range("hashing.memory_kib", self.hashing.memory_kib.into(), 19_456, 1 << 21);
        wrong.range("hashing.passes", self.hashing.passes.into(), 2, 20);
        wrong.range("hashing.threads", self.hashing.threads as u64, 0, 256);
        wrong.range("hashing.queue", self.hashing.queue as u64, 1, 10_000);
        wrong.range("tokens.access_minutes", self.tokens.access_minutes, 1, Tokens::LONGEST.as_secs() / 60);
        wrong.range("tokens.refresh_idle_days", self.tokens.refresh_idle_days, 1, 365);
        wrong.range("tokens.refresh_absolute_days", self.tokens.refresh_absolute_days, 1, 365);
        if !self.tokens.master_key.is_empty() && self.tokens.master_key().is_none() {
            wrong.add("tokens.master_key", "is not 32 bytes in base64: make one with `openssl rand -base64 32`");
        }
        if !self.tokens.former_master_key.is_empty() && self.tokens.former_master_key().is_none() {
            wrong.add("tokens.former_master_key", "is not 32 bytes in base64: it is the master key of before");
        }
        wrong.range("database.connections", self.database.connections as u64, 1, 1000);
        wrong.range("database.mapped_mib", self.database.mapped_mib.into(), 0, 2047);
        wrong.range("email.checks_per_second", self.email.checks_per_second.into(), 1, 10);
        wrong.range("email.give_up_minutes", self.email.give_up_minutes, 1, 7 * 24 * 60);
        wrong.range("retention.jobs_days", self.retention.jobs_days, 1, 3650);
        wrong.range("retention.sessions_days", self.retention.sessions_days, 1, 3650);
        wrong.range("retention.mails_days", self.retention.mails_days, 1, 3650);
        wrong.range("retention.attempts_days", self.retention.attempts_days, 1, 3650);
        wrong.range("retention.messages_days", self.retention.messages_days, 30, 3650);
        wrong.range("http.request_seconds", self.http.request_seconds, 1, 300);
        wrong.range("http.connections", self.http.connections as u64, 16, 1_000_000);
        wrong.range("http.drain_seconds", self.http.drain_seconds, 0, 60);
        wrong.range("http.shutdown_seconds", self.http.shutdown_seconds, 1, 600);
        for (name, value) in [
            ("logins_per_account", self.limits.logins_per_account),
            ("logins_per_address", self.limits.logins_per_address),
            ("registrations_per_address", self.limits.registrations_per_address),
            ("validations_per_address", self.limits.validations_per_address),
            ("clicks_per_address", self.limits.clicks_per_address),
            ("lookups_per_user", self.limits.lookups_per_user),
            ("tokens_per_address", self.limits.tokens_per_address),
            ("writes_per_user", self.limits.writes_per_user),
            ("calls_per_client", self.limits.calls_per_client),
            ("codes_per_user_and_day", self.limits.codes_per_user_and_day),
            ("sessions_per_user", self.limits.sessions_per_user),
            ("resets_per_account", self.limits.resets_per_account),
            ("resets_per_address", self.limits.resets_per_address),
        ] {
            wrong.range(&format!("limits.{name}"), value.into(), 1, 1_000_000);
        }
        for bad in self.limits.trusted_proxies.iter().filter(|text| network(text).is_none()) {
            let text = format!("holds \"{bad}\": write an address or a network such as 10.0.0.0/8");
            wrong.add("limits.trusted_proxies", text);
        }
        wrong.address("http.listen", &self.http.listen);
        if !self.http.metrics_listen.is_empty() {
            wrong.address("http.metrics_listen", &self.http.metrics_listen);
        }
        if !self.http.public_url.is_empty() {
            wrong.web("http.public_url", &self.http.public_url);
        }
        for origin in &self.http.cors_origins {
            wrong.origin("http.cors_origins", origin);
        }
        self.branding.check(&mut wrong);
        self.webhooks.check(&mut wrong);
        self.links.check(&self.http.public_url, &mut wrong);
        wrong.web("email.hunter_url", &self.email.hunter_url);
        self.mail.check(&mut wrong);
        if self.is_quiet() && !self.mail.is_on() {
            let text = "is \"quiet\", and then people hear by mail what came of their registration: set mail.smtp_url \
                        (SMTP_URL) and mail.from, or write \"open\"";
            wrong.add("accounts.registration", text);
        }
        if let Err(why) = level::check(&self.log.level) {
            wrong.add("log.level", format!("is not a filter: {why}"));
        }
        let mut issuers: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, provider) in &self.providers {
            provider.check(name, &mut wrong);
            // Who a person is, is issuer and subject: two clients of one issuer could mean different people by one
            // subject, and answers of the one could be taken for answers of the other.
            if let Some(other) = issuers.insert(&provider.issuer, name).filter(|_| !provider.issuer.is_empty()) {
                let text = format!("is that of providers.{other} too: keep one of them");
                wrong.add(&format!("providers.{name}.issuer"), text);
            }
        }
        let redis = &self.redis.url;
        for (setting, url) in [("database.url", &self.database.url), ("redis.url", redis)] {
            if !url.starts_with("sqlite:") && password::is_ambiguous(url) {
                wrong.add(setting, password::RESERVED);
            }
        }
        if !redis.is_empty() && !["redis://", "rediss://"].iter().any(|scheme| redis.starts_with(scheme)) {
            let text = "has an unknown scheme: write redis://HOST:6379 or rediss://HOST:6379, or leave it empty to do \
                        without Redis";
            wrong.add("redis.url", text);
        }
        wrong.0
    }
}
