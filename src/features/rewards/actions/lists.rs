//! Reading events, rewards, balances and the ledger.

use std::collections::HashMap;

use uuid::Uuid;

use crate::app::App;
use crate::features::rewards::model::event::{Balance, Entry, Event, Reward, WantedRewards};
use crate::features::rewards::store;
pub use crate::features::rewards::store::events::Wanted;
use crate::kernel::digest::ExternalIdHash;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::{EventId, UserId};

/// An event as it is now.
pub async fn event(app: &App, id: EventId) -> Result<Event> {
    let event = store::events::event(&app.db, id).await?.ok_or(Refusal::EventNotFound)?;
    let mut events = with_rewards(app, vec![event]).await?;
    events.pop().ok_or_else(|| Refusal::EventNotFound.into())
}

/// A part of the events, the newest first, and where to go on.
pub async fn events(app: &App, wanted: Wanted) -> Result<(Vec<Event>, Option<Uuid>)> {
    let events = store::events::events(&app.db, &Wanted { size: wanted.size + 1, ..wanted.clone() }).await?;
    let (events, next) = part(events, wanted.size, |event| event.id.0);
    Ok((with_rewards(app, events).await?, next))
}

async fn with_rewards(app: &App, mut events: Vec<Event>) -> Result<Vec<Event>> {
    let mut rewards: HashMap<EventId, Vec<Reward>> = HashMap::new();
    for reward in store::rewards::of_events(&app.db, store::events::ids(&events)).await? {
        rewards.entry(reward.event).or_default().push(reward);
    }
    for event in &mut events {
        event.rewards = rewards.remove(&event.id).unwrap_or_default();
    }
    Ok(events)
}

/// A part of the rewards, the newest first, and where to go on.
pub async fn rewards(app: &App, wanted: WantedRewards, behind: Uuid, size: i64) -> Result<(Vec<Reward>, Option<Uuid>)> {
    let rewards = store::rewards::rewards(&app.db, &wanted, behind, size + 1).await?;
    Ok(part(rewards, size, |reward| reward.id.0))
}

/// Whom a host's app calls so.
pub async fn holder(app: &App, external: &ExternalIdHash) -> Result<Option<UserId>> {
    store::events::by_external_id(&app.db, external).await
}

/// What somebody has, by unit.
pub async fn balances(app: &App, holder: UserId) -> Result<Vec<Balance>> {
    store::ledger::balances(&app.db, holder).await
}

/// A part of the ledger, the newest first, and where to go on.
pub async fn entries(app: &App, holder: Option<UserId>, behind: i64, size: i64) -> Result<(Vec<Entry>, Option<i64>)> {
    let entries = store::ledger::entries(&app.db, holder, behind, size + 1).await?;
    Ok(part(entries, size, |entry| entry.id))
}

/// So many of the items, and the place of the last where there are more.
pub(super) fn part<T, P>(mut items: Vec<T>, size: i64, place: fn(&T) -> P) -> (Vec<T>, Option<P>) {
    let more = items.len() as i64 > size;
    items.truncate(usize::try_from(size).unwrap_or(0));
    let next = items.last().filter(|_| more).map(place);
    (items, next)
}
