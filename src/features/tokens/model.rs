//! What tokens are.

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::scope::{Scope, Scopes};
use crate::kernel::time::{SKEW, Time};

/// The client that log-ins by name and password belong to.
pub const FIRST_PARTY: &str = "referral";

/// What ID tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdTokenAlgorithm {
    /// What every OpenID Connect client knows.
    Rs256,
    EdDsa,
}

impl IdTokenAlgorithm {
    pub const ALL: &[IdTokenAlgorithm] = &[Self::Rs256, Self::EdDsa];

    pub fn word(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.word() == word)
    }
}

/// Claims of an access token (RFC 9068). Unknown ones are ignored, missing ones refused.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    /// The person; of a program that acts for nobody, the program.
    pub sub: String,
    pub client_id: String,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    pub scope: String,
    /// The log-in that the token belongs to.
    pub sid: String,
}

/// Whom a token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Person(UserId),
    /// A program that acts for nobody but itself.
    Program(Uuid),
}

impl Subject {
    pub fn id(self) -> Uuid {
        match self {
            Self::Person(user) => user.0,
            Self::Program(program) => program,
        }
    }

    pub fn person(self) -> Option<UserId> {
        match self {
            Self::Person(user) => Some(user),
            Self::Program(_) => None,
        }
    }
}

/// Who makes a request, as their access token says.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    pub subject: Subject,
    pub session: SessionId,
    pub scopes: Scopes,
    /// When the token was made.
    pub issued_at: Time,
    /// Until when it is good.
    pub expires_at: Time,
}

impl Caller {
    /// Whether the token is good at this time, as [`Keyring::claims`](super::keyring::Keyring::claims) says it: a clock
    /// that has stepped back since takes what it let in out again.
    pub fn is_good(&self, now: Time) -> bool {
        self.expires_at > now && self.issued_at <= now.plus(SKEW)
    }

    /// What the claims of a token of ours say; nothing when they are not what we write.
    pub fn of(claims: &Claims) -> Option<Self> {
        let subject = claimed_id(&claims.sub)?;
        let scopes = Scopes::known(&claims.scope);
        // A node of an older version, during an upgrade, writes fewer.
        let scopes = if claims.client_id == FIRST_PARTY { scopes.or(Scopes::FIRST_PARTY) } else { scopes };
        Some(Self {
            subject: if claims.sub == claims.client_id {
                Subject::Program(subject)
            } else {
                Subject::Person(UserId(subject))
            },
            session: SessionId(claimed_id(&claims.sid)?),
            scopes,
            issued_at: Time(claims.iat.checked_mul(1_000_000)?),
            expires_at: Time(claims.exp.checked_mul(1_000_000)?),
        })
    }
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
    pub id: Uuid,
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
    pub current_hash: Vec<u8>,
    pub previous_hash: Option<Vec<u8>>,
    pub rotated_at: Option<Time>,
    pub salt: Vec<u8>,
    pub ended: bool,
    /// Whether the person is a manager now.
    pub by_manager: bool,
}

impl Family {
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

/// A refresh token: names its family and proves itself with 256 bits. Only its hash is stored.
#[derive(Clone)]
pub struct RefreshToken {
    pub handle: [u8; 16],
    secret: [u8; 32],
}

const PREFIX: &str = "rt_";

impl RefreshToken {
    pub fn new(handle: [u8; 16], secret: [u8; 32]) -> Self {
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

    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.secret).as_ref());
        hash
    }

    /// The token that replaces this one. With the salt alone nobody can make it; with this token and the salt its
    /// bearer can be given it a second time, when the first answer was lost.
    pub fn successor(&self, salt: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let mut secret = [0; 32];
        secret.copy_from_slice(hmac::sign(&key, salt).as_ref());
        Self { handle: self.handle, secret }
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshToken(…)")
    }
}

/// The identifier in a claim; tokens of ours have UUIDs there, whatever a signer of old may have written.
pub fn claimed_id(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_refresh_token_is_read_back_and_garbage_is_refused(handle: [u8; 16], secret: [u8; 32], garbage in "(rt_)?.{0,80}") {
            let token = RefreshToken::new(handle, secret);
            let read = RefreshToken::parse(&token.text()).unwrap();
            prop_assert_eq!((read.handle, read.secret), (handle, secret));
            if let Some(read) = RefreshToken::parse(&garbage) {
                prop_assert_eq!(read.text(), garbage);
            }
        }
    }
}
