//! How much one caller may ask for (GCRA), counted by this node alone, and whose turn it is to write.

pub mod turns;

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use uuid::Uuid;

use crate::config;
use crate::kernel::digest::sha256;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;

/// Callers are forgotten at least once in so many calls: from many addresses (whoever has an IPv6 network has them)
/// more would be remembered than there is memory, for a minute each.
const FORGET_EVERY: u32 = 1 << 16;

pub struct Limits {
    enabled: bool,
    clock: DefaultClock,
    codes_per_user_and_day: i64,
    sessions_per_user: i64,
    /// By the account and whom it is tried from: nobody locks out a person who comes from elsewhere. As hashes, for
    /// what is typed may be long.
    logins_per_account: Limiter<[u8; 32]>,
    logins_per_address: Limiter<IpAddr>,
    registrations_per_address: Limiter<IpAddr>,
    validations_per_address: Limiter<IpAddr>,
    /// Of whoever has shown no secret.
    tokens_per_address: Limiter<IpAddr>,
    /// Tries of one's own password while logged in.
    proofs_per_user: Limiter<Uuid>,
    lookups_per_user: Limiter<Uuid>,
    writes_per_user: Limiter<Uuid>,
}

/// Counts the calls of each caller.
struct Limiter<K: Hash + Eq + Clone> {
    callers: DefaultKeyedRateLimiter<K>,
    asked: AtomicU32,
}

impl Limits {
    pub fn new(settings: &config::Limits) -> Self {
        Self {
            enabled: settings.enabled,
            clock: DefaultClock::default(),
            logins_per_account: Limiter::per_minute(settings.logins_per_account),
            proofs_per_user: Limiter::per_minute(settings.logins_per_account),
            logins_per_address: Limiter::per_minute(settings.logins_per_address),
            registrations_per_address: Limiter::per_minute(settings.registrations_per_address),
            validations_per_address: Limiter::per_minute(settings.validations_per_address),
            tokens_per_address: Limiter::per_minute(settings.tokens_per_address),
            lookups_per_user: Limiter::per_minute(settings.lookups_per_user),
            writes_per_user: Limiter::per_minute(settings.writes_per_user),
            codes_per_user_and_day: settings.codes_per_user_and_day.into(),
            sessions_per_user: settings.sessions_per_user.into(),
        }
    }

    /// A log-in to an account, whether it exists or not.
    pub fn log_in(&self, account: &str, client: IpAddr) -> Result<()> {
        let text = format!("{} {account}", prefix(client));
        self.check(&self.logins_per_account, &sha256(text.as_bytes()))
    }

    /// A proof by password of somebody who is logged in.
    pub fn prove(&self, user: UserId) -> Result<()> {
        self.check(&self.proofs_per_user, &user.0)
    }

    pub fn log_in_from(&self, client: IpAddr) -> Result<()> {
        self.check(&self.logins_per_address, &prefix(client))
    }

    pub fn register_from(&self, client: IpAddr) -> Result<()> {
        self.check(&self.registrations_per_address, &prefix(client))
    }

    pub fn validate_from(&self, client: IpAddr) -> Result<()> {
        self.check(&self.validations_per_address, &prefix(client))
    }

    /// A step of OAuth by somebody who has shown no secret: a public client, or a browser on its way.
    pub fn oauth_from(&self, client: IpAddr) -> Result<()> {
        self.check(&self.tokens_per_address, &prefix(client))
    }

    /// A look-up by e-mail, of a person or a program.
    pub fn look_up(&self, caller: Uuid) -> Result<()> {
        self.check(&self.lookups_per_user, &caller)
    }

    /// A change by somebody who is logged in, or by a program that acts alone.
    pub fn write(&self, caller: Uuid) -> Result<()> {
        self.check(&self.writes_per_user, &caller)
    }

    /// How many codes a user may make within a day.
    pub fn codes_a_day(&self) -> Option<i64> {
        self.enabled.then_some(self.codes_per_user_and_day)
    }

    /// How many sessions of a user are kept, for each client and in browsers.
    pub fn sessions(&self) -> Option<i64> {
        self.enabled.then_some(self.sessions_per_user)
    }

    /// Forgets callers who have not asked for a while.
    pub fn housekeeping(&self) {
        self.logins_per_account.callers.retain_recent();
        self.logins_per_address.callers.retain_recent();
        self.registrations_per_address.callers.retain_recent();
        self.validations_per_address.callers.retain_recent();
        self.lookups_per_user.callers.retain_recent();
        self.tokens_per_address.callers.retain_recent();
        self.proofs_per_user.callers.retain_recent();
        self.writes_per_user.callers.retain_recent();
    }

    fn check<K: Hash + Eq + Clone>(&self, limiter: &Limiter<K>, key: &K) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        if limiter.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            limiter.callers.retain_recent();
        }
        limiter.callers.check_key(key).map_err(|refusal| Error::Limited(refusal.wait_time_from(self.clock.now())))
    }
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn per_minute(calls: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(calls).unwrap_or(NonZeroU32::MIN));
        Self { callers: RateLimiter::keyed(quota), asked: AtomicU32::new(0) }
    }
}

/// Who has one IPv6 address has 2^64 of them.
pub fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_who_come_once_do_not_fill_the_memory() {
        // Each is forgotten 60 µs after its one call, as soon as somebody looks.
        let limits = {
            let settings = vec![("REFERRAL_LIMITS_LOOKUPS_PER_USER".to_owned(), "1000000".to_owned())];
            Limits::new(&config::load(None, &settings).unwrap().limits)
        };
        for caller in 0..5 * FORGET_EVERY {
            limits.look_up(Uuid::from_u128(caller.into())).unwrap();
        }
        let remembered = limits.lookups_per_user.callers.len();
        assert!(remembered < 2 * FORGET_EVERY as usize, "{remembered}");
    }
}
