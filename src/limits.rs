//! How much one caller may ask for, over all nodes where they share a Redis, and whose turn it is to write.

mod debts;
pub mod told;
pub mod turns;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use uuid::Uuid;

use self::debts::Debts;
pub use self::debts::Rate;
use self::told::Counted;
use crate::cache::redis::{Owed, Redis};
use crate::config;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{ClientId, UserId};
use crate::words;

words! {
    /// What requests are counted against, by the name that `RateLimit-Policy` and `violated-policies` give it.
    pub enum Quota as "QuotaPolicy" {
        /// By the account and whom it is tried from: nobody locks out a person who comes from elsewhere.
        LogIn = "login",
        LogInAddress = "login-address",
        /// Tries of one's own password while logged in.
        Proof = "password",
        Registration = "registration",
        Validation = "validation",
        /// A link that is opened.
        Click = "click",
        /// Of whoever has shown no secret.
        Token = "token",
        LookUp = "lookup",
        Write = "write",
        /// Mails to an address that somebody asks for who has not shown that it is theirs.
        Mail = "mail",
        /// The same by whoever asks.
        MailAddress = "mail-address",
        /// Of a host's back end, whatever address it comes from.
        Call = "call",
        /// Codes that a user makes. The codes count themselves, in the database.
        Code = "code",
    }
}

/// A keyed hash of a quota and of whoever is counted: neither this process nor Redis holds an address or a name.
pub type Key = [u8; 16];

pub struct Limits {
    enabled: bool,
    /// In the order of [`Quota::ALL`].
    rates: Vec<(Quota, Rate)>,
    codes_per_user_and_day: i64,
    sessions_per_user: i64,
    redis: Option<Arc<Redis>>,
    secret: RwLock<([u8; 32], hmac::Key)>,
    debts: Debts,
}

impl Limits {
    /// Counts with the other nodes through this Redis, else alone. Fails where the system has no random numbers.
    pub fn new(settings: &config::Limits, redis: Option<Arc<Redis>>) -> Result<Self> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| Error::Internal("the system has no random numbers".into()))?;
        let per_hour = |calls| Rate::of(calls, calls, Duration::from_secs(3600));
        let rate = |quota: &Quota| {
            Rate::per_minute(match quota {
                Quota::Mail => return per_hour(settings.resets_per_account),
                Quota::MailAddress => return per_hour(settings.resets_per_address),
                // So many a second, and ten thirds of them at once.
                Quota::Call => {
                    let (burst, calls) = (settings.calls_per_client.saturating_mul(10) / 3, settings.calls_per_client);
                    return Rate::of(burst, calls, Duration::from_secs(1));
                }
                Quota::Code => {
                    let codes = settings.codes_per_user_and_day;
                    return Rate::of(codes, codes, Duration::from_secs(24 * 60 * 60));
                }
                Quota::LogIn | Quota::Proof => settings.logins_per_account,
                Quota::LogInAddress => settings.logins_per_address,
                Quota::Registration => settings.registrations_per_address,
                Quota::Validation => settings.validations_per_address,
                Quota::Click => settings.clicks_per_address,
                Quota::Token => settings.tokens_per_address,
                Quota::LookUp => settings.lookups_per_user,
                Quota::Write => settings.writes_per_user,
            })
        };
        Ok(Self {
            enabled: settings.enabled,
            rates: Quota::ALL.iter().map(|quota| (*quota, rate(quota))).collect(),
            codes_per_user_and_day: settings.codes_per_user_and_day.into(),
            sessions_per_user: settings.sessions_per_user.into(),
            redis,
            secret: RwLock::new((secret, hmac::Key::new(hmac::HMAC_SHA256, &secret))),
            debts: Debts::default(),
        })
    }

    /// Hashes callers with the secret that all nodes have: only then do they count together.
    pub fn hash_with(&self, secret: [u8; 32]) {
        let mut current = self.secret.write().unwrap_or_else(PoisonError::into_inner);
        if current.0 != secret {
            *current = (secret, hmac::Key::new(hmac::HMAC_SHA256, &secret));
        }
    }

    /// A log-in to an account, whether it exists or not, from an address.
    pub async fn log_in(&self, account: &str, client: IpAddr) -> Result<()> {
        let client = prefix(client).to_string();
        let both = format!("{client} {account}");
        self.count(&[(Quota::LogInAddress, client.as_bytes()), (Quota::LogIn, both.as_bytes())]).await
    }

    /// A log-in from an address that leads elsewhere first.
    pub async fn log_in_from(&self, client: IpAddr) -> Result<()> {
        self.count_from(Quota::LogInAddress, client).await
    }

    /// A proof by password of somebody who is logged in.
    pub async fn prove(&self, user: UserId) -> Result<()> {
        self.count(&[(Quota::Proof, user.0.as_bytes())]).await
    }

    pub async fn register_from(&self, client: IpAddr) -> Result<()> {
        self.count_from(Quota::Registration, client).await
    }

    pub async fn validate_from(&self, client: IpAddr) -> Result<()> {
        self.count_from(Quota::Validation, client).await
    }

    pub async fn click_from(&self, client: IpAddr) -> Result<()> {
        self.count_from(Quota::Click, client).await
    }

    /// A step of OAuth by somebody who has shown no secret: a public client, or a browser on its way.
    pub async fn oauth_from(&self, client: IpAddr) -> Result<()> {
        self.count_from(Quota::Token, client).await
    }

    /// A look-up by e-mail, of a person or a program.
    pub async fn look_up(&self, caller: Uuid) -> Result<()> {
        self.count(&[(Quota::LookUp, caller.as_bytes())]).await
    }

    /// A change by somebody who is logged in, or by a program that acts alone.
    pub async fn write(&self, caller: Uuid) -> Result<()> {
        self.count(&[(Quota::Write, caller.as_bytes())]).await
    }

    /// Whether a mail may go to an address that somebody knows. Who asks is not told, nor by what is left of it.
    pub async fn lets_ask_for_mail(&self, email_key: &str, client: IpAddr) -> Result<bool> {
        let client = prefix(client).to_string();
        self.lets(&[(Quota::MailAddress, client.as_bytes()), (Quota::Mail, email_key.as_bytes())]).await
    }

    /// A call of a host's back end.
    pub async fn call(&self, client: ClientId) -> Result<()> {
        self.count(&[(Quota::Call, client.0.as_bytes())]).await
    }

    /// Whether there are limits at all.
    pub fn are_on(&self) -> bool {
        self.enabled
    }

    /// Whether a mail may go to an address that somebody else has given as theirs.
    pub async fn lets_mail(&self, email_key: &str) -> Result<bool> {
        self.lets(&[(Quota::Mail, email_key.as_bytes())]).await
    }

    /// How many codes a user may make within a day.
    pub fn codes_a_day(&self) -> Option<i64> {
        self.enabled.then_some(self.codes_per_user_and_day)
    }

    /// What came of making a code. Where it was one too many, the answer tells by which policy.
    pub fn tell_of_codes<T>(&self, outcome: Result<T>) -> Result<T> {
        if let (Err(Error::CodesSpent(wait)), Some(rate)) = (&outcome, self.rate(Quota::Code)) {
            told::note(vec![Counted::spent(Quota::Code, rate, *wait)]);
        }
        outcome
    }

    fn rate(&self, quota: Quota) -> Option<Rate> {
        self.rates.iter().find(|(known, _)| *known == quota).map(|(_, rate)| *rate)
    }

    /// How many sessions of a user are kept, for each client and in browsers.
    pub fn sessions(&self) -> Option<i64> {
        self.enabled.then_some(self.sessions_per_user)
    }

    /// Forgets callers who have not asked for a while.
    pub fn housekeeping(&self) {
        self.debts.forget();
    }

    async fn count_from(&self, quota: Quota, client: IpAddr) -> Result<()> {
        self.count(&[(quota, prefix(client).to_string().as_bytes())]).await
    }

    /// Counts one request against all of these, or against none of them if one of them refuses it.
    async fn count(&self, asked: &[(Quota, &[u8])]) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        let counted = self.decide(asked).await?;
        let wait = counted.iter().filter(|one| one.refused).map(|one| one.next).max();
        told::note(counted);
        wait.map_or(Ok(()), |wait| Err(Error::Limited(wait)))
    }

    /// As [`count`](Self::count), where the answer says nothing of it.
    async fn lets(&self, asked: &[(Quota, &[u8])]) -> Result<bool> {
        Ok(!self.enabled || self.decide(asked).await?.iter().all(|one| !one.refused))
    }

    async fn decide(&self, asked: &[(Quota, &[u8])]) -> Result<Vec<Counted>> {
        let mut counted = Vec::with_capacity(asked.len());
        for (quota, caller) in asked {
            let rate = self.rate(*quota).ok_or_else(|| Error::Internal(format!("no rate for {}", quota.word())))?;
            counted.push((*quota, rate, self.key(*quota, caller)));
        }
        let Some(redis) = &self.redis else {
            return Ok(self.debts.count(&counted, Rate::alone));
        };
        let owed: Vec<Owed> = counted
            .iter()
            .map(|(_, rate, key)| Owed {
                name: format!("owed:{:032x}", u128::from_be_bytes(*key)),
                cost: rate.cost(),
                most: rate.most(),
                known: self.debts.of(key),
            })
            .collect();
        match redis.owe(&owed).await {
            Some(debts) => Ok(self.debts.learn(&counted, &debts)),
            // Nobody knows what the other nodes let through: each lets half of it through.
            None => Ok(self.debts.count(&counted, Rate::halved)),
        }
    }

    fn key(&self, quota: Quota, caller: &[u8]) -> Key {
        let secret = self.secret.read().unwrap_or_else(PoisonError::into_inner);
        let mut context = hmac::Context::with_key(&secret.1);
        context.update(quota.word().as_bytes());
        context.update(&[0]);
        context.update(caller);
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }
}

/// Who has one IPv6 address has 2^64 of them.
pub fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// In seconds, rounded up: whoever comes back a moment too early is refused again.
fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(lookups: &str) -> Limits {
        let settings = vec![("REFERRAL_LIMITS_LOOKUPS_PER_USER".to_owned(), lookups.to_owned())];
        Limits::new(&config::load(None, &settings).unwrap().limits, None).unwrap()
    }

    #[tokio::test]
    async fn callers_who_come_once_do_not_fill_the_memory() {
        // Each is forgotten 60 µs after its one call, as soon as somebody looks.
        let limits = limits("1000000");
        for caller in 0..5 * debts::FORGET_EVERY {
            limits.look_up(Uuid::from_u128(caller.into())).await.unwrap();
        }
        let remembered = limits.debts.len();
        assert!(remembered < 2 * debts::FORGET_EVERY as usize, "{remembered}");
    }

    #[tokio::test]
    async fn what_one_quota_refuses_costs_nothing_of_the_others() {
        let limits = limits("60");
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..5 {
            limits.log_in("olga", client).await.unwrap();
        }
        let (refused, counted) = told::counting(limits.log_in("olga", client)).await;
        assert!(matches!(refused, Err(Error::Limited(_))));
        let told: Vec<_> = counted.iter().map(|one| (one.quota.word(), one.refused, one.left)).collect();
        assert_eq!(told, [("login-address", false, 25), ("login", true, 0)]);
        let (_, counted) = told::counting(limits.log_in("anna", client)).await;
        assert_eq!(counted.iter().map(|one| one.left).collect::<Vec<_>>(), [24, 4]);
    }

    #[test]
    fn another_secret_makes_other_keys_and_the_same_one_the_same() {
        let (one, other) = (limits("60"), limits("60"));
        let key = |limits: &Limits| limits.key(Quota::LookUp, b"caller");
        assert_ne!(key(&one), key(&other));
        one.hash_with([7; 32]);
        other.hash_with([7; 32]);
        assert_eq!(key(&one), key(&other));
        assert_ne!(key(&one), one.key(Quota::Write, b"caller"));
    }
}
