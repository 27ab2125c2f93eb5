//! Clients over HTTP, for managers.

pub mod consents;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::features::clients::actions::{self, Made};
use crate::features::clients::model::{
    Change, ClientRegistration, GrantType, MOST_REDIRECTS, OAuthClient, RedirectUri, parse_name,
};
use crate::features::tokens::caller::Manager;
use crate::kernel::caller::IdTokenAlgorithm;
use crate::kernel::scope::Scopes;
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::{Fields, JsonBody, PathText};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(register, list))
        .routes(routes!(get, change, remove))
        .routes(routes!(replace_secret))
}

/// A new client.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct NewClient {
    /// What people are shown when they are asked for consent: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "Example Shop")]
    name: String,
    /// Whether it can keep a secret: programs on a server can, apps and pages in a browser cannot.
    #[schema(default = false, example = true)]
    confidential: Option<bool>,
    /// Where people may be sent back to: https, or http on this machine, or a scheme of the app's own such as
    /// `com.example.app:/cb`. At most 20, of 1 to 1,000 characters each. Compared character by character; but on this
    /// machine (`127.0.0.1`, `[::1]` and `localhost`) any port matches, for an app takes whichever is free (RFC 8252).
    #[schema(max_items = 20, example = json!(["https://shop.example.com/callback"]))]
    redirect_uris: Option<Vec<String>>,
    /// How it gets tokens; by code and by refreshing when left out.
    #[schema(example = json!(["authorization_code", "refresh_token"]))]
    grants: Option<Vec<GrantType>>,
    /// What it may ask for: at least one word of `scopes_supported`, with a space between.
    #[schema(example = "openid profile codes:read")]
    scope: String,
    /// What its ID tokens are signed with; RS256 when left out.
    id_token_algorithm: Option<IdTokenAlgorithm>,
    /// False lets in a confidential client that knows no PKCE; its authorization requests must have the scope `openid`
    /// and a nonce.
    #[schema(default = true, example = true)]
    require_pkce: Option<bool>,
    /// Whether what it says of participants' addresses being proven is taken; for clients with `program:write`.
    #[schema(default = false, example = false)]
    trusts_addresses: Option<bool>,
}

/// A client, without its secret.
#[derive(Serialize, ToSchema)]
struct ClientOut {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    client_id: String,
    #[schema(example = "Example Shop")]
    name: String,
    #[schema(example = true)]
    confidential: bool,
    #[schema(example = json!(["https://shop.example.com/callback"]))]
    redirect_uris: Vec<String>,
    #[schema(example = json!(["authorization_code", "refresh_token"]))]
    grants: Vec<GrantType>,
    #[schema(example = "openid profile codes:read")]
    scope: String,
    id_token_algorithm: IdTokenAlgorithm,
    /// Whether it must use PKCE.
    #[schema(example = true)]
    require_pkce: bool,
    /// Whether what it says of participants' addresses being proven is taken.
    #[schema(example = false)]
    trusts_addresses: bool,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    created_at: Time,
}

impl From<&OAuthClient> for ClientOut {
    fn from(client: &OAuthClient) -> Self {
        Self {
            confidential: client.is_confidential(),
            redirect_uris: client.redirect_uris.iter().map(ToString::to_string).collect(),
            grants: client.grants.clone(),
            scope: client.scopes.to_string(),
            id_token_algorithm: client.id_token_algorithm,
            require_pkce: client.require_pkce,
            trusts_addresses: client.trusts_addresses,
            created_at: client.created_at,
            client_id: client.id.clone(),
            name: client.name.clone(),
        }
    }
}

/// A client just registered.
#[derive(Serialize, ToSchema)]
struct RegisteredClient {
    #[serde(flatten)]
    client: ClientOut,
    /// Told this once; null for a public client.
    #[schema(required, example = "cs_8vY2F2cWJ0Zm5xd3p4eWFiY2RlZmdoaWprbG1ub3BxcnM")]
    client_secret: Option<String>,
}

/// All registered clients.
#[derive(Serialize, ToSchema)]
struct Clients {
    /// Oldest first.
    items: Vec<ClientOut>,
}

problems!(RegisterProblems: manager body keyed[RateLimited]);

/// Register a client
///
/// For managers. The secret of a confidential client is in this answer and nowhere else. At most 60 changes a minute,
/// of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/clients", tag = "Clients", operation_id = "register_client",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = NewClient,
    responses((status = 201, description = "Registered", body = RegisteredClient), RegisterProblems))]
async fn register(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let name = fields.parsed("name", parse_name);
    let confidential = fields.optional_flag("confidential");
    let redirect_uris = redirect_uris(&mut fields);
    let grants = grants(&mut fields);
    let scopes = fields.parsed("scope", scopes);
    let algorithm = fields
        .optionally_parsed("id_token_algorithm", |word| IdTokenAlgorithm::parse(word).ok_or("Either RS256 or EdDSA"));
    let require_pkce = fields.optional_flag("require_pkce");
    let trusts_addresses = fields.optional_flag("trusts_addresses");
    let (name, scopes) = fields.all(name.zip(scopes))?;
    let new = ClientRegistration {
        name,
        confidential: confidential.unwrap_or(false),
        redirect_uris: redirect_uris.unwrap_or_default(),
        grants: grants.unwrap_or_else(|| vec![GrantType::AuthorizationCode, GrantType::RefreshToken]),
        scopes,
        id_token_algorithm: algorithm.unwrap_or(IdTokenAlgorithm::Rs256),
        require_pkce: require_pkce.unwrap_or(true),
        trusts_addresses: trusts_addresses.unwrap_or(false),
    };
    let _turn = app.turn_of(manager.user).await?;
    let tell = |made: &Made| {
        let client = ClientOut::from(&made.client);
        Reply::json(StatusCode::CREATED, &RegisteredClient { client, client_secret: made.secret.clone() })
    };
    Ok(tell(&actions::register(&app, manager.sent(tell)?, new).await?)?)
}

fn scopes(text: &str) -> Result<Scopes, &'static str> {
    let scopes = Scopes::parse(text).ok_or("Words of /.well-known/oauth-authorization-server, scopes_supported")?;
    if scopes.is_empty() { Err("At least one scope") } else { Ok(scopes) }
}

fn redirect_uris(fields: &mut Fields) -> Option<Vec<RedirectUri>> {
    let texts = fields.optional_texts("redirect_uris")?;
    if texts.len() > MOST_REDIRECTS {
        fields.refuse("redirect_uris", "too_long", "At most 20 redirect URIs");
    }
    let read: Result<Vec<RedirectUri>, &str> = texts.iter().map(|text| RedirectUri::parse(text)).collect();
    fields.judge("redirect_uris", read)
}

fn grants(fields: &mut Fields) -> Option<Vec<GrantType>> {
    let words = fields.optional_texts("grants")?;
    let mut grants = Vec::new();
    for word in &words {
        match GrantType::parse(word) {
            Some(grant) if !grants.contains(&grant) => grants.push(grant),
            Some(_) => {}
            None => {
                fields.refuse(
                    "grants",
                    "value_error",
                    "Each is authorization_code, refresh_token or client_credentials",
                );
                break;
            }
        }
    }
    Some(grants)
}

problems!(ListProblems: manager[]);

/// List the clients
///
/// For managers. All of them, oldest first.
#[utoipa::path(get, path = "/api/v1/clients", tag = "Clients", operation_id = "list_clients",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "The clients", body = Clients), ListProblems))]
async fn list(State(app): State<Arc<App>>, _: Manager) -> Result<Json<Clients>, Problem> {
    let clients = actions::list(&app).await?;
    Ok(Json(Clients { items: clients.iter().map(ClientOut::from).collect() }))
}

problems!(GetProblems: manager query[ClientNotFound]);

/// See a client
///
/// For managers. Without its secret, which nobody can read again.
#[utoipa::path(get, path = "/api/v1/clients/{client_id}", tag = "Clients", operation_id = "get_client",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("client_id" = String, Path, description = "The client's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The client", body = ClientOut), GetProblems))]
async fn get(State(app): State<Arc<App>>, _: Manager, PathText(id): PathText) -> Result<Json<ClientOut>, Problem> {
    Ok(Json(ClientOut::from(&actions::get(&app, &id).await?)))
}

/// What is to be different; what is left out stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct ClientChange {
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "Example Shop")]
    name: Option<String>,
    /// All of them, instead of those before; as at its registration. At most 20.
    #[schema(max_items = 20, example = json!(["https://shop.example.com/callback"]))]
    redirect_uris: Option<Vec<String>>,
    /// All of them, instead of those before: at least one word of `scopes_supported`, with a space between.
    #[schema(example = "openid profile codes:read")]
    scope: Option<String>,
    /// Whether what it says of participants' addresses being proven is taken; for clients with `program:write`.
    #[schema(example = false)]
    trusts_addresses: Option<bool>,
}

problems!(ChangeProblems: manager body keyed[ClientNotFound, RateLimited]);

/// Change a client
///
/// For managers. Scopes it loses are gone from its next token on. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(patch, path = "/api/v1/clients/{client_id}", tag = "Clients", operation_id = "change_client",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = ClientChange,
    params(("client_id" = String, Path, description = "The client's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The client, changed", body = ClientOut), ChangeProblems))]
async fn change(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let name = fields.optionally_parsed("name", parse_name);
    let redirect_uris = redirect_uris(&mut fields);
    let scopes = fields.optionally_parsed("scope", scopes);
    let trusts_addresses = fields.optional_flag("trusts_addresses");
    let change = fields.all(Some(Change { name, redirect_uris, scopes, trusts_addresses }))?;
    let _turn = app.turn_of(manager.user).await?;
    let tell = |client: &OAuthClient| Reply::json(StatusCode::OK, &ClientOut::from(client));
    Ok(tell(&actions::change(&app, manager.sent(tell)?, &id, change).await?)?)
}

problems!(RemoveProblems: manager query keyed[ClientNotFound, RateLimited]);

/// Remove a client
///
/// For managers. Its tokens end on every node within seconds, and what people allowed it is forgotten. At most 60
/// changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(delete, path = "/api/v1/clients/{client_id}", tag = "Clients", operation_id = "remove_client",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("client_id" = String, Path, description = "The client's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 204, description = "Removed"), RemoveProblems))]
async fn remove(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    let _turn = app.turn_of(manager.user).await?;
    actions::remove(&app, manager.answered(&Reply::nothing())?, &id).await?;
    Ok(Reply::nothing())
}

/// A client's new secret.
#[derive(Serialize, ToSchema)]
struct NewSecret {
    /// Told this once.
    #[schema(example = "cs_8vY2F2cWJ0Zm5xd3p4eWFiY2RlZmdoaWprbG1ub3BxcnM")]
    client_secret: String,
}

problems!(SecretProblems: manager query keyed[ClientNotFound, ClientPublic, RateLimited]);

/// Give a client another secret
///
/// For managers. The old secret is no good from the answer on; tokens that were given stay good. At most 60 changes a
/// minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/clients/{client_id}/secret", tag = "Clients",
    operation_id = "replace_client_secret",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("client_id" = String, Path, description = "The client's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The new secret", body = NewSecret), SecretProblems))]
async fn replace_secret(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    let _turn = app.turn_of(manager.user).await?;
    let tell = |text: &String| Reply::json(StatusCode::OK, &NewSecret { client_secret: text.clone() });
    Ok(tell(&actions::new_secret(&app, manager.sent(tell)?, &id).await?)?)
}
