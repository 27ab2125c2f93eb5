//! What a sign-in with another provider is, and why one fails.

use crate::kernel::time::Time;

const MOST_OF_A_NAME: usize = 200;
/// Addresses beyond this are nobody's (RFC 5321).
const MOST_OF_AN_ADDRESS: usize = 254;

/// A person as a provider vouches for them. Who they are is issuer and subject together, never the address.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
    /// As the provider has it: text that has passed no rule of ours.
    pub email: Option<String>,
    /// What the provider says of the address; whether that counts is the operator's `trust_email`.
    pub email_verified: bool,
    pub name: Option<String>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// Somebody on the way to a provider, under the hash of the state that was sent along.
#[derive(Clone)]
pub struct Departure {
    pub provider: String,
    /// SHA-256 of the visitor's cookie: only the same browser can come back.
    pub visitor_hash: [u8; 32],
    /// Where to go on afterwards.
    pub next: String,
    /// The referral code brought along.
    pub code: Option<String>,
    pub nonce: String,
    pub verifier: String,
    pub expires_at: Time,
}

/// Somebody back from a provider who is nobody's yet, under the hash of the ticket in our form.
#[derive(Clone)]
pub struct Arrival {
    pub provider: String,
    pub visitor_hash: [u8; 32],
    pub next: String,
    pub code: Option<String>,
    pub identity: Identity,
    pub expires_at: Time,
}

/// What a provider calls somebody's address, if it can be one at all; what else it must be is for whoever makes an
/// account of it.
pub fn address(text: &str) -> Option<String> {
    let possible = text.len() <= MOST_OF_AN_ADDRESS && text.contains('@') && !text.chars().any(char::is_control);
    possible.then(|| text.to_owned())
}

/// What a provider calls somebody, as one may be greeted.
pub fn greeting(text: &str) -> Option<String> {
    let name: String = text.chars().filter(|letter| !letter.is_control()).take(MOST_OF_A_NAME).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident $word:literal $sentence:ident;)*) => {
        /// Why nobody was signed in. The word is stable and for the log, the sentence for the person.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum SignInError { $($(#[$doc])* $name,)* }

        impl SignInError {
            pub const ALL: &[SignInError] = &[$(SignInError::$name,)*];

            pub fn word(self) -> &'static str {
                match self { $(SignInError::$name => $word,)* }
            }

            pub fn sentence(self) -> &'static str {
                match self { $(SignInError::$name => $sentence,)* }
            }
        }
    };
}

impl SignInError {
    /// Whether the provider, or our dealings with it, are out of order: not what somebody may have tampered with.
    pub fn is_outage(self) -> bool {
        self.sentence() == AWAY || self.sentence() == BROKEN
    }
}

// What has happened in detail is the operator's to know; a person can wait, begin again, or take another way in.
const NO_PROVIDER: &str = "There is no such provider to sign in with";
const AWAY: &str = "The provider does not answer just now; try again shortly";
const BROKEN: &str = "Signing in with this provider does not work just now; whoever runs this service can tell why";
const STALE: &str = "This sign-in is not good any more; begin again";
const UNTRUSTED: &str = "What the provider answered cannot be trusted, so nobody was signed in; begin again";

failures! {
    /// No provider has this name.
    UnknownProvider "unknown_provider" NO_PROVIDER;
    /// No connection, or no answer in time.
    Unreachable "unreachable" AWAY;
    /// A status, a redirect or a body that is none of OpenID Connect.
    BrokenAnswer "broken_answer" BROKEN;
    /// The metadata is of another issuer than the configured one.
    MetadataIssuer "metadata_issuer" BROKEN;
    /// The metadata has an address that we do not go to, or lacks one.
    MetadataAddress "metadata_address" BROKEN;
    /// The provider does not take our client id or secret.
    ClientRefused "client_refused" BROKEN;
    /// The provider does not take the code: used, expired, or another's.
    CodeRefused "code_refused" STALE;
    /// The answer at the redirect URI names another issuer (RFC 9207).
    ResponseIssuer "response_issuer" UNTRUSTED;
    /// It names none although the metadata promises one.
    ResponseIssuerMissing "response_issuer_missing" UNTRUSTED;
    /// There is no ID token in the provider's answer.
    NoIdToken "no_id_token" BROKEN;
    /// The ID token is not signed, or by an algorithm that we do not believe.
    TokenAlgorithm "token_algorithm" UNTRUSTED;
    /// Its header asks for what we do not do: another type, encryption, critical parts.
    TokenHeader "token_header" UNTRUSTED;
    /// None of the provider's keys, or no single one of them, has signed it.
    TokenKey "token_key" UNTRUSTED;
    /// The key has signed something else.
    TokenSignature "token_signature" UNTRUSTED;
    TokenIssuer "token_issuer" UNTRUSTED;
    /// It is not for us.
    TokenAudience "token_audience" UNTRUSTED;
    /// It was given to another client, or to one of several without saying which.
    TokenParty "token_party" UNTRUSTED;
    TokenExpired "token_expired" UNTRUSTED;
    /// It was issued in the future.
    TokenTooEarly "token_too_early" UNTRUSTED;
    /// It belongs to another sign-in.
    TokenNonce "token_nonce" UNTRUSTED;
    /// The subject is no text of 1 to 255 characters.
    TokenSubject "token_subject" UNTRUSTED;
    /// The user information is about somebody else.
    UserInfoSubject "userinfo_subject" UNTRUSTED;
    /// We have asked in a way that makes no sense: ours to mend.
    Misused "misused" BROKEN;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<&str> = SignInError::ALL.iter().map(|failure| failure.word()).collect();
        assert_eq!(words.len(), SignInError::ALL.len());
        assert!(SignInError::ALL.iter().all(|failure| !failure.sentence().is_empty()));
    }

    #[test]
    fn an_identity_does_not_print_who_it_is() {
        let identity = Identity {
            issuer: "https://id.example.com".into(),
            subject: "olga-7".into(),
            email: Some("olga@example.com".into()),
            email_verified: true,
            name: Some("Olga".into()),
        };
        assert_eq!(format!("{identity:?}"), "Identity(…)");
    }
}
