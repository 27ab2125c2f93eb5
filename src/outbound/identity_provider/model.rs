//! What a provider says of a person, and why a sign-in with one fails.

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

/// What a person is told of a failure. What has happened in detail is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is no such provider.
    Unknown,
    /// The provider does not work just now: they can wait, or take another way in.
    Away,
    /// The provider does not take us, or we do not find it: only who runs this service can mend that.
    Setup,
    /// The person, or the provider, has said no.
    Denied,
    /// The answer cannot be trusted or is not good any more: they can begin again.
    Untrusted,
}

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident $word:literal $outcome:ident;)*) => {
        /// Why nobody was signed in. The word is stable and for the log, the outcome for the person.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum SignInError { $($(#[$doc])* $name,)* }

        impl SignInError {
            pub const ALL: &[SignInError] = &[$(SignInError::$name,)*];

            pub fn word(self) -> &'static str {
                match self { $(SignInError::$name => $word,)* }
            }

            pub fn outcome(self) -> Outcome {
                match self { $(SignInError::$name => Outcome::$outcome,)* }
            }
        }
    };
}

failures! {
    /// No provider has this name.
    UnknownProvider "unknown_provider" Unknown;
    /// No connection, or no answer in time.
    Unreachable "unreachable" Away;
    /// A status, a redirect or a body that is none of OpenID Connect.
    BrokenAnswer "broken_answer" Away;
    /// The provider says that it cannot answer now.
    Unavailable "provider_unavailable" Away;
    /// The metadata is of another issuer than the configured one.
    MetadataIssuer "metadata_issuer" Setup;
    /// The metadata has an address that we do not go to, or lacks one.
    MetadataAddress "metadata_address" Setup;
    /// The provider does not take our client id or secret.
    ClientRefused "client_refused" Setup;
    /// The provider does not take what we ask for.
    RequestRefused "request_refused" Setup;
    /// The person, or the provider, has said no.
    Denied "denied" Denied;
    /// The provider does not take the code: used, expired, or another's.
    CodeRefused "code_refused" Untrusted;
    /// The answer at the redirect URI has neither a code nor an error.
    ResponseEmpty "response_empty" Untrusted;
    /// The answer at the redirect URI names another issuer (RFC 9207).
    ResponseIssuer "response_issuer" Untrusted;
    /// It names none although the metadata promises one.
    ResponseIssuerMissing "response_issuer_missing" Untrusted;
    /// There is no ID token in the provider's answer.
    NoIdToken "no_id_token" Away;
    /// The ID token is not signed, or by an algorithm that we do not believe.
    TokenAlgorithm "token_algorithm" Untrusted;
    /// Its header asks for what we do not do: another type, a nested token, critical parts.
    TokenHeader "token_header" Untrusted;
    /// The provider has no key that can have signed it.
    TokenKey "token_key" Untrusted;
    /// None of the keys that can have signed it has.
    TokenSignature "token_signature" Untrusted;
    /// It names another issuer, or none.
    TokenIssuer "token_issuer" Untrusted;
    /// It is not for us.
    TokenAudience "token_audience" Untrusted;
    /// It was given to another client, or to one of several without saying which.
    TokenParty "token_party" Untrusted;
    /// Its time is over, or it does not say when that is.
    TokenExpired "token_expired" Untrusted;
    /// It was issued in the future.
    TokenTooEarly "token_too_early" Untrusted;
    /// It belongs to another sign-in.
    TokenNonce "token_nonce" Untrusted;
    /// The subject is no text of 1 to 255 characters.
    TokenSubject "token_subject" Untrusted;
    /// The user information is about somebody else, or does not say whom.
    UserInfoSubject "userinfo_subject" Untrusted;
}

/// Letters of what comes from outside that a line of the log holds.
const MOST_OF_A_DETAIL: usize = 300;
/// Letters of an error's word.
const MOST_OF_A_WORD: usize = 64;

/// A failure, and what the operator may want to know of it: never anything secret or personal.
pub struct Failure {
    pub error: SignInError,
    detail: String,
}

impl From<SignInError> for Failure {
    fn from(error: SignInError) -> Self {
        error.because("")
    }
}

impl SignInError {
    pub fn because(self, detail: impl Into<String>) -> Failure {
        Failure { error: self, detail: detail.into() }
    }
}

impl Failure {
    /// Of the word by which a provider tells an error, at the redirect URI (RFC 6749, 4.1.2.1; OpenID Connect Core,
    /// 3.1.2.6) or at its token endpoint (RFC 6749, 5.2). The word alone is kept: a description may quote what was sent.
    pub fn told(word: &str) -> Self {
        let error = match word {
            "access_denied"
            | "consent_required"
            | "interaction_required"
            | "login_required"
            | "account_selection_required" => SignInError::Denied,
            "temporarily_unavailable" | "server_error" => SignInError::Unavailable,
            "invalid_client" | "unauthorized_client" => SignInError::ClientRefused,
            "invalid_grant" => SignInError::CodeRefused,
            "invalid_request"
            | "invalid_scope"
            | "unsupported_grant_type"
            | "unsupported_response_type"
            | "invalid_request_uri"
            | "invalid_request_object"
            | "request_not_supported"
            | "request_uri_not_supported"
            | "registration_not_supported"
            | "invalid_target" => SignInError::RequestRefused,
            _ => SignInError::BrokenAnswer,
        };
        let harmless = |letter: &char| letter.is_ascii_alphanumeric() || "_-.".contains(*letter);
        let word: String = word.chars().filter(harmless).take(MOST_OF_A_WORD).collect();
        error.because(format!("the provider's error is {word:?}"))
    }

    /// Short and without control characters, for much of it comes from outside.
    pub fn detail(&self) -> String {
        self.detail.chars().filter(|letter| !letter.is_control()).take(MOST_OF_A_DETAIL).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<&str> = SignInError::ALL.iter().map(|failure| failure.word()).collect();
        assert_eq!(words.len(), SignInError::ALL.len());
    }

    #[test]
    fn of_a_providers_error_the_word_is_kept_and_nothing_else() {
        use SignInError::*;
        for (word, error, kept) in [
            ("access_denied", Denied, "access_denied"),
            ("login_required", Denied, "login_required"),
            ("temporarily_unavailable", Unavailable, "temporarily_unavailable"),
            ("server_error", Unavailable, "server_error"),
            ("unauthorized_client", ClientRefused, "unauthorized_client"),
            ("invalid_client", ClientRefused, "invalid_client"),
            ("invalid_grant", CodeRefused, "invalid_grant"),
            ("invalid_scope", RequestRefused, "invalid_scope"),
            ("AADSTS50011", BrokenAnswer, "AADSTS50011"),
            ("", BrokenAnswer, ""),
            ("a\r\nb\"\u{1b}[31m olga@example.com", BrokenAnswer, "ab31molgaexample.com"),
            (&"x".repeat(5000), BrokenAnswer, &"x".repeat(64)),
        ] {
            let failure = Failure::told(word);
            assert_eq!(failure.error, error, "{word}");
            assert_eq!(failure.detail(), format!("the provider's error is \"{kept}\""));
        }
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
