//! Rewards, balances and the ledger.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{PartyOut, RewardOut, behind, cursor};
use crate::app::App;
use crate::features::rewards::actions::lists;
use crate::features::rewards::model::event::{Balance, Entry, WantedRewards};
use crate::features::rewards::model::reward::RewardState;
use crate::features::rewards::model::{Account, LedgerKind};
use crate::features::tokens::caller::{Person, ProgramReader, need};
use crate::kernel::digest::ExternalIdHash;
use crate::kernel::error::{Error, FieldError, Result};
use crate::kernel::external_id::ExternalId;
use crate::kernel::ids::UserId;
use crate::kernel::page::Cursor;
use crate::kernel::program::DEFAULT;
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::Query;
use crate::web::page;
use crate::web::problem::Problem;

/// A part of the rewards.
#[derive(Serialize, ToSchema)]
pub(super) struct Rewards {
    /// Newest first.
    items: Vec<RewardOut>,
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

problems!(RewardsProblems: program_reader query[]);

/// List the rewards
///
/// Newest first. For managers, and for programs with `program:read` or `program:write`.
#[utoipa::path(get, path = "/api/v1/rewards", tag = "Rewards", operation_id = "list_rewards",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(
        ("state" = Option<RewardState>, Query, description = "In this state alone", example = "pending"),
        ("holder" = Option<Uuid>, Query, description = "Of this person alone, by our id",
            example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff"),
        ("external_id" = Option<String>, Query, description = "Of this participant alone, by the host's own id",
            example = "42"),
        ("program" = Option<String>, Query, description = "Of this program; there is one", example = "default"),
        ("size" = Option<i64>, Query, description = "Items in a part, 1 to 100; 50 when left out", minimum = 1,
            maximum = 100, example = 50),
        ("cursor" = Option<String>, Query, description = "Where to go on, from `next_cursor`",
            example = "AZgPDHwefTqaVQ-Nb2ttEQ")),
    responses((status = 200, description = "A part of the list", body = Rewards), RewardsProblems))]
pub(super) async fn rewards(
    State(app): State<Arc<App>>,
    _: ProgramReader,
    query: Query,
) -> Result<Json<Rewards>, Problem> {
    let holder = holder(&app, &query).await;
    let program = match query.get("program") {
        None | Some(DEFAULT) => Ok(()),
        Some(_) => Err(FieldError::new("query", "program", "value_error", "There is one program, default")),
    };
    let holder = match (holder, program) {
        (Ok(holder), Ok(())) => holder,
        (Err(Error::Invalid(mut errors)), program) => {
            errors.extend(program.err());
            return Err(Error::Invalid(errors).into());
        }
        (Err(error), _) => return Err(error.into()),
        (Ok(_), Err(error)) => return Err(Error::Invalid(vec![error]).into()),
    };
    part(&app, &query, holder).await
}

problems!(OwnRewardsProblems: person query[]);

/// List your rewards
///
/// Newest first.
#[utoipa::path(get, path = "/api/v1/me/rewards", tag = "Rewards", operation_id = "list_own_rewards",
    security(("oauth" = ["referrals:read"]), ("password" = []), ("bearer" = [])),
    params(
        ("state" = Option<RewardState>, Query, description = "In this state alone", example = "pending"),
        ("size" = Option<i64>, Query, description = "Items in a part, 1 to 100; 50 when left out", minimum = 1,
            maximum = 100, example = 50),
        ("cursor" = Option<String>, Query, description = "Where to go on, from `next_cursor`",
            example = "AZgPDHwefTqaVQ-Nb2ttEQ")),
    responses((status = 200, description = "A part of the list", body = Rewards), OwnRewardsProblems))]
pub(super) async fn own_rewards(
    State(app): State<Arc<App>>,
    caller: Person<need::ReferralsRead>,
    query: Query,
) -> Result<Json<Rewards>, Problem> {
    part(&app, &query, Some(caller.user)).await
}

async fn part(app: &App, query: &Query, holder: Option<UserId>) -> Result<Json<Rewards>, Problem> {
    let mut errors = Vec::new();
    let state = query.get("state").map(RewardState::parse);
    if state == Some(None) {
        let rule = "The state is pending, available, paid, denied or reversed";
        errors.push(FieldError::new("query", "state", "value_error", rule));
    }
    let size = page::size(query).map_err(|error| errors.push(error)).unwrap_or(1);
    let behind = behind(query).map_err(|error| errors.push(error)).unwrap_or_default();
    if !errors.is_empty() {
        return Err(Error::Invalid(errors).into());
    }
    let wanted = WantedRewards { holder, state: state.flatten() };
    let (rewards, next) = lists::rewards(app, wanted, behind, size).await?;
    let items = rewards.into_iter().map(RewardOut::from).collect();
    Ok(Json(Rewards { items, total: None, size, next_cursor: cursor(next) }))
}

/// Of whom alone a list is asked for.
async fn holder(app: &App, query: &Query) -> Result<Option<UserId>> {
    let wrong = |name, rule: &str| Error::Invalid(vec![FieldError::new("query", name, "value_error", rule)]);
    match (query.get("holder"), query.get("external_id")) {
        (None, None) => Ok(None),
        (Some(text), None) => UserId::parse(text).map(Some).ok_or_else(|| wrong("holder", "This is no id of ours")),
        (None, Some(text)) => {
            let external = ExternalId::parse(text).map_err(|rule| wrong("external_id", rule))?;
            // Nobody has anything.
            let nobody = UserId(Uuid::nil());
            Ok(Some(lists::holder(app, &ExternalIdHash::of(external.as_str())).await?.unwrap_or(nobody)))
        }
        (Some(_), Some(_)) => Err(wrong("external_id", "Give either holder or external_id")),
    }
}

/// What somebody has.
#[derive(Serialize, ToSchema)]
pub(super) struct Balances {
    /// One for each unit.
    items: Vec<BalanceOut>,
}

/// What somebody has in one unit.
#[derive(Serialize, ToSchema)]
pub struct BalanceOut {
    #[schema(example = "EUR")]
    unit: String,
    /// Granted, and not available yet.
    #[schema(value_type = i64, example = 900)]
    pending: i128,
    /// Below zero where more was taken back than was left to pay.
    #[schema(value_type = i64, example = 1000)]
    available: i128,
    #[schema(value_type = i64, minimum = 0, example = 0)]
    paid: i128,
}

impl From<Balance> for BalanceOut {
    fn from(balance: Balance) -> Self {
        Self {
            unit: balance.unit.as_str().to_owned(),
            pending: balance.pending,
            available: balance.available,
            paid: balance.paid,
        }
    }
}

problems!(BalanceProblems: person[]);

/// See what you have
///
/// In each unit: what is pending, available and paid. What is available may be below zero: more was taken back than was
/// left to pay.
#[utoipa::path(get, path = "/api/v1/me/balance", tag = "Rewards", operation_id = "get_own_balance",
    security(("oauth" = ["referrals:read"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "What you have", body = Balances), BalanceProblems))]
pub(super) async fn own_balance(
    State(app): State<Arc<App>>,
    caller: Person<need::ReferralsRead>,
) -> Result<Json<Balances>, Problem> {
    let balances = lists::balances(&app, caller.user).await?;
    Ok(Json(Balances { items: balances.into_iter().map(BalanceOut::from).collect() }))
}

/// A part of the ledger.
#[derive(Serialize, ToSchema)]
pub(super) struct Ledger {
    /// Newest first.
    items: Vec<EntryOut>,
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

/// A movement: both of its sides.
#[derive(Serialize, ToSchema)]
struct EntryOut {
    #[schema(minimum = 1, example = 42)]
    id: i64,
    holder: PartyOut,
    kind: LedgerKind,
    /// The account that it takes from.
    from: Account,
    /// The account that it gives to.
    to: Account,
    #[schema(minimum = 1, example = 500)]
    amount: i64,
    #[schema(example = "EUR")]
    unit: String,
    /// Null for what is about no single reward.
    #[schema(required, example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    reward_id: Option<Uuid>,
    /// What it comes of: an event or a refund.
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d10")]
    cause_id: Uuid,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-10-10T12:00:01Z")]
    at: Time,
}

impl From<Entry> for EntryOut {
    fn from(entry: Entry) -> Self {
        let (from, to) = entry.kind.sides();
        Self {
            id: entry.id,
            holder: entry.holder.into(),
            kind: entry.kind,
            from,
            to,
            amount: entry.amount,
            unit: entry.unit.as_str().to_owned(),
            reward_id: entry.reward.map(|reward| reward.0),
            cause_id: entry.cause,
            at: entry.at,
        }
    }
}

problems!(LedgerProblems: program_reader query[]);

/// See the ledger
///
/// Every movement, newest first. For managers, and for programs with `program:read` or `program:write`.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "Rewards", operation_id = "list_ledger",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(
        ("holder" = Option<Uuid>, Query, description = "Of this person alone, by our id",
            example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff"),
        ("external_id" = Option<String>, Query, description = "Of this participant alone, by the host's own id",
            example = "42"),
        ("size" = Option<i64>, Query, description = "Items in a part, 1 to 100; 50 when left out", minimum = 1,
            maximum = 100, example = 50),
        ("cursor" = Option<String>, Query, description = "Where to go on, from `next_cursor`",
            example = "AAAAAAAAADI")),
    responses((status = 200, description = "A part of the ledger", body = Ledger), LedgerProblems))]
pub(super) async fn ledger(
    State(app): State<Arc<App>>,
    _: ProgramReader,
    query: Query,
) -> Result<Json<Ledger>, Problem> {
    let mut errors = Vec::new();
    let holder = match holder(&app, &query).await {
        Ok(holder) => holder,
        Err(Error::Invalid(wrong)) => {
            errors.extend(wrong);
            None
        }
        Err(error) => return Err(error.into()),
    };
    let size = page::size(&query).map_err(|error| errors.push(error)).unwrap_or(1);
    let behind = query.get("cursor").map(|text| Cursor::parse(text).ok_or_else(page::wrong_cursor)).transpose();
    let behind = behind.map_err(|error| errors.push(error)).unwrap_or_default();
    if !errors.is_empty() {
        return Err(Error::Invalid(errors).into());
    }
    let behind = behind.map_or(i64::MAX, |cursor| cursor.0);
    let (entries, next) = lists::entries(&app, holder, behind, size).await?;
    Ok(Json(Ledger {
        items: entries.into_iter().map(EntryOut::from).collect(),
        total: None,
        size,
        next_cursor: next.map(|id| Cursor(id).to_string()),
    }))
}
