//! Refunds of events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::host;
use crate::app::App;
use crate::features::rewards::actions::refunds::{self, Of, Told};
use crate::features::rewards::model::event::{EventKey, Refund, Refunded};
use crate::features::rewards::model::rules::EventType;
use crate::features::rewards::model::{LedgerKind, MOST_AMOUNT, RefundReason};
use crate::features::tokens::caller::ProgramWriter;
use crate::kernel::error::{Error, FieldError, Refusal, Result};
use crate::kernel::ids::EventId;
use crate::problems;
use crate::web::extract::{Fields, JsonBody, PathText, Query};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

/// What was given back of a purchase.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub(super) struct RefundIn {
    /// As the host calls it: 1 to 128 bytes. Of an event it is told once for ever.
    #[schema(min_length = 1, max_length = 128, example = "re_77")]
    external_id: String,
    /// In the event's unit; all that is left when it is left out.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64, example = 2345)]
    amount: Option<i64>,
    reason: RefundReason,
}

/// A refund, with what it took back.
#[derive(Serialize, ToSchema)]
pub(super) struct RefundOut {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d12")]
    id: Uuid,
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d10")]
    event_id: Uuid,
    /// Of the event, with this refund.
    #[schema(minimum = 0, example = 2345)]
    refunded_total: i64,
    reversed: Vec<TakenBackOut>,
}

/// What was taken back of a reward.
#[derive(Serialize, ToSchema)]
struct TakenBackOut {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    reward_id: Uuid,
    /// `deny` of a reward that was pending, `reverse` of any other.
    kind: LedgerKind,
    #[schema(minimum = 1, example = 234)]
    amount: i64,
    #[schema(example = "EUR")]
    unit: String,
}

impl From<Refund> for RefundOut {
    fn from(refund: Refund) -> Self {
        let reversed = refund.reversed.into_iter().map(|taken| TakenBackOut {
            reward_id: taken.reward.0,
            kind: taken.kind,
            amount: taken.amount,
            unit: taken.unit.as_str().to_owned(),
        });
        Self {
            id: refund.id.0,
            event_id: refund.event.0,
            refunded_total: refund.refunded_total,
            reversed: reversed.collect(),
        }
    }
}

problems!(RefundProblems: program_writer body keyed[EventNotFound, EventDiffers, RefundExceeds, RateLimited]);

/// Tell of a refund
///
/// In part or of all that is left. What the rules would not have given for the rest is taken back, also of what was
/// paid. The same refund again changes nothing and gets the first answer; in other words it is refused. An event that
/// is not known yet is a 404: tell of it again later. At most 600 calls a second of one client
/// (`limits.calls_per_client`).
#[utoipa::path(post, path = "/api/v1/events/{event_id}/refunds", tag = "Rewards", operation_id = "tell_refund",
    security(("machine" = ["program:write"]), ("bearer" = [])), request_body = RefundIn,
    params(("event_id" = String, Path, description = "The event's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d10")),
    responses((status = 201, description = "Taken", body = RefundOut),
        (status = 200, description = "Told of before", body = RefundOut), RefundProblems))]
pub(super) async fn tell(
    State(app): State<Arc<App>>,
    caller: Keyed<ProgramWriter>,
    PathText(id): PathText,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    let of = EventId::parse(&id).map(Of::Id);
    take(&app, &caller, of, fields).await
}

/// Tell of a refund by the host's own ids
///
/// As the call that names the event by our id, for whoever does not have it. At most 600 calls a second of one client
/// (`limits.calls_per_client`).
#[utoipa::path(post, path = "/api/v1/events/refunds", tag = "Rewards", operation_id = "tell_refund_by_external_id",
    security(("machine" = ["program:write"]), ("bearer" = [])), request_body = RefundIn,
    params(("external_id" = String, Query, description = "What the host calls the event", example = "inv_1042"),
        ("type" = String, Query, description = "The event's type", example = "purchase")),
    responses((status = 201, description = "Taken", body = RefundOut),
        (status = 200, description = "Told of before", body = RefundOut), RefundProblems))]
pub(super) async fn tell_by_key(
    State(app): State<Arc<App>>,
    caller: Keyed<ProgramWriter>,
    query: Query,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    let mut errors = Vec::new();
    let mut needed = |name: &str| {
        let text = query.get(name);
        if text.is_none() {
            errors.push(FieldError::new("query", name, "missing", "Field required"));
        }
        text.unwrap_or_default().to_owned()
    };
    let (key, kind) = (needed("external_id"), needed("type"));
    if !errors.is_empty() {
        return Err(Error::Invalid(errors).into());
    }
    // What is no type and no external id is none of any event.
    let of = EventType::parse(&kind).ok().zip(EventKey::parse(&key).ok());
    take(&app, &caller, of.map(|(kind, key)| Of::Key(kind, key)), fields).await
}

async fn take(app: &App, caller: &Keyed<ProgramWriter>, of: Option<Of>, fields: Fields) -> Result<Reply, Problem> {
    let host = host(app, caller).await?;
    let told = read(fields, of)?;
    let tell = |refunded: &Refunded| match refunded.clone() {
        Refunded::Now(refund) => Reply::json(StatusCode::CREATED, &RefundOut::from(refund)),
        Refunded::Before(refund) => Reply::json(StatusCode::OK, &RefundOut::from(refund)),
    };
    Ok(tell(&refunds::tell(app, host, caller.sent(tell)?, told).await?)?)
}

fn read(mut fields: Fields, of: Option<Of>) -> Result<Told> {
    let said = fields.said();
    let key = fields.parsed("external_id", EventKey::parse);
    let amount = fields.optional_number("amount", 1..=MOST_AMOUNT);
    let reason =
        fields.parsed("reason", |text| RefundReason::parse(text).ok_or("The reason is refund, chargeback or mistake"));
    let (key, reason) = fields.all(key.zip(reason))?;
    Ok(Told { of: of.ok_or(Refusal::EventNotFound)?, key, amount, reason, said })
}
