//! Events, rewards and the ledger over HTTP.

mod batch;
mod decisions;
mod events;
mod lists;
mod payouts;
mod refunds;
mod rules;
mod sheet;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub use self::lists::BalanceOut;
use super::actions::events::Host;
use super::model::event::{Event, Party, Reward, Skipped};
use super::model::reward::RewardState;
use super::model::{EventOutcome, Money, Side, SkipReason};
use crate::app::App;
use crate::features::tokens::caller::ProgramWriter;
use crate::kernel::error::{FieldError, Result};
use crate::kernel::time::Time;
use crate::web::extract::Query;
use crate::web::page;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(rules::get, rules::make))
        .routes(routes!(events::list, events::tell))
        .routes(routes!(batch::tell_all))
        .routes(routes!(events::get))
        .routes(routes!(refunds::tell))
        .routes(routes!(refunds::tell_by_key))
        .routes(routes!(lists::rewards))
        .routes(routes!(lists::own_rewards))
        .routes(routes!(lists::own_balance))
        .routes(routes!(lists::ledger))
        .routes(routes!(decisions::approve_referral))
        .routes(routes!(decisions::deny_referral))
        .routes(routes!(decisions::hold_referral))
        .routes(routes!(decisions::approve))
        .routes(routes!(decisions::deny))
        .routes(routes!(decisions::pay))
        .routes(routes!(decisions::give_back))
        .routes(routes!(decisions::adjust))
        .routes(routes!(sheet::sheet))
        .routes(routes!(payouts::list, payouts::make))
        .routes(routes!(payouts::get))
        .routes(routes!(payouts::lines))
        .routes(routes!(payouts::paid))
        .routes(routes!(payouts::cancel))
        .routes(routes!(payouts::give_back))
        .routes(routes!(sheet::last, sheet::ask))
}

/// A person as a host knows them.
#[derive(Serialize, ToSchema)]
pub struct PartyOut {
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    id: Uuid,
    /// Null for people who registered here, and once they are erased.
    #[schema(required, example = "42")]
    external_id: Option<String>,
}

impl From<Party> for PartyOut {
    fn from(party: Party) -> Self {
        Self { id: party.id.0, external_id: party.external_id }
    }
}

/// Which rule, of which version.
#[derive(Serialize, ToSchema)]
pub struct RuleNamed {
    #[schema(example = "friend-first")]
    key: String,
    #[schema(minimum = 1, example = 3)]
    version: i64,
}

/// What one person gets for one event by one rule.
#[derive(Serialize, ToSchema)]
pub struct RewardOut {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    id: Uuid,
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d10")]
    event_id: Uuid,
    side: Side,
    holder: PartyOut,
    /// In the smallest part of the unit.
    #[schema(minimum = 1, example = 500)]
    amount: i64,
    /// What was taken back of it.
    #[schema(minimum = 0, example = 0)]
    reversed: i64,
    #[schema(minimum = 0, example = 0)]
    paid_amount: i64,
    #[schema(example = "EUR")]
    unit: String,
    state: RewardState,
    /// When its hold ends by itself; an approval does not wait for it. UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-11-09T12:00:00Z")]
    available_at: Time,
    rule: RuleNamed,
}

impl From<Reward> for RewardOut {
    fn from(reward: Reward) -> Self {
        Self {
            id: reward.id.0,
            event_id: reward.event.0,
            side: reward.side,
            holder: reward.holder.into(),
            amount: reward.standing.amount,
            reversed: reward.standing.reversed,
            paid_amount: reward.standing.paid_amount,
            unit: reward.unit.as_str().to_owned(),
            state: reward.standing.state,
            available_at: reward.available_at,
            rule: RuleNamed { key: reward.rule_key, version: reward.rule_version },
        }
    }
}

/// A rule about such events that gave nothing.
#[derive(Serialize, ToSchema)]
struct SkippedOut {
    #[schema(example = "share")]
    rule: String,
    reason: SkipReason,
}

impl From<Skipped> for SkippedOut {
    fn from(skipped: Skipped) -> Self {
        Self { rule: skipped.rule, reason: skipped.reason }
    }
}

/// An event with what came of it.
#[derive(Serialize, ToSchema)]
struct EventOut {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d10")]
    id: Uuid,
    #[serde(rename = "type")]
    #[schema(example = "purchase")]
    kind: String,
    #[schema(example = "inv_1042")]
    external_id: String,
    outcome: EventOutcome,
    referee: PartyOut,
    /// In the smallest part of the unit; null where the event is about no amount.
    #[schema(required, minimum = 0, example = 12345)]
    amount: Option<i64>,
    #[schema(required, example = "EUR")]
    unit: Option<String>,
    /// What was taken back of the amount.
    #[schema(minimum = 0, example = 0)]
    refunded: i64,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-10-10T12:00:00Z")]
    occurred_at: Time,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-10-10T12:00:01Z")]
    received_at: Time,
    rewards: Vec<RewardOut>,
    /// The rules about such events that gave nothing.
    skipped: Vec<SkippedOut>,
}

impl From<Event> for EventOut {
    fn from(event: Event) -> Self {
        let outcome = event.outcome();
        let (amount, unit) = match event.money {
            Some(Money { amount, unit }) => (Some(amount), Some(unit.as_str().to_owned())),
            None => (None, None),
        };
        Self {
            id: event.id.0,
            kind: event.kind.as_str().to_owned(),
            external_id: event.key.as_str().to_owned(),
            outcome,
            referee: event.referee.into(),
            amount,
            unit,
            refunded: event.refunded,
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            rewards: event.rewards.into_iter().map(RewardOut::from).collect(),
            skipped: event.skipped.into_iter().map(SkippedOut::from).collect(),
        }
    }
}

/// Whoever calls, as often as they may.
async fn host(app: &App, caller: &ProgramWriter) -> Result<Host> {
    app.limits.call(caller.client).await?;
    Ok(Host { actor: caller.actor, client: caller.client })
}

/// Where a list goes on that is ordered by ids, the newest first.
fn behind(query: &Query) -> Result<Uuid, FieldError> {
    let Some(text) = query.get("cursor") else { return Ok(Uuid::max()) };
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok()).ok_or_else(page::wrong_cursor)
}

fn cursor(place: Option<Uuid>) -> Option<String> {
    place.map(|id| URL_SAFE_NO_PAD.encode(id))
}
