//! What is decided by hand: of referrals, of rewards, of balances.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::RewardOut;
use crate::app::App;
use crate::features::referrals::model::Decision;
use crate::features::rewards::actions::decisions::{self, Wanted};
use crate::features::rewards::model::decision::{Adjusted, Adjustment, ReferralDecided, RewardAct, parse_note};
use crate::features::rewards::model::event::Reward;
use crate::features::rewards::model::{MOST_AMOUNT, Money, Unit};
use crate::features::tokens::caller::{Manager, Payer};
use crate::kernel::actor::Who;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::{RewardId, UserId};
use crate::kernel::time::Time;
use crate::limits::turns::{Key, Turn};
use crate::problems;
use crate::web::extract::{JsonBody, PathText};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

/// Why it is decided so.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub(super) struct DecisionIn {
    /// 1 to 512 characters, for managers. It is forgotten when the referee is erased.
    #[schema(min_length = 1, max_length = 512, example = "Two accounts of one household")]
    note: Option<String>,
}

/// What was decided of a referral.
#[derive(Serialize, ToSchema)]
pub(super) struct ReferralDecidedOut {
    /// Of the decision.
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d13")]
    id: Uuid,
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    referee_id: Uuid,
    decision: Decision,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-10-10T12:00:01Z")]
    decided_at: Time,
}

impl From<ReferralDecided> for ReferralDecidedOut {
    fn from(decided: ReferralDecided) -> Self {
        Self { id: decided.id.0, referee_id: decided.referee.0, decision: decided.decision, decided_at: decided.at }
    }
}

problems!(DecideProblems: manager query body keyed[ReferralNotFound, ConflictOfInterest, RateLimited]);

/// Approve a referral
///
/// For managers, not about themselves. The last decision counts; without one a referral is approved. What waits for it
/// is released when its hold is over; what was taken back stays so. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/referrals/{referee_id}/approve", tag = "Rewards",
    operation_id = "approve_referral",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = DecisionIn,
    params(("referee_id" = String, Path, description = "The referee's id, which is the referral's",
        example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")),
    responses((status = 200, description = "Decided", body = ReferralDecidedOut), DecideProblems))]
pub(super) async fn approve_referral(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(referee): PathText,
    body: JsonBody,
) -> Result<Reply, Problem> {
    decide(&app, &manager, &referee, Decision::Approve, body).await
}

/// Deny a referral
///
/// For managers, not about themselves. From then on nothing of it is granted, released or paid; what was granted is
/// taken back within a moment, also what was paid. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/referrals/{referee_id}/deny", tag = "Rewards", operation_id = "deny_referral",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = DecisionIn,
    params(("referee_id" = String, Path, description = "The referee's id, which is the referral's",
        example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")),
    responses((status = 200, description = "Decided", body = ReferralDecidedOut), DecideProblems))]
pub(super) async fn deny_referral(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(referee): PathText,
    body: JsonBody,
) -> Result<Reply, Problem> {
    decide(&app, &manager, &referee, Decision::Deny, body).await
}

/// Hold a referral
///
/// For managers, not about themselves. What is granted for it stays pending until another decision. At most 60 changes
/// a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/referrals/{referee_id}/hold", tag = "Rewards", operation_id = "hold_referral",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = DecisionIn,
    params(("referee_id" = String, Path, description = "The referee's id, which is the referral's",
        example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")),
    responses((status = 200, description = "Decided", body = ReferralDecidedOut), DecideProblems))]
pub(super) async fn hold_referral(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(referee): PathText,
    body: JsonBody,
) -> Result<Reply, Problem> {
    decide(&app, &manager, &referee, Decision::Hold, body).await
}

async fn decide(
    app: &App,
    manager: &Keyed<Manager>,
    referee: &str,
    decision: Decision,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let note = fields.optionally_parsed("note", parse_note);
    let note = fields.all(Some(note))?;
    let referee = UserId::parse(referee).ok_or(Refusal::ReferralNotFound)?;
    let _turn = app.turn_of(manager.user).await?;
    let tell = |decided: &ReferralDecided| Reply::json(StatusCode::OK, &ReferralDecidedOut::from(decided.clone()));
    Ok(tell(&decisions::decide(app, manager.sent(tell)?, referee, decision, note).await?)?)
}

problems!(ApproveProblems: manager query keyed[RewardNotFound, RewardState, ConflictOfInterest, RateLimited]);

/// Approve a reward
///
/// For managers, not about themselves. It becomes available before its hold is over, if its referral is confirmed and
/// approved. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/rewards/{reward_id}/approve", tag = "Rewards", operation_id = "approve_reward",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("reward_id" = String, Path, description = "The reward's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The reward, available", body = RewardOut), ApproveProblems))]
pub(super) async fn approve(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(reward): PathText,
) -> Result<Reply, Problem> {
    let _turn = app.turn_of(manager.user).await?;
    Ok(tell_reward(&decisions::act(&app, manager.sent(tell_reward)?, id(&reward)?, RewardAct::Approve, None).await?)?)
}

/// Why a reward is taken back.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub(super) struct DenialIn {
    /// 1 to 512 characters, for managers. It is forgotten when the holder is erased.
    #[schema(min_length = 1, max_length = 512, example = "Bought by an employee")]
    reason: String,
}

problems!(DenyProblems: manager query body keyed[RewardNotFound, RewardState, ConflictOfInterest, RateLimited]);

/// Deny a reward
///
/// For managers, not about themselves. What is left of a pending reward is taken back. At most 60 changes a minute, of
/// whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/rewards/{reward_id}/deny", tag = "Rewards", operation_id = "deny_reward",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = DenialIn,
    params(("reward_id" = String, Path, description = "The reward's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The reward, denied", body = RewardOut), DenyProblems))]
pub(super) async fn deny(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(reward): PathText,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let reason = fields.parsed("reason", parse_note);
    let reason = fields.all(reason)?;
    let _turn = app.turn_of(manager.user).await?;
    let sent = manager.sent(tell_reward)?;
    Ok(tell_reward(&decisions::act(&app, sent, id(&reward)?, RewardAct::Deny, Some(reason)).await?)?)
}

/// What a payment is called.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub(super) struct PaymentIn {
    /// Where it was paid: 1 to 512 characters. It is forgotten when the holder is erased.
    #[schema(min_length = 1, max_length = 512, example = "transfer 8817")]
    reference: Option<String>,
}

problems!(PayProblems: program_reader query body
    keyed[RewardNotFound, RewardState, InsufficientBalance, ConflictOfInterest, RateLimited]);

/// Tell that a reward was paid
///
/// For managers, not to themselves, and for programs with `program:write`. What is left of an available reward was
/// given to its holder: by a voucher, a transfer, a credit at the host's. It is refused where the holder has less than
/// that available, because more of other rewards was taken back. At most 60 changes of a manager a minute, of whatever
/// kind (`limits.writes_per_user`), and 600 calls a second of one client (`limits.calls_per_client`).
#[utoipa::path(post, path = "/api/v1/rewards/{reward_id}/pay", tag = "Rewards", operation_id = "pay_reward",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:write"]), ("bearer" = [])),
    request_body = PaymentIn,
    params(("reward_id" = String, Path, description = "The reward's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The reward, paid", body = RewardOut), PayProblems))]
pub(super) async fn pay(
    State(app): State<Arc<App>>,
    payer: Keyed<Payer>,
    PathText(reward): PathText,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let reference = fields.optionally_parsed("reference", parse_note);
    let reference = fields.all(Some(reference))?;
    let _turn = turn(&app, &payer).await?;
    let sent = payer.sent(tell_reward)?;
    Ok(tell_reward(&decisions::act(&app, sent, id(&reward)?, RewardAct::Pay, reference).await?)?)
}

problems!(ReturnProblems: program_reader query keyed[RewardNotFound, RewardState, ConflictOfInterest, RateLimited]);

/// Tell that a payment of a reward did not arrive
///
/// For managers, not to themselves, and for programs with `program:write`. What was paid is available again. At most 60
/// changes of a manager a minute, of whatever kind (`limits.writes_per_user`), and 600 calls a second of one client
/// (`limits.calls_per_client`).
#[utoipa::path(post, path = "/api/v1/rewards/{reward_id}/return", tag = "Rewards", operation_id = "return_reward",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:write"]), ("bearer" = [])),
    params(("reward_id" = String, Path, description = "The reward's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 200, description = "The reward, available or reversed", body = RewardOut), ReturnProblems))]
pub(super) async fn give_back(
    State(app): State<Arc<App>>,
    payer: Keyed<Payer>,
    PathText(reward): PathText,
) -> Result<Reply, Problem> {
    let _turn = turn(&app, &payer).await?;
    Ok(tell_reward(&decisions::act(&app, payer.sent(tell_reward)?, id(&reward)?, RewardAct::Return, None).await?)?)
}

fn id(text: &str) -> Result<RewardId> {
    RewardId::parse(text).ok_or_else(|| Refusal::RewardNotFound.into())
}

fn tell_reward(reward: &Reward) -> Result<Reply> {
    Reply::json(StatusCode::OK, &RewardOut::from(reward.clone()))
}

/// The caller's turn, as often as they may.
async fn turn<'a>(app: &'a App, payer: &Payer) -> Result<Option<Turn<'a>>> {
    match payer.actor.who {
        Who::Manager(user) => app.turn_of(user).await.map(Some),
        Who::Program(client) => {
            app.limits.call(client).await?;
            app.turns.take(Key::Client(client.0)).await.map(Some)
        }
        _ => Ok(None),
    }
}

/// What is given to somebody by hand, or taken.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub(super) struct AdjustmentIn {
    /// By our id.
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    holder: Uuid,
    kind: Adjustment,
    /// A currency of ISO 4217, or points.
    #[schema(example = "EUR")]
    unit: String,
    /// In the smallest part of the unit.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64, example = 500)]
    amount: i64,
    /// 1 to 512 characters, for managers. It is forgotten when the holder is erased.
    #[schema(min_length = 1, max_length = 512, example = "For the mix-up in May")]
    reason: String,
}

/// What was given to somebody by hand, or taken.
#[derive(Serialize, ToSchema)]
pub(super) struct AdjustmentOut {
    /// The cause of its row in the ledger.
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d13")]
    id: Uuid,
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    holder: Uuid,
    kind: Adjustment,
    #[schema(example = "EUR")]
    unit: String,
    #[schema(minimum = 1, example = 500)]
    amount: i64,
    #[schema(example = "For the mix-up in May")]
    reason: String,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-10-10T12:00:01Z")]
    at: Time,
}

impl From<Adjusted> for AdjustmentOut {
    fn from(adjusted: Adjusted) -> Self {
        Self {
            id: adjusted.id.0,
            holder: adjusted.holder.0,
            kind: adjusted.adjustment,
            unit: adjusted.money.unit.as_str().to_owned(),
            amount: adjusted.money.amount,
            reason: adjusted.reason,
            at: adjusted.at,
        }
    }
}

problems!(AdjustProblems: manager body keyed[UserNotFound, InsufficientBalance, ConflictOfInterest, RateLimited]);

/// Give somebody something by hand, or take it
///
/// For managers, not to themselves. A credit is available at once; a debit takes no more than is available. At most 60
/// changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/ledger/adjustments", tag = "Rewards", operation_id = "adjust_balance",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = AdjustmentIn,
    responses((status = 201, description = "Booked", body = AdjustmentOut), AdjustProblems))]
pub(super) async fn adjust(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let holder = fields.parsed("holder", |text| UserId::parse(text).ok_or("This is no id of ours"));
    let kind = fields.parsed("kind", |text| Adjustment::parse(text).ok_or("The kind is credit or debit"));
    let unit = fields.parsed("unit", Unit::parse);
    let amount = fields.number("amount", 1..=MOST_AMOUNT);
    let reason = fields.parsed("reason", parse_note);
    let wanted = holder.zip(kind).zip(unit.zip(amount)).zip(reason);
    let wanted = wanted.map(|(((holder, adjustment), (unit, amount)), reason)| Wanted {
        holder,
        adjustment,
        money: Money { amount, unit },
        reason,
    });
    let wanted = fields.all(wanted)?;
    let _turn = app.turn_of(manager.user).await?;
    let tell = |adjusted: &Adjusted| Reply::json(StatusCode::CREATED, &AdjustmentOut::from(adjusted.clone()));
    Ok(tell(&decisions::adjust(&app, manager.sent(tell)?, wanted).await?)?)
}
