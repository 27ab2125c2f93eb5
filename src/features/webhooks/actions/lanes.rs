//! Deliveries to one endpoint: what is due is taken up, sent, and noted, as long as there is something. Each endpoint
//! has a lane of its own in each node, so that a slow receiver holds up nobody but itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::sending::{Target, attempt};
use super::{named, secrets};
use crate::app::{App, stopped};
use crate::crypto::keyring::StoredSecret;
use crate::db::{Tx, Work};
use crate::features::audit::model::Event;
use crate::features::mails::actions::{self as mails, To};
use crate::features::mails::model::NewMail;
use crate::features::outbox::model::Stored;
use crate::features::webhooks::model::health::{Outcomes, Standing, Verdict, judge};
use crate::features::webhooks::model::{DeliveryState, EndpointState};
use crate::features::webhooks::store;
use crate::features::webhooks::store::deliveries::{self, Settlement};
use crate::features::{audit, outbox};
use crate::jobs::Kind;
use crate::kernel::actor::Actor;
use crate::kernel::deadline;
use crate::kernel::error::Result;
use crate::kernel::ids::{EndpointId, MessageId};
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::web::views::language::Language;

/// Deliveries to one endpoint that are under way at once, on all nodes. One that fails is tried with a single one.
const AT_ONCE: usize = 8;
/// How long a delivery is left to its node before another may take it up: longer than any is under way.
pub const LEASE: Duration = Duration::from_secs(60);
/// For what is read and written between attempts.
const UNIT: Duration = Duration::from_secs(30);
/// At a stop, for what is under way to end.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks for what has become due, while others are under way.
const PERIOD: Duration = Duration::from_secs(1);

/// The endpoints for which there is something to do.
pub async fn due(app: &App) -> Result<Vec<EndpointId>> {
    deliveries::due(&app.db, app.clock.now()).await
}

/// What is noted and taken up in one unit of work.
struct Turn {
    endpoint: EndpointId,
    settled: Vec<Settlement>,
    outcomes: Outcomes,
    /// Deliveries that are not made now.
    given_back: Vec<MessageId>,
    room: usize,
    now: Time,
    disable_after: Duration,
    /// To managers, where the endpoint's standing may be such that they are told.
    mails: Option<Vec<NewMail>>,
}

/// What came of it.
#[derive(Default)]
struct Taken {
    url: String,
    secrets: Vec<StoredSecret>,
    /// With how often each was tried before.
    claimed: Vec<(MessageId, i64)>,
    standing: Standing,
    verdict: Verdict,
}

/// A message that is taken up, with how often it was tried, and where it goes.
type TakenUp = (Stored, i64, Arc<Target>);

/// Makes the deliveries to an endpoint that are due, until none is, or until the word to stop; then those that are
/// under way have a second.
pub async fn run(app: &App, endpoint: EndpointId, mut stop: watch::Receiver<bool>) -> Result<()> {
    let mut running = FuturesUnordered::new();
    let mut under_way: HashMap<MessageId, OwnedSemaphorePermit> = HashMap::new();
    let (mut settled, mut gone, mut standing) = (Vec::new(), false, Standing::default());
    loop {
        let room = most(standing).saturating_sub(running.len());
        let mut places = places(app, room, running.is_empty() && settled.is_empty()).await;
        if !settled.is_empty() || !places.is_empty() {
            let turn = prepare(app, endpoint, std::mem::take(&mut settled), gone, standing).await?;
            let taken = take(app, Turn { room: places.len(), ..turn }).await?;
            (standing, gone) = (taken.standing, false);
            for (message, attempts, target) in take_up(app, &taken).await? {
                let Some(place) = places.pop() else { break };
                under_way.insert(message.id, place);
                running.push(async move { attempt(app, &target, &message, attempts).await });
            }
        }
        drop(places);
        if running.is_empty() {
            return Ok(());
        }
        let mut next = tokio::select! {
            biased;
            () = stopped(&mut stop) => return end(app, endpoint, running, under_way, standing).await,
            first = running.next() => first,
            () = tokio::time::sleep(PERIOD) => None,
        };
        while let Some((settlement, is_gone)) = next {
            under_way.remove(&settlement.message);
            gone |= is_gone;
            settled.push(settlement);
            // Whatever has ended meanwhile is noted in the same unit.
            next = running.next().now_or_never().flatten();
        }
    }
}

/// How many deliveries to an endpoint may be under way.
fn most(standing: Standing) -> usize {
    if standing.failing_since.is_some() { 1 } else { AT_ONCE }
}

/// Places for at most so many deliveries: none where the node has none left, unless somebody has to wait for one.
async fn places(app: &App, room: usize, waits: bool) -> Vec<OwnedSemaphorePermit> {
    let mut places = Vec::new();
    while places.len() < room {
        let place = match app.deliveries.clone().try_acquire_owned() {
            Err(_) if waits && places.is_empty() => app.deliveries.clone().acquire_owned().await.ok(),
            place => place.ok(),
        };
        let Some(place) = place else { break };
        places.push(place);
    }
    places
}

/// Lets what is under way end, for a moment, and leaves the rest to whoever comes next.
async fn end(
    app: &App,
    endpoint: EndpointId,
    mut running: impl Stream<Item = (Settlement, bool)> + Unpin,
    mut under_way: HashMap<MessageId, OwnedSemaphorePermit>,
    standing: Standing,
) -> Result<()> {
    let (mut settled, mut gone) = (Vec::new(), false);
    let ended = async {
        while let Some((settlement, is_gone)) = running.next().await {
            under_way.remove(&settlement.message);
            gone |= is_gone;
            settled.push(settlement);
        }
    };
    let _ = tokio::time::timeout(GRACE, ended).await;
    let turn = prepare(app, endpoint, settled, gone, standing).await?;
    take(app, Turn { given_back: under_way.into_keys().collect(), ..turn }).await.map(drop)
}

/// A turn without room, with mails to managers if what happened may be for them to know.
async fn prepare(
    app: &App,
    endpoint: EndpointId,
    settled: Vec<Settlement>,
    gone: bool,
    standing: Standing,
) -> Result<Turn> {
    let (now, disable_after) = (app.clock.now(), app.config.webhooks.disable_after());
    let failed = settled.iter().any(|one| one.state != DeliveryState::Delivered);
    let outcomes =
        Outcomes { delivered: settled.iter().any(|one| one.state == DeliveryState::Delivered), failed, gone };
    let mails = match judge(standing, outcomes, now, disable_after) {
        Verdict::Warn => Some(news(app, MailKind::EndpointFailing).await?),
        Verdict::Disable(_) => Some(news(app, MailKind::EndpointDisabled).await?),
        _ => None,
    };
    Ok(Turn { endpoint, settled, outcomes, given_back: Vec::new(), room: 0, now, disable_after, mails })
}

/// A mail to each manager who has an address.
async fn news(app: &App, kind: MailKind) -> Result<Vec<NewMail>> {
    let mut news = Vec::new();
    for manager in store::managers(&app.db).await? {
        let language = Language::of(None, manager.language.as_deref());
        let to = To { user: manager.id, address: &manager.email, key: &manager.email_key };
        news.extend(mails::prepare(app, kind, language, to).await?);
    }
    Ok(news)
}

async fn take(app: &App, turn: Turn) -> Result<Taken> {
    let endpoint = turn.endpoint;
    let work: Work<Turn, Taken> = |tx, turn| Box::pin(note_and_claim(tx, turn));
    let taken = deadline::job(UNIT, app.db.write(Actor::SERVICE, turn, work)).await?;
    match taken.verdict {
        Verdict::Warn => {
            tracing::warn!(%endpoint, "nothing has reached a webhook endpoint for a day; managers are told");
        }
        Verdict::Disable(reason) => {
            let reason = reason.word();
            tracing::error!(%endpoint, reason, "a webhook endpoint is disabled; managers are told");
        }
        _ => {}
    }
    if taken.verdict.is_told() {
        app.work_to_do.ring(Kind::SendMail);
    }
    Ok(taken)
}

async fn note_and_claim(tx: &mut Tx<'_>, turn: &Turn) -> Result<Taken> {
    let Some(endpoint) = store::lock(tx, turn.endpoint).await? else { return Ok(Taken::default()) };
    if !turn.settled.is_empty() {
        deliveries::settle(tx, endpoint.id, &turn.settled).await?;
    }
    if !turn.given_back.is_empty() {
        deliveries::give_back(tx, endpoint.id, &turn.given_back).await?;
    }
    if endpoint.state == EndpointState::Disabled {
        return Ok(Taken::default());
    }
    let mut standing = Standing { failing_since: endpoint.failing_since, warned: endpoint.warned_at.is_some() };
    let mut verdict = judge(standing, turn.outcomes, turn.now, turn.disable_after);
    if verdict.is_told() && turn.mails.is_none() {
        // It stood otherwise when mails were thought of: the next failure says the same.
        verdict = Verdict::AsBefore;
    }
    match verdict {
        Verdict::AsBefore => {}
        Verdict::Fails => {
            standing.failing_since = Some(turn.now);
            store::set_failing(tx, endpoint.id, standing.failing_since, None).await?;
        }
        Verdict::Recovered => {
            standing = Standing::default();
            store::set_failing(tx, endpoint.id, None, None).await?;
        }
        Verdict::Warn => {
            standing.warned = true;
            store::set_failing(tx, endpoint.id, standing.failing_since, Some(turn.now)).await?;
        }
        Verdict::Disable(reason) => {
            store::set_state(tx, endpoint.id, Some((reason, turn.now))).await?;
            audit::actions::record(tx, turn.now, Event::EndpointDisabled(endpoint.id)).await?;
        }
    }
    if verdict.is_told() {
        for mail in turn.mails.iter().flatten() {
            mails::write(tx, mail).await?;
        }
    }
    if matches!(verdict, Verdict::Disable(_)) {
        return Ok(Taken { standing, verdict, ..Taken::default() });
    }
    let under_way = deliveries::under_way(tx, endpoint.id, turn.now).await?;
    let room = (turn.room as i64).min(most(standing) as i64 - under_way);
    let claimed = match room {
        1.. => deliveries::claim(tx, endpoint.id, turn.now, turn.now.plus(LEASE), room).await?,
        _ => Vec::new(),
    };
    let secrets =
        if claimed.is_empty() { Vec::new() } else { store::secrets_within(tx, endpoint.id, turn.now).await? };
    Ok(Taken { url: endpoint.url, secrets, claimed, standing, verdict })
}

async fn take_up(app: &App, taken: &Taken) -> Result<Vec<TakenUp>> {
    if taken.claimed.is_empty() {
        return Ok(Vec::new());
    }
    let target = Arc::new(Target { url: taken.url.clone(), secrets: secrets::open(app, &taken.secrets) });
    let ids: Vec<MessageId> = taken.claimed.iter().map(|(id, _)| *id).collect();
    let messages = named(app, outbox::actions::messages(app, &ids).await?).await?;
    let attempts = |message: &Stored| taken.claimed.iter().find(|(id, _)| *id == message.id).map(|(_, tried)| *tried);
    let with_attempts = |message: Stored| Some((attempts(&message)?, message));
    Ok(messages
        .into_iter()
        .filter_map(with_attempts)
        .map(|(tried, message)| (message, tried, target.clone()))
        .collect())
}
