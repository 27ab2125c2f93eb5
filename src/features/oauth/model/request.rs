//! Authorization requests: what a client asks for, and by which rules it may.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{CodeChallengeMethod, Fault, OAuthError, PromptValue, ResponseMode, ResponseType};
use crate::features::clients::model::{GrantType, OAuthClient, RedirectUri};
use crate::kernel::error::Error;
use crate::kernel::parameters::{Parameters, Repeated};
use crate::kernel::scope::{Scope, Scopes};

/// Bytes of a nonce: it is stored, and comes back in the ID token.
const MOST_NONCE: usize = 1024;

/// What a client wants of the person it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Nothing may be shown.
    pub none: bool,
    /// The person is to log in even if they are.
    pub login: bool,
    pub consent: bool,
    /// The person is to make an account.
    pub create: bool,
}

impl Prompt {
    fn parse(text: &str) -> Option<Self> {
        let mut prompt = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match PromptValue::parse(word) {
                Some(PromptValue::None) => prompt.none = true,
                Some(PromptValue::Login) => prompt.login = true,
                Some(PromptValue::Consent) => prompt.consent = true,
                Some(PromptValue::Create) => prompt.create = true,
                // Whoever is to choose an account does so by logging in.
                None if word == "select_account" => prompt.login = true,
                None => return None,
            }
        }
        let others = prompt.login || prompt.consent || prompt.create;
        (!(prompt.none && others)).then_some(prompt)
    }
}

/// An authorization request that has passed every rule.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    pub client: OAuthClient,
    pub redirect_uri: RedirectUri,
    pub state: Option<String>,
    pub wishes: Wishes,
}

/// What an authorization request is for.
#[derive(Clone, Debug)]
pub struct Wishes {
    pub scopes: Scopes,
    /// SHA-256 of the verifier; none where the client may go without and does.
    pub challenge: Option<[u8; 32]>,
    pub nonce: Option<String>,
    pub prompt: Prompt,
    /// Seconds since the person last proved who they are.
    pub max_age: Option<u64>,
}

/// Why an authorization request goes no further.
pub enum Rejected {
    /// It is not known who asks.
    UnknownClient,
    /// It is not known where to go.
    BadRedirect,
    /// The client is told.
    Told(RedirectUri, Option<String>, Fault),
    /// The request could not be looked into.
    Failed(Error),
}

impl From<Error> for Rejected {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl AuthorizationRequest {
    /// The client that a request names; looked up by the caller.
    pub fn client_id(parameters: &Parameters) -> Result<&str, Rejected> {
        parameters.one("client_id").ok().flatten().ok_or(Rejected::UnknownClient)
    }

    /// The same request for a person who has done what it wanted done first: logged in, or made an account.
    pub fn followed(parameters: &Parameters) -> String {
        parameters.query(|name, value| match name {
            // Whoever has just logged in is young enough for any.
            "max_age" => None,
            "prompt" => {
                let left: Vec<&str> = value.split(' ').filter(|word| *word == "consent").collect();
                (!left.is_empty()).then(|| left.join(" "))
            }
            _ => Some(value.to_owned()),
        })
    }

    pub fn read(client: OAuthClient, parameters: &Parameters) -> Result<Self, Rejected> {
        let asked = parameters.one("redirect_uri").ok().flatten();
        let redirect_uri = asked.and_then(|uri| client.redirect_uri(uri)).ok_or(Rejected::BadRedirect)?;
        let state = parameters.one("state").ok().flatten().map(str::to_owned);
        match Wishes::read(&client, parameters) {
            Ok(wishes) => Ok(Self { client, redirect_uri, state, wishes }),
            Err(fault) => Err(Rejected::Told(redirect_uri, state, fault)),
        }
    }
}

impl Wishes {
    fn read(client: &OAuthClient, parameters: &Parameters) -> Result<Self, Fault> {
        let one = |name| {
            let repeated = |_: Repeated| Fault::new(OAuthError::InvalidRequest, "A parameter is given more than once");
            parameters.one(name).map_err(repeated)
        };
        // Also of those that no rule below asks for.
        for name in ["state", "client_id", "redirect_uri", "ui_locales", "login_hint"] {
            one(name)?;
        }
        if one("request")?.is_some() {
            return Err(Fault::new(OAuthError::RequestNotSupported, "Request objects are not supported"));
        }
        if one("request_uri")?.is_some() {
            return Err(Fault::new(OAuthError::RequestUriNotSupported, "Request objects are not supported"));
        }
        match one("response_type")?.map(ResponseType::parse) {
            Some(Some(ResponseType::Code)) => {}
            Some(None) => return Err(Fault::new(OAuthError::UnsupportedResponseType, "The response_type is code")),
            None => return Err(Fault::new(OAuthError::InvalidRequest, "The response_type is missing")),
        }
        if one("response_mode")?.is_some_and(|mode| ResponseMode::parse(mode).is_none()) {
            return Err(Fault::new(OAuthError::InvalidRequest, "The response_mode is query"));
        }
        if !client.may(GrantType::AuthorizationCode) {
            return Err(Fault::new(OAuthError::UnauthorizedClient, "This client may not use authorization codes"));
        }
        let challenge = match (one("code_challenge_method")?.map(CodeChallengeMethod::parse), one("code_challenge")?) {
            (None, None) if !client.require_pkce => None,
            (Some(Some(CodeChallengeMethod::S256)), challenge) => Some(challenge.and_then(parse_challenge).ok_or(
                Fault::new(OAuthError::InvalidRequest, "The code_challenge is the base64url of a SHA-256 hash"),
            )?),
            _ => {
                return Err(Fault::new(OAuthError::InvalidRequest, "PKCE with code_challenge_method=S256 is required"));
            }
        };
        let people = client.scopes.and(Scopes::PERSON);
        let scopes = match one("scope")? {
            None => people,
            // What this server does not know is left out (OpenID Connect Core, 3.1.2.1). What it knows and the client
            // may not have is refused.
            Some(text) => Some(Scopes::known(text))
                .filter(|asked| !asked.is_empty() && asked.within(people))
                .ok_or(Fault::new(OAuthError::InvalidScope, "This client may not ask for all of these scopes"))?,
        };
        let prompt = Prompt::parse(one("prompt")?.unwrap_or_default())
            .ok_or(Fault::new(OAuthError::InvalidRequest, "The prompt is none, or of login, consent and create"))?;
        let max_age = one("max_age")?.map(str::parse).transpose();
        let max_age =
            max_age.map_err(|_| Fault::new(OAuthError::InvalidRequest, "The max_age is a number of seconds"))?;
        let nonce = one("nonce")?;
        if nonce.is_some_and(|nonce| nonce.len() > MOST_NONCE || nonce.contains(char::is_control)) {
            let sentence = "The nonce has at most 1024 bytes, and none of them is a control character";
            return Err(Fault::new(OAuthError::InvalidRequest, sentence));
        }
        if challenge.is_none() && (nonce.is_none_or(str::is_empty) || !scopes.has(Scope::Openid)) {
            let sentence = "Without PKCE the scope openid and a nonce are required";
            return Err(Fault::new(OAuthError::InvalidRequest, sentence));
        }
        Ok(Self { scopes, challenge, nonce: nonce.map(str::to_owned), prompt, max_age })
    }
}

pub(super) fn parse_challenge(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn read(query: &str) -> Result<AuthorizationRequest, Rejected> {
        AuthorizationRequest::read(OAuthClient::docs("https://r.example"), &Parameters::parse(query.as_bytes()))
    }

    fn good() -> String {
        let uri = "https%3A%2F%2Fr.example%2Fdocs%2Fassets%2Foauth2-redirect.html";
        format!(
            "client_id=docs&redirect_uri={uri}&response_type=code&code_challenge={CHALLENGE}\
             &code_challenge_method=S256&state=xyz&scope=openid"
        )
    }

    fn wrong(query: &str) -> OAuthError {
        match read(query) {
            Err(Rejected::Told(_, _, fault)) => fault.wrong,
            Ok(_) => panic!("{query} is good"),
            Err(_) => panic!("{query} is not told"),
        }
    }

    #[test]
    fn a_request_is_read_and_each_fault_has_its_word() {
        let request = read(&good()).unwrap_or_else(|_| panic!("a good request"));
        assert_eq!(request.state.as_deref(), Some("xyz"));
        assert_eq!(request.wishes.scopes, Scopes::NONE.with(Scope::Openid));
        for (change, expected) in [
            ("&scope=openid", OAuthError::InvalidRequest),
            ("&state=b", OAuthError::InvalidRequest),
            ("&request=x", OAuthError::RequestNotSupported),
            ("&request_uri=x", OAuthError::RequestUriNotSupported),
            ("&response_mode=fragment", OAuthError::InvalidRequest),
            ("&prompt=none+login", OAuthError::InvalidRequest),
            ("&prompt=other", OAuthError::InvalidRequest),
            ("&max_age=-1", OAuthError::InvalidRequest),
            ("&nonce=a%00b", OAuthError::InvalidRequest),
        ] {
            assert_eq!(wrong(&format!("{}{change}", good())), expected, "{change}");
        }
        for (from, to, expected) in [
            ("response_type=code", "response_type=token", OAuthError::UnsupportedResponseType),
            ("response_type=code&", "", OAuthError::InvalidRequest),
            ("S256", "plain", OAuthError::InvalidRequest),
            ("&code_challenge_method=S256", "", OAuthError::InvalidRequest),
            (CHALLENGE, "short", OAuthError::InvalidRequest),
            ("scope=openid", "scope=program:read", OAuthError::InvalidScope),
            ("scope=openid", "scope=everything", OAuthError::InvalidScope),
            ("scope=openid", "scope=offline_access+address", OAuthError::InvalidScope),
            ("&code_challenge_method=S256", "&nonce=n", OAuthError::InvalidRequest),
        ] {
            assert_eq!(wrong(&good().replace(from, to)), expected, "{to}");
        }
    }

    #[test]
    fn without_a_redirect_uri_of_the_client_nobody_is_told() {
        for change in ["redirect_uri=https%3A%2F%2Fevil.example&", "redirect_uri=&", ""] {
            let query = good();
            let start = query.find("redirect_uri").unwrap();
            let end = query.find("response_type").unwrap();
            let (before, after) = (query.get(..start).unwrap(), query.get(end..).unwrap());
            let query = format!("{before}{change}{after}");
            assert!(matches!(read(&query), Err(Rejected::BadRedirect)), "{query}");
        }
        let twice = format!("{}&redirect_uri=https%3A%2F%2Fr.example%2Fdocs%2Fassets%2Foauth2-redirect.html", good());
        assert!(matches!(read(&twice), Err(Rejected::BadRedirect)));
    }

    #[test]
    fn scopes_that_this_server_does_not_know_are_left_out() {
        let request = read(&good().replace("scope=openid", "scope=openid+offline_access+address+email"));
        let request = request.unwrap_or_else(|_| panic!("a good request"));
        assert_eq!(request.wishes.scopes.to_string(), "openid email");
    }

    #[test]
    fn without_pkce_only_the_let_in_come_and_with_a_nonce() {
        let client = |require_pkce| OAuthClient { require_pkce, ..OAuthClient::docs("https://r.example") };
        let pkce = format!("&code_challenge={CHALLENGE}&code_challenge_method=S256");
        let plain = good().replace(&pkce, "");
        let challenge = |require_pkce, query: &str| {
            let read = AuthorizationRequest::read(client(require_pkce), &Parameters::parse(query.as_bytes()));
            read.ok().map(|request| request.wishes.challenge.is_some())
        };
        assert_eq!(challenge(false, &format!("{plain}&nonce=n")), Some(false));
        assert_eq!(challenge(true, &format!("{plain}&nonce=n")), None);
        assert_eq!(challenge(false, &good()), Some(true));
        for bad in [
            plain.clone(),
            format!("{plain}&nonce="),
            format!("{}&nonce=n", plain.replace("scope=openid", "scope=profile")),
            format!("{plain}&nonce=n&code_challenge_method=plain"),
            format!("{plain}&nonce=n&code_challenge={CHALLENGE}"),
            format!("{plain}&nonce=n&code_challenge_method=S256"),
        ] {
            assert_eq!(challenge(false, &bad), None, "{bad}");
        }
    }

    #[test]
    fn what_was_followed_is_taken_out() {
        let parameters = Parameters::parse(b"a=1&prompt=login+consent&max_age=0&b=%26");
        assert_eq!(AuthorizationRequest::followed(&parameters), "a=1&prompt=consent&b=%26");
        assert_eq!(AuthorizationRequest::followed(&Parameters::parse(b"prompt=create&a=1")), "a=1");
    }

    proptest! {
        #[test]
        fn no_query_makes_us_panic(query in ".{0,200}") {
            let _ = read(&query);
            let _ = read(&format!("{}&{query}", good()));
        }
    }
}
