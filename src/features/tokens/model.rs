//! What tokens are.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::crypto::keyring::RefreshKey;
use crate::kernel::caller::FIRST_PARTY;
use crate::kernel::digest::RefreshTokenHash;
use crate::kernel::ids::{BrowserSessionId, SessionId, UserId};
use crate::kernel::scope::{Scope, Scopes};
use crate::kernel::time::Time;
use crate::words;

words! {
    /// How an access token is sent: in the header Authorization, behind this word.
    pub enum TokenType as "TokenType" {
        Bearer = "Bearer",
    }
}

words! {
    /// What a session is: tokens of a program (or of a log-in by name and password), or a browser at this service's own
    /// pages.
    pub enum SessionKind as "SessionKind" {
        Tokens = "tokens",
        Browser = "browser",
    }
}

/// A session that can still be used, as its person sees it.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: Uuid,
    pub kind: SessionKind,
    /// Nothing for a browser.
    pub client: Option<String>,
    pub scope: Option<String>,
    pub created_at: Time,
    /// When the person last proved who they are.
    pub authenticated_at: Time,
    pub used_at: Time,
    pub expires_at: Time,
}

/// What has let a person in; it must still hold when their session begins.
#[derive(Clone)]
pub enum Credential {
    /// A password that was right against this stored hash.
    Password(String),
    /// An identity at another provider.
    Identity { issuer: String, subject: String },
}

/// Somebody who is logged in at our own pages.
#[derive(Clone, Debug)]
pub struct BrowserSession {
    pub id: BrowserSessionId,
    pub user: UserId,
    pub username: String,
    /// When the person last proved who they are.
    pub authenticated_at: Time,
}

/// A log-in and all tokens that come from it, as far as refreshing needs it.
pub struct Family {
    pub id: SessionId,
    /// Nobody for a program that acts for itself.
    pub user: Option<UserId>,
    pub client: String,
    pub scopes: Scopes,
    pub expires_at: Time,
    pub used_at: Time,
    pub counter: i64,
    pub current_hash: RefreshTokenHash,
    pub previous_hash: Option<RefreshTokenHash>,
    pub rotated_at: Option<Time>,
    pub salt: Vec<u8>,
    /// How many of its tokens carry a MAC, as far as we have given them.
    pub sealed_tokens: i64,
    pub ended: bool,
    /// Whether the person is a manager now.
    pub by_manager: bool,
}

impl Family {
    /// Whether each of its tokens carries a MAC. One begun by a node of an older version, or refreshed at one, has
    /// others too.
    pub fn is_sealed(&self) -> bool {
        self.sealed_tokens == self.counter + 1
    }

    /// What its next token allows at most. A log-in of our own allows what such log-ins do today, whatever was written
    /// when it began: by an older version, or before the person became a manager, or ceased to be one.
    pub fn allows(&self) -> Scopes {
        match (self.client.as_str(), self.by_manager) {
            (FIRST_PARTY, true) => Scopes::FIRST_PARTY.with(Scope::Admin),
            (FIRST_PARTY, false) => Scopes::FIRST_PARTY,
            _ => self.scopes,
        }
    }
}

/// What a caller gets from a log-in or a refresh.
pub struct Grant {
    pub access_token: String,
    /// Seconds.
    pub expires_in: u64,
    /// Programs that may not refresh have none.
    pub refresh_token: Option<String>,
    pub scopes: Scopes,
}

/// A refresh token: names its family, and proves itself with a secret whose hash alone is stored. The secret is 128
/// bits that nobody can guess, the number of refreshes before it, and a MAC over all of it, by which a token of ours is
/// known when it is none of those that are stored any more. (Nodes of an older version take the secret as a whole, and
/// give tokens without a number and a MAC.)
#[derive(Clone)]
pub struct RefreshToken {
    pub handle: [u8; 16],
    secret: [u8; 32],
}

const PREFIX: &str = "rt_";
/// Bytes of the secret: what nobody can guess, then the number, then the MAC.
const UNGUESSABLE: usize = 16;
const NUMBER: usize = 4;
const MAC: usize = 12;

impl RefreshToken {
    pub fn new(handle: [u8; 16], unguessable: [u8; UNGUESSABLE], counter: i64, key: &RefreshKey) -> Self {
        let counter = u32::try_from(counter).unwrap_or(u32::MAX).to_be_bytes();
        let mac = mac(key, &handle, &unguessable, &counter);
        let mut secret = [0; 32];
        for (to, from) in secret.iter_mut().zip(unguessable.iter().chain(&counter).chain(mac.as_ref())) {
            *to = *from;
        }
        Self { handle, secret }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (handle, secret) = bytes.split_first_chunk::<16>()?;
        Some(Self { handle: *handle, secret: secret.try_into().ok()? })
    }

    pub fn text(&self) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&self.handle[..], &self.secret[..]].concat()))
    }

    pub fn hash(&self) -> RefreshTokenHash {
        RefreshTokenHash::of(self.secret)
    }

    /// Whether its MAC is by one of these keys: then we gave it, however long ago.
    pub fn is_sealed_by(&self, keys: &[RefreshKey]) -> bool {
        let (unguessable, rest) = self.secret.split_at(UNGUESSABLE);
        let (counter, claimed) = rest.split_at(NUMBER);
        let made = |key| mac(key, &self.handle, unguessable, counter);
        keys.iter().any(|key| made(key).as_ref().get(..MAC).is_some_and(|made| made.ct_eq(claimed).into()))
    }

    /// The token that replaces this one, with its number. With the salt alone nobody can make it; with this token and
    /// the salt its bearer can be given it a second time, when the first answer was lost.
    pub fn successor(&self, salt: &[u8], counter: i64, key: &RefreshKey) -> Self {
        let mut unguessable = [0; UNGUESSABLE];
        for (to, from) in unguessable.iter_mut().zip(self.derived(salt)) {
            *to = from;
        }
        Self::new(self.handle, unguessable, counter, key)
    }

    /// As [`successor`](Self::successor), as nodes of an older version make it.
    pub fn successor_without_mac(&self, salt: &[u8]) -> Self {
        Self { handle: self.handle, secret: self.derived(salt) }
    }

    fn derived(&self, salt: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let mut derived = [0; 32];
        derived.copy_from_slice(hmac::sign(&key, salt).as_ref());
        derived
    }
}

fn mac(key: &RefreshKey, handle: &[u8], unguessable: &[u8], counter: &[u8]) -> hmac::Tag {
    hmac::sign(key, &[handle, unguessable, counter].concat())
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(of: &[u8]) -> RefreshKey {
        hmac::Key::new(hmac::HMAC_SHA256, of)
    }

    proptest! {
        #[test]
        fn a_refresh_token_is_read_back_and_garbage_is_refused(
            handle: [u8; 16], secret: [u8; 16], garbage in "(rt_)?.{0,80}",
        ) {
            let token = RefreshToken::new(handle, secret, 7, &key(b"ours"));
            let read = RefreshToken::parse(&token.text()).unwrap();
            prop_assert_eq!((read.handle, read.secret), (handle, token.secret));
            prop_assert!(read.is_sealed_by(&[key(b"newer"), key(b"ours")]));
            if let Some(read) = RefreshToken::parse(&garbage) {
                prop_assert_eq!(read.text(), garbage);
            }
        }

        #[test]
        fn a_refresh_token_changed_anywhere_is_not_ours(
            handle: [u8; 16], secret: [u8; 16], at in 0_usize..48, by in 1_u8..,
        ) {
            let token = RefreshToken::new(handle, secret, 7, &key(b"ours"));
            let mut bytes = [&token.handle[..], &token.secret[..]].concat();
            bytes[at] ^= by;
            let changed = RefreshToken::parse(&format!("rt_{}", URL_SAFE_NO_PAD.encode(bytes))).unwrap();
            prop_assert!(!changed.is_sealed_by(&[key(b"ours")]));
            prop_assert!(!token.is_sealed_by(&[key(b"theirs")]) && !token.is_sealed_by(&[]));
        }
    }

    #[test]
    fn a_successor_is_the_same_each_time_and_ours_by_its_mac() {
        let token = RefreshToken::new([1; 16], [2; 16], 0, &key(b"ours"));
        let next = token.successor(b"salt", 1, &key(b"ours"));
        assert_eq!(next.text(), token.successor(b"salt", 1, &key(b"ours")).text());
        assert!(next.is_sealed_by(&[key(b"ours")]));
        assert_eq!(next.handle, token.handle);
        for other in [token.successor(b"salt", 2, &key(b"ours")), token.successor(b"tlas", 1, &key(b"ours"))] {
            assert_ne!(next.text(), other.text());
        }
        let former = token.successor_without_mac(b"salt");
        assert!(!former.is_sealed_by(&[key(b"ours")]));
        assert!(former.successor(b"salt", 2, &key(b"ours")).is_sealed_by(&[key(b"ours")]));
    }
}
