//! Endpoints over HTTP, for managers.

pub mod deliveries;
pub mod document;
pub mod feed;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::actions::sending::Answered;
use super::actions::{self, Made, NewEndpoint, is_good, recovery, secrets};
use super::model::{Change, DisabledReason, Endpoint, EndpointState, Types, parse_description, parse_url};
use crate::app::App;
use crate::features::tokens::caller::Manager;
use crate::kernel::error::Refusal;
use crate::kernel::ids::EndpointId;
use crate::kernel::time::Time;
use crate::outbound::receivers::{Failure, Receipt};
use crate::problems;
use crate::web::extract::{Fields, JsonBody, PathText};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, change, remove))
        .routes(routes!(replace_secret))
        .routes(routes!(test))
        .routes(routes!(enable))
        .routes(routes!(recover))
        .merge(deliveries::router())
        .merge(feed::router())
}

/// Where messages are to be sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct NewWebhookEndpoint {
    /// https, at a public address; 1 to 1,000 characters, without user name and fragment.
    #[schema(max_length = 1000, example = "https://shop.example.com/referral-hooks")]
    url: String,
    /// Types of messages, or `*` alone for all there are and will be.
    #[schema(min_items = 1, example = json!(["referral.created", "referral.confirmed"]))]
    types: Vec<String>,
    /// What it is for, at most 200 characters.
    #[schema(max_length = 200, example = "The shop")]
    description: Option<String>,
}

/// An endpoint, without its secret.
#[derive(Serialize, ToSchema)]
struct WebhookEndpoint {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    id: Uuid,
    #[schema(example = "https://shop.example.com/referral-hooks")]
    url: String,
    /// Types of messages, or `*` alone.
    #[schema(example = json!(["referral.created", "referral.confirmed"]))]
    types: Vec<String>,
    #[schema(example = "The shop")]
    description: String,
    state: EndpointState,
    /// Why it is disabled; null while it is not.
    #[schema(required)]
    disabled_reason: Option<DisabledReason>,
    /// UTC; null while it is not.
    #[schema(required, value_type = Option<String>, format = DateTime, example = json!(null))]
    disabled_at: Option<Time>,
    /// The first failure since something has got through; null while nothing fails.
    #[schema(required, value_type = Option<String>, format = DateTime, example = json!(null))]
    failing_since: Option<Time>,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    created_at: Time,
}

impl From<&Endpoint> for WebhookEndpoint {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id.0,
            url: endpoint.url.clone(),
            types: endpoint.types.words().into_iter().map(str::to_owned).collect(),
            description: endpoint.description.clone(),
            state: endpoint.state,
            disabled_reason: endpoint.reason,
            disabled_at: endpoint.disabled_at,
            failing_since: endpoint.failing_since,
            created_at: endpoint.created_at,
        }
    }
}

/// An endpoint just made.
#[derive(Serialize, ToSchema)]
struct CreatedWebhookEndpoint {
    #[serde(flatten)]
    endpoint: WebhookEndpoint,
    /// What messages to it are signed with. Told this once.
    #[schema(example = "whsec_dGhpcnR5LXR3byBieXRlcyBvZiBhIHNlY3JldCB0ZXh0ISE=")]
    secret: String,
}

/// All endpoints.
#[derive(Serialize, ToSchema)]
struct WebhookEndpoints {
    /// Oldest first.
    items: Vec<WebhookEndpoint>,
}

problems!(CreateProblems: manager body keyed[EndpointBlocked, RateLimited]);

/// Make a webhook endpoint
///
/// For managers. Messages are sent to it as Standard Webhooks has them (standardwebhooks.com), signed with the secret
/// that is in this answer and nowhere else. Whatever begins after the answer is told; for the first endpoint the answer
/// takes a second. At most 50 endpoints, and 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/webhook-endpoints", tag = "Webhooks", operation_id = "create_webhook_endpoint",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = NewWebhookEndpoint,
    responses((status = 201, description = "Made", body = CreatedWebhookEndpoint), CreateProblems))]
async fn create(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let url = fields.parsed("url", parse_url);
    let types = if fields.has("types") { types(&mut fields) } else { None };
    let description = fields.optionally_parsed("description", parse_description).unwrap_or_default();
    let (url, types) = fields.all(url.zip(types))?;
    let _turn = app.turn_of(manager.user).await?;
    let tell = |made: &Made| {
        let endpoint = WebhookEndpoint::from(&made.endpoint);
        Reply::json(StatusCode::CREATED, &CreatedWebhookEndpoint { endpoint, secret: made.secret.clone() })
    };
    let new = NewEndpoint { url, types, description };
    Ok(tell(&actions::create(&app, manager.sent(tell)?, new).await?)?)
}

fn types(fields: &mut Fields) -> Option<Types> {
    let words = fields.optional_texts("types")?;
    fields.judge("types", Types::parse(&words))
}

/// The endpoint that a path names.
fn named(text: &str) -> Result<EndpointId, Problem> {
    EndpointId::parse(text).ok_or_else(|| Refusal::EndpointNotFound.into())
}

problems!(ListProblems: manager[]);

/// List the webhook endpoints
///
/// For managers. All of them, oldest first.
#[utoipa::path(get, path = "/api/v1/webhook-endpoints", tag = "Webhooks", operation_id = "list_webhook_endpoints",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "The endpoints", body = WebhookEndpoints), ListProblems))]
async fn list(State(app): State<Arc<App>>, _: Manager) -> Result<Json<WebhookEndpoints>, Problem> {
    let endpoints = actions::list(&app).await?;
    Ok(Json(WebhookEndpoints { items: endpoints.iter().map(WebhookEndpoint::from).collect() }))
}

problems!(GetProblems: manager query[EndpointNotFound]);

/// See a webhook endpoint
///
/// For managers. Without its secret, which nobody can read again.
#[utoipa::path(get, path = "/api/v1/webhook-endpoints/{endpoint_id}", tag = "Webhooks",
    operation_id = "get_webhook_endpoint",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("endpoint_id" = String, Path, description = "The endpoint's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The endpoint", body = WebhookEndpoint), GetProblems))]
async fn get(
    State(app): State<Arc<App>>,
    _: Manager,
    PathText(id): PathText,
) -> Result<Json<WebhookEndpoint>, Problem> {
    Ok(Json(WebhookEndpoint::from(&actions::get(&app, named(&id)?).await?)))
}

/// What is to be different; what is left out or null stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct WebhookEndpointChange {
    /// As when it is made.
    #[schema(max_length = 1000, example = "https://shop.example.com/referral-hooks")]
    url: Option<String>,
    /// All of them, instead of those before.
    #[schema(min_items = 1, example = json!(["*"]))]
    types: Option<Vec<String>>,
    /// At most 200 characters.
    #[schema(max_length = 200, example = "The shop")]
    description: Option<String>,
}

problems!(ChangeProblems: manager body keyed[EndpointNotFound, EndpointBlocked, RateLimited]);

/// Change a webhook endpoint
///
/// For managers. What is due already is sent to where it is then. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(patch, path = "/api/v1/webhook-endpoints/{endpoint_id}", tag = "Webhooks",
    operation_id = "change_webhook_endpoint",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = WebhookEndpointChange,
    params(("endpoint_id" = String, Path, description = "The endpoint's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The endpoint, changed", body = WebhookEndpoint), ChangeProblems))]
async fn change(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let url = fields.optionally_parsed("url", parse_url);
    let types = types(&mut fields);
    let description = fields.optionally_parsed("description", parse_description);
    let change = fields.all(Some(Change { url, types, description }))?;
    let id = named(&id)?;
    let _turn = app.turn_of(manager.user).await?;
    let tell = |endpoint: &Endpoint| Reply::json(StatusCode::OK, &WebhookEndpoint::from(endpoint));
    Ok(tell(&actions::change(&app, manager.sent(tell)?, id, change).await?)?)
}

problems!(RemoveProblems: manager query keyed[EndpointNotFound, RateLimited]);

/// Remove a webhook endpoint
///
/// For managers. Nothing is sent to it any more, and what waits for it is forgotten. At most 60 changes a minute, of
/// whatever kind (`limits.writes_per_user`).
#[utoipa::path(delete, path = "/api/v1/webhook-endpoints/{endpoint_id}", tag = "Webhooks",
    operation_id = "remove_webhook_endpoint",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("endpoint_id" = String, Path, description = "The endpoint's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 204, description = "Removed"), RemoveProblems))]
async fn remove(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    let id = named(&id)?;
    let _turn = app.turn_of(manager.user).await?;
    actions::remove(&app, manager.answered(&Reply::nothing())?, id).await?;
    Ok(Reply::nothing())
}

/// An endpoint's new secret.
#[derive(Serialize, ToSchema)]
struct WebhookSecret {
    /// Told this once.
    #[schema(example = "whsec_dGhpcnR5LXR3byBieXRlcyBvZiBhIHNlY3JldCB0ZXh0ISE=")]
    secret: String,
}

problems!(SecretProblems: manager query keyed[EndpointNotFound, RateLimited]);

/// Give a webhook endpoint another secret
///
/// For managers. For a day messages are signed with both, so a receiver that knows either takes them. At most 60
/// changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/webhook-endpoints/{endpoint_id}/secret", tag = "Webhooks",
    operation_id = "replace_webhook_secret",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("endpoint_id" = String, Path, description = "The endpoint's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The new secret", body = WebhookSecret), SecretProblems))]
async fn replace_secret(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    let id = named(&id)?;
    let _turn = app.turn_of(manager.user).await?;
    let tell = |secret: &String| Reply::json(StatusCode::OK, &WebhookSecret { secret: secret.clone() });
    Ok(tell(&secrets::replace(&app, manager.sent(tell)?, id).await?)?)
}

/// How an attempt went.
#[derive(Serialize, ToSchema)]
struct WebhookTest {
    /// Whether the endpoint has answered with a status from 200 to 299.
    #[schema(example = true)]
    delivered: bool,
    /// Of the answer; null when there was none.
    #[schema(required, example = 204)]
    status: Option<u16>,
    /// Why there was no answer; null when there was one.
    #[schema(required)]
    error: Option<Failure>,
    /// How long it took.
    #[schema(minimum = 0, example = 45)]
    milliseconds: i64,
}

impl From<Answered> for WebhookTest {
    fn from(answered: Answered) -> Self {
        let (status, error) = match &answered.receipt {
            Receipt::Answered(status, _) => (Some(*status), None),
            Receipt::Failed(failure) => (None, Some(*failure)),
        };
        Self { delivered: is_good(&answered.receipt), status, error, milliseconds: answered.millis }
    }
}

problems!(TestProblems: manager query[EndpointNotFound, RateLimited]);

/// Try a webhook endpoint
///
/// For managers. Sends a message of the type `ping` at once and says how that went, after 15 s at most. Nothing is kept
/// of it, and it is not tried again. At most 60 calls a minute, changes of whatever kind included
/// (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/webhook-endpoints/{endpoint_id}/test", tag = "Webhooks",
    operation_id = "test_webhook_endpoint",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("endpoint_id" = String, Path, description = "The endpoint's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "How it went", body = WebhookTest), TestProblems))]
async fn test(
    State(app): State<Arc<App>>,
    manager: Manager,
    PathText(id): PathText,
) -> Result<Json<WebhookTest>, Problem> {
    let id = named(&id)?;
    app.limits.write(manager.user.0).await?;
    Ok(Json(actions::ping(&app, id).await?.into()))
}

problems!(EnableProblems: manager query keyed[EndpointNotFound, RateLimited]);

/// Enable a webhook endpoint
///
/// For managers. What was due when it was disabled is sent; what was told meanwhile is to be recovered. At most 60
/// changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/webhook-endpoints/{endpoint_id}/enable", tag = "Webhooks",
    operation_id = "enable_webhook_endpoint",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("endpoint_id" = String, Path, description = "The endpoint's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The endpoint, enabled", body = WebhookEndpoint), EnableProblems))]
async fn enable(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    let id = named(&id)?;
    let _turn = app.turn_of(manager.user).await?;
    let tell = |endpoint: &Endpoint| Reply::json(StatusCode::OK, &WebhookEndpoint::from(endpoint));
    Ok(tell(&actions::enable(&app, manager.sent(tell)?, id).await?)?)
}

/// From when on.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct WebhookRecovery {
    /// At most 30 days ago.
    #[schema(format = DateTime, example = "2026-11-29T00:00:00Z")]
    since: String,
}

problems!(RecoverProblems: manager body keyed[EndpointNotFound, RateLimited]);

/// Send a webhook endpoint what it has missed
///
/// For managers. All messages of its types since a time that have not got through are sent again, with all attempts:
/// also those that it was never sent because it was disabled. A job does so, within seconds. At most 60 changes a
/// minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/webhook-endpoints/{endpoint_id}/recover", tag = "Webhooks",
    operation_id = "recover_webhook_endpoint",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = WebhookRecovery,
    params(("endpoint_id" = String, Path, description = "The endpoint's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 202, description = "It will be sent"), RecoverProblems))]
async fn recover(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let since = fields.parsed("since", |text| Time::parse(text).ok_or("Input should be a time"));
    let since = fields.all(since)?;
    let id = named(&id)?;
    let _turn = app.turn_of(manager.user).await?;
    let accepted = Reply::empty(StatusCode::ACCEPTED);
    recovery::recover(&app, manager.answered(&accepted)?, id, since).await?;
    Ok(accepted)
}
