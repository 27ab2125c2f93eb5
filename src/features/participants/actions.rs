//! What a host's app does with its people.

pub mod batch;

use super::model::{Participant, Upserted};
use super::store;
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::accounts::actions::participants::{self as people, Told};
use crate::features::accounts::actions::profile::Erased;
use crate::features::accounts::model::participant::{Brought, Details, ExternalId};
use crate::features::audit::model::Event;
use crate::features::codes::actions::issued::{self, Replacement};
use crate::features::referrals::model::Status;
use crate::features::{audit, clients, outbox, programs};
use crate::idempotency::Sent;
use crate::kernel::actor::Actor;
use crate::kernel::digest::ExternalIdHash;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{ClientId, UserId};
use crate::kernel::time::Time;
use crate::limits::turns::{Key, Turn};

/// Handles that are drawn for a participant: of 40 random bits nearly every first one is free.
const HANDLES: usize = 4;

/// A participant as a call tells of them.
#[derive(Clone)]
pub struct Asked {
    pub external: ExternalId,
    pub details: Details,
    pub brought: Brought,
}

/// The program that writes, with what it is let in for.
#[derive(Clone, Copy)]
pub struct Host {
    pub actor: Actor,
    pub client: ClientId,
}

/// Whether a client's word is taken that an address is proven.
pub async fn trusts_addresses(app: &App, host: Host) -> Result<bool> {
    let client = clients::actions::find(app, &host.client.to_string()).await?;
    Ok(client.is_some_and(|client| client.trusts_addresses))
}

/// A participant's turn, and then their host's: whoever waits for the same participant takes no place of the others.
async fn turns<'a>(app: &'a App, host: Host, external: &ExternalId) -> Result<(Turn<'a>, Turn<'a>)> {
    let participant = app.turns.take(Key::of_participant(&external.hash())).await?;
    Ok((participant, app.turns.take(Key::Client(host.client.0)).await?))
}

/// Makes a participant, or changes the one there is.
pub async fn upsert(app: &App, host: Host, sent: Sent<Upserted>, asked: Asked) -> Result<Upserted> {
    let _turns = turns(app, host, &asked.external).await?;
    let written = write_one(app, sent.of(|written: &Written| &written.upserted), told(app, asked).await?).await?;
    Ok(announce(app, written).await)
}

/// With what a new participant needs that is drawn before the unit of work.
async fn told(app: &App, asked: Asked) -> Result<Told> {
    let program = programs::actions::current(app).await?;
    Ok(Told {
        external: asked.external,
        details: asked.details,
        brought: asked.brought,
        id: UserId::new(),
        code: issued::draw(app)?,
        handles: app.random_handles(HANDLES)?,
        renewal: match asked.brought {
            Brought::By(key) => issued::draw_for(app, key)?,
            Brought::Unsaid | Brought::ByNonsense => None,
        },
        code_days: program.code_days,
        sign_up: program.sign_up_rules,
        tells: outbox::actions::is_heard(app).await?,
        now: app.clock.now(),
    })
}

async fn write_one(app: &App, sent: Sent<Written>, told: Told) -> Result<Written> {
    // A kept answer is part of a unit, and the one statement is none.
    let admitted = match sent.is_kept() {
        true => None,
        false => people::admit_one(&app.db, sent.actor(), &told).await?,
    };
    match admitted {
        Some(made) => Ok(Written { upserted: as_told(&told, made), version: None }),
        None => app.write(sent, told, |tx, told| Box::pin(upsert_one(tx, told))).await,
    }
}

/// What a unit of work has made or found, with the version of its code that is to be made known.
struct Written {
    upserted: Upserted,
    version: Option<i64>,
}

async fn upsert_one(tx: &mut Tx<'_>, told: &Told) -> Result<Written> {
    match people::upsert(tx, told).await? {
        people::Upserted::Made(made) => Ok(Written { upserted: as_told(told, *made), version: None }),
        people::Upserted::Found { version, .. } => {
            let participant = within(tx, &told.external.hash()).await?;
            Ok(Written { upserted: Upserted { made: false, participant }, version })
        }
    }
}

/// Somebody who was made, of whom nothing else is known than what was told.
fn as_told(told: &Told, made: people::Made) -> Upserted {
    let people::Made { user, code, handle, referrer } = made;
    let participant = Participant {
        id: user.id,
        external_id: told.external.as_str().to_owned(),
        email: Some(user.email).filter(|email| !email.is_empty()),
        name: told.details.name.clone().flatten(),
        language: told.details.language.clone().flatten(),
        handle: Some(handle),
        code: Some(code),
        referred_by: referrer.map(|referrer| (referrer, Status::Confirmed)),
    };
    Upserted { made: true, participant }
}

async fn within(tx: &mut Tx<'_>, external: &ExternalIdHash) -> Result<Participant> {
    let found = store::participant_within(tx, external).await?;
    found.ok_or_else(|| Error::inconsistent("users", "external_id", "a participant who is held"))
}

/// Makes known what was written.
async fn announce(app: &App, written: Written) -> Upserted {
    let Upserted { made, participant } = &written.upserted;
    if *made {
        app.metrics.registered("host");
        if let Some((_, status)) = participant.referred_by {
            app.metrics.referred(status.word());
            app.to_tell.notify_one();
        }
    }
    if let Some(version) = written.version {
        app.code_changed(participant.id, version).await;
    }
    written.upserted
}

/// The participant with this external id.
pub async fn get(app: &App, external: &ExternalId) -> Result<Participant> {
    let found = store::participant(&app.db, &external.hash()).await?;
    found.ok_or_else(|| Refusal::ParticipantNotFound.into())
}

/// So many participants behind one of them, oldest first.
pub async fn list(app: &App, behind: UserId, most: i64) -> Result<Vec<Participant>> {
    store::participants(&app.db, behind, most).await
}

/// Erases a participant. Their external id is never anybody's again.
pub async fn erase(app: &App, host: Host, sent: Sent<(UserId, Erased)>, external: &ExternalId) -> Result<()> {
    let _turns = turns(app, host, external).await?;
    let work: Work<(ExternalIdHash, Time), (UserId, Erased)> =
        |tx, (external, now)| Box::pin(people::erase(tx, external, *now));
    let (user, erased) = app.write(sent, (external.hash(), app.clock.now()), work).await?;
    erased.announce(app, user).await;
    Ok(())
}

struct NewCode {
    external: ExternalIdHash,
    replacement: Replacement,
    now: Time,
}

/// Ends a participant's code and issues another, as when it has leaked. A participant who was disabled gets none.
pub async fn replace_code(
    app: &App,
    host: Host,
    sent: Sent<Participant>,
    external: &ExternalId,
) -> Result<Participant> {
    let _turns = turns(app, host, external).await?;
    let days = programs::actions::current(app).await?.code_days;
    let replacement = Replacement { draw: issued::draw(app)?, days, most: app.limits.codes_a_day() };
    let new = NewCode { external: external.hash(), replacement, now: app.clock.now() };
    let sent = sent.of(|(participant, _): &(Participant, Option<i64>)| participant);
    let replaced = app.write(sent, new, |tx, new| Box::pin(replace(tx, new))).await;
    let (participant, version) = app.limits.tell_of_codes(replaced)?;
    if let Some(version) = version {
        app.code_changed(participant.id, version).await;
    }
    Ok(participant)
}

async fn replace(tx: &mut Tx<'_>, new: &NewCode) -> Result<(Participant, Option<i64>)> {
    let user = people::hold(tx, &new.external).await?;
    let replaced = issued::replace(tx, user, &new.replacement).await?;
    if replaced.is_some() {
        audit::actions::record(tx, new.now, Event::CodeReplaced(user)).await?;
    }
    Ok((within(tx, &new.external).await?, replaced.map(|(_, version)| version)))
}
