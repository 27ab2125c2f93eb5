//! Many events in one call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::events::{EventAnswer, EventIn, answer, read};
use super::host;
use crate::app::App;
use crate::features::rewards::actions::batch;
use crate::features::rewards::model::event::Told;
use crate::features::tokens::caller::ProgramWriter;
use crate::kernel::error::{Error, Result};
use crate::problems;
use crate::web::extract::BatchBody;
use crate::web::problem::{Body9457, Problem};

/// Items of one batch.
const MOST_ITEMS: usize = 500;

/// Events, at most 500.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub(super) struct EventsIn {
    /// At most 500. Each as the call for one takes it.
    #[schema(max_items = 500)]
    events: Vec<EventIn>,
}

/// What became of a batch of events.
#[derive(Serialize, ToSchema)]
pub(super) struct EventBatchOut {
    /// One for each item, in the order in which they were sent.
    results: Vec<EventBatchResult>,
}

/// What came of an item: what a call of its own would have been answered.
#[derive(Serialize, ToSchema)]
struct EventBatchResult {
    #[schema(minimum = 200, maximum = 599, example = 201)]
    status: u16,
    body: EventBatchResultBody,
}

/// The event, or what was wrong.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum EventBatchResultBody {
    Event(EventAnswer),
    Problem(Box<Body9457>),
}

problems!(BatchProblems: program_writer body[RateLimited, ClientBusy]);

/// Tell of many events
///
/// Up to 500, in a body of up to 1 MiB. Each is taken or refused by itself, in the order of their external ids, and has
/// its result in the order sent; sending the same again changes nothing. A client has one batch under way at a time. At
/// most 600 calls a second of one client (`limits.calls_per_client`), of which it is one.
#[utoipa::path(post, path = "/api/v1/events/batch", tag = "Rewards", operation_id = "tell_events",
    security(("machine" = ["program:write"]), ("bearer" = [])), request_body = EventsIn,
    responses((status = 200, description = "What came of each", body = EventBatchOut), BatchProblems))]
pub(super) async fn tell_all(
    State(app): State<Arc<App>>,
    caller: ProgramWriter,
    BatchBody(mut fields): BatchBody,
) -> Result<Json<EventBatchOut>, Problem> {
    let host = host(&app, &caller).await?;
    let items = fields.items("events", MOST_ITEMS);
    let items = fields.all(items)?;
    let _batch = batch::begin(&app, host).await?;
    let now = app.clock.now();
    let told: Vec<Result<Told>> = items.into_iter().map(|item| item.and_then(|item| read(item, now))).collect();
    let outcomes = batch::tell(&app, host, told).await?;
    let results = outcomes.into_iter().map(|outcome| match outcome {
        Ok(recorded) => taken(answer(recorded)),
        Err(error) => refused(error, &caller),
    });
    Ok(Json(EventBatchOut { results: results.collect() }))
}

fn taken((status, answer): (StatusCode, EventAnswer)) -> EventBatchResult {
    EventBatchResult { status: status.as_u16(), body: EventBatchResultBody::Event(answer) }
}

fn refused(error: Error, caller: &ProgramWriter) -> EventBatchResult {
    let body = Problem::from(error).told(caller.actor.request);
    EventBatchResult { status: body.status, body: EventBatchResultBody::Problem(Box::new(body)) }
}
