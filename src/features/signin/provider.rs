//! Identity providers as a client of theirs sees them: OpenID Connect with the authorization code flow.
//!
//! The crate `openidconnect` knows the protocol and checks signatures; what it leaves to its callers is checked here:
//! the issuer at the redirect URI, the authorized party, our clock, and where requests may go. docs/adr/0011 has why.
//!
//! Against a provider that sends people to another one to get at their codes (mix-up) there are two fences: the issuer
//! beside the code, and a redirect URI for each provider, which no other one takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreIdToken, CoreIdTokenClaims, CoreIdTokenVerifier,
    CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
    CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{
    AccessToken, AdditionalProviderMetadata, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, DiscoveryError, EmptyAdditionalClaims, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, SubjectIdentifier, TokenResponse, UserInfoClaims,
    UserInfoError,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::model::{Identity, SignInError, address, greeting};
use super::transport::{self, Http, HttpFault};
use crate::config;
use crate::kernel::time::Time;

/// How long one request may take, the last byte included. A person is waiting.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long what a provider says of itself is believed, keys included.
const METADATA_LIFE: Duration = Duration::from_secs(60 * 60);
/// Between two extra looks at a provider's keys.
const KEYS_APART: Duration = Duration::from_secs(10);
/// By how many seconds a provider's clock may be ahead of ours.
const LEEWAY: i64 = 60;
/// Parsers quote what they cannot read.
const MOST_OF_A_DETAIL: usize = 300;

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
            let issuer = IssuerUrl::new(settings.issuer.clone())
                .map_err(|error| format!("providers.{name}.issuer is no address: {error}"))?;
            let http = Http::to(issuer.url(), &client);
            let provider = Provider { settings: settings.clone(), issuer, http, memory: Mutex::default() };
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
}

/// A failure, and what the operator may want to know of it: never anything secret or personal.
struct Failure {
    error: SignInError,
    detail: String,
}

impl From<SignInError> for Failure {
    fn from(error: SignInError) -> Self {
        Self { error, detail: String::new() }
    }
}

impl From<HttpFault> for Failure {
    fn from(fault: HttpFault) -> Self {
        let error = match fault {
            HttpFault::Forbidden => SignInError::MetadataAddress,
            HttpFault::Unreachable(_) => SignInError::Unreachable,
            HttpFault::Broken(_) => SignInError::BrokenAnswer,
        };
        error.because(fault.to_string())
    }
}

impl Failure {
    /// Short and without control characters, for much of it comes from outside.
    fn detail(&self) -> String {
        self.detail.chars().filter(|letter| !letter.is_control()).take(MOST_OF_A_DETAIL).collect()
    }
}

impl SignInError {
    fn because(self, detail: impl Into<String>) -> Failure {
        Failure { error: self, detail: detail.into() }
    }
}

fn told<T>(name: &str, outcome: Result<T, Failure>) -> Result<T, SignInError> {
    outcome.map_err(|failure| {
        let (reason, detail) = (failure.error.word(), failure.detail());
        tracing::warn!(provider = name, reason, detail, "a sign-in with a provider failed");
        failure.error
    })
}

// ------------------------------------------------------------------------------------------------- one provider

struct Provider {
    settings: config::Provider,
    issuer: IssuerUrl,
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
    metadata: Metadata,
    at: Time,
}

/// What RFC 9207 adds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Extra {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Extra {}

type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// What is taken over of an ID token or of user information.
#[derive(Default)]
struct About {
    email: Option<String>,
    email_verified: bool,
    name: Option<String>,
}

impl Provider {
    async fn begin(&self, flow: &Flow<'_>, state: &str, now: Time) -> Result<String, Failure> {
        let verifier = pkce(flow)?;
        let known = self.known(now).await?;
        let client = self.client(&known, flow)?;
        let (state, nonce) = (CsrfToken::new(state.to_owned()), Nonce::new(flow.nonce.to_owned()));
        let request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            // The crate adds the first scope by itself.
            .add_scopes(self.settings.scopes.split(' ').filter(|s| !s.is_empty() && *s != "openid").map(scope));
        Ok(request.url().0.into())
    }

    async fn finish(&self, flow: &Flow<'_>, code: &str, iss: Option<&str>, now: Time) -> Result<Identity, Failure> {
        let verifier = pkce(flow)?;
        let known = self.known(now).await?;
        // Before the code goes anywhere: it may be another provider's.
        let promised = known.metadata.additional_metadata().authorization_response_iss_parameter_supported;
        match iss {
            Some(iss) if iss != self.settings.issuer => return Err(SignInError::ResponseIssuer.into()),
            None if promised => return Err(SignInError::ResponseIssuerMissing.into()),
            _ => {}
        }
        let client = self.client(&known, flow)?;
        let exchange = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| SignInError::MetadataAddress.because("the metadata has no token endpoint"))?;
        let answer = exchange.set_pkce_verifier(verifier).request_async(&self.http).await.map_err(exchange_failed)?;
        let token = answer.id_token().ok_or(SignInError::NoIdToken)?;
        let claims = self.verified(token, &known, flow, now).await?;
        let subject = claims.subject();
        if !(1..=255).contains(&subject.len()) || subject.chars().any(char::is_control) {
            return Err(SignInError::TokenSubject.into());
        }
        let mut about = about(claims);
        if about.email.is_none() && known.metadata.userinfo_endpoint().is_some() {
            let asked = self.user_info(&client, answer.access_token(), subject).await?;
            about = About { name: about.name.or(asked.name), ..asked };
        }
        Ok(Identity {
            issuer: self.settings.issuer.clone(),
            subject: subject.to_string(),
            email: about.email,
            email_verified: about.email_verified,
            name: about.name,
        })
    }

    fn client(&self, known: &Known, flow: &Flow<'_>) -> Result<Client, Failure> {
        let redirect = RedirectUrl::new(flow.redirect_uri.to_owned())
            .map_err(|_| SignInError::Misused.because("the redirect URI is no address"))?;
        let secret = &self.settings.client_secret;
        let secret = (!secret.is_empty()).then(|| ClientSecret::new(secret.clone()));
        let id = ClientId::new(self.settings.client_id.clone());
        // What is said of no method is Basic (OpenID Connect Discovery, 3).
        let methods = known.metadata.token_endpoint_auth_methods_supported();
        let in_the_body = methods.is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let way = if in_the_body { AuthType::RequestBody } else { AuthType::BasicAuth };
        let client = CoreClient::from_provider_metadata(known.metadata.clone(), id, secret);
        Ok(client.set_redirect_uri(redirect).set_auth_type(way))
    }

    /// The claims of an ID token that the provider has made for us, in this sign-in, and that is good now.
    async fn verified<'t>(
        &self,
        token: &'t CoreIdToken,
        known: &Arc<Known>,
        flow: &Flow<'_>,
        now: Time,
    ) -> Result<&'t CoreIdTokenClaims, Failure> {
        let claims = match self.claims(token, known.metadata.jwks(), flow, now) {
            // It may have new keys, and be it under the name of an old one.
            Err(SignInError::TokenKey | SignInError::TokenSignature) => {
                let known = self.with_new_keys(known, now).await?;
                self.claims(token, known.metadata.jwks(), flow, now)?
            }
            other => other?,
        };
        let ours = claims.authorized_party().map(|party| party.as_str() == self.settings.client_id);
        // Who is one of several must be the one that the token was given to.
        if !ours.unwrap_or(claims.audiences().len() == 1) {
            return Err(SignInError::TokenParty.into());
        }
        Ok(claims)
    }

    fn claims<'t>(
        &self,
        token: &'t CoreIdToken,
        keys: &CoreJsonWebKeySet,
        flow: &Flow<'_>,
        now: Time,
    ) -> Result<&'t CoreIdTokenClaims, SignInError> {
        let id = ClientId::new(self.settings.client_id.clone());
        // As for a public client, whatever we are: without the secret the crate has nothing to check a symmetric
        // signature with, even if such an algorithm were let through.
        let verifier = CoreIdTokenVerifier::new_public_client(id, self.issuer.clone(), keys.clone())
            .set_allowed_algs([
                CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
                CoreJwsSigningAlgorithm::EcdsaP256Sha256,
                CoreJwsSigningAlgorithm::EdDsa,
            ])
            // Others may be named beside us if we are the party; see above.
            .set_other_audience_verifier_fn(|_| true)
            .set_time_fn(move || (UNIX_EPOCH + Duration::from_micros(u64::try_from(now.0).unwrap_or(0))).into())
            .set_issue_time_verifier_fn(move |at| {
                if at.timestamp() > now.seconds() + LEEWAY { Err(TOO_EARLY.to_owned()) } else { Ok(()) }
            });
        token.claims(&verifier, &Nonce::new(flow.nonce.to_owned())).map_err(|error| match error {
            ClaimsVerificationError::InvalidIssuer(_) => SignInError::TokenIssuer,
            ClaimsVerificationError::InvalidAudience(_) => SignInError::TokenAudience,
            ClaimsVerificationError::InvalidNonce(_) => SignInError::TokenNonce,
            ClaimsVerificationError::Expired(text) if text == TOO_EARLY => SignInError::TokenTooEarly,
            ClaimsVerificationError::Expired(_) => SignInError::TokenExpired,
            ClaimsVerificationError::SignatureVerification(fault) => match fault {
                SignatureVerificationError::NoMatchingKey
                | SignatureVerificationError::AmbiguousKeyId(_)
                | SignatureVerificationError::InvalidKey(_) => SignInError::TokenKey,
                SignatureVerificationError::DisallowedAlg(_)
                | SignatureVerificationError::NoSignature
                | SignatureVerificationError::UnsupportedAlg(_) => SignInError::TokenAlgorithm,
                _ => SignInError::TokenSignature,
            },
            _ => SignInError::TokenHeader,
        })
    }

    /// What the provider tells of a person to who has their access token.
    async fn user_info(
        &self,
        client: &Client,
        token: &AccessToken,
        subject: &SubjectIdentifier,
    ) -> Result<About, Failure> {
        // The crate puts the token into a header and panics if it does not fit.
        if !token.secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SignInError::BrokenAnswer.because("the access token is none"));
        }
        let request = client
            .user_info(token.clone(), Some(subject.clone()))
            .map_err(|_| SignInError::MetadataAddress.because("the metadata has no address for user information"))?;
        let info: UserInfoClaims<EmptyAdditionalClaims, CoreGenderClaim> =
            request.request_async(&self.http).await.map_err(|error| match error {
                UserInfoError::Request(fault) => fault.into(),
                UserInfoError::ClaimsVerification(ClaimsVerificationError::InvalidSubject(_)) => {
                    SignInError::UserInfoSubject.into()
                }
                UserInfoError::ClaimsVerification(_) => {
                    SignInError::BrokenAnswer.because("signed user information that is not for us")
                }
                _ => SignInError::BrokenAnswer.because("user information of no known form"),
            })?;
        Ok(About {
            email: info.email().and_then(|email| address(email)),
            email_verified: info.email_verified().unwrap_or(false),
            name: info.name().and_then(|name| name.get(None)).and_then(|name| greeting(name)),
        })
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
            Ok(metadata) => {
                let known = Arc::new(Known { metadata, at: now });
                memory.known = Some(known.clone());
                Ok(known)
            }
            Err(failure) => {
                memory.failed = Some((Instant::now(), failure.error));
                Err(failure)
            }
        }
    }

    async fn discover(&self) -> Result<Metadata, Failure> {
        let metadata =
            Metadata::discover_async(self.issuer.clone(), &self.http).await.map_err(|error| match error {
                DiscoveryError::Request(fault) => fault.into(),
                DiscoveryError::Validation(detail) => SignInError::MetadataIssuer.because(detail),
                DiscoveryError::Parse(error) => SignInError::BrokenAnswer.because(format!("metadata or keys: {error}")),
                DiscoveryError::Response(_, _, detail) => SignInError::BrokenAnswer.because(detail),
                _ => SignInError::BrokenAnswer.because("metadata of no known form"),
            })?;
        // Each request is checked again. Said before a person is sent away, and the browser goes to one of them.
        let token = metadata.token_endpoint().map(|endpoint| endpoint.url());
        let info = metadata.userinfo_endpoint().map(|endpoint| endpoint.url());
        let all = [Some(metadata.authorization_endpoint().url()), token, info];
        if let Some(url) = all.into_iter().flatten().find(|url| !self.http.goes_to(url)) {
            return Err(SignInError::MetadataAddress.because(format!("{url} is not https")));
        }
        if token.is_none() {
            return Err(SignInError::MetadataAddress.because("there is no token endpoint"));
        }
        Ok(metadata)
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
        let keys = CoreJsonWebKeySet::fetch_async(known.metadata.jwks_uri(), &self.http).await;
        let keys = keys.map_err(|error| match error {
            DiscoveryError::Request(fault) => fault.into(),
            _ => SignInError::BrokenAnswer.because("keys of no known form"),
        })?;
        let newer = Arc::new(Known { metadata: known.metadata.clone().set_jwks(keys), at: known.at });
        memory.known = Some(newer.clone());
        Ok(newer)
    }
}

const TOO_EARLY: &str = "issued in the future";

/// False as well when the clock has stepped back.
fn recent(at: Time, now: Time, span: Duration) -> bool {
    at <= now && now.since(at) < span
}

/// The crate insists on the length by a panic.
fn pkce(flow: &Flow<'_>) -> Result<PkceCodeVerifier, Failure> {
    if (43..=128).contains(&flow.verifier.len()) {
        Ok(PkceCodeVerifier::new(flow.verifier.to_owned()))
    } else {
        Err(SignInError::Misused.because("a verifier of PKCE has 43 to 128 characters"))
    }
}

fn scope(text: &str) -> Scope {
    Scope::new(text.to_owned())
}

fn about(claims: &CoreIdTokenClaims) -> About {
    About {
        email: claims.email().and_then(|email| address(email)),
        email_verified: claims.email_verified().unwrap_or(false),
        name: claims.name().and_then(|name| name.get(None)).and_then(|name| greeting(name)),
    }
}

type ExchangeError = RequestTokenError<HttpFault, openidconnect::StandardErrorResponse<CoreErrorResponseType>>;

fn exchange_failed(error: ExchangeError) -> Failure {
    match error {
        RequestTokenError::Request(fault) => fault.into(),
        RequestTokenError::ServerResponse(answer) => match answer.error() {
            CoreErrorResponseType::InvalidGrant => SignInError::CodeRefused.into(),
            CoreErrorResponseType::InvalidClient | CoreErrorResponseType::UnauthorizedClient => {
                SignInError::ClientRefused.because("the provider refuses client_id or client_secret")
            }
            // The word alone: a description may quote what was sent.
            other => SignInError::BrokenAnswer.because(other.as_ref().chars().take(40).collect::<String>()),
        },
        // Not the error itself: it may quote tokens.
        _ => SignInError::BrokenAnswer.because("the token endpoint's answer has no known form"),
    }
}
