//! Sending again: one message, or all that an endpoint has missed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::audit::model::Event;
use crate::features::webhooks::store;
use crate::features::{audit, outbox};
use crate::idempotency::Sent;
use crate::jobs::{self, Job, Kind, Outcome};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{EndpointId, MessageId};
use crate::kernel::time::Time;

/// From no longer ago.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// Messages in one unit of work.
const AT_ONCE: i64 = 1000;

/// What the job is told.
#[derive(Serialize, Deserialize)]
struct Since {
    /// In microseconds.
    since: i64,
}

/// Sends a message again to whoever had it, and to whoever would have it now.
pub async fn resend(app: &App, sent: Sent<()>, id: MessageId) -> Result<()> {
    outbox::actions::message(app, id).await?.ok_or(Refusal::MessageNotFound)?;
    let work: Work<(MessageId, Time), ()> = |tx, (id, now)| Box::pin(make_due(tx, *id, *now));
    app.write(sent.settled(&())?, (id, app.clock.now()), work).await?;
    app.to_deliver.notify_one();
    Ok(())
}

async fn make_due(tx: &mut Tx<'_>, id: MessageId, now: Time) -> Result<()> {
    store::deliveries::resend(tx, id, now).await?;
    audit::actions::record(tx, now, Event::MessageResent(id)).await
}

/// Sends again, by a job, all that has not reached an endpoint since a time.
pub async fn recover(app: &App, sent: Sent<()>, id: EndpointId, since: Time) -> Result<()> {
    let now = app.clock.now();
    if now.since(since) > LONGEST {
        return Err(Error::field("since", "too_old", "At most 30 days ago"));
    }
    let input = (id, since, now);
    let work: Work<(EndpointId, Time, Time), ()> = |tx, (id, since, now)| Box::pin(ask(tx, *id, *since, *now));
    app.write(sent.settled(&())?, input, work).await?;
    app.work_to_do.ring(Kind::RecoverEndpoint);
    Ok(())
}

async fn ask(tx: &mut Tx<'_>, id: EndpointId, since: Time, now: Time) -> Result<()> {
    store::lock(tx, id).await?.ok_or(Refusal::EndpointNotFound)?;
    // One after another may be asked for while the first is under way, from an earlier time.
    let subject = format!("{id} {}", since.0);
    jobs::enqueue_with(tx, Kind::RecoverEndpoint, subject, &Since { since: since.0 }, now).await?;
    audit::actions::record(tx, now, Event::EndpointRecovered(id)).await
}

struct Span {
    endpoint: EndpointId,
    since: Time,
    behind: i64,
    now: Time,
}

pub async fn run(app: &App, job: &Job) -> Result<Outcome> {
    let id = job.subject.split(' ').next().and_then(EndpointId::parse);
    let (Some(endpoint), Some(Since { since })) = (id, job.told::<Since>()?) else {
        return Ok(Outcome::Done("no such endpoint"));
    };
    let (since, now) = (Time(since), app.clock.now());
    let (last, mut behind) = outbox::actions::ends(app).await?;
    while behind < last {
        let work: Work<Span, ()> = |tx, span| Box::pin(make_all_due(tx, span));
        app.db.write(Actor::SERVICE, Span { endpoint, since, behind, now }, work).await?;
        behind += AT_ONCE;
    }
    app.to_deliver.notify_one();
    Ok(Outcome::Done("recovered"))
}

async fn make_all_due(tx: &mut Tx<'_>, span: &Span) -> Result<()> {
    let numbers = (span.behind, span.behind + AT_ONCE);
    store::deliveries::recover(tx, span.endpoint, span.since, numbers, span.now).await.map(drop)
}
