//! What a client is.

use std::fmt;

use url::Url;
use uuid::Uuid;

use crate::kernel::actor::Actor;
use crate::kernel::caller::IdTokenAlgorithm;
use crate::kernel::digest::ClientSecretHash;
use crate::kernel::ids::ClientId;
use crate::kernel::precis::is_visible;
use crate::kernel::program::is_loopback;
use crate::kernel::scope::{Scope, Scopes};
use crate::kernel::time::Time;
use crate::words;

/// The client that our own documentation page is.
pub const DOCS: &str = "docs";
const DOCS_REDIRECT: &str = "/docs/assets/oauth2-redirect.html";

/// Characters of a name.
pub const MOST_NAME: usize = 100;
/// Redirect URIs of one client.
pub const MOST_REDIRECTS: usize = 20;
/// Characters of a redirect URI.
const MOST_URI: usize = 1000;

words! {
    /// How a client may get tokens.
    pub enum GrantType as "GrantType" {
        AuthorizationCode = "authorization_code",
        RefreshToken = "refresh_token",
        ClientCredentials = "client_credentials",
    }
}

/// A registered client, or one of the two that are built in.
#[derive(Clone, Debug)]
pub struct OAuthClient {
    /// As requests and tokens name it.
    pub id: String,
    /// Of registered ones.
    pub uuid: Option<Uuid>,
    pub name: String,
    /// SHA-256; public clients have none.
    pub secret_hash: Option<ClientSecretHash>,
    pub redirect_uris: Vec<RedirectUri>,
    pub grants: Vec<GrantType>,
    pub scopes: Scopes,
    pub id_token_algorithm: IdTokenAlgorithm,
    /// False for a confidential client that managers let in although it knows no PKCE: it sends a nonce instead.
    pub require_pkce: bool,
    /// Whether what it says of an address being proven is taken.
    pub trusts_addresses: bool,
    pub created_at: Time,
}

impl OAuthClient {
    /// Who has sent a request that names this client; of the documentation page, which is part of the service, nothing
    /// is known by that.
    pub fn acts(&self, actor: Actor) -> Actor {
        self.uuid.map_or(actor, |id| actor.program(ClientId(id)))
    }

    /// The documentation page, which lets its readers try calls with any scope that a person may give.
    pub fn docs(public_url: &str) -> Self {
        Self {
            id: DOCS.to_owned(),
            uuid: None,
            name: "API documentation".to_owned(),
            secret_hash: None,
            redirect_uris: vec![RedirectUri(format!("{public_url}{DOCS_REDIRECT}"))],
            grants: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            scopes: Scopes::PERSON,
            id_token_algorithm: IdTokenAlgorithm::Rs256,
            require_pkce: true,
            trusts_addresses: false,
            created_at: Time(0),
        }
    }

    pub fn is_confidential(&self) -> bool {
        self.secret_hash.is_some()
    }

    pub fn may(&self, grant: GrantType) -> bool {
        self.grants.contains(&grant)
    }

    /// The redirect URI of a request, if it is a registered one: character by character, and on this machine by any
    /// port (RFC 8252, 7.3), for an app there takes whichever port is free. The documentation page is served at our own
    /// port: whatever listens at another is not it.
    pub fn redirect_uri(&self, text: &str) -> Option<RedirectUri> {
        let asked = self.uuid.and_then(|_| without_loopback_port(text));
        let registered = |uri: &RedirectUri| uri.0 == text || asked.is_some() && without_loopback_port(&uri.0) == asked;
        self.redirect_uris.iter().any(registered).then(|| RedirectUri(text.to_owned()))
    }

    pub fn has_secret(&self, secret: &str) -> bool {
        self.secret_hash == Some(hash_secret(secret))
    }
}

/// Secrets are 256 random bits: a plain hash is as good as a slow one.
pub fn hash_secret(secret: &str) -> ClientSecretHash {
    ClientSecretHash::of(secret)
}

/// Where a client may have people sent back to. It has passed the rule below; at use it is compared as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri(String);

impl RedirectUri {
    /// https anywhere, http on this machine (native apps while they run), or a scheme of the app's own that reads like
    /// a domain turned round (RFC 8252).
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > MOST_URI {
            return Err("A redirect URI has 1 to 1000 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#*".contains(&byte)) {
            return Err("A redirect URI is plain ASCII without spaces, fragments (#) or wildcards (*)");
        }
        let url = Url::parse(text).map_err(|_| "A redirect URI is an absolute address")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("A redirect URI has no user name or password");
        }
        // What browsers and we would otherwise read each in their own way.
        let behind = text.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//"));
        let authority = behind.is_some_and(|rest| !rest.starts_with('/'));
        if matches!(url.scheme(), "https" | "http") && !authority {
            return Err("A redirect URI has two slashes behind https: and then a host");
        }
        match url.scheme() {
            "https" if url.has_host() => Ok(Self(text.to_owned())),
            "http" if is_loopback(&url) => Ok(Self(text.to_owned())),
            "http" => Err("A redirect URI is https, unless it leads to the machine that the app runs on"),
            scheme if scheme.contains('.') => Ok(Self(text.to_owned())),
            _ => Err("A redirect URI is https, or has a scheme of the app's own such as com.example.app"),
        }
    }

    /// What the database has, which has passed the rule once.
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whom people are sent back to, for them to read.
    pub fn host(&self) -> String {
        let url = Url::parse(&self.0).ok();
        let host = url.as_ref().and_then(|url| url.host_str().map(str::to_owned));
        host.or_else(|| url.map(|url| url.scheme().to_owned())).unwrap_or_default()
    }

    /// Whether only the client can be behind it: of apps on the person's own machine anybody may have made one.
    pub fn proves_client(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The address with parameters added.
    pub fn with(&self, parameters: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        let joint = if self.0.contains('?') { '&' } else { '?' };
        format!("{}{joint}{}", self.0, query.finish())
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host and rest of an http address that leads to the machine it is used on, its port left out. The text is taken apart
/// as it stands: what a parser would rewrite must not become equal.
fn without_loopback_port(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at_checked(end)?;
    let port = if port.is_empty() { "80" } else { port.strip_prefix(':')? };
    let known = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let loopback = Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url));
    (known && loopback).then_some((host, path))
}

/// A registration that has passed every rule.
#[derive(Clone, Debug)]
pub struct ClientRegistration {
    pub name: String,
    pub confidential: bool,
    pub redirect_uris: Vec<RedirectUri>,
    pub grants: Vec<GrantType>,
    pub scopes: Scopes,
    pub id_token_algorithm: IdTokenAlgorithm,
    pub require_pkce: bool,
    pub trusts_addresses: bool,
}

/// What is to be different about a client.
pub struct Change {
    pub name: Option<String>,
    pub redirect_uris: Option<Vec<RedirectUri>>,
    pub scopes: Option<Scopes>,
    pub trusts_addresses: Option<bool>,
}

/// A field that breaks a rule, and the rule.
pub type Fault = (&'static str, &'static str);

impl ClientRegistration {
    /// What no field shows alone.
    pub fn faults(&self) -> Vec<Fault> {
        let may = |grant| self.grants.contains(&grant);
        let (people, machine) = (may(GrantType::AuthorizationCode), may(GrantType::ClientCredentials));
        let mut faults = Vec::new();
        if !people && !machine {
            faults.push(("grants", "At least one of authorization_code and client_credentials"));
        }
        if may(GrantType::RefreshToken) && !people {
            faults.push(("grants", "refresh_token goes with authorization_code"));
        }
        if machine && !self.confidential {
            faults.push(("grants", "client_credentials is for confidential clients"));
        }
        if people && self.redirect_uris.is_empty() {
            faults.push(("redirect_uris", "authorization_code needs at least one redirect URI"));
        }
        if !people && !self.redirect_uris.is_empty() {
            faults.push(("redirect_uris", "Without authorization_code nobody is sent back"));
        }
        if people && self.scopes.and(Scopes::PERSON).is_empty() {
            faults.push(("scope", "authorization_code needs a scope that people can give"));
        }
        if !people && !self.scopes.and(Scopes::PERSON).is_empty() {
            faults.push(("scope", "Only authorization_code can use scopes that people give"));
        }
        let alone = !self.scopes.and(Scopes::MACHINE).is_empty();
        if machine && !alone {
            faults.push(("scope", "client_credentials needs a scope for programs: program:read or program:write"));
        }
        if !machine && alone {
            faults.push(("scope", "program:read and program:write are for client_credentials"));
        }
        if self.trusts_addresses && !self.scopes.has(Scope::ProgramWrite) {
            faults.push(("trusts_addresses", "Only a client with program:write tells of addresses"));
        }
        // RFC 9700, 2.1.1: the nonce of the ID token takes the place of PKCE, and only who can keep a secret goes
        // without.
        let without_pkce = people && self.confidential && self.scopes.has(Scope::Openid);
        if !(self.require_pkce || without_pkce) {
            let rule = "Without PKCE a client is confidential and uses authorization_code and the scope openid";
            faults.push(("require_pkce", rule));
        }
        faults
    }
}

/// A name that people are shown: it may not hold what makes it read as another.
pub fn parse_name(text: &str) -> Result<String, &'static str> {
    let name = text.trim();
    let length = name.chars().count();
    if length == 0 || length > MOST_NAME {
        return Err("A name has 1 to 100 characters");
    }
    // What asks for an emoji in colour is let in behind one.
    let shown = |c: char| matches!(c, ' ' | '\u{a0}' | '\u{3000}') || is_visible(c);
    if !name.chars().all(|c| shown(c) || c == '\u{fe0f}') || name.starts_with('\u{fe0f}') {
        return Err("A name has no control or invisible characters");
    }
    Ok(name.to_owned())
}

/// What a person has allowed a client.
#[derive(Clone, Debug)]
pub struct Consent {
    pub client_id: String,
    /// The client's name.
    pub name: String,
    pub scopes: Scopes,
    pub granted_at: Time,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn redirect_uris_are_https_or_lead_to_the_own_machine_or_app() {
        for good in [
            "https://app.example.com/cb",
            "https://app.example.com/cb?tenant=1",
            "https://app.example.com",
            "http://127.0.0.1:9000/cb",
            "http://[::1]/cb",
            "http://localhost/cb",
            "com.example.app:/cb",
        ] {
            assert_eq!(RedirectUri::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/cb",
            "app.example.com/cb",
            "http://app.example.com/cb",
            "http://127.0.0.1.example.com/cb",
            "https://user@app.example.com/cb",
            "https://user:secret@app.example.com/cb",
            "https://app.example.com/cb#top",
            "https://*.example.com/cb",
            "https://app.example.com/c b",
            "https://app.example.com/\u{442}",
            "https://app.example.com\\cb",
            "https://",
            "https:app.example.com/cb",
            "https:/app.example.com/cb",
            "https:///app.example.com/cb",
            "https:/app.example.com/x://y",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "myapp:/cb",
        ] {
            assert!(RedirectUri::parse(bad).is_err(), "{bad}");
        }
        assert!(RedirectUri::parse(&format!("https://a.example/{}", "x".repeat(1000))).is_err());
    }

    #[test]
    fn on_the_own_machine_any_port_is_the_registered_one_and_elsewhere_none_is() {
        let with = |uri: &str| OAuthClient {
            uuid: Some(Uuid::nil()),
            redirect_uris: vec![RedirectUri::parse(uri).unwrap()],
            ..OAuthClient::docs("https://r.example")
        };
        for (registered, asked) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb"),
            ("http://127.0.0.1:9000/cb?x=1", "http://127.0.0.1:1/cb?x=1"),
            ("http://127.0.0.1:9000/cb", "http://127.0.0.1/cb"),
            ("http://[::1]/cb", "http://[::1]:65535/cb"),
            ("http://localhost:3000", "http://localhost:8080"),
            ("https://app.example.com/cb", "https://app.example.com/cb"),
        ] {
            assert_eq!(with(registered).redirect_uri(asked).map(|uri| uri.0), Some(asked.to_owned()), "{asked}");
        }
        for (registered, asked) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:49152/other"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb?x=1"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:+80/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example:80/cb"),
            ("http://127.0.0.1/cb", "http://localhost/cb"),
            ("http://127.0.0.1/cb", "http://[::1]/cb"),
            ("http://127.0.0.1/cb", "http://0x7f.1/cb"),
            ("http://127.0.0.1/cb", "https://127.0.0.1:49152/cb"),
            ("http://[::1]/cb", "http://[::1]x:80/cb"),
            ("http://[::1]/cb", "http://[::1]44/cb"),
            ("http://localhost/cb", "http://LOCALHOST:80/cb"),
            ("https://app.example.com/cb", "https://app.example.com:444/cb"),
            ("https://app.example.com/cb", "http://app.example.com:444/cb"),
            ("https://localhost/cb", "https://localhost:444/cb"),
        ] {
            assert_eq!(with(registered).redirect_uri(asked), None, "{asked}");
        }
    }

    /// A log-in by it stands for a password.
    #[test]
    fn no_other_port_of_the_machine_is_the_documentation_page() {
        let ours = "http://127.0.0.1:8000/docs/assets/oauth2-redirect.html";
        let docs = OAuthClient::docs("http://127.0.0.1:8000");
        assert_eq!(docs.redirect_uri(ours).map(|uri| uri.0), Some(ours.to_owned()));
        assert_eq!(docs.redirect_uri(&ours.replace("8000", "6666")), None);
    }

    #[test]
    fn parameters_are_added_and_sources_named() {
        let plain = RedirectUri::parse("https://app.example.com/cb").unwrap();
        assert_eq!(plain.with(&[("code", "a b"), ("state", "&")]), "https://app.example.com/cb?code=a+b&state=%26");
        let query = RedirectUri::parse("http://127.0.0.1:9000/cb?x=1").unwrap();
        assert_eq!(query.with(&[("code", "a")]), "http://127.0.0.1:9000/cb?x=1&code=a");
        let app = RedirectUri::parse("com.example.app:/cb").unwrap();
        assert_eq!((plain.host().as_str(), app.host().as_str()), ("app.example.com", "com.example.app"));
        assert!(plain.proves_client() && !query.proves_client() && !app.proves_client());
    }

    #[test]
    fn names_are_what_they_seem() {
        assert_eq!(parse_name(" Наш магазин ").unwrap(), "Наш магазин");
        assert_eq!(parse_name("We\u{2764}\u{fe0f}Tea & Co.").unwrap(), "We\u{2764}\u{fe0f}Tea & Co.");
        for bad in [
            "",
            "  ",
            "a\nb",
            "pay\u{202e}lap",
            "a\u{200b}b",
            "\u{3164}",
            "\u{2800}",
            "\u{fe0f}",
            "a\u{2028}b",
            &"x".repeat(101),
        ] {
            assert!(parse_name(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_us_panic(text in ".{0,60}") {
            if let Ok(uri) = RedirectUri::parse(&text) {
                prop_assert!(uri.with(&[("a", "b")]).starts_with(&text));
                prop_assert!(!uri.host().is_empty());
            }
        }
    }
}
