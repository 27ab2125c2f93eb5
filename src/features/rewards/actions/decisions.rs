//! What is decided by hand: of referrals, of rewards, of balances.

use super::release::UNIT;
use super::{give_back, take};
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::audit::model::Event as Noted;
use crate::features::referrals::model::Decision;
use crate::features::rewards::model::decision::{About, Adjusted, Adjustment, ReferralDecided, RewardAct, noted};
use crate::features::rewards::model::event::Reward;
use crate::features::rewards::model::message::MovementCause;
use crate::features::rewards::model::reward::{Act, Movement, Step};
use crate::features::rewards::model::{LedgerKind, Money};
use crate::features::rewards::store;
use crate::features::rewards::store::decisions::NewDecision;
use crate::features::rewards::store::ledger::Hold;
use crate::features::{audit, outbox, referrals};
use crate::idempotency::Sent;
use crate::jobs::{self, Kind, Outcome};
use crate::kernel::actor::{Actor, Who};
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{DecisionId, RewardId, UserId};
use crate::kernel::time::Time;

struct OfReferral {
    id: DecisionId,
    referee: UserId,
    decision: Decision,
    note: Option<String>,
    now: Time,
}

/// Decides about a referral. Of a denied one, what was granted is taken back by a job.
pub async fn decide(
    app: &App,
    sent: Sent<ReferralDecided>,
    referee: UserId,
    decision: Decision,
    note: Option<String>,
) -> Result<ReferralDecided> {
    let new = OfReferral { id: DecisionId::new(), referee, decision, note, now: app.clock.now() };
    let work: Work<OfReferral, ReferralDecided> = |tx, new| Box::pin(note_decision(tx, new));
    let decided = app.write(sent, new, work).await?;
    app.work_to_do.ring(Kind::TakeBack);
    app.to_tell.notify_one();
    Ok(decided)
}

async fn note_decision(tx: &mut Tx<'_>, new: &OfReferral) -> Result<ReferralDecided> {
    let note = note_about(tx, new.referee, new.note.as_deref()).await?;
    let referral = referrals::actions::lock(tx, new.referee).await?.ok_or(Refusal::ReferralNotFound)?;
    disinterested(tx, &[referral.referrer, new.referee])?;
    let decision = NewDecision {
        id: new.id,
        about: About::Referral,
        about_id: new.referee.0,
        person: new.referee,
        decision: new.decision.word(),
        money: None,
        note,
        now: new.now,
    };
    store::decisions::insert(tx, &decision).await?;
    referrals::actions::decide(tx, new.referee, (new.decision, new.id), new.now).await?;
    let waits = referrals::model::Held { decision: Some(new.decision), ..referral }.waits();
    store::rewards::set_waiting(tx, new.referee, waits).await?;
    if new.decision == Decision::Deny {
        jobs::enqueue(tx, Kind::TakeBack, new.id.to_string(), new.now).await?;
    }
    let (action, subject) = noted(new.decision);
    audit::actions::record(tx, new.now, Noted::Decided(action, subject, new.referee.0)).await?;
    Ok(ReferralDecided { id: new.id, referee: new.referee, decision: new.decision, at: new.now })
}

/// What a manager has written about somebody, who is held so that it goes when they are erased. Of whoever is erased
/// nothing more is written.
async fn note_about<'a>(tx: &mut Tx<'_>, person: UserId, note: Option<&'a str>) -> Result<Option<&'a str>> {
    let is_there = store::decisions::hold_holder(tx, person).await?;
    Ok(note.filter(|_| is_there))
}

/// Nobody decides about what they are part of.
pub(super) fn disinterested(tx: &Tx<'_>, people: &[UserId]) -> Result<()> {
    match tx.actor().who {
        Who::Manager(manager) if people.contains(&manager) => Err(Refusal::ConflictOfInterest.into()),
        _ => Ok(()),
    }
}

/// The job that takes back what was granted for a denied referral, some at a time.
pub async fn take_back(app: &App, subject: &str) -> Result<Outcome> {
    let Some(id) = DecisionId::parse(subject) else { return Ok(Outcome::Done("no such decision")) };
    let work: Work<(DecisionId, Time), bool> = |tx, (id, now)| Box::pin(take_some(tx, *id, *now));
    while app.db.write(Actor::SERVICE, (id, app.clock.now()), work).await? {
        app.to_tell.notify_one();
    }
    Ok(Outcome::Done("taken back"))
}

/// Takes back some of it, and says whether there may be more.
async fn take_some(tx: &mut Tx<'_>, id: DecisionId, now: Time) -> Result<bool> {
    let Some(referee) = store::decisions::denied(tx, id).await? else { return Ok(false) };
    let referral = referrals::actions::share(tx, referee).await?;
    // Another decision has come behind it.
    if referral.is_none_or(|referral| referral.decision_id != Some(id)) {
        return Ok(false);
    }
    let (ids, holders): (Vec<RewardId>, Vec<UserId>) =
        store::rewards::unreversed(tx, referee, UNIT).await?.into_iter().unzip();
    if ids.is_empty() {
        return Ok(false);
    }
    store::ledger::hold(tx, &holders, Hold::Shared).await?;
    let (mut taken, mut told) = (Vec::new(), Vec::new());
    for reward in store::rewards::lock_each(tx, &ids).await? {
        let Step::Moved(next, movement) = reward.standing.step(Act::TakeBack { earned: 0 }) else { continue };
        take(tx, &reward, (next, movement), (MovementCause::Decision(id), now), &mut told).await?;
        taken.push((reward, movement.amount));
    }
    outbox::actions::tell_all(tx, &told).await?;
    give_back(tx, &taken).await?;
    Ok(true)
}

struct OfReward {
    id: DecisionId,
    reward: RewardId,
    act: RewardAct,
    note: Option<String>,
    now: Time,
}

/// Does something with a reward by hand.
pub async fn act(
    app: &App,
    sent: Sent<Reward>,
    reward: RewardId,
    act: RewardAct,
    note: Option<String>,
) -> Result<Reward> {
    let new = OfReward { id: DecisionId::new(), reward, act, note, now: app.clock.now() };
    let work: Work<OfReward, Reward> = |tx, new| Box::pin(do_with(tx, new));
    let done = app.write(sent, new, work).await?;
    app.to_tell.notify_one();
    Ok(done)
}

async fn do_with(tx: &mut Tx<'_>, new: &OfReward) -> Result<Reward> {
    let found = store::rewards::whose(tx, new.reward).await?.ok_or(Refusal::RewardNotFound)?;
    let note = note_about(tx, found.holder, new.note.as_deref()).await?;
    let referral = referrals::actions::share(tx, found.referee).await?;
    let referral = referral.ok_or_else(|| Error::inconsistent("rewards", "referee_id", new.reward))?;
    if new.act.is_payment() {
        disinterested(tx, &[found.holder])?;
    } else {
        disinterested(tx, &[found.holder, found.referee, referral.referrer])?;
    }
    let hold = if new.act.is_payment() { Hold::Alone } else { Hold::Shared };
    store::ledger::hold(tx, &[found.holder], hold).await?;
    let locked = store::rewards::lock_each(tx, &[new.reward]).await?.pop();
    let reward = locked.ok_or_else(|| Error::inconsistent("rewards", "id", new.reward))?;
    let forbidden = match new.act {
        // It waives the hold alone.
        RewardAct::Approve => referral.waits(),
        RewardAct::Pay => referral.is_denied(),
        RewardAct::Deny | RewardAct::Return => false,
    };
    let step = reward.standing.step(new.act.act());
    let (Step::Moved(next, movement), false) = (step, forbidden) else { return Err(Refusal::RewardState.into()) };
    if new.act == RewardAct::Pay {
        suffices(tx, found.holder, &Money { amount: movement.amount, unit: reward.unit.clone() }).await?;
    }
    let decision = NewDecision {
        id: new.id,
        about: About::Reward,
        about_id: new.reward.0,
        person: found.holder,
        decision: new.act.word(),
        money: None,
        note,
        now: new.now,
    };
    store::decisions::insert(tx, &decision).await?;
    let mut told = Vec::new();
    let moved = take(tx, &reward, (next, movement), (MovementCause::Decision(new.id), new.now), &mut told).await?;
    outbox::actions::tell_all(tx, &told).await?;
    let (action, subject) = new.act.noted();
    audit::actions::record(tx, new.now, Noted::Decided(action, subject, new.reward.0)).await?;
    if movement.kind == LedgerKind::Deny {
        give_back(tx, &[(reward, movement.amount)]).await?;
    }
    Ok(moved)
}

/// Whether a holder, whose account is held alone, has so much that nothing else has.
async fn suffices(tx: &mut Tx<'_>, holder: UserId, money: &Money) -> Result<()> {
    if i128::from(money.amount) > store::ledger::free(tx, holder, &money.unit).await? {
        return Err(Refusal::InsufficientBalance.into());
    }
    Ok(())
}

struct OfBalance {
    id: DecisionId,
    holder: UserId,
    adjustment: Adjustment,
    money: Money,
    reason: String,
    now: Time,
}

/// What is to be done with a balance.
pub struct Wanted {
    pub holder: UserId,
    pub adjustment: Adjustment,
    pub money: Money,
    pub reason: String,
}

/// Gives somebody something by hand, or takes it.
pub async fn adjust(app: &App, sent: Sent<Adjusted>, wanted: Wanted) -> Result<Adjusted> {
    let Wanted { holder, adjustment, money, reason } = wanted;
    let new = OfBalance { id: DecisionId::new(), holder, adjustment, money, reason, now: app.clock.now() };
    let work: Work<OfBalance, Adjusted> = |tx, new| Box::pin(adjust_balance(tx, new));
    app.write(sent, new, work).await
}

async fn adjust_balance(tx: &mut Tx<'_>, new: &OfBalance) -> Result<Adjusted> {
    disinterested(tx, &[new.holder])?;
    if !store::decisions::hold_holder(tx, new.holder).await? {
        return Err(Refusal::UserNotFound.into());
    }
    let kind = new.adjustment.kind();
    let hold = if kind == LedgerKind::Debit { Hold::Alone } else { Hold::Shared };
    store::ledger::hold(tx, &[new.holder], hold).await?;
    if kind == LedgerKind::Debit {
        suffices(tx, new.holder, &new.money).await?;
    }
    let decision = NewDecision {
        id: new.id,
        about: About::Balance,
        about_id: new.holder.0,
        person: new.holder,
        decision: new.adjustment.word(),
        money: Some(&new.money),
        note: Some(&new.reason),
        now: new.now,
    };
    store::decisions::insert(tx, &decision).await?;
    let movement = Movement { kind, amount: new.money.amount };
    store::ledger::book_without(tx, new.holder, &new.money.unit, movement, new.id.0, new.now).await?;
    let (action, subject) = new.adjustment.noted();
    audit::actions::record(tx, new.now, Noted::Decided(action, subject, new.holder.0)).await?;
    Ok(Adjusted {
        id: new.id,
        holder: new.holder,
        adjustment: new.adjustment,
        money: new.money.clone(),
        reason: new.reason.clone(),
        at: new.now,
    })
}
