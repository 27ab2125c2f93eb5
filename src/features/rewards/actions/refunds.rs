//! Taking back what was granted for an event, in parts or whole.

use super::events::{Host, turns};
use super::{give_back, seal_of, take};
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::outbox;
use crate::features::rewards::model::RefundReason;
use crate::features::rewards::model::event::{EventKey, Refund, Refunded, TakenBack};
use crate::features::rewards::model::message::MovementCause;
use crate::features::rewards::model::reward::{Act, Step};
use crate::features::rewards::model::rules::EventType;
use crate::features::rewards::store;
use crate::features::rewards::store::events::{NewRefund, Stored};
use crate::features::rewards::store::ledger::Hold;
use crate::idempotency::Sent;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{EventId, RefundId};
use crate::kernel::time::Time;

/// Which event a refund is of.
#[derive(Clone)]
pub enum Of {
    Id(EventId),
    Key(EventType, EventKey),
}

/// A refund as a call tells of it.
#[derive(Clone)]
pub struct Told {
    pub of: Of,
    pub key: EventKey,
    /// Nothing for all that is left.
    pub amount: Option<i64>,
    pub reason: RefundReason,
    /// The fields as they were sent, by which the same refund is known.
    pub said: Vec<u8>,
}

struct New {
    told: Told,
    id: RefundId,
    now: Time,
}

/// Takes a refund: what the rules would not have given is taken back in the same unit.
pub async fn tell(app: &App, host: Host, sent: Sent<Refunded>, told: Told) -> Result<Refunded> {
    let name = match &told.of {
        Of::Id(id) => id.to_string(),
        Of::Key(kind, key) => format!("{} {}", kind.as_str(), key.as_str()),
    };
    let _turns = turns(app, host, &name).await?;
    let new = New { told, id: RefundId::new(), now: app.clock.now() };
    let work: Work<New, Refunded> = |tx, new| Box::pin(record(tx, new));
    let refunded = app.write(sent, new, work).await?;
    app.to_tell.notify_one();
    Ok(refunded)
}

async fn record(tx: &mut Tx<'_>, new: &New) -> Result<Refunded> {
    let told = &new.told;
    let said = seal_of(tx, "referral refund 1", &told.said)?;
    let stored = match &told.of {
        Of::Id(id) => store::events::lock(tx, *id).await?,
        Of::Key(kind, key) => store::events::lock_by_key(tx, kind, key).await?,
    };
    let stored = stored.ok_or(Refusal::EventNotFound)?;
    let event = stored.event.id;
    if let Some((id, before, refunded_total)) = store::events::refund(tx, event, &told.key).await? {
        if before != said {
            return Err(Refusal::EventDiffers.into());
        }
        let reversed = store::ledger::taken_back(tx, event.0, id.0).await?;
        return Ok(Refunded::Before(Refund { id, event, refunded_total, reversed }));
    }
    let rest = match &stored.event.money {
        Some(money) => money.amount - stored.event.refunded,
        None => 0,
    };
    let amount = told.amount.unwrap_or(rest);
    // What is about no amount is taken back as a whole, once.
    let nothing_left = match stored.event.money {
        Some(_) => rest == 0,
        None => store::events::is_refunded(tx, event).await?,
    };
    if nothing_left || amount > rest {
        return Err(Refusal::RefundExceeds.into());
    }
    let refunded_total = stored.event.refunded + amount;
    let row = NewRefund {
        id: new.id,
        event,
        key: &told.key,
        amount,
        refunded_total,
        reason: told.reason,
        said: &said,
        now: new.now,
    };
    store::events::insert_refund(tx, &row).await?;
    let reversed = take_back(tx, &stored, rest - amount, new).await?;
    Ok(Refunded::Now(Refund { id: new.id, event, refunded_total, reversed }))
}

/// Takes back what the rules would not have given for what is left of the event.
async fn take_back(tx: &mut Tx<'_>, stored: &Stored, left: i64, new: &New) -> Result<Vec<TakenBack>> {
    let event = stored.event.id;
    let holders = store::rewards::holders(tx, event).await?;
    if holders.is_empty() {
        return Ok(Vec::new());
    }
    store::ledger::hold(tx, &holders, Hold::Shared).await?;
    let rules = store::rules::of_version_within(tx, stored.rules_version).await?;
    let rules = rules.ok_or_else(|| Error::inconsistent("events", "rules_version", event))?;
    let (mut reversed, mut taken, mut told) = (Vec::new(), Vec::new(), Vec::new());
    let cause = MovementCause::Refund(new.id, new.told.key.as_str());
    for reward in store::rewards::lock(tx, event).await? {
        let rule = rules.get(&reward.rule_key);
        let rule = rule.ok_or_else(|| Error::inconsistent("rewards", "rule_key", reward.id))?;
        let act = Act::TakeBack { earned: rule.earned(Some(left)) };
        let Step::Moved(next, movement) = reward.standing.step(act) else { continue };
        take(tx, &reward, (next, movement), (cause, new.now), &mut told).await?;
        let (kind, amount, unit) = (movement.kind, movement.amount, reward.unit.clone());
        reversed.push(TakenBack { reward: reward.id, kind, amount, unit });
        taken.push((reward, amount));
    }
    outbox::actions::tell_all(tx, &told).await?;
    give_back(tx, &taken).await?;
    Ok(reversed)
}
