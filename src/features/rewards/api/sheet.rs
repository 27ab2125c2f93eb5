//! What there is in all, and whether it adds up.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::features::rewards::actions::check;
use crate::features::rewards::model::Unit;
use crate::features::rewards::model::check::{Check, CheckState, FaultKind, UnitSheet};
use crate::features::tokens::caller::{Manager, ProgramReader};
use crate::kernel::error::{Error, FieldError, Result};
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::Query;
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

/// A balance sheet.
#[derive(Serialize, ToSchema)]
pub(super) struct Sheet {
    /// One for each unit.
    items: Vec<UnitSheetOut>,
}

/// What there is of a unit, over all holders: issued is pending, available and paid together.
#[derive(Serialize, ToSchema)]
struct UnitSheetOut {
    #[schema(example = "EUR")]
    unit: String,
    /// Granted and credited, less what was taken back.
    #[schema(value_type = i64, example = 2900)]
    issued: i128,
    #[schema(value_type = i64, example = 900)]
    pending: i128,
    /// With what is below zero.
    #[schema(value_type = i64, example = 1000)]
    available: i128,
    #[schema(value_type = i64, minimum = 0, example = 1000)]
    paid: i128,
    /// What holders have less than nothing: it was taken back after it was paid, and is not earned again yet.
    #[schema(value_type = i64, minimum = 0, example = 0)]
    shortfalls: i128,
}

impl From<UnitSheet> for UnitSheetOut {
    fn from(sheet: UnitSheet) -> Self {
        Self {
            issued: sheet.total.issued(),
            pending: sheet.total.pending,
            available: sheet.total.available,
            paid: sheet.total.paid,
            shortfalls: sheet.shortfalls,
            unit: sheet.total.unit.as_str().to_owned(),
        }
    }
}

problems!(SheetProblems: program_reader query[]);

/// See the balance sheet
///
/// Every row of the ledger is read. For managers, and for programs with `program:read` or `program:write`.
#[utoipa::path(get, path = "/api/v1/ledger/sheet", tag = "Rewards", operation_id = "get_balance_sheet",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("unit" = Option<String>, Query, description = "Of this unit alone", example = "EUR")),
    responses((status = 200, description = "The balance sheet", body = Sheet), SheetProblems))]
pub(super) async fn sheet(State(app): State<Arc<App>>, _: ProgramReader, query: Query) -> Result<Json<Sheet>, Problem> {
    let unit = query.get("unit").map(Unit::parse).transpose();
    let unit = unit.map_err(|rule| Error::Invalid(vec![FieldError::new("query", "unit", "value_error", rule)]))?;
    let sheets = check::sheet(&app, unit.as_ref().map(Unit::as_str)).await?;
    Ok(Json(Sheet { items: sheets.into_iter().map(UnitSheetOut::from).collect() }))
}

/// A look at whether everything adds up.
#[derive(Serialize, ToSchema)]
pub(super) struct LedgerCheck {
    /// Null where none was asked for.
    #[schema(required)]
    last: Option<CheckOut>,
}

/// A check that was asked for.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckOut {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d14")]
    id: Uuid,
    state: CheckState,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-10-10T12:00:00Z")]
    asked_at: Time,
    /// UTC; null until it is over.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2030-10-10T12:00:01Z")]
    finished_at: Option<Time>,
    /// That were looked at.
    #[schema(minimum = 0, example = 1200)]
    rewards: i64,
    /// Rows of the ledger that were looked at.
    #[schema(minimum = 0, example = 2500)]
    movements: i64,
    /// At most 100 of each kind.
    faults: Vec<FaultOut>,
}

/// Something that does not add up.
#[derive(Serialize, ToSchema)]
struct FaultOut {
    kind: FaultKind,
    /// Of the reward, the holder, the decision, or the line of a payout; of a budget the unit.
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    id: String,
}

impl From<Check> for CheckOut {
    fn from(check: Check) -> Self {
        let state = check.state();
        let (finished_at, found) = check.finished.map_or_else(Default::default, |(at, found)| (Some(at), found));
        let faults = found.faults.into_iter().map(|fault| FaultOut { kind: fault.kind, id: fault.id });
        Self {
            id: check.id.0,
            state,
            asked_at: check.asked_at,
            finished_at,
            rewards: found.rewards,
            movements: found.movements,
            faults: faults.collect(),
        }
    }
}

problems!(LastProblems: program_reader[]);

/// See the last check of the ledger
///
/// For managers, and for programs with `program:read` or `program:write`.
#[utoipa::path(get, path = "/api/v1/ledger/check", tag = "Rewards", operation_id = "get_ledger_check",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    responses((status = 200, description = "The check that was asked for last", body = LedgerCheck), LastProblems))]
pub(super) async fn last(State(app): State<Arc<App>>, _: ProgramReader) -> Result<Json<LedgerCheck>, Problem> {
    Ok(Json(LedgerCheck { last: check::last(&app).await?.map(CheckOut::from) }))
}

problems!(AskProblems: manager keyed[RateLimited]);

/// Check the ledger
///
/// For managers. Whether every reward, balance and mark is what the rows of the ledger come to; `GET` on the same path
/// tells what was found. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/ledger/check", tag = "Rewards", operation_id = "check_ledger",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    responses((status = 202, description = "Asked for", body = CheckOut), AskProblems))]
pub(super) async fn ask(State(app): State<Arc<App>>, manager: Keyed<Manager>) -> Result<Reply, Problem> {
    let _turn = app.turn_of(manager.user).await?;
    let tell = |check: &Check| Reply::json(StatusCode::ACCEPTED, &CheckOut::from(check.clone()));
    Ok(tell(&check::ask(&app, manager.sent(tell)?).await?)?)
}
