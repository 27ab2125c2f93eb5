//! What was delivered, over HTTP, for managers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::named;
use crate::app::App;
use crate::features::tokens::caller::Manager;
use crate::features::webhooks::actions::{self, Told, recovery};
use crate::features::webhooks::model::{Attempt, Delivery, DeliveryState};
use crate::kernel::error::{Error, FieldError, Refusal};
use crate::kernel::ids::{MessageId, uuid};
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::{PathText, Query};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::page;
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(message)).routes(routes!(resend))
}

/// How a message stands with an endpoint.
#[derive(Serialize, ToSchema)]
struct WebhookDelivery {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    message_id: Uuid,
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d12")]
    endpoint_id: Uuid,
    /// What the message tells of.
    #[serde(rename = "type")]
    #[schema(example = "referral.created")]
    kind: String,
    /// When that was. UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    timestamp: Time,
    state: DeliveryState,
    /// Attempts so far, since it was last begun.
    #[schema(minimum = 0, example = 1)]
    attempts: i64,
    /// When the next attempt is due; null when there is none.
    #[schema(required, value_type = Option<String>, format = DateTime, example = json!(null))]
    next_attempt_at: Option<Time>,
    /// Of the answer to the last attempt; null when there was none.
    #[schema(required, example = 204)]
    last_status: Option<i64>,
    /// Why there was no answer; null when there was one.
    #[schema(required, example = json!(null))]
    last_error: Option<String>,
}

impl From<Delivery> for WebhookDelivery {
    fn from(delivery: Delivery) -> Self {
        Self {
            message_id: delivery.message.0,
            endpoint_id: delivery.endpoint.0,
            kind: delivery.kind,
            timestamp: delivery.at,
            next_attempt_at: (delivery.state == DeliveryState::Pending).then_some(delivery.next_at),
            state: delivery.state,
            attempts: delivery.attempts,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
        }
    }
}

/// A part of the deliveries.
#[derive(Serialize, ToSchema)]
struct WebhookDeliveries {
    /// The newest message first.
    items: Vec<WebhookDelivery>,
    /// Null: they are not counted.
    #[schema(required, example = json!(null))]
    total: Option<i64>,
    /// Items asked for.
    #[schema(minimum = 1, maximum = 100, example = 50)]
    size: i64,
    /// For the next part; null at the end.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// How the list is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct DeliveriesQuery {
    /// Only those in this state.
    #[param(required = false, inline, example = "pending")]
    state: Option<DeliveryState>,
    /// Items, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50, example = 50, required = false)]
    size: i64,
    /// Where to go on, from `next_cursor`.
    #[param(required = false, example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    cursor: Option<String>,
}

problems!(ListProblems: manager query[EndpointNotFound]);

/// List the deliveries to a webhook endpoint
///
/// For managers. The newest message first; those of 90 days.
#[utoipa::path(get, path = "/api/v1/webhook-endpoints/{endpoint_id}/deliveries", tag = "Webhooks",
    operation_id = "list_webhook_deliveries",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("endpoint_id" = String, Path, description = "The endpoint's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11"), DeliveriesQuery),
    responses((status = 200, description = "A part of the list", body = WebhookDeliveries), ListProblems))]
async fn list(
    State(app): State<Arc<App>>,
    _: Manager,
    PathText(id): PathText,
    query: Query,
) -> Result<Json<WebhookDeliveries>, Problem> {
    let state = match query.get("state") {
        None => None,
        Some(word) => Some(DeliveryState::parse(word).ok_or_else(|| parameter("state", "There is no such state"))?),
    };
    let before = match query.get("cursor") {
        None => Uuid::max(),
        Some(text) => uuid(text).ok_or_else(|| Problem::from(Error::Invalid(vec![page::wrong_cursor()])))?,
    };
    let size = page::size(&query).map_err(|error| Problem::from(Error::Invalid(vec![error])))?;
    let (found, next) = actions::deliveries(&app, named(&id)?, before, state, size).await?;
    Ok(Json(WebhookDeliveries {
        items: found.into_iter().map(WebhookDelivery::from).collect(),
        total: None,
        size,
        next_cursor: next.map(|next| next.to_string()),
    }))
}

fn parameter(name: &str, rule: &str) -> Problem {
    Error::Invalid(vec![FieldError::new("query", name, "value_error", rule)]).into()
}

/// One attempt to deliver a message.
#[derive(Serialize, ToSchema)]
struct WebhookAttempt {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d12")]
    endpoint_id: Uuid,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.223456Z")]
    at: Time,
    /// How long it took.
    #[schema(minimum = 0, example = 45)]
    milliseconds: i64,
    /// Of the answer; null when there was none.
    #[schema(required, example = 204)]
    status: Option<i64>,
    /// Why there was no answer; null when there was one.
    #[schema(required, example = json!(null))]
    error: Option<String>,
}

impl From<Attempt> for WebhookAttempt {
    fn from(attempt: Attempt) -> Self {
        Self {
            endpoint_id: attempt.endpoint.0,
            at: attempt.at,
            milliseconds: attempt.millis,
            status: attempt.status,
            error: attempt.error,
        }
    }
}

/// What a message tells; see the webhooks of this document.
#[derive(Serialize, ToSchema)]
#[schema(value_type = Object, example = json!({"id": "5442a9ef-ea29-4d5c-a6ac-d29988e39cca", "version": 1}))]
pub struct MessageData(pub Value);

/// A message with what became of it.
#[derive(Serialize, ToSchema)]
struct WebhookMessage {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    id: Uuid,
    /// Its place in the feed; null for a moment.
    #[schema(required, example = 1204)]
    seq: Option<i64>,
    #[serde(rename = "type")]
    #[schema(example = "referral.created")]
    kind: String,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    timestamp: Time,
    /// As it is sent now.
    data: MessageData,
    deliveries: Vec<WebhookDelivery>,
    /// Those of 30 days, oldest first.
    attempts: Vec<WebhookAttempt>,
}

impl From<Told> for WebhookMessage {
    fn from(told: Told) -> Self {
        Self {
            id: told.message.id.0,
            seq: told.message.seq,
            kind: told.message.kind,
            timestamp: told.message.at,
            data: MessageData(told.message.data),
            deliveries: told.deliveries.into_iter().map(WebhookDelivery::from).collect(),
            attempts: told.attempts.into_iter().map(WebhookAttempt::from).collect(),
        }
    }
}

problems!(MessageProblems: manager query[MessageNotFound]);

/// See a webhook message
///
/// For managers. With its deliveries and the attempts at each. Of what receivers have answered only the status is
/// known.
#[utoipa::path(get, path = "/api/v1/webhook-messages/{message_id}", tag = "Webhooks",
    operation_id = "get_webhook_message",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("message_id" = String, Path, description = "The message's id, which is `webhook-id` where it is received",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The message", body = WebhookMessage), MessageProblems))]
async fn message(
    State(app): State<Arc<App>>,
    _: Manager,
    PathText(id): PathText,
) -> Result<Json<WebhookMessage>, Problem> {
    Ok(Json(actions::message(&app, message_named(&id)?).await?.into()))
}

fn message_named(text: &str) -> Result<MessageId, Problem> {
    MessageId::parse(text).ok_or_else(|| Refusal::MessageNotFound.into())
}

problems!(ResendProblems: manager query keyed[MessageNotFound, RateLimited]);

/// Send a webhook message again
///
/// For managers. With all attempts, to each enabled endpoint of its type, whether or not it has got through before. At
/// most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/webhook-messages/{message_id}/resend", tag = "Webhooks",
    operation_id = "resend_webhook_message",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("message_id" = String, Path, description = "The message's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 202, description = "It will be sent"), ResendProblems))]
async fn resend(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    let id = message_named(&id)?;
    let _turn = app.turn_of(manager.user).await?;
    let accepted = Reply::empty(StatusCode::ACCEPTED);
    recovery::resend(&app, manager.answered(&accepted)?, id).await?;
    Ok(accepted)
}
