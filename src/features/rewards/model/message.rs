//! What others are told of a reward.

use serde_json::json;
use uuid::Uuid;

use super::LedgerKind;
use super::event::Reward;
use super::reward::{Movement, RewardState};
use crate::features::outbox::model::{Message, MessageType};
use crate::kernel::ids::{DecisionId, EventId, PayoutId, RefundId};
use crate::kernel::time::Time;

/// Why a reward has moved.
#[derive(Clone, Copy)]
pub enum MovementCause<'a> {
    /// With how the host calls it.
    Event(EventId, &'a str),
    /// With how the host calls it.
    Refund(RefundId, &'a str),
    /// Its hold is over: the event that it was granted for.
    Hold(EventId),
    Decision(DecisionId),
    Payout(PayoutId),
}

impl MovementCause<'_> {
    /// By which the ledger knows it.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Event(id, _) | Self::Hold(id) => id.0,
            Self::Refund(id, _) => id.0,
            Self::Decision(id) => id.0,
            Self::Payout(id) => id.0,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Event(..) => "event",
            Self::Refund(..) => "refund",
            Self::Hold(_) => "hold",
            Self::Decision(_) => "decision",
            Self::Payout(_) => "payout",
        }
    }

    fn called(&self) -> Option<&str> {
        match self {
            Self::Event(_, key) | Self::Refund(_, key) => Some(key),
            Self::Hold(_) | Self::Decision(_) | Self::Payout(_) => None,
        }
    }
}

/// What is told of a movement, with the reward as it is behind it.
pub fn message(reward: &Reward, movement: Movement, cause: MovementCause<'_>, at: Time) -> Message {
    let kind = match movement.kind {
        LedgerKind::Grant => MessageType::RewardCreated,
        LedgerKind::Pay => MessageType::RewardPaid,
        LedgerKind::Deny | LedgerKind::Reverse => MessageType::RewardReversed,
        // A payment came back of which all was taken back meanwhile.
        LedgerKind::Return if reward.standing.state == RewardState::Reversed => MessageType::RewardReversed,
        LedgerKind::Release | LedgerKind::Return | LedgerKind::Credit | LedgerKind::Debit => {
            MessageType::RewardAvailable
        }
    };
    let amount = match movement.kind {
        // What comes back of a payment is what is left of the reward: the rest was told of when it was taken back.
        LedgerKind::Return => reward.standing.left(),
        _ => movement.amount,
    };
    let data = json!({
        "reward_id": reward.id.0,
        "event_id": reward.event.0,
        "holder": {"id": reward.holder.id.0},
        "rule": reward.rule_key,
        "amount": amount,
        "unit": reward.unit.as_str(),
        "reversed_total": reward.standing.reversed,
        "state": reward.standing.state.word(),
        "cause": {"kind": cause.word(), "id": cause.id(), "external_id": cause.called()},
        "version": reward.version,
    });
    Message::new(kind, reward.id.0, data, at)
}
