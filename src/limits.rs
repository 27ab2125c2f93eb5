//! How much one caller may ask for (GCRA), counted by this node alone.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use uuid::Uuid;

use crate::config;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;

pub struct Limits {
    enabled: bool,
    clock: DefaultClock,
    /// By the account and whom it is tried from: nobody locks out a person who comes from elsewhere. As hashes, for what
    /// is typed may be long.
    logins_per_account: DefaultKeyedRateLimiter<[u8; 32]>,
    logins_per_address: DefaultKeyedRateLimiter<IpAddr>,
    registrations_per_address: DefaultKeyedRateLimiter<IpAddr>,
    validations_per_address: DefaultKeyedRateLimiter<IpAddr>,
    /// Of whoever has shown no secret.
    tokens_per_address: DefaultKeyedRateLimiter<IpAddr>,
    /// Tries of one's own password while logged in.
    proofs_per_user: DefaultKeyedRateLimiter<Uuid>,
    lookups_per_user: DefaultKeyedRateLimiter<Uuid>,
}

impl Limits {
    pub fn new(settings: &config::Limits) -> Self {
        let quota = |per_minute| Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        Self {
            enabled: settings.enabled,
            clock: DefaultClock::default(),
            logins_per_account: RateLimiter::keyed(quota(settings.logins_per_account)),
            proofs_per_user: RateLimiter::keyed(quota(settings.logins_per_account)),
            logins_per_address: RateLimiter::keyed(quota(settings.logins_per_address)),
            registrations_per_address: RateLimiter::keyed(quota(settings.registrations_per_address)),
            validations_per_address: RateLimiter::keyed(quota(settings.validations_per_address)),
            tokens_per_address: RateLimiter::keyed(quota(settings.tokens_per_address)),
            lookups_per_user: RateLimiter::keyed(quota(settings.lookups_per_user)),
        }
    }

    /// A log-in to an account, whether it exists or not.
    pub fn log_in(&self, account: &str, client: IpAddr) -> Result<()> {
        let text = format!("{} {account}", prefix(client));
        let mut key = [0; 32];
        key.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref());
        self.check(&self.logins_per_account, &key)
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

    /// Forgets callers who have not asked for a while.
    pub fn housekeeping(&self) {
        self.logins_per_account.retain_recent();
        self.logins_per_address.retain_recent();
        self.registrations_per_address.retain_recent();
        self.validations_per_address.retain_recent();
        self.lookups_per_user.retain_recent();
        self.tokens_per_address.retain_recent();
        self.proofs_per_user.retain_recent();
    }

    fn check<K: Hash + Eq + Clone>(&self, limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        limiter.check_key(key).map_err(|refusal| Error::Limited(refusal.wait_time_from(self.clock.now())))
    }
}

/// Who has one IPv6 address has 2^64 of them.
pub fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        v4 => v4,
    }
}
