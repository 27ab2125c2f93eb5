//! Many participants in one call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ParticipantOut, believed, host, read, teller};
use crate::app::App;
use crate::features::accounts::model::participant::ExternalId;
use crate::features::participants::actions::{self, Asked, batch};
use crate::features::tokens::caller::ProgramWriter;
use crate::kernel::error::{Error, Result};
use crate::problems;
use crate::web::extract::{BatchBody, Fields};
use crate::web::problem::{Body9457, Problem};

/// Items of one batch.
const MOST_ITEMS: usize = 500;

/// Participants, at most 500.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub struct ParticipantsIn {
    /// At most 500. Each as the call for one takes it, with its external id.
    #[schema(max_items = 500)]
    participants: Vec<ParticipantOfBatch>,
}

/// A participant in a batch: as in a call of their own, with the external id.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub struct ParticipantOfBatch {
    /// How the host's app calls them: 1 to 128 bytes, kept as they are.
    #[schema(min_length = 1, max_length = 128, example = "42")]
    external_id: String,
    /// At most 150 characters; empty takes it away.
    #[schema(max_length = 150, example = "friend@example.com")]
    email: Option<String>,
    /// 1 to 100 characters; empty takes it away.
    #[schema(max_length = 100, example = "Olga")]
    name: Option<String>,
    /// A language tag (BCP 47) of at most 35 characters; empty takes it away.
    #[schema(max_length = 35, example = "en")]
    language: Option<String>,
    /// The code of whoever invited them.
    #[schema(example = "SPRING2030AB")]
    code: Option<String>,
    /// Their handle, instead of a code.
    #[schema(example = json!(null))]
    handle: Option<String>,
    /// True when the host has seen that the address is theirs.
    #[schema(default = false, example = false)]
    verified: Option<bool>,
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
pub struct BatchOut {
    /// One for each item, in the order in which they were sent.
    results: Vec<BatchResult>,
}

/// What became of an item: what a call of its own would have been answered.
#[derive(Serialize, ToSchema)]
pub struct BatchResult {
    #[schema(minimum = 200, maximum = 599, example = 201)]
    status: u16,
    body: BatchResultBody,
}

/// The participant, or what was wrong.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum BatchResultBody {
    Participant(Box<ParticipantOut>),
    Problem(Box<Body9457>),
}

problems!(BatchProblems: program_writer body[RateLimited, ClientBusy]);

/// Tell of many participants
///
/// Up to 500, in a body of up to 1 MiB. Each is made, changed or refused by itself, and has its result in the order
/// sent; sending the same again changes nothing. A client has one batch under way at a time. It counts as one of the
/// 600 calls a second of one client (`limits.calls_per_client`).
#[utoipa::path(post, path = "/api/v1/participants", tag = "Participants", operation_id = "upsert_participants",
    security(("machine" = ["program:write"]), ("bearer" = [])), request_body(content = ParticipantsIn,
        example = json!({"participants": [{"external_id": "42", "name": "Olga"},
            {"external_id": "77", "name": "Ivan", "code": "SPRING2030AB"}]})),
    responses((status = 200, description = "What became of each", body = BatchOut), BatchProblems))]
pub async fn upsert_all(
    State(app): State<Arc<App>>,
    caller: ProgramWriter,
    BatchBody(mut fields): BatchBody,
) -> Result<Json<BatchOut>, Problem> {
    let host = host(&app, &caller).await?;
    let items = fields.items("participants", MOST_ITEMS);
    let items = fields.all(items)?;
    let _batch = batch::begin(&app, host).await?;
    let asked: Vec<Result<Asked>> = items.into_iter().map(|item| item.and_then(read_item)).collect();
    let verified = asked.iter().flatten().any(|asked| asked.details.verified);
    let trusted = !verified || actions::trusts_addresses(&app, host).await?;
    let asked = asked.into_iter().map(|asked| asked.and_then(|asked| believed(asked, trusted))).collect();
    let outcomes = batch::upsert(&app, host, asked).await?;
    let out = teller(&app).await?;
    let results = outcomes.into_iter().map(|outcome| match outcome {
        Ok(upserted) => made(upserted.made, out(upserted.participant)),
        Err(error) => refused(error, &caller),
    });
    Ok(Json(BatchOut { results: results.collect() }))
}

fn read_item(mut fields: Fields) -> Result<Asked> {
    match fields.parsed("external_id", ExternalId::parse) {
        Some(external) => read(fields, external),
        None => fields.all(None),
    }
}

fn made(made: bool, participant: ParticipantOut) -> BatchResult {
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    BatchResult { status: status.as_u16(), body: BatchResultBody::Participant(Box::new(participant)) }
}

fn refused(error: Error, caller: &ProgramWriter) -> BatchResult {
    let body = Problem::from(error).told(caller.actor.request);
    BatchResult { status: body.status, body: BatchResultBody::Problem(Box::new(body)) }
}
