//! Taking events, and what the rules give for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::seal_of;
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::programs;
use crate::features::referrals::model::Decision;
use crate::features::rewards::model::event::{Event, Party, Recorded, Reward, Skipped, Told};
use crate::features::rewards::model::reward::{Movement, Standing};
use crate::features::rewards::model::rules::{Judged, Rule, Rules, span_begins};
use crate::features::rewards::model::{LedgerKind, Money, Side, SkipReason, Times};
use crate::features::rewards::store;
use crate::features::rewards::store::events::{NewEvent, Referee, Stored};
use crate::features::rewards::store::ledger::Hold;
use crate::features::rewards::store::rewards::NewReward;
use crate::idempotency::Sent;
use crate::jobs::{self, Kind};
use crate::kernel::actor::Actor;
use crate::kernel::digest::sha256;
use crate::kernel::error::{Cause, Error, Refusal, Result, Storage};
use crate::kernel::ids::{ClientId, EventId, RewardId, UserId};
use crate::kernel::program::ProgramState;
use crate::kernel::time::Time;
use crate::limits::turns::{Key, Turn};

/// What is said of a type that a program does not take, or that no rule may be about.
pub(super) const UNKNOWN_TYPE: &str = "The type is purchase, or one of those that the program has";

/// One grant in so many asks for a mark. Any balance then has about so many rows behind its last mark.
const FOLD_ONE_IN: u128 = 64;

/// The program that tells, with what it is let in for.
#[derive(Clone, Copy)]
pub struct Host {
    pub actor: Actor,
    pub client: ClientId,
}

/// An event that a unit of work is to take.
#[derive(Clone)]
pub struct New {
    pub told: Told,
    pub id: EventId,
    pub now: Time,
}

impl New {
    pub fn of(app: &App, told: Told) -> Self {
        Self { told, id: EventId::new(), now: app.clock.now() }
    }
}

/// An event's turn, and then its host's: whoever waits for the same event takes no place of the others.
pub(super) async fn turns<'a>(app: &'a App, host: Host, name: &str) -> Result<(Turn<'a>, Turn<'a>)> {
    let key = Key::Event(sha256(name.as_bytes()).first_chunk().copied().unwrap_or_default());
    let event = app.turns.take(key).await?;
    Ok((event, app.turns.take(Key::Client(host.client.0)).await?))
}

fn name_of(told: &Told) -> String {
    format!("{} {}", told.kind.as_str(), told.key.as_str())
}

/// Takes an event: what the rules in force give for it is granted in the same unit.
pub async fn tell(app: &App, host: Host, sent: Sent<Recorded>, told: Told) -> Result<Recorded> {
    let _turns = turns(app, host, &name_of(&told)).await?;
    let work: Work<New, Recorded> = |tx, new| Box::pin(record(tx, new));
    app.write(sent, New::of(app, told), work).await
}

struct Rehearsal {
    new: New,
    /// What it came to, which the end of the unit does not take away.
    came_to: Arc<Mutex<Option<Recorded>>>,
}

/// What would come of an event. The unit is run, and rolled back.
pub async fn rehearse(app: &App, host: Host, told: Told) -> Result<Recorded> {
    let _turns = turns(app, host, &name_of(&told)).await?;
    let came_to = Arc::new(Mutex::new(None));
    let rehearsal = Rehearsal { new: New::of(app, told), came_to: came_to.clone() };
    let work: Work<Rehearsal, ()> = |tx, rehearsal| Box::pin(record_and_leave(tx, rehearsal));
    match app.db.write(host.actor, rehearsal, work).await {
        Err(Error::Rehearsed) => {
            let recorded = came_to.lock().unwrap_or_else(PoisonError::into_inner).take();
            recorded.ok_or_else(|| Error::Internal("a rehearsal came to nothing".into()))
        }
        Err(error) => Err(error),
        Ok(()) => Err(Error::Internal("a rehearsal was committed".into())),
    }
}

async fn record_and_leave(tx: &mut Tx<'_>, rehearsal: &Rehearsal) -> Result<()> {
    let recorded = record(tx, &rehearsal.new).await?;
    *rehearsal.came_to.lock().unwrap_or_else(PoisonError::into_inner) = Some(recorded);
    Err(Error::Rehearsed)
}

/// Takes an event, as a unit of work or a part of one.
pub(super) async fn record(tx: &mut Tx<'_>, new: &New) -> Result<Recorded> {
    let (told, now) = (&new.told, new.now);
    let said = seal_of(tx, "referral event 1", &told.said)?;
    if let Some(stored) = store::events::by_key(tx, &told.kind, &told.key).await? {
        return as_before(tx, stored, &said).await;
    }
    let program = programs::actions::within(tx).await?;
    if program.state != ProgramState::Active {
        return Err(Refusal::ProgramNotActive.into());
    }
    if !told.kind.is_among(&program.event_types) {
        return Err(Error::field("type", "value_error", UNKNOWN_TYPE));
    }
    let Some(referee) = store::events::hold_referee(tx, &told.whom).await? else { return Ok(Recorded::NotReferred) };
    let rules = store::rules::in_force_within(tx).await?;
    let occurred_at = told.occurred_at.unwrap_or(now);
    let event = NewEvent {
        id: new.id,
        told,
        referee: referee.party.id,
        occurred_at,
        received_at: now,
        rules_version: rules.version,
        said: &said,
    };
    if !store::events::insert(tx, &event).await? {
        // Told at the same time, and committed since.
        let stored = store::events::by_key(tx, &told.kind, &told.key).await?;
        let gone = || Storage::Retry(Cause::Unknown.fault("an event that was there has gone"));
        return as_before(tx, stored.ok_or_else(gone)?, &said).await;
    }
    let (version, hold_days, budgets) = (rules.version, program.hold_days, &program.budgets);
    let grants = Grants { new, version, hold_days, budgets, referee: &referee };
    let (rewards, skipped) = reward(tx, &grants, &rules, occurred_at).await?;
    if !skipped.is_empty() {
        store::events::note_skipped(tx, new.id, &skipped).await?;
    }
    Ok(Recorded::Now(Box::new(Event {
        id: new.id,
        kind: told.kind.clone(),
        key: told.key.clone(),
        referee: referee.party,
        money: told.money.clone(),
        refunded: 0,
        occurred_at,
        received_at: now,
        properties: told.properties.clone(),
        skipped,
        rewards,
    })))
}

/// What an event was answered with that was told of before, if it was told in the same words.
async fn as_before(tx: &mut Tx<'_>, stored: Stored, said: &[u8]) -> Result<Recorded> {
    if stored.said != said {
        return Err(Refusal::EventDiffers.into());
    }
    let rewards = store::rewards::of_event(tx, stored.event.id).await?;
    Ok(Recorded::Before(Box::new(Event { rewards, ..stored.event }.at_first())))
}

/// A rule that gives something, as far as the event alone decides.
struct Due<'a> {
    rule: &'a Rule,
    holder: Party,
    money: Money,
}

/// What all rewards of an event have in common.
struct Grants<'a> {
    new: &'a New,
    version: i64,
    hold_days: i64,
    budgets: &'a BTreeMap<String, i64>,
    referee: &'a Referee,
}

/// Grants what the rules give, and says which of those that hear of the event give nothing.
async fn reward(
    tx: &mut Tx<'_>,
    grants: &Grants<'_>,
    rules: &Rules,
    occurred_at: Time,
) -> Result<(Vec<Reward>, Vec<Skipped>)> {
    let (new, referee) = (grants.new, grants.referee);
    let referrer = store::events::referrer(tx, referee.referrer).await?;
    let judged =
        Judged { kind: &new.told.kind, money: new.told.money.as_ref(), occurred_at, joined_at: referee.joined_at };
    let (mut due, mut skipped) = (Vec::new(), Vec::new());
    for rule in rules.rules.iter().filter(|rule| rule.hears(&judged)) {
        let holder = if rule.to == Side::Referrer { referrer.clone() } else { Some(referee.party.clone()) };
        let holder = if referee.decision == Some(Decision::Deny) {
            Err(SkipReason::Denied)
        } else {
            holder.ok_or(SkipReason::HolderErased)
        };
        let judged = holder.and_then(|holder| Ok((holder, rule.judge(&judged)?)));
        match judged {
            Ok((holder, money)) => due.push(Due { rule, holder, money }),
            Err(reason) => skipped.push(Skipped { rule: rule.key.clone(), reason }),
        }
    }
    let mut rewards = Vec::new();
    if due.is_empty() {
        return Ok((rewards, skipped));
    }
    // Who counts must be alone; who only adds need not be.
    let hold = if due.iter().any(|due| due.rule.limit.is_some()) { Hold::Alone } else { Hold::Shared };
    let holders: Vec<UserId> = due.iter().map(|due| due.holder.id).collect();
    store::ledger::hold(tx, &holders, hold).await?;
    // Budgets are locked in one order.
    if !grants.budgets.is_empty() {
        due.sort_by(|one, other| one.money.unit.as_str().cmp(other.money.unit.as_str()));
    }
    for due in due {
        let key = due.rule.key.clone();
        match grant(tx, grants, due).await? {
            Ok(reward) => rewards.push(reward),
            Err(reason) => skipped.push(Skipped { rule: key, reason }),
        }
    }
    // In the order of the rules, whatever each was skipped for.
    let place = |rule: &str| rules.rules.iter().position(|one| one.key == rule);
    skipped.sort_by_key(|skipped| place(&skipped.rule));
    Ok((rewards, skipped))
}

/// What became of a rule: the reward, or why there is none.
type Granted = std::result::Result<Reward, SkipReason>;

/// Grants one reward, whose holder's account is held.
async fn grant(tx: &mut Tx<'_>, grants: &Grants<'_>, due: Due<'_>) -> Result<Granted> {
    let (rule, new, now) = (due.rule, grants.new, grants.new.now);
    if let Some(limit) = rule.limit {
        let since = span_begins(limit.per, now);
        if store::rewards::count(tx, due.holder.id, &rule.key, since).await? >= limit.count {
            return Ok(Err(SkipReason::LimitReached));
        }
    }
    let (unit, amount) = (due.money.unit.as_str(), due.money.amount);
    let budget = grants.budgets.get(unit).copied();
    if let Some(budget) = budget
        && !programs::actions::spend(tx, unit, amount, budget).await?
    {
        return Ok(Err(SkipReason::BudgetExhausted));
    }
    let reward = Reward {
        id: RewardId::new(),
        event: new.id,
        holder: due.holder,
        side: rule.to,
        rule_key: rule.key.clone(),
        rule_version: grants.version,
        unit: due.money.unit.clone(),
        standing: Standing::granted(due.money.amount),
        granted_at: now,
        available_at: rule.available_at(now, grants.hold_days),
        budgeted: budget.is_some(),
    };
    let row = NewReward {
        reward: &reward,
        referee: grants.referee.party.id,
        waits: grants.referee.waits(),
        once: rule.times == Times::First,
    };
    if !store::rewards::insert(tx, &row).await? {
        if reward.budgeted {
            programs::actions::give_back(tx, reward.unit.as_str(), amount).await?;
        }
        return Ok(Err(SkipReason::NotFirst));
    }
    let movement = Movement { kind: LedgerKind::Grant, amount: reward.standing.amount };
    store::ledger::book(tx, &reward, movement, new.id.0, now).await?;
    // By chance, which the end of an id is: no order of events keeps a balance from its turn.
    if reward.id.0.as_u128().is_multiple_of(FOLD_ONE_IN) {
        jobs::enqueue(tx, Kind::FoldLedger, reward.holder.id.to_string(), now).await?;
    }
    Ok(Ok(reward))
}

/// What is kept of a person's events beyond numbers goes with them, as part of their erasure.
pub async fn forget_user(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    store::events::forget_properties(tx, user).await?;
    store::decisions::forget_notes(tx, user).await
}
