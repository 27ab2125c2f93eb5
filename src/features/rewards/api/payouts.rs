//! Payouts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{behind, cursor};
use crate::app::App;
use crate::features::rewards::actions::payouts;
use crate::features::rewards::model::payout::{Line, Payout, PayoutState, Wanted};
use crate::features::rewards::model::{MOST_AMOUNT, Unit};
use crate::features::tokens::caller::Manager;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{PayoutId, UserId};
use crate::kernel::time::Time;
use crate::problems;
use crate::web::csv::{FileQuery, file, safe_cell, written};
use crate::web::extract::{Fields, JsonBody, PathText, Query};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::page;
use crate::web::problem::Problem;

/// Holders that a payout may name.
const MOST_HOLDERS: usize = 500;
const LINES: [&str; 6] = ["holder", "external_id", "address", "amount", "unit", "reference"];

/// Who is to be paid together.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub(super) struct PayoutIn {
    /// A currency of ISO 4217, or points.
    #[schema(example = "EUR")]
    unit: String,
    /// Nobody is in it with less; 1 when left out.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64, example = 1000)]
    min_amount: Option<i64>,
    /// By our ids, at most 500; everybody when left out.
    #[schema(max_items = 500, example = json!(null))]
    holders: Option<Vec<Uuid>>,
}

/// Those who are paid together.
#[derive(Serialize, ToSchema)]
pub(super) struct PayoutOut {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d15")]
    id: Uuid,
    state: PayoutState,
    #[schema(example = "EUR")]
    unit: String,
    #[schema(minimum = 1, example = 1000)]
    min_amount: i64,
    /// How many holders are in it; as many as there are yet while it is prepared.
    #[schema(minimum = 0, example = 120)]
    lines: i64,
    /// Of all lines.
    #[schema(value_type = i64, minimum = 0, example = 250_000)]
    total: i128,
    /// Lines whose payment did not arrive.
    #[schema(minimum = 0, example = 0)]
    returned: i64,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-10-31T12:00:00Z")]
    created_at: Time,
    /// When it was paid or cancelled, UTC; null until then.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2030-11-02T09:00:00Z")]
    settled_at: Option<Time>,
}

impl From<Payout> for PayoutOut {
    fn from(payout: Payout) -> Self {
        Self {
            id: payout.id.0,
            state: payout.state,
            unit: payout.unit.as_str().to_owned(),
            min_amount: payout.min_amount,
            lines: payout.lines,
            total: payout.total,
            returned: payout.returned,
            created_at: payout.created_at,
            settled_at: payout.settled_at,
        }
    }
}

/// A part of the payouts.
#[derive(Serialize, ToSchema)]
pub(super) struct Payouts {
    /// Newest first.
    items: Vec<PayoutOut>,
    /// Not counted: null.
    #[schema(required, minimum = 0, example = json!(null))]
    total: Option<i64>,
    /// Items asked for.
    #[schema(minimum = 1, maximum = 100, example = 50)]
    size: i64,
    /// For the next part; null at the end.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

fn accepted(payout: &Payout) -> Result<Reply> {
    Reply::json(StatusCode::ACCEPTED, &PayoutOut::from(payout.clone()))
}

fn done(payout: &Payout) -> Result<Reply> {
    Reply::json(StatusCode::OK, &PayoutOut::from(payout.clone()))
}

problems!(MakeProblems: manager body keyed[RateLimited]);

/// Make a payout
///
/// For managers. A job makes a line for each holder, of all that they have available in the unit and that no open
/// payout has; what it pays is reserved until the payout is paid or cancelled. Whoever is erased is left out, and so is
/// the manager who asks. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/payouts", tag = "Rewards", operation_id = "make_payout",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = PayoutIn,
    responses((status = 202, description = "It is prepared", body = PayoutOut), MakeProblems))]
pub(super) async fn make(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    let wanted = read(fields)?;
    let _turn = app.turn_of(manager.user).await?;
    Ok(accepted(&payouts::make(&app, manager.sent(accepted)?, manager.user, wanted).await?)?)
}

fn read(mut fields: Fields) -> Result<Wanted> {
    let unit = fields.parsed("unit", Unit::parse);
    let min_amount = fields.optional_number("min_amount", 1..=MOST_AMOUNT).unwrap_or(1);
    let holders = fields.optional_texts("holders").and_then(|texts| fields.judge("holders", read_holders(&texts)));
    fields.all(unit.map(|unit| Wanted { unit, min_amount, holders }))
}

fn read_holders(texts: &[String]) -> Result<Vec<UserId>, &'static str> {
    if texts.len() > MOST_HOLDERS {
        return Err("At most 500 holders");
    }
    texts.iter().map(|text| UserId::parse(text).ok_or("One of these is no id of ours")).collect()
}

problems!(ListProblems: manager query[]);

/// List the payouts
///
/// Newest first. For managers.
#[utoipa::path(get, path = "/api/v1/payouts", tag = "Rewards", operation_id = "list_payouts",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(
        ("size" = Option<i64>, Query, description = "Items in a part, 1 to 100; 50 when left out", minimum = 1,
            maximum = 100, example = 50),
        ("cursor" = Option<String>, Query, description = "Where to go on, from `next_cursor`",
            example = "AZgPDHwefTqaVQ-Nb2ttEQ")),
    responses((status = 200, description = "A part of the list", body = Payouts), ListProblems))]
pub(super) async fn list(State(app): State<Arc<App>>, _: Manager, query: Query) -> Result<Json<Payouts>, Problem> {
    let mut errors = Vec::new();
    let size = page::size(&query).map_err(|error| errors.push(error)).unwrap_or(1);
    let behind = behind(&query).map_err(|error| errors.push(error)).unwrap_or_default();
    if !errors.is_empty() {
        return Err(Error::Invalid(errors).into());
    }
    let (payouts, next) = payouts::list(&app, behind, size).await?;
    let items = payouts.into_iter().map(PayoutOut::from).collect();
    Ok(Json(Payouts { items, total: None, size, next_cursor: cursor(next) }))
}

problems!(GetProblems: manager query[PayoutNotFound]);

/// See a payout
///
/// For managers.
#[utoipa::path(get, path = "/api/v1/payouts/{payout_id}", tag = "Rewards", operation_id = "get_payout",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("payout_id" = String, Path, description = "The payout's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d15")),
    responses((status = 200, description = "The payout", body = PayoutOut), GetProblems))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    _: Manager,
    PathText(id): PathText,
) -> Result<Json<PayoutOut>, Problem> {
    Ok(Json(payouts::get(&app, payout(&id)?).await?.into()))
}

problems!(LinesProblems: manager query[PayoutNotFound, PayoutState]);

/// Take out the lines of a payout
///
/// For managers: CSV in UTF-8, for whoever pays. Amounts are in the smallest part of the unit; `address` is the
/// holder's e-mail address, and `reference` names the line for ever. Texts that a spreadsheet would take for formulas
/// get an apostrophe before them. Not while it is prepared: 409.
#[utoipa::path(get, path = "/api/v1/payouts/{payout_id}/lines.csv", tag = "Rewards", operation_id = "export_payout",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("payout_id" = String, Path, description = "The payout's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d15"), FileQuery),
    responses((status = 200,
        description = "The file, with the columns holder, external_id, address, amount, unit, reference",
        content_type = "text/csv", body = String), LinesProblems))]
pub(super) async fn lines(
    State(app): State<Arc<App>>,
    _: Manager,
    PathText(id): PathText,
    query: Query,
) -> Result<Response, Problem> {
    let excel = query.flag("excel")?;
    let id = payout(&id)?;
    if payouts::get(&app, id).await?.state == PayoutState::Preparing {
        return Err(Refusal::PayoutState.into());
    }
    Ok(file("payout.csv", excel, &LINES, Uuid::nil(), move |behind| {
        let app = app.clone();
        async move {
            let part = payouts::lines(&app, id, behind).await?;
            let next = part.last().map(|last| last.holder.0);
            Ok((written(part.iter().map(cells))?, next))
        }
    })?)
}

fn cells(line: &Line) -> Vec<String> {
    vec![
        line.holder.to_string(),
        safe_cell(line.external_id.as_deref().unwrap_or_default()),
        safe_cell(&line.email),
        line.amount.to_string(),
        line.unit.as_str().to_owned(),
        line.id.to_string(),
    ]
}

problems!(PaidProblems: manager query keyed[PayoutNotFound, PayoutState, ConflictOfInterest, RateLimited]);

/// Tell that a payout was paid
///
/// For managers who have no line in it. Each line is booked as it was taken out: what was taken back of its rewards
/// meanwhile is a shortfall for the next. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/payouts/{payout_id}/paid", tag = "Rewards", operation_id = "settle_payout",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("payout_id" = String, Path, description = "The payout's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d15")),
    responses((status = 200, description = "The payout, paid", body = PayoutOut), PaidProblems))]
pub(super) async fn paid(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    settle(&app, &manager, &id, PayoutState::Paid).await
}

problems!(CancelProblems: manager query keyed[PayoutNotFound, PayoutState, RateLimited]);

/// Cancel a payout
///
/// For managers. What its lines have reserved is free again. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/payouts/{payout_id}/cancel", tag = "Rewards", operation_id = "cancel_payout",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("payout_id" = String, Path, description = "The payout's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d15")),
    responses((status = 200, description = "The payout, cancelled", body = PayoutOut), CancelProblems))]
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    settle(&app, &manager, &id, PayoutState::Cancelled).await
}

async fn settle(app: &App, manager: &Keyed<Manager>, id: &str, to: PayoutState) -> Result<Reply, Problem> {
    let _turn = app.turn_of(manager.user).await?;
    Ok(done(&payouts::settle(app, manager.sent(done)?, payout(id)?, to).await?)?)
}

problems!(ReturnProblems: manager query keyed[PayoutNotFound, PayoutState, ConflictOfInterest, RateLimited]);

/// Tell that a line of a payout did not arrive
///
/// For managers, not of themselves. What it paid is available again. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/payouts/{payout_id}/lines/{holder_id}/return", tag = "Rewards",
    operation_id = "return_payout_line",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("payout_id" = String, Path, description = "The payout's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d15"),
        ("holder_id" = String, Path, description = "The holder's id",
            example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")),
    responses((status = 200, description = "The payout", body = PayoutOut), ReturnProblems))]
pub(super) async fn give_back(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Reply, Problem> {
    // What is no text is none of any payout.
    let Ok(Path((id, holder))) = path else { return Err(Refusal::PayoutNotFound.into()) };
    let _turn = app.turn_of(manager.user).await?;
    let holder = UserId::parse(&holder).ok_or(Refusal::PayoutNotFound)?;
    Ok(done(&payouts::give_back(&app, manager.sent(done)?, payout(&id)?, holder).await?)?)
}

fn payout(text: &str) -> Result<PayoutId> {
    PayoutId::parse(text).ok_or_else(|| Refusal::PayoutNotFound.into())
}
