//! Who is paid together: lines that pay what holders have, once each.

use uuid::Uuid;

use super::decisions::disinterested;
use super::lists::part;
use super::release::UNIT;
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::audit::model::{Action, Event as Noted, SubjectKind};
use crate::features::outbox::model::Message;
use crate::features::rewards::model::LedgerKind;
use crate::features::rewards::model::event::Reward;
use crate::features::rewards::model::message::{MovementCause, message};
use crate::features::rewards::model::payout::{Line, Payout, PayoutState, Wanted};
use crate::features::rewards::model::reward::{Movement, RewardState, Standing};
use crate::features::rewards::store;
use crate::features::rewards::store::ledger::Hold;
use crate::features::rewards::store::payouts::{Locked, NewLine};
use crate::features::{audit, outbox};
use crate::idempotency::Sent;
use crate::jobs::{self, Kind, Outcome};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::{PayoutId, PayoutLineId, UserId};
use crate::kernel::time::Time;

/// Lines that are read at once.
const PART: i64 = 512;

struct New {
    id: PayoutId,
    wanted: Wanted,
    by: UserId,
    now: Time,
}

/// Makes a payout, whose lines a job makes.
pub async fn make(app: &App, sent: Sent<Payout>, by: UserId, wanted: Wanted) -> Result<Payout> {
    let new = New { id: PayoutId::new(), wanted, by, now: app.clock.now() };
    let work: Work<New, Payout> = |tx, new| Box::pin(insert(tx, new));
    let payout = app.write(sent, new, work).await?;
    app.work_to_do.ring(Kind::PreparePayout);
    Ok(payout)
}

async fn insert(tx: &mut Tx<'_>, new: &New) -> Result<Payout> {
    store::payouts::insert(tx, new.id, &new.wanted, new.by, new.now).await?;
    jobs::enqueue(tx, Kind::PreparePayout, new.id.to_string(), new.now).await?;
    note(tx, Action::PayoutMade, new.id, new.now).await?;
    store::payouts::payout_within(tx, new.id).await
}

async fn note(tx: &mut Tx<'_>, action: Action, id: PayoutId, now: Time) -> Result<()> {
    audit::actions::record(tx, now, Noted::Decided(action, SubjectKind::Payout, id.0)).await
}

/// The job that makes the lines, some at a time.
pub async fn prepare(app: &App, subject: &str) -> Result<Outcome> {
    let Some(id) = PayoutId::parse(subject) else { return Ok(Outcome::Done("no such payout")) };
    let work: Work<PayoutId, bool> = |tx, id| Box::pin(prepare_some(tx, *id));
    while app.db.write(Actor::SERVICE, id, work).await? {}
    Ok(Outcome::Done("prepared"))
}

/// Makes some lines, and says whether there may be more.
async fn prepare_some(tx: &mut Tx<'_>, id: PayoutId) -> Result<bool> {
    let Some(payout) = store::payouts::lock(tx, id).await? else { return Ok(false) };
    if payout.state != PayoutState::Preparing {
        return Ok(false);
    }
    let next = store::payouts::next_holders(tx, &payout, UNIT).await?;
    let Some((last, _)) = next.last().copied() else {
        store::payouts::set_state(tx, id, PayoutState::Open, None).await?;
        return Ok(false);
    };
    // Whoever is erased is not paid, and nobody pays themselves.
    let paid = next.into_iter().filter(|(holder, erased)| !erased && *holder != payout.by);
    let holders: Vec<UserId> = paid.map(|(holder, _)| holder).collect();
    store::ledger::hold(tx, &holders, Hold::Alone).await?;
    for holder in holders {
        add_line(tx, id, &payout, holder).await?;
    }
    store::payouts::set_prepared(tx, id, last).await?;
    Ok(true)
}

/// Adds a holder's line, if they have enough. Their account is held alone.
async fn add_line(tx: &mut Tx<'_>, id: PayoutId, payout: &Locked, holder: UserId) -> Result<()> {
    let free = store::ledger::free(tx, holder, &payout.unit).await?;
    let due = free - store::payouts::denied(tx, holder, &payout.unit).await?;
    if due < i128::from(payout.min_amount.max(1)) {
        return Ok(());
    }
    let amount = i64::try_from(due).unwrap_or(i64::MAX);
    let line = NewLine { id: PayoutLineId::new(), payout: id, holder, unit: &payout.unit, amount };
    store::payouts::insert_line(tx, &line).await
}

struct Settled {
    id: PayoutId,
    to: PayoutState,
    now: Time,
}

/// Notes that all of an open payout was paid, or that nothing of it is.
pub async fn settle(app: &App, sent: Sent<Payout>, id: PayoutId, to: PayoutState) -> Result<Payout> {
    let settled = Settled { id, to, now: app.clock.now() };
    let work: Work<Settled, Payout> = |tx, settled| Box::pin(settle_locked(tx, settled));
    let settled = app.write(sent, settled, work).await?;
    app.to_tell.notify_one();
    Ok(settled)
}

async fn settle_locked(tx: &mut Tx<'_>, settled: &Settled) -> Result<Payout> {
    let (id, now) = (settled.id, settled.now);
    let payout = store::payouts::lock(tx, id).await?.ok_or(Refusal::PayoutNotFound)?;
    let cancelled = settled.to == PayoutState::Cancelled;
    // What is still prepared is cancelled, too: its job finds that.
    if payout.state != PayoutState::Open && !(cancelled && payout.state == PayoutState::Preparing) {
        return Err(Refusal::PayoutState.into());
    }
    let holders = store::payouts::open_holders(tx, id).await?;
    if !cancelled {
        disinterested(tx, &holders)?;
    }
    store::ledger::hold(tx, &holders, Hold::Alone).await?;
    let action = if cancelled {
        if outbox::actions::is_heard_within(tx).await? {
            let rewards = store::payouts::rewards(tx, id).await?;
            // All was taken back of these while the payout had them. It was told of; that they are over was not.
            let over = rewards.into_iter().filter(|reward| reward.standing.left() == 0).map(|reward| {
                let standing = Standing { state: RewardState::Reversed, in_line: false, ..reward.standing };
                let over = Reward { standing, version: reward.version + 1, ..reward };
                message(&over, Movement { kind: LedgerKind::Reverse, amount: 0 }, MovementCause::Payout(id), now)
            });
            outbox::actions::tell_all(tx, &over.collect::<Vec<Message>>()).await?;
        }
        store::payouts::free(tx, id).await?;
        Action::PayoutCancelled
    } else {
        store::payouts::pay(tx, id, now).await?;
        if outbox::actions::is_heard_within(tx).await? {
            let rewards = store::payouts::rewards(tx, id).await?;
            let told = rewards.iter().map(|reward| {
                let movement = Movement { kind: LedgerKind::Pay, amount: reward.standing.paid_amount };
                message(reward, movement, MovementCause::Payout(id), now)
            });
            outbox::actions::tell_all(tx, &told.collect::<Vec<Message>>()).await?;
        }
        Action::PayoutPaid
    };
    store::payouts::set_state(tx, id, settled.to, Some(now)).await?;
    note(tx, action, id, now).await?;
    store::payouts::payout_within(tx, id).await
}

struct Back {
    id: PayoutId,
    holder: UserId,
    now: Time,
}

/// Notes that a line that was paid did not arrive: what it paid is available again.
pub async fn give_back(app: &App, sent: Sent<Payout>, id: PayoutId, holder: UserId) -> Result<Payout> {
    let back = Back { id, holder, now: app.clock.now() };
    let work: Work<Back, Payout> = |tx, back| Box::pin(return_line(tx, back));
    let payout = app.write(sent, back, work).await?;
    app.to_tell.notify_one();
    Ok(payout)
}

async fn return_line(tx: &mut Tx<'_>, back: &Back) -> Result<Payout> {
    store::payouts::lock(tx, back.id).await?.ok_or(Refusal::PayoutNotFound)?;
    let line = store::payouts::line(tx, back.id, back.holder).await?.ok_or(Refusal::PayoutNotFound)?;
    disinterested(tx, &[back.holder])?;
    if !line.is_paid {
        return Err(Refusal::PayoutState.into());
    }
    store::ledger::hold(tx, &[back.holder], Hold::Alone).await?;
    let movement = Movement { kind: LedgerKind::Return, amount: line.amount };
    store::ledger::book_without(tx, back.holder, &line.unit, movement, line.id.0, back.now).await?;
    if outbox::actions::is_heard_within(tx).await? {
        let rewards = store::payouts::rewards_of_line(tx, line.id).await?;
        let told = rewards.into_iter().map(|reward| {
            let (standing, movement) = reward.standing.back();
            let back_again = Reward { standing, version: reward.version + 1, ..reward };
            message(&back_again, movement, MovementCause::Payout(back.id), back.now)
        });
        outbox::actions::tell_all(tx, &told.collect::<Vec<Message>>()).await?;
    }
    store::payouts::give_back(tx, line.id).await?;
    note(tx, Action::PayoutLineReturned, back.id, back.now).await?;
    store::payouts::payout_within(tx, back.id).await
}

pub async fn get(app: &App, id: PayoutId) -> Result<Payout> {
    store::payouts::payout(&app.db, id).await?.ok_or_else(|| Refusal::PayoutNotFound.into())
}

/// A part of the payouts, the newest first, and where to go on.
pub async fn list(app: &App, behind: Uuid, size: i64) -> Result<(Vec<Payout>, Option<Uuid>)> {
    let payouts = store::payouts::payouts(&app.db, behind, size + 1).await?;
    Ok(part(payouts, size, |payout| payout.id.0))
}

/// A part of the lines of a payout.
pub async fn lines(app: &App, id: PayoutId, behind: Uuid) -> Result<Vec<Line>> {
    store::payouts::lines(&app.db, id, behind, PART).await
}
