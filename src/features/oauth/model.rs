//! The words of OAuth, and what may come of an authorization request.

pub mod request;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::kernel::caller::IdTokenAlgorithm;
use crate::kernel::digest::{AuthorizationCodeHash, sha256};
use crate::kernel::error::Error;
use crate::kernel::ids::{BrowserSessionId, SessionId, UserId};
use crate::kernel::scope::{Scope, Scopes};
use crate::kernel::time::Time;
use crate::words;

words! {
    /// The words of RFC 6749 and OpenID Connect for what is wrong.
    pub enum OAuthError as "OAuthError" {
        InvalidRequest = "invalid_request",
        InvalidClient = "invalid_client",
        InvalidGrant = "invalid_grant",
        UnauthorizedClient = "unauthorized_client",
        UnsupportedGrantType = "unsupported_grant_type",
        UnsupportedResponseType = "unsupported_response_type",
        InvalidScope = "invalid_scope",
        AccessDenied = "access_denied",
        LoginRequired = "login_required",
        ConsentRequired = "consent_required",
        RequestNotSupported = "request_not_supported",
        RequestUriNotSupported = "request_uri_not_supported",
    }
}

words! {
    /// What an authorization request may be answered with.
    pub enum ResponseType as "ResponseType" {
        Code = "code",
    }
}

words! {
    /// Where the answer to an authorization request stands.
    pub enum ResponseMode as "ResponseMode" {
        Query = "query",
    }
}

words! {
    /// How the challenge of PKCE is made of the verifier (RFC 7636).
    pub enum CodeChallengeMethod as "CodeChallengeMethod" {
        S256 = "S256",
    }
}

words! {
    /// What a client wants of the person it sends.
    pub enum PromptValue as "PromptValue" {
        /// Nothing may be shown.
        None = "none",
        /// The person is to log in even if they are.
        Login = "login",
        Consent = "consent",
        /// The person is to make an account.
        Create = "create",
    }
}

words! {
    /// How a client shows who it is, where it is asked. None is for public clients, which name themselves.
    pub enum ClientAuthentication as "ClientAuthentication" {
        Basic = "client_secret_basic",
        Post = "client_secret_post",
        None = "none",
    }
}

impl ClientAuthentication {
    pub const SECRETS: &[ClientAuthentication] = &[Self::Basic, Self::Post];
}

words! {
    /// Whom a subject identifier is the same for: everybody.
    pub enum SubjectType as "SubjectType" {
        Public = "public",
    }
}

words! {
    /// Which of its tokens a client means.
    pub enum TokenTypeHint as "TokenTypeHint" {
        AccessToken = "access_token",
        RefreshToken = "refresh_token",
    }
}

/// What is wrong, and a sentence for the developer of the client.
#[derive(Clone, Debug)]
pub struct Fault {
    pub wrong: OAuthError,
    pub sentence: &'static str,
}

impl Fault {
    pub fn new(wrong: OAuthError, sentence: &'static str) -> Self {
        Self { wrong, sentence }
    }
}

/// Why the token endpoint gives nothing.
pub enum TokenError {
    /// The request is to blame.
    Fault(Fault),
    Failed(Error),
}

impl From<Fault> for TokenError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether a verifier (RFC 7636) is what a challenge was made of.
fn proves(verifier: &str, challenge: &[u8]) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(plain);
    formed && sha256(verifier.as_bytes()).as_slice().ct_eq(challenge).into()
}

/// Whether what a client presents is what a code was given for. A verifier for a code without a challenge is refused,
/// for somebody may have taken the challenge out of the request (RFC 9700, 4.8.2).
pub fn matches(verifier: Option<&str>, challenge: &[u8]) -> bool {
    match verifier {
        Some(verifier) => proves(verifier, challenge),
        None => challenge.is_empty(),
    }
}

/// An authorization code: 256 random bits, of which only the hash is stored.
pub struct AuthorizationCode(pub [u8; 32]);

const PREFIX: &str = "ac_";

impl AuthorizationCode {
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?.try_into().ok().map(Self)
    }

    pub fn text(&self) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0))
    }

    pub fn hash(&self) -> AuthorizationCodeHash {
        AuthorizationCodeHash::of(self.0)
    }
}

/// A code as it is stored.
#[derive(Clone)]
pub struct StoredAuthorizationCode {
    pub hash: AuthorizationCodeHash,
    pub client: String,
    pub user: UserId,
    pub browser_session: BrowserSessionId,
    pub redirect_uri: String,
    pub scopes: Scopes,
    /// Empty where the client went without PKCE: no verifier proves that, on nodes that know no such client either.
    pub challenge: Vec<u8>,
    pub nonce: Option<String>,
    pub authenticated_at: Time,
    pub expires_at: Time,
    /// What its first use gave.
    pub family: Option<SessionId>,
}

/// Claims of an ID token (OpenID Connect Core, 2).
#[derive(Debug, Serialize)]
pub struct IdClaims {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    pub iat: i64,
    pub exp: i64,
    pub auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_hash: Option<String>,
    /// With the scope profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// With the scope email, as the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
}

/// What the scopes of a token tell about its person.
pub struct UserInfo {
    pub user: UserId,
    pub username: Option<String>,
    pub email: Option<String>,
    pub email_verified: Option<bool>,
}

impl UserInfo {
    pub fn of(user: UserId, scopes: Scopes, username: String, email: String, proven: bool) -> Self {
        let profile = scopes.has(Scope::Profile);
        // Participants of a host's app may have none.
        let address = scopes.has(Scope::Email) && !email.is_empty();
        Self {
            user,
            username: profile.then_some(username),
            email: address.then_some(email),
            email_verified: address.then_some(proven),
        }
    }
}

/// The left half of the access token's hash, by the hash of the signature's algorithm. None for EdDSA, for which
/// nobody has said which hash that is.
pub fn at_hash(algorithm: IdTokenAlgorithm, access_token: &str) -> Option<String> {
    match algorithm {
        IdTokenAlgorithm::Rs256 => {
            let hash = sha256(access_token.as_bytes());
            hash.as_ref().get(..16).map(|half| URL_SAFE_NO_PAD.encode(half))
        }
        IdTokenAlgorithm::EdDsa => None,
    }
}

/// What introspection (RFC 7662) tells a client about a token of its own.
#[derive(Debug, Default)]
pub struct Introspected {
    pub scopes: Scopes,
    pub client_id: String,
    pub subject: Option<String>,
    pub expires_at: i64,
    /// Of access tokens.
    pub issued_at: Option<i64>,
    pub id: Option<String>,
    pub is_access_token: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::request::parse_challenge;
    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn a_verifier_proves_the_challenge_of_the_standard() {
        let challenge = parse_challenge(CHALLENGE).unwrap();
        assert!(matches(None, &[]) && !matches(Some(&"a".repeat(43)), &[]) && !matches(None, &[0; 32]));
        assert!(proves("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", &challenge));
        for bad in ["", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK", CHALLENGE, &"a".repeat(129)] {
            assert!(!proves(bad, &challenge));
        }
    }

    proptest! {
        #[test]
        fn no_text_as_a_code_makes_us_panic(text in ".{0,200}") {
            let _ = AuthorizationCode::parse(&text);
        }
    }
}
