//! The keys that rows of the audit carry a MAC by.

use std::sync::{PoisonError, RwLock};

use aws_lc_rs::hmac;

use super::keyring::{Keyring, StoredSecret};

/// Those that were opened, the newest first.
#[derive(Default)]
pub struct AuditKeys(RwLock<Opened>);

#[derive(Clone, Default)]
struct Opened {
    keys: Vec<(String, hmac::Key)>,
    /// Whether there are others.
    blind: bool,
}

/// What became of the keys that the database has.
pub struct Taken {
    /// Whether there is any.
    pub any: bool,
    /// The newest, by which rows are signed; nothing when it could not be opened.
    pub newest: Option<hmac::Key>,
}

impl AuditKeys {
    /// Takes over the keys as they are stored, the newest first. What was opened once stays so.
    pub fn take_over(&self, keyring: &Keyring, stored: &[StoredSecret]) -> Taken {
        let before = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let open = |key: &StoredSecret| {
            let known = before.keys.iter().find(|(kid, _)| *kid == key.kid).map(|(_, key)| key.clone());
            let opened = || keyring.unsealed(&key.kid, &key.secret, key.sealed);
            known.or_else(|| opened().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, &secret)))
        };
        let opened: Vec<(String, Option<hmac::Key>)> = stored.iter().map(|key| (key.kid.clone(), open(key))).collect();
        let newest = opened.first().and_then(|(_, key)| key.clone());
        let blind = opened.iter().any(|(_, key)| key.is_none());
        let keys = opened.into_iter().filter_map(|(kid, key)| Some((kid, key?))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Opened { keys, blind };
        Taken { any: !stored.is_empty(), newest }
    }

    /// All that are opened, and whether there are others.
    pub fn all(&self) -> (Vec<hmac::Key>, bool) {
        let opened = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (opened.keys.iter().map(|(_, key)| key.clone()).collect(), opened.blind)
    }
}
