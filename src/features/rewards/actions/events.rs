//! Taking events, and what the rules give for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::seal_of;
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::outbox::model::Message;
use crate::features::referrals::model::Decision;
use crate::features::rewards::model::event::{Event, Party, Recorded, Reward, Skipped, Told};
use crate::features::rewards::model::message::{MovementCause, message};
use crate::features::rewards::model::reward::{Movement, Standing};
use crate::features::rewards::model::rules::{Judged, Rule, Rules, span_begins};
use crate::features::rewards::model::{LedgerKind, Money, Side, SkipReason, Times};
use crate::features::rewards::store;
use crate::features::rewards::store::events::{NewEvent, Referee, Stored};
use crate::features::rewards::store::ledger::Hold;
use crate::features::rewards::store::rewards::NewReward;
use crate::features::{outbox, programs};
use crate::idempotency::Sent;
use crate::jobs::{self, Kind};
use crate::kernel::actor::Actor;
use crate::kernel::digest::sha256;
use crate::kernel::error::{Cause, Error, Refusal, Result, Storage};
use crate::kernel::ids::{ClientId, EventId, RewardId, UserId};
use crate::kernel::program::{Program, ProgramState};
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
    /// Whether others are told of what comes of it.
    pub tells: bool,
    pub now: Time,
}

impl New {
    pub async fn of(app: &App, told: Told) -> Result<Self> {
        let tells = outbox::actions::is_heard(app).await?;
        Ok(Self { told, id: EventId::new(), tells, now: app.clock.now() })
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
    let new = New::of(app, told).await?;
    let tells = new.tells;
    let recorded = app.write(sent, new, work).await?;
    // Where nobody is told, nothing waits to be looked for behind each event.
    if tells {
        app.to_tell.notify_one();
    }
    Ok(recorded)
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
    let rehearsal = Rehearsal { new: New::of(app, told).await?, came_to: came_to.clone() };
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

/// Takes an event, as a unit of work.
pub(super) async fn record(tx: &mut Tx<'_>, new: &New) -> Result<Recorded> {
    let recorded = record_all(tx, std::iter::once(new)).await?.pop();
    recorded.ok_or_else(|| Error::Internal("an event came to nothing".into()))
}

/// Takes events, as one unit of work: all that is locked is locked in the same order as by any other, so what each
/// needs of a kind is locked before the next kind is.
pub(super) async fn record_all<'a>(
    tx: &mut Tx<'_>,
    news: impl Iterator<Item = &'a New> + Send,
) -> Result<Vec<Recorded>> {
    let mut begun = Vec::new();
    // Whatever is refused is refused here.
    for new in news {
        begun.push(begin(tx, new).await?);
    }
    hold_accounts(tx, &begun).await?;
    let (mut recorded, mut folded) = (Vec::with_capacity(begun.len()), BTreeSet::new());
    for begun in begun {
        recorded.push(finish(tx, begun, &mut folded).await?);
    }
    for (holder, now) in folded {
        jobs::enqueue(tx, Kind::FoldLedger, holder.to_string(), now).await?;
    }
    Ok(recorded)
}

/// An event whose rewards are yet to be granted.
enum Begun<'a> {
    NotReferred,
    /// It was told of before, in this unit or another.
    Before(&'a New),
    Now(Box<Judgement<'a>>),
}

/// What the rules give for an event that is written, as far as it alone decides.
struct Judgement<'a> {
    new: &'a New,
    program: Program,
    rules: Rules,
    referee: Referee,
    occurred_at: Time,
    due: Vec<Due>,
    skipped: Vec<Skipped>,
}

/// Writes an event, and judges it.
async fn begin<'a>(tx: &mut Tx<'_>, new: &'a New) -> Result<Begun<'a>> {
    let (told, now) = (&new.told, new.now);
    let said = seal_of(tx, "referral event 1", &told.said)?;
    if let Some(stored) = store::events::by_key(tx, &told.kind, &told.key).await? {
        return as_before(new, &stored, &said);
    }
    let program = programs::actions::within(tx).await?;
    if program.state != ProgramState::Active {
        return Err(Refusal::ProgramNotActive.into());
    }
    if !told.kind.is_among(&program.event_types) {
        return Err(Error::field("type", "value_error", UNKNOWN_TYPE));
    }
    let Some(referee) = store::events::hold_referee(tx, &told.whom).await? else { return Ok(Begun::NotReferred) };
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
        return as_before(new, &stored.ok_or_else(gone)?, &said);
    }
    let (due, skipped) = judge(tx, new, &referee, &rules, occurred_at).await?;
    Ok(Begun::Now(Box::new(Judgement { new, program, rules, referee, occurred_at, due, skipped })))
}

/// Grants what is due for an event whose holders' accounts are held. Adds whose balance is to have a mark.
async fn finish(tx: &mut Tx<'_>, begun: Begun<'_>, folded: &mut BTreeSet<(UserId, Time)>) -> Result<Recorded> {
    let judgement = match begun {
        Begun::NotReferred => return Ok(Recorded::NotReferred),
        Begun::Before(new) => {
            let stored = store::events::by_key(tx, &new.told.kind, &new.told.key).await?.ok_or_else(gone)?;
            let rewards = store::rewards::of_event(tx, stored.event.id).await?;
            return Ok(Recorded::Before(Box::new(Event { rewards, ..stored.event }.at_first())));
        }
        Begun::Now(judgement) => *judgement,
    };
    let Judgement { new, program, rules, referee, occurred_at, mut due, mut skipped } = judgement;
    let (version, hold_days, budgets) = (rules.version, program.hold_days, &program.budgets);
    let grants = Grants { new, version, hold_days, budgets, referee: &referee };
    let mut rewards = Vec::new();
    // Budgets are locked in one order.
    if !budgets.is_empty() {
        due.sort_by(|one, other| one.money.unit.as_str().cmp(other.money.unit.as_str()));
    }
    for due in due {
        let key = due.rule.key.clone();
        match grant(tx, &grants, due).await? {
            Ok(reward) => rewards.push(reward),
            Err(reason) => skipped.push(Skipped { rule: key, reason }),
        }
    }
    // By chance, which the end of an id is: no order of events keeps a balance from its turn.
    let by_chance = rewards.iter().filter(|reward| reward.id.0.as_u128().is_multiple_of(FOLD_ONE_IN));
    folded.extend(by_chance.map(|reward| (reward.holder.id, new.now)));
    // In the order of the rules, whatever each was skipped for.
    let place = |rule: &str| rules.rules.iter().position(|one| one.key == rule);
    skipped.sort_by_key(|skipped| place(&skipped.rule));
    if !skipped.is_empty() {
        store::events::note_skipped(tx, new.id, &skipped).await?;
    }
    let told = &new.told;
    if new.tells {
        let cause = MovementCause::Event(new.id, told.key.as_str());
        let messages: Vec<Message> =
            rewards.iter().map(|reward| message(reward, granted(reward), cause, new.now)).collect();
        outbox::actions::tell_all(tx, &messages).await?;
    }
    Ok(Recorded::Now(Box::new(Event {
        id: new.id,
        kind: told.kind.clone(),
        key: told.key.clone(),
        referee: referee.party,
        money: told.money.clone(),
        refunded: 0,
        occurred_at,
        received_at: new.now,
        properties: told.properties.clone(),
        skipped,
        rewards,
    })))
}

/// An event that was told of before, if it was told in the same words.
fn as_before<'a>(new: &'a New, stored: &Stored, said: &[u8]) -> Result<Begun<'a>> {
    if stored.said == said { Ok(Begun::Before(new)) } else { Err(Refusal::EventDiffers.into()) }
}

fn gone() -> Error {
    Storage::Retry(Cause::Unknown.fault("an event that was there has gone")).into()
}

/// A rule that gives something, as far as the event alone decides.
struct Due {
    rule: Rule,
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

/// What the rules give, and which of those that hear of the event give nothing.
async fn judge(
    tx: &mut Tx<'_>,
    new: &New,
    referee: &Referee,
    rules: &Rules,
    occurred_at: Time,
) -> Result<(Vec<Due>, Vec<Skipped>)> {
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
            Ok((holder, money)) => due.push(Due { rule: rule.clone(), holder, money }),
            Err(reason) => skipped.push(Skipped { rule: rule.key.clone(), reason }),
        }
    }
    Ok((due, skipped))
}

/// Holds the accounts of all who are to get something, then the budgets that it comes from.
async fn hold_accounts(tx: &mut Tx<'_>, begun: &[Begun<'_>]) -> Result<()> {
    let judged = || begun.iter().filter_map(|one| if let Begun::Now(judgement) = one { Some(judgement) } else { None });
    let due = || judged().flat_map(|judgement| &judgement.due);
    let holders: Vec<UserId> = due().map(|due| due.holder.id).collect();
    if holders.is_empty() {
        return Ok(());
    }
    // Who counts must be alone; who only adds need not be. What pays once is met by others in whatever order the events
    // of a unit are in.
    let several = judged().count() > 1;
    let counts = |due: &Due| due.rule.limit.is_some() || several && due.rule.times == Times::First;
    let hold = if due().any(counts) { Hold::Alone } else { Hold::Shared };
    store::ledger::hold(tx, &holders, hold).await?;
    if several {
        let units = |judgement: &Judgement<'_>| -> Vec<(String, i64)> {
            let units = judgement.due.iter().map(|due| due.money.unit.as_str());
            units.filter_map(|unit| Some((unit.to_owned(), *judgement.program.budgets.get(unit)?))).collect()
        };
        let budgets: BTreeMap<String, i64> = judged().flat_map(|judgement| units(judgement)).collect();
        for (unit, budget) in budgets {
            // Nothing is spent yet: it locks the row.
            programs::actions::spend(tx, &unit, 0, budget).await?;
        }
    }
    Ok(())
}

/// What became of a rule: the reward, or why there is none.
type Granted = std::result::Result<Reward, SkipReason>;

/// Grants one reward, whose holder's account is held.
async fn grant(tx: &mut Tx<'_>, grants: &Grants<'_>, due: Due) -> Result<Granted> {
    let (rule, new, now) = (&due.rule, grants.new, grants.new.now);
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
        version: 1,
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
    store::ledger::book(tx, &reward, granted(&reward), new.id.0, now).await?;
    Ok(Ok(reward))
}

/// The movement that a reward begins with.
fn granted(reward: &Reward) -> Movement {
    Movement { kind: LedgerKind::Grant, amount: reward.standing.amount }
}

/// What is kept of a person's events beyond numbers goes with them, as part of their erasure.
pub async fn forget_user(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    store::events::forget_properties(tx, user).await?;
    store::decisions::forget_notes(tx, user).await
}
