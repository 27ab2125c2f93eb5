//! The feed over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::features::outbox::model::Stored;
use crate::features::tokens::caller::ProgramReader;
use crate::features::webhooks::actions::feed;
use crate::features::webhooks::api::deliveries::MessageData;
use crate::kernel::error::{Error, FieldError, Refusal};
use crate::kernel::time::Time;
use crate::limits::turns::Key;
use crate::problems;
use crate::web::extract::Query;
use crate::web::page;
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(read))
}

/// A message, as endpoints get it, with its place.
#[derive(Serialize, ToSchema)]
struct FeedMessage {
    /// Grows from each to the next.
    #[schema(example = 1204)]
    seq: i64,
    /// `webhook-id` where it is received.
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    id: Uuid,
    #[serde(rename = "type")]
    #[schema(example = "referral.created")]
    kind: String,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    timestamp: Time,
    data: MessageData,
}

/// A part of the feed.
#[derive(Serialize, ToSchema)]
struct FeedPart {
    /// In the order of `seq`.
    items: Vec<FeedMessage>,
    /// The `after` of the next call. Keep it when all of these are dealt with.
    #[schema(example = 1204)]
    next_after: i64,
}

/// How the feed is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct FeedQuery {
    /// Only what comes behind this place, from `next_after`; all that is kept when left out.
    #[param(minimum = 0, required = false, example = 0)]
    after: Option<i64>,
    /// Seconds to wait for a message where there is none, 0 to 25.
    #[param(minimum = 0, maximum = 25, default = 0, example = 0, required = false)]
    wait: i64,
    /// Messages, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50, example = 50, required = false)]
    size: i64,
}

problems!(ReadProblems: program_reader query[FeedOff, CursorExpired, ClientBusy]);

/// Read the messages as a feed
///
/// For managers, and for programs with `program:read` or `program:write`; where the operator has switched it on
/// (`webhooks.feed`). The messages that endpoints get, those of 90 days, each once and in one order. A caller has two
/// calls under way at most.
#[utoipa::path(get, path = "/api/v1/webhook-messages", tag = "Webhooks", operation_id = "read_webhook_messages",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(FeedQuery),
    responses((status = 200, description = "A part of the feed", body = FeedPart), ReadProblems))]
async fn read(State(app): State<Arc<App>>, reader: ProgramReader, query: Query) -> Result<Json<FeedPart>, Problem> {
    let after = number(&query, "after", i64::MAX)?;
    let wait = number(&query, "wait", 25)?.unwrap_or(0);
    let size = page::size(&query).map_err(|error| Problem::from(Error::Invalid(vec![error])))?;
    let turn = app.turns.take(Key::Feed(reader.id)).await;
    let _turn = turn.map_err(|error| match error {
        Error::Limited(_) => Refusal::ClientBusy.into(),
        other => other,
    })?;
    let (found, next_after) = feed::read(&app, after, Duration::from_secs(wait.unsigned_abs()), size).await?;
    Ok(Json(FeedPart { items: found.into_iter().map(item).collect(), next_after }))
}

fn item(message: Stored) -> FeedMessage {
    FeedMessage {
        seq: message.seq.unwrap_or_default(),
        id: message.id.0,
        kind: message.kind,
        timestamp: message.at,
        data: MessageData(message.data),
    }
}

fn number(query: &Query, name: &str, most: i64) -> Result<Option<i64>, Problem> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (0..=most).contains(number));
    let rule = if most == i64::MAX {
        "Input should be an integer from 0 on".to_owned()
    } else {
        format!("Input should be an integer from 0 to {most}")
    };
    let wrong = || Error::Invalid(vec![FieldError::new("query", name, "value_error", rule)]).into();
    number.map(Some).ok_or_else(wrong)
}
