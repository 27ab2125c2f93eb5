//! Identity providers as a client of theirs sees them: OpenID Connect with the authorization code flow.
//!
//! Of what a provider answers only what is used is read (`answers.rs`); what proves who somebody is, is strict
//! (`id_token.rs`). docs/adr/0024 has why no crate does it.
//!
//! Against a provider that sends people to another one to get at their codes (mix-up) there are two fences: the issuer
//! beside the code, and a redirect URI for each provider, which no other one takes.

pub mod answers;
pub mod id_token;
pub mod model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::{Serializer, byte_serialize};
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use self::answers::{Claims, Key, TokenAnswer};
use self::id_token::Expected;
use self::model::{Failure, Identity, SignInError, address, greeting};
use crate::config;
use crate::kernel::digest::sha256;
use crate::kernel::time::Time;
use crate::outbound::transport::{self, Http, Reply};

/// How long one request may take, the last byte included. A person is waiting.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long what a provider says of itself is believed, keys included.
const METADATA_LIFE: Duration = Duration::from_secs(60 * 60);
/// Between two extra looks at a provider's keys.
const KEYS_APART: Duration = Duration::from_secs(10);

/// All providers of the configuration. Nobody is asked anything before the first sign-in.
pub struct Providers {
    all: BTreeMap<String, Provider>,
}

/// What belongs to one sign-in from its beginning to its end.
#[derive(Clone, Copy)]
pub struct Flow<'a> {
    /// Ours, as it is registered at the provider.
    pub redirect_uri: &'a str,
    pub nonce: &'a str,
    /// Of PKCE: 43 to 128 characters of `A-Z a-z 0-9 - . _ ~`.
    pub verifier: &'a str,
}

impl Providers {
    /// The error is a sentence with a remedy.
    pub fn open(settings: &BTreeMap<String, config::Provider>, patience: Duration) -> Result<Self, String> {
        let client = transport::client(patience)?;
        let mut all = BTreeMap::new();
        for (name, settings) in settings {
            let issuer = Url::parse(&settings.issuer)
                .map_err(|error| format!("providers.{name}.issuer is no address: {error}"))?;
            let http = Http::to(&issuer, &client);
            let provider = Provider { settings: settings.clone(), http, memory: Mutex::default() };
            all.insert(name.clone(), provider);
        }
        Ok(Self { all })
    }

    /// Names and labels, for the buttons.
    pub fn list(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().map(|(name, provider)| (name.as_str(), provider.settings.label.as_str()))
    }

    /// The settings of a provider.
    pub fn settings(&self, name: &str) -> Option<&config::Provider> {
        self.all.get(name).map(|provider| &provider.settings)
    }

    /// The name of the provider that an issuer has here.
    pub fn of_issuer(&self, issuer: &str) -> Option<&str> {
        self.all.iter().find(|(_, provider)| provider.settings.issuer == issuer).map(|(name, _)| name.as_str())
    }

    /// Whether a provider answers as one should; if not, why, for the operator.
    pub async fn reach(&self, name: &str, now: Time) -> Result<(), String> {
        let provider = self.all.get(name).ok_or(SignInError::UnknownProvider.word())?;
        provider.known(now).await.map(drop).map_err(|failure| format!("{}: {}", failure.error.word(), failure.detail()))
    }

    /// The address to send a person's browser to.
    pub async fn begin(&self, name: &str, flow: &Flow<'_>, state: &str, now: Time) -> Result<String, SignInError> {
        let provider = self.all.get(name).ok_or(SignInError::UnknownProvider)?;
        told(name, provider.begin(flow, state, now).await)
    }

    /// Who has come back with this code. `iss` is the parameter of that name beside the code (RFC 9207).
    pub async fn finish(
        &self,
        name: &str,
        flow: &Flow<'_>,
        code: &str,
        iss: Option<&str>,
        now: Time,
    ) -> Result<Identity, SignInError> {
        let provider = self.all.get(name).ok_or(SignInError::UnknownProvider)?;
        told(name, provider.finish(flow, code, iss, now).await)
    }

    /// Why nobody has come back, by the word of the error at the redirect URI if there is one.
    pub fn refused(&self, name: &str, error: Option<&str>, iss: Option<&str>) -> SignInError {
        let failure = match self.all.get(name) {
            None => SignInError::UnknownProvider.into(),
            // What is said there is another provider's.
            Some(provider) if iss.is_some_and(|iss| iss != provider.settings.issuer) => {
                SignInError::ResponseIssuer.into()
            }
            Some(_) => error.map_or(SignInError::ResponseEmpty.into(), Failure::told),
        };
        note(name, &failure);
        failure.error
    }
}

fn told<T>(name: &str, outcome: Result<T, Failure>) -> Result<T, SignInError> {
    outcome.map_err(|failure| {
        note(name, &failure);
        failure.error
    })
}

fn note(name: &str, failure: &Failure) {
    let (reason, detail) = (failure.error.word(), failure.detail());
    if failure.error == SignInError::Denied {
        // Somebody has thought better of it.
        tracing::info!(provider = name, reason, detail, "a sign-in with a provider was refused there");
    } else {
        tracing::warn!(provider = name, reason, detail, "a sign-in with a provider failed");
    }
}

// ------------------------------------------------------------------------------------------------- one provider

struct Provider {
    settings: config::Provider,
    http: Http,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    known: Option<Arc<Known>>,
    /// The last discovery that failed, and when it ended.
    failed: Option<(Instant, SignInError)>,
    /// When the keys were last asked for beside the discovery.
    keys_asked: Option<Time>,
}

/// What a provider says of itself, with its keys.
struct Known {
    metadata: Arc<Metadata>,
    keys: Vec<Key>,
    at: Time,
}

/// What is used of it.
struct Metadata {
    authorization: Url,
    token: Url,
    user_info: Option<Url>,
    keys: Url,
    secret_in_the_body: bool,
    /// Whether the issuer is always told beside the code (RFC 9207).
    promises_issuer: bool,
}

/// What is taken over of an ID token or of user information.
struct About {
    email: Option<String>,
    email_verified: bool,
    name: Option<String>,
}

impl Provider {
    async fn begin(&self, flow: &Flow<'_>, state: &str, now: Time) -> Result<String, Failure> {
        let known = self.known(now).await?;
        let challenge = URL_SAFE_NO_PAD.encode(sha256(flow.verifier.as_bytes()));
        let others = self.settings.scopes.split(' ').filter(|scope| !scope.is_empty() && *scope != "openid");
        let scopes: Vec<&str> = ["openid"].into_iter().chain(others).collect();
        let mut url = known.metadata.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", flow.redirect_uri)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", state)
            .append_pair("nonce", flow.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    async fn finish(&self, flow: &Flow<'_>, code: &str, iss: Option<&str>, now: Time) -> Result<Identity, Failure> {
        let known = self.known(now).await?;
        // Before the code goes anywhere: it may be another provider's.
        match iss {
            Some(iss) if iss != self.settings.issuer => return Err(SignInError::ResponseIssuer.into()),
            None if known.metadata.promises_issuer => return Err(SignInError::ResponseIssuerMissing.into()),
            _ => {}
        }
        let answer = token_answer(&self.http.send(self.exchange(&known.metadata, flow, code)).await?)?;
        let token = answer.id_token.ok_or(SignInError::NoIdToken)?;
        let claims = self.verified(&token, &known, flow, now).await?;
        let subject = claims.sub.clone().unwrap_or_default();
        let mut about = About::of(claims);
        if about.email.is_none()
            && let Some(url) = &known.metadata.user_info
        {
            let token = answer.access_token.unwrap_or_default();
            let asked = self.user_info(url, &token, &known.keys, &subject).await?;
            about = About { name: about.name.or(asked.name), ..asked };
        }
        Ok(Identity {
            issuer: self.settings.issuer.clone(),
            subject,
            email: about.email,
            email_verified: about.email_verified,
            name: about.name,
        })
    }

    /// The request that makes tokens of a code (RFC 6749, 4.1.3).
    fn exchange(&self, metadata: &Metadata, flow: &Flow<'_>, code: &str) -> RequestBuilder {
        let config::Provider { client_id, client_secret, .. } = &self.settings;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", flow.redirect_uri)
            .append_pair("code_verifier", flow.verifier);
        let mut request = self.http.post(&metadata.token);
        if client_secret.is_empty() {
            form.append_pair("client_id", client_id);
        } else if metadata.secret_in_the_body {
            form.append_pair("client_id", client_id).append_pair("client_secret", client_secret);
        } else {
            // RFC 6749, 2.3.1: each is encoded as in a form first.
            let [id, secret] =
                [client_id, client_secret].map(|text| byte_serialize(text.as_bytes()).collect::<String>());
            request = request.basic_auth(id, Some(secret));
        }
        request
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish())
    }

    /// The claims of an ID token that the provider has made for us, in this sign-in, and that is good now.
    async fn verified(&self, token: &str, known: &Arc<Known>, flow: &Flow<'_>, now: Time) -> Result<Claims, Failure> {
        let expected =
            Expected { issuer: &self.settings.issuer, client_id: &self.settings.client_id, nonce: flow.nonce };
        match id_token::verified(token, &known.keys, &expected, now) {
            // It may have new keys, and be it under the name of an old one.
            Err(SignInError::TokenKey | SignInError::TokenSignature) => {
                let known = self.with_new_keys(known, now).await?;
                Ok(id_token::verified(token, &known.keys, &expected, now)?)
            }
            other => Ok(other?),
        }
    }

    /// What the provider tells of a person to who has their access token (OpenID Connect Core, 5.3).
    async fn user_info(&self, url: &Url, token: &str, keys: &[Key], subject: &str) -> Result<About, Failure> {
        let request = self.http.get(url).bearer_auth(token).header(ACCEPT, "application/json");
        let answer = self.http.send(request).await?;
        let claims = match std::str::from_utf8(answer.good()?).map(str::trim) {
            Ok(signed) if signed.split('.').count() == 3 && !signed.starts_with('{') => {
                let claims = id_token::signed(signed, keys)?;
                let ours = claims.iss.as_ref().is_none_or(|iss| *iss == self.settings.issuer)
                    && (claims.aud.is_empty() || id_token::is_for(&claims, &self.settings.client_id));
                if !ours {
                    return Err(SignInError::BrokenAnswer.because("signed user information that is not for us"));
                }
                claims
            }
            _ => answer.read()?,
        };
        if claims.sub.as_deref() != Some(subject) {
            return Err(SignInError::UserInfoSubject.into());
        }
        Ok(About::of(claims))
    }

    // --------------------------------------------------------------------------------------- what is remembered

    /// What the provider says of itself, asked for if that was long ago.
    async fn known(&self, now: Time) -> Result<Arc<Known>, Failure> {
        let came = Instant::now();
        let mut memory = self.memory.lock().await;
        if let Some(known) = &memory.known
            && recent(known.at, now, METADATA_LIFE)
        {
            return Ok(known.clone());
        }
        // Whoever has waited for a discovery in vain does not make everybody behind wait for one more.
        if let Some((at, error)) = memory.failed
            && at >= came
        {
            return Err(error.into());
        }
        let first = self.discover().await;
        // A provider that is being restarted is back a moment later. One that says the wrong thing says it again.
        let found = match first {
            Err(Failure { error: SignInError::Unreachable | SignInError::BrokenAnswer, .. }) => self.discover().await,
            other => other,
        };
        match found {
            Ok((metadata, keys)) => {
                let known = Arc::new(Known { metadata: Arc::new(metadata), keys, at: now });
                memory.known = Some(known.clone());
                Ok(known)
            }
            Err(failure) => {
                memory.failed = Some((Instant::now(), failure.error));
                Err(failure)
            }
        }
    }

    async fn discover(&self) -> Result<(Metadata, Vec<Key>), Failure> {
        let ours = &self.settings.issuer;
        let url = format!("{}/.well-known/openid-configuration", ours.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| SignInError::MetadataAddress.because("the issuer is no address"))?;
        let said: answers::Metadata = self.http.send(self.http.get(&url)).await?.read()?;
        match said.issuer {
            Some(issuer) if issuer == *ours => {}
            Some(issuer) => return Err(SignInError::MetadataIssuer.because(format!("the provider is {issuer}"))),
            None => return Err(SignInError::MetadataIssuer.because("the metadata has no issuer")),
        }
        let methods = said.token_endpoint_auth_methods_supported;
        let has = |method: &str| methods.iter().flatten().any(|known| known == method);
        let endpoint = |name: &str, url: Option<Url>| {
            url.ok_or_else(|| SignInError::MetadataAddress.because(format!("the metadata has no {name}")))
        };
        let metadata = Metadata {
            authorization: endpoint("authorization_endpoint", said.authorization_endpoint)?,
            token: endpoint("token_endpoint", said.token_endpoint)?,
            user_info: said.userinfo_endpoint,
            keys: endpoint("jwks_uri", said.jwks_uri)?,
            // What is said of no method is Basic (OpenID Connect Discovery, 3).
            secret_in_the_body: has("client_secret_post") && !has("client_secret_basic"),
            promises_issuer: said.authorization_response_iss_parameter_supported,
        };
        // Each request is checked again. Said before a person is sent away, and the browser goes to one of them.
        let all = [&metadata.authorization, &metadata.token, &metadata.keys];
        if let Some(url) = all.into_iter().chain(&metadata.user_info).find(|url| !self.http.goes_to(url)) {
            return Err(SignInError::MetadataAddress.because(format!("{url} is not https")));
        }
        let keys = self.keys(&metadata).await?;
        Ok((metadata, keys))
    }

    async fn keys(&self, metadata: &Metadata) -> Result<Vec<Key>, Failure> {
        let answer = self.http.send(self.http.get(&metadata.keys)).await?;
        answers::keys(answer.good()?).ok_or_else(|| SignInError::BrokenAnswer.because("keys of no known form"))
    }

    /// As known, but with the provider's keys of this moment; the old ones if it was asked for them just now.
    async fn with_new_keys(&self, known: &Arc<Known>, now: Time) -> Result<Arc<Known>, Failure> {
        let mut memory = self.memory.lock().await;
        if let Some(newer) = memory.known.as_ref().filter(|newer| !Arc::ptr_eq(newer, known)) {
            return Ok(newer.clone());
        }
        if memory.keys_asked.is_some_and(|at| recent(at, now, KEYS_APART)) {
            return Ok(known.clone());
        }
        memory.keys_asked = Some(now);
        let keys = self.keys(&known.metadata).await?;
        let newer = Arc::new(Known { metadata: known.metadata.clone(), keys, at: known.at });
        memory.known = Some(newer.clone());
        Ok(newer)
    }
}

impl About {
    fn of(claims: Claims) -> Self {
        Self {
            email: claims.email.as_deref().and_then(address),
            email_verified: claims.email_verified,
            name: claims.name.as_deref().and_then(greeting),
        }
    }
}

/// False as well when the clock has stepped back.
fn recent(at: Time, now: Time, span: Duration) -> bool {
    at <= now && now.since(at) < span
}

/// What the token endpoint has answered, if that is no error, whatever the status: some tell errors with 200, and what
/// a failing server says of itself is worth a line in the log.
fn token_answer(answer: &Reply) -> Result<TokenAnswer, Failure> {
    match serde_json::from_slice(&answer.body) {
        Ok(TokenAnswer { error: Some(word), .. }) => Err(Failure::told(&word)),
        _ => answer.read(),
    }
}
