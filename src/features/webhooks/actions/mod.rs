//! Endpoints: who is told, of what, and with what it is signed.

pub mod fan_out;
pub mod feed;
pub mod lanes;
pub mod recovery;
pub mod secrets;
pub mod sending;

use std::time::Duration;

use uuid::Uuid;

use self::sending::Answered;
use super::model::{Attempt, Change, Delivery, DeliveryState, Endpoint, EndpointState, Types, signature, told};
use super::store;
use crate::app::{App, HEARD_FOR};
use crate::crypto::keyring::StoredSecret;
use crate::db::{Tx, Work};
use crate::features::audit::model::{Event, Part};
use crate::features::outbox::model::Stored;
use crate::features::{audit, outbox};
use crate::idempotency::Sent;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{EndpointId, MessageId, UserId};
use crate::kernel::time::Time;
use crate::outbound::receivers::Receipt;
use url::Url;

/// How long a secret that was replaced goes on signing beside the new one.
pub const BOTH_FOR: Duration = Duration::from_secs(24 * 3600);
/// Endpoints that there may be: each effect pays for all of them.
const MOST: usize = 50;

/// An endpoint that is to be made.
pub struct NewEndpoint {
    pub url: Url,
    pub types: Types,
    pub description: String,
}

/// An endpoint with its secret, which is told this once.
pub struct Made {
    pub endpoint: Endpoint,
    pub secret: String,
}

/// Makes an endpoint. Whatever begins after the answer is told to it: other nodes hear of the first one within a
/// second.
pub async fn create(app: &App, sent: Sent<Made>, new: NewEndpoint) -> Result<Made> {
    if !app.receivers.may_be(&new.url).await {
        return Err(Refusal::EndpointBlocked.into());
    }
    if store::endpoints(&app.db).await?.len() >= MOST {
        return Err(Error::field("url", "too_many", format!("There are {MOST} endpoints: remove one first")));
    }
    let was_heard = outbox::actions::is_heard_now(app).await?;
    let made = StoredSecret::generate()?;
    let secret = signature::told(&made.secret);
    let endpoint = Endpoint {
        id: EndpointId::new(),
        url: new.url.as_str().to_owned(),
        types: new.types,
        description: new.description,
        state: EndpointState::Enabled,
        reason: None,
        created_at: app.clock.now(),
        disabled_at: None,
        failing_since: None,
        warned_at: None,
    };
    let input = (endpoint.clone(), app.keyring.sealed_secret(made)?);
    let made = Made { endpoint, secret };
    let enter: Work<(Endpoint, StoredSecret), ()> = |tx, (endpoint, secret)| Box::pin(insert(tx, endpoint, secret));
    app.write(sent.settled(&made)?, input, enter).await?;
    app.heard.forget();
    if !was_heard {
        tokio::time::sleep(HEARD_FOR).await;
    }
    Ok(made)
}

async fn insert(tx: &mut Tx<'_>, endpoint: &Endpoint, secret: &StoredSecret) -> Result<()> {
    store::insert(tx, endpoint).await?;
    store::insert_secret(tx, endpoint.id, secret, endpoint.created_at).await?;
    audit::actions::record(tx, endpoint.created_at, Event::EndpointMade(endpoint.id)).await
}

/// All of them, oldest first.
pub async fn list(app: &App) -> Result<Vec<Endpoint>> {
    store::endpoints(&app.db).await
}

pub async fn get(app: &App, id: EndpointId) -> Result<Endpoint> {
    store::endpoint(&app.db, id).await?.ok_or_else(|| Refusal::EndpointNotFound.into())
}

/// Changes an endpoint; deliveries that are due go by what it is then.
pub async fn change(app: &App, sent: Sent<Endpoint>, id: EndpointId, change: Change) -> Result<Endpoint> {
    if let Some(url) = &change.url
        && !app.receivers.may_be(url).await
    {
        return Err(Refusal::EndpointBlocked.into());
    }
    let work: Work<(EndpointId, Change, Time), Endpoint> =
        |tx, (id, change, now)| Box::pin(apply(tx, *id, change, *now));
    app.write(sent, (id, change, app.clock.now()), work).await
}

async fn apply(tx: &mut Tx<'_>, id: EndpointId, change: &Change, now: Time) -> Result<Endpoint> {
    let changed = store::update(tx, id, change).await?.ok_or(Refusal::EndpointNotFound)?;
    let parts = [
        (change.url.is_some(), Part::Url),
        (change.types.is_some(), Part::Types),
        (change.description.is_some(), Part::Description),
    ];
    let parts = parts.into_iter().filter(|(is, _)| *is).map(|(_, part)| part).collect();
    audit::actions::record(tx, now, Event::EndpointChanged(id, parts)).await?;
    Ok(changed)
}

/// Removes an endpoint: nothing is sent to it any more.
pub async fn remove(app: &App, sent: Sent<()>, id: EndpointId) -> Result<()> {
    let work: Work<(EndpointId, Time), ()> = |tx, (id, now)| Box::pin(delete(tx, *id, *now));
    app.write(sent, (id, app.clock.now()), work).await
}

async fn delete(tx: &mut Tx<'_>, id: EndpointId, now: Time) -> Result<()> {
    if !store::remove(tx, id).await? {
        return Err(Refusal::EndpointNotFound.into());
    }
    audit::actions::record(tx, now, Event::EndpointRemoved(id)).await
}

/// Sends to a disabled endpoint again what is due. What was told while it was disabled is recovered by another call.
pub async fn enable(app: &App, sent: Sent<Endpoint>, id: EndpointId) -> Result<Endpoint> {
    let work: Work<(EndpointId, Time), Endpoint> = |tx, (id, now)| Box::pin(set_enabled(tx, *id, *now));
    let enabled = app.write(sent, (id, app.clock.now()), work).await?;
    app.to_deliver.notify_one();
    Ok(enabled)
}

async fn set_enabled(tx: &mut Tx<'_>, id: EndpointId, now: Time) -> Result<Endpoint> {
    let found = store::lock(tx, id).await?.ok_or(Refusal::EndpointNotFound)?;
    if found.state == EndpointState::Disabled {
        store::set_state(tx, id, None).await?;
        audit::actions::record(tx, now, Event::EndpointEnabled(id)).await?;
    }
    store::lock(tx, id).await?.ok_or_else(|| Refusal::EndpointNotFound.into())
}

/// Sends a message that tells of nothing, once, and says how that went. A disabled endpoint gets it, too.
pub async fn ping(app: &App, id: EndpointId) -> Result<Answered> {
    let endpoint = get(app, id).await?;
    let secrets = secrets::open(app, &store::secrets(&app.db, id, app.clock.now()).await?);
    let answered = sending::ping(app, &endpoint, &secrets).await;
    Ok(answered)
}

/// Those of an endpoint, the newest first, and whether there are more.
pub async fn deliveries(
    app: &App,
    id: EndpointId,
    before: Uuid,
    state: Option<DeliveryState>,
    size: i64,
) -> Result<(Vec<Delivery>, Option<Uuid>)> {
    get(app, id).await?;
    let mut found = store::deliveries::list(&app.db, id, before, state, size + 1).await?;
    let more = found.len() as i64 > size;
    found.truncate(usize::try_from(size).unwrap_or(0));
    let next = found.last().filter(|_| more).map(|last| last.message.0);
    Ok((found, next))
}

/// A message as it is sent, with what became of it.
pub struct Told {
    pub message: Stored,
    pub deliveries: Vec<Delivery>,
    pub attempts: Vec<Attempt>,
}

pub async fn message(app: &App, id: MessageId) -> Result<Told> {
    let message = outbox::actions::message(app, id).await?.ok_or(Refusal::MessageNotFound)?;
    let [message] = <[Stored; 1]>::try_from(named(app, vec![message]).await?)
        .map_err(|_| Error::Internal("a message was lost".into()))?;
    let deliveries = store::deliveries::of_message(&app.db, id).await?;
    let attempts = store::deliveries::attempts(&app.db, id).await?;
    Ok(Told { message, deliveries, attempts })
}

/// Messages with their data as it is sent: with how hosts call the people in it.
pub async fn named(app: &App, messages: Vec<Stored>) -> Result<Vec<Stored>> {
    let mut people: Vec<UserId> =
        messages.iter().flat_map(|message| super::model::people(&message.data).collect::<Vec<_>>()).collect();
    people.sort();
    people.dedup();
    let called = if people.is_empty() { Vec::new() } else { store::called(&app.db, &people).await? };
    let name = |user: UserId| called.iter().find(|(id, _)| *id == user).map(|(_, name)| name.clone());
    Ok(messages.into_iter().map(|message| Stored { data: told(&message.data, name), ..message }).collect())
}

/// How many endpoints are disabled, and how many deliveries wait.
pub async fn figures(app: &App) -> Result<(i64, i64)> {
    Ok((store::count_disabled(&app.db).await?, store::deliveries::pending(&app.db).await?))
}

/// Whether an attempt has got through.
pub fn is_good(receipt: &Receipt) -> bool {
    matches!(receipt, Receipt::Answered(200..300, _))
}
