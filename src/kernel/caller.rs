//! Who makes a request, as an access token of ours says.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::actor::Actor;
use super::ids::{ClientId, SessionId, UserId};
use super::scope::Scopes;
use super::time::{SKEW, Time};
use crate::words;

/// The client that log-ins by name and password belong to.
pub const FIRST_PARTY: &str = "referral";

words! {
    /// What ID tokens are signed with.
    pub enum IdTokenAlgorithm as "IdTokenAlgorithm" {
        /// What every OpenID Connect client knows.
        Rs256 = "RS256",
        EdDsa = "EdDSA",
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
    /// The one who has sent a request with such a token.
    pub fn acts(self, actor: Actor) -> Actor {
        match self {
            Self::Person(user) => actor.person(user),
            Self::Program(program) => actor.program(ClientId(program)),
        }
    }

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
    /// Whether the token is good at this time, as `Keyring::claims` says it: a clock that has stepped back since takes
    /// what it let in out again.
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

/// The identifier in a claim; tokens of ours have UUIDs there, whatever a signer of old may have written.
pub fn claimed_id(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}
