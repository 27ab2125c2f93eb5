//! The endpoints that programs call as clients: tokens, their revocation, and what they are good for.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::app::App;
use crate::features::clients;
use crate::features::clients::model::{GrantType, OAuthClient};
use crate::features::oauth::actions::{self, CodeGrant, PresentedCode};
use crate::features::oauth::model::{Fault, Introspected, OAuthError, TokenError, TokenTypeHint};
use crate::features::tokens::model::{Grant, TokenType};
use crate::kernel::actor::Actor;
use crate::kernel::error::Error;
use crate::kernel::parameters::Parameters;
use crate::limits::turns::{Key, Turn};
use crate::problems;
use crate::web::client_address::ClientAddress;
use crate::web::extract::Form;
use crate::web::problem::Problem;

/// What is wrong, in the shape of RFC 6749.
#[derive(Serialize, ToSchema)]
struct OAuthProblem {
    /// The kind, for programs.
    error: OAuthError,
    /// What is wrong, for developers.
    #[schema(example = "The refresh token is not good any more, or not this client's")]
    error_description: &'static str,
}

/// An error of these endpoints: in OAuth's words where the request is to blame, in ours where it is not.
pub enum Failure {
    Fault(Fault),
    Problem(Problem),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Fault(fault) => fault.into(),
            TokenError::Failed(error) => error.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let fault = match self {
            Self::Fault(fault) => fault,
            Self::Problem(problem) => return problem.into_response(),
        };
        let body = OAuthProblem { error: fault.wrong, error_description: fault.sentence };
        if fault.wrong != OAuthError::InvalidClient {
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
        let basic = HeaderValue::from_static("Basic realm=\"referral\"");
        (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, basic)], Json(body)).into_response()
    }
}

/// A form that could not be read is an invalid request.
fn form(form: Result<Form, Problem>) -> Result<Parameters, Failure> {
    let unread = |_| Fault::new(OAuthError::InvalidRequest, "The body is a form of at most 64 KiB");
    Ok(form.map_err(unread)?.0)
}

fn one<'a>(form: &'a Parameters, name: &str) -> Result<Option<&'a str>, Fault> {
    let repeated = |_| Fault::new(OAuthError::InvalidRequest, "A parameter is given more than once");
    form.one(name).map_err(repeated)
}

fn required<'a>(form: &'a Parameters, name: &str, sentence: &'static str) -> Result<&'a str, Fault> {
    one(form, name)?.ok_or(Fault::new(OAuthError::InvalidRequest, sentence))
}

/// The client that asks: by its secret in the header or in the form, or by its name where it is public. One that has
/// shown its secret gets a turn: all of its people are behind it, so it is let do several things at once, but not
/// everything. Everybody else is counted by their address, also with a secret that was wrong.
async fn client<'a>(
    app: &'a App,
    address: IpAddr,
    headers: &HeaderMap,
    form: &Parameters,
) -> Result<(OAuthClient, Option<Turn<'a>>), Failure> {
    let unknown = || Fault::new(OAuthError::InvalidClient, "The client is unknown, or its secret is not right");
    let Presented { id, secret } = presented(headers, form)?.ok_or_else(unknown)?;
    let Some(secret) = secret else {
        app.limits.oauth_from(address).await?;
        let client = clients::actions::find(app, &id).await?.filter(|client| !client.is_confidential());
        return Ok((client.ok_or_else(unknown)?, None));
    };
    match clients::actions::find(app, &id).await?.filter(|client| client.has_secret(&secret)) {
        Some(client) => {
            let turn = match client.uuid {
                Some(id) => Some(app.turns.take(Key::Client(id)).await?),
                None => None,
            };
            Ok((client, turn))
        }
        None => {
            // Only now: guesses from an address do not keep out a client behind the same one.
            app.limits.oauth_from(address).await?;
            Err(unknown().into())
        }
    }
}

/// What a client shows of itself.
struct Presented {
    id: String,
    secret: Option<String>,
}

fn presented(headers: &HeaderMap, form: &Parameters) -> Result<Option<Presented>, Fault> {
    let (named, secret) = (one(form, "client_id")?, one(form, "client_secret")?);
    let mut authorizations = headers.get_all(AUTHORIZATION).iter();
    let header = match (authorizations.next(), authorizations.next()) {
        (None, _) => return Ok(named.map(|id| Presented { id: id.to_owned(), secret: secret.map(str::to_owned) })),
        (Some(_), Some(_)) => return Ok(None),
        (Some(header), None) => header,
    };
    let Some((id, basic)) = basic(header) else { return Ok(None) };
    if secret.is_some() || named.is_some_and(|named| named != id) {
        return Err(Fault::new(OAuthError::InvalidRequest, "Authenticate once: in the header or in the form"));
    }
    Ok(Some(Presented { id, secret: Some(basic).filter(|basic| !basic.is_empty()) }))
}

/// Name and secret, each form-encoded before they were joined (RFC 6749, 2.3.1).
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, credentials) = header.to_str().ok()?.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    // As one value: in a whole form `&` would end it, and what is behind would not count.
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
    };
    Some((decode(id)?, decode(secret)?))
}

/// What a client sends for tokens.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct OAuthTokenRequest {
    grant_type: GrantType,
    /// Of clients that do not name themselves in the Authorization header.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// Of confidential clients that do not name themselves in the Authorization header.
    #[schema(nullable = false)]
    client_secret: Option<String>,
    /// For authorization_code; good once, for 60 seconds.
    #[schema(nullable = false)]
    code: Option<String>,
    /// For authorization_code: the same as in the authorization request.
    #[schema(nullable = false)]
    redirect_uri: Option<String>,
    /// For authorization_code: what the code_challenge was made of, 43 to 128 characters (RFC 7636).
    #[schema(nullable = false)]
    code_verifier: Option<String>,
    /// For refresh_token.
    #[schema(nullable = false)]
    refresh_token: Option<String>,
    /// For refresh_token and client_credentials: less than there could be, with a space between.
    #[schema(nullable = false)]
    scope: Option<String>,
}

/// Tokens, in the shape of RFC 6749.
#[derive(Serialize, ToSchema)]
struct OAuthTokens {
    /// A JWT (RFC 9068).
    #[schema(example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSJ9.eyJzdWIiOiIwMTk4MGYwYyJ9.c2ln")]
    access_token: String,
    token_type: TokenType,
    /// Seconds until the access token expires; it lives 10 minutes (`tokens.access_minutes`).
    #[schema(example = 600)]
    expires_in: u64,
    /// What the access token allows.
    #[schema(example = "openid profile")]
    scope: String,
    /// Replaced at each use. Of clients that may refresh. A log-in ends when it was not refreshed for 14 days
    /// (`tokens.refresh_idle_days`), and after 30 days in any case (`tokens.refresh_absolute_days`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<String>,
    /// Who has logged in (OpenID Connect), with the scope openid and for a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id_token: Option<String>,
}

impl OAuthTokens {
    fn of(grant: Grant, id_token: Option<String>) -> Self {
        Self {
            access_token: grant.access_token,
            token_type: TokenType::Bearer,
            expires_in: grant.expires_in,
            scope: grant.scopes.to_string(),
            refresh_token: grant.refresh_token,
            id_token,
        }
    }
}

problems!(OAuthProblems: [RateLimited]);

/// Get tokens as a client
///
/// RFC 6749. Confidential clients authenticate with HTTP Basic or in the form, public ones name themselves. PKCE (S256)
/// is required, unless a manager has let in a confidential client without. Errors are in the words of RFC 6749.
///
/// At most 120 calls a minute from one address without a secret that is right (`limits.tokens_per_address`), and 60
/// tokens a minute that a client gets for itself (`limits.writes_per_user`); of one client some hundred calls at once.
#[utoipa::path(post, path = "/oauth/token", tag = "OAuth", operation_id = "request_tokens",
    security(("client" = []), ()),
    request_body(content = OAuthTokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "Tokens", body = OAuthTokens),
        (status = 400, description = "The request is not good", body = OAuthProblem),
        (status = 401, description = "The client is unknown, or its secret is not right", body = OAuthProblem,
            headers(("WWW-Authenticate" = String, description = "How to authenticate"))),
        OAuthProblems))]
pub async fn token(
    State(app): State<Arc<App>>,
    actor: Actor,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    body: Result<Form, Problem>,
) -> Result<Response, Failure> {
    let form = form(body)?;
    let (client, _turn) = client(&app, address, &headers, &form).await?;
    let actor = client.acts(actor);
    let grant_type = required(&form, "grant_type", "The grant_type is missing")?;
    let tokens = match GrantType::parse(grant_type) {
        Some(GrantType::AuthorizationCode) => {
            let presented = PresentedCode {
                code: required(&form, "code", "The code is missing")?.to_owned(),
                redirect_uri: required(&form, "redirect_uri", "The redirect_uri is missing")?.to_owned(),
                verifier: match client.require_pkce {
                    true => Some(required(&form, "code_verifier", "The code_verifier is missing")?.to_owned()),
                    false => one(&form, "code_verifier")?.map(str::to_owned),
                },
            };
            let CodeGrant { grant, id_token } = actions::exchange(&app, actor, &client, presented).await?;
            OAuthTokens::of(grant, id_token)
        }
        Some(GrantType::RefreshToken) => {
            let token = required(&form, "refresh_token", "The refresh_token is missing")?;
            OAuthTokens::of(actions::refresh(&app, actor, &client, token, one(&form, "scope")?).await?, None)
        }
        Some(GrantType::ClientCredentials) => {
            OAuthTokens::of(actions::act_alone(&app, actor, &client, one(&form, "scope")?).await?, None)
        }
        None => {
            let sentence = "The grant_type is authorization_code, refresh_token or client_credentials";
            return Err(Fault::new(OAuthError::UnsupportedGrantType, sentence).into());
        }
    };
    Ok(Json(tokens).into_response())
}

/// A token in question.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct TokenQuestion {
    /// An access token or a refresh token.
    #[schema(example = "rt_1l8CY2F2cWJ0Zm5xd3p4eWFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1")]
    token: String,
    /// Of clients that do not name themselves in the Authorization header.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// Of confidential clients that do not name themselves in the Authorization header.
    #[schema(nullable = false)]
    client_secret: Option<String>,
    #[schema(schema_with = token_type_hint)]
    token_type_hint: Option<String>,
}

/// The words there are, and any other: RFC 7009 lets servers find a token without its help, and this one does.
fn token_type_hint() -> Schema {
    AnyOfBuilder::new()
        .item(TokenTypeHint::schema())
        .item(ObjectBuilder::new().schema_type(Type::String))
        .description(Some("Not needed: what kind of token it is, is seen."))
        .into()
}

/// End a session as the client it belongs to
///
/// RFC 7009. Either token of a session ends it, on every node within seconds. The answer is the same for a token that
/// is not good, or not the client's. At most 120 calls a minute from one address without a secret that is right
/// (`limits.tokens_per_address`); of one client some hundred calls at once.
#[utoipa::path(post, path = "/oauth/revoke", tag = "OAuth", operation_id = "revoke_token",
    security(("client" = []), ()),
    request_body(content = TokenQuestion, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token is not good any more"),
        (status = 400, description = "The request is not good", body = OAuthProblem),
        (status = 401, description = "The client is unknown, or its secret is not right", body = OAuthProblem,
            headers(("WWW-Authenticate" = String, description = "How to authenticate"))),
        OAuthProblems))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    actor: Actor,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    body: Result<Form, Problem>,
) -> Result<StatusCode, Failure> {
    let form = form(body)?;
    let (client, _turn) = client(&app, address, &headers, &form).await?;
    let actor = client.acts(actor);
    actions::revoke(&app, actor, &client, required(&form, "token", "The token is missing")?).await?;
    Ok(StatusCode::OK)
}

/// What a token is good for, in the shape of RFC 7662.
#[derive(Default, Serialize, ToSchema)]
struct Introspection {
    /// Whether it is good now, and the client's. If not, nothing else is told.
    #[schema(example = true)]
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "openid profile")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    client_id: Option<String>,
    /// Of access tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_type: Option<TokenType>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    exp: Option<i64>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iat: Option<i64>,
    /// The person, or the client itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    jti: Option<String>,
}

impl Introspection {
    fn of(app: &App, found: Introspected) -> Self {
        let issuer = app.public_url();
        Self {
            active: true,
            scope: Some(found.scopes.to_string()),
            client_id: Some(found.client_id),
            token_type: found.is_access_token.then_some(TokenType::Bearer),
            exp: Some(found.expires_at),
            iat: found.issued_at,
            sub: found.subject,
            iss: Some(issuer.to_owned()),
            aud: found.is_access_token.then(|| issuer.to_owned()),
            jti: found.id,
        }
    }
}

/// See what a token of the client's is good for
///
/// RFC 7662, for confidential clients. Tokens of other clients are not active, whatever they are. At most 120 calls a
/// minute from one address without a secret that is right (`limits.tokens_per_address`); of one client some hundred
/// calls at once.
#[utoipa::path(post, path = "/oauth/introspect", tag = "OAuth", operation_id = "introspect_token",
    security(("client" = [])),
    request_body(content = TokenQuestion, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "What it is good for", body = Introspection),
        (status = 400, description = "The request is not good", body = OAuthProblem),
        (status = 401, description = "The client is unknown or public, or its secret is not right", body = OAuthProblem,
            headers(("WWW-Authenticate" = String, description = "How to authenticate"))),
        OAuthProblems))]
pub async fn introspect(
    State(app): State<Arc<App>>,
    actor: Actor,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    body: Result<Form, Problem>,
) -> Result<Response, Failure> {
    let form = form(body)?;
    let (client, _turn) = client(&app, address, &headers, &form).await?;
    let actor = client.acts(actor);
    if !client.is_confidential() {
        return Err(Fault::new(OAuthError::InvalidClient, "Introspection is for confidential clients").into());
    }
    let found = actions::introspect(&app, actor, &client, required(&form, "token", "The token is missing")?).await?;
    let answer = found.map_or_else(Introspection::default, |found| Introspection::of(&app, found));
    Ok(Json(answer).into_response())
}
