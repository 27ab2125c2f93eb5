//! Codes that the service issues to participants of a host's app, and what becomes of codes whose time is over.

use super::{after_joins, claim, store, within_a_day};
use crate::app::App;
use crate::cache::changes::announce_code;
use crate::db::Tx;
use crate::features::codes::model::{HeldCode, OwnedCode, Slot, issued_life};
use crate::features::codes::store::Expired;
use crate::features::programs;
use crate::kernel::actor::Actor;
use crate::kernel::code::Code;
use crate::kernel::error::{Error, Result};
use crate::kernel::handle::{HandleKey, InvitationKey};
use crate::kernel::ids::UserId;
use crate::kernel::time::micros;

/// Slots that one unit of the sweep takes, as `TAKE_EXPIRED` has it: so few that whoever wants one of them, or the
/// writer of SQLite, waits for some milliseconds.
const UNIT: usize = 32;
/// Of 60 random bits nearly every first draw is good.
const DRAWS: usize = 4;

/// What chance says about a code that is to be issued: drawn before the unit of work.
#[derive(Clone)]
pub struct Draw {
    candidates: Vec<Code>,
    /// How long it lives, between the least and the most.
    life: u32,
}

impl Draw {
    /// The code that is tried first, and how long it lives where codes live about so many days, in microseconds.
    pub fn first(&self, days: i64) -> Option<(&Code, i64)> {
        Some((self.candidates.first()?, micros(issued_life(days, self.life))))
    }
}

pub fn draw(app: &App) -> Result<Draw> {
    Ok(Draw { candidates: app.random_codes(DRAWS)?, life: u32::from_be_bytes(app.random()?) })
}

/// What a registration needs that may have to renew the code behind what it comes with: behind a code there is none.
pub fn draw_for(app: &App, key: InvitationKey) -> Result<Option<Draw>> {
    match key {
        InvitationKey::Handle(_) => draw(app).map(Some),
        InvitationKey::Code(_) => Ok(None),
    }
}

/// Issues the first code of an owner who was made in this unit of work. It lives about so many days.
pub async fn first(tx: &mut Tx<'_>, owner: UserId, draw: &Draw, days: i64) -> Result<OwnedCode> {
    let slot = store::open(tx, owner).await?;
    put(tx, &slot, draw, days).await
}

/// What replaces an owner's code.
pub struct Replacement {
    pub draw: Draw,
    pub days: i64,
    /// How many codes the owner may get within a day.
    pub most: Option<i64>,
}

/// Ends an owner's active code, if there is one, and issues another; nothing for owners who may have none. With it
/// comes the version that the caller tells [`App::code_changed`].
pub async fn replace(tx: &mut Tx<'_>, owner: UserId, new: &Replacement) -> Result<Option<(OwnedCode, i64)>> {
    let mut slot = store::lock(tx, owner).await?;
    if !store::owner_is_live(tx, owner).await? {
        return Ok(None);
    }
    if slot.active().is_some() {
        after_joins(tx, &mut slot).await?;
    }
    if let Some(most) = new.most {
        within_a_day(tx, &slot, most).await?;
    }
    if slot.active().is_some() {
        store::revoke(tx, owner, slot.issued, slot.now).await?;
    }
    let made = put(tx, &slot, &new.draw, new.days).await?;
    announce_code(tx, owner, slot.version + 1).await?;
    Ok(Some((made, slot.version + 1)))
}

/// Holds the code of a handle's owner, whose last one is over, for a registration: the next is issued in its unit of
/// work, as the sweep would have done. Nothing where none follows.
pub async fn renew(tx: &mut Tx<'_>, (handle, owner): (HandleKey, UserId), draw: &Draw) -> Result<Option<HeldCode>> {
    let slot = store::lock(tx, owner).await?;
    // Another registration, or the sweep, was first.
    if slot.active().is_some() {
        return Ok(Some(HeldCode { owner, ordinal: slot.issued, now: slot.now }));
    }
    // What was read before the lock may be over.
    let is_due = store::owner_of_handle(tx, handle).await?.is_some_and(|owner| owner.is_due);
    let program = programs::actions::within(tx).await?;
    if !is_due || !program.auto_renew {
        return Ok(None);
    }
    let made = put(tx, &slot, draw, program.code_days).await?;
    announce_code(tx, owner, slot.version + 1).await?;
    Ok(Some(HeldCode { owner, ordinal: made.ordinal, now: slot.now }))
}

async fn put(tx: &mut Tx<'_>, slot: &Slot, draw: &Draw, days: i64) -> Result<OwnedCode> {
    let claimed = claim(tx, slot, &draw.candidates).await?;
    let claimed = claimed.ok_or_else(|| Error::Internal(format!("{DRAWS} codes in a row were taken")))?;
    store::fill(tx, slot, claimed, slot.now.plus(issued_life(days, draw.life)), true).await
}

/// Takes expired codes out of their slots, so that they stay dead even if the clock steps back. One that the service
/// had issued is followed by the next.
pub async fn sweep(app: &App) -> Result<()> {
    // Nearly always there is nothing to write. What is left in the end is held by others, who will see to it.
    while store::has_expired(&app.db).await? && sweep_once(app).await? > 0 {}
    Ok(())
}

/// One unit of it; says how many slots it took.
pub async fn sweep_once(app: &App) -> Result<usize> {
    let draws = (0..UNIT).map(|_| draw(app)).collect::<Result<Vec<_>>>()?;
    let swept = app.db.write(Actor::SERVICE, draws, |tx, draws| Box::pin(sweep_some(tx, draws))).await?;
    for (owner, version) in &swept {
        app.changes.code_changed(*owner, *version);
    }
    Ok(swept.len())
}

/// Whose slots were swept, with their new versions.
async fn sweep_some(tx: &mut Tx<'_>, draws: &[Draw]) -> Result<Vec<(UserId, i64)>> {
    let expired = store::take_expired(tx).await?;
    let may_renew = |one: &Expired| one.by_service && one.is_live;
    let renewable = expired.iter().any(may_renew);
    let program = if renewable { Some(programs::actions::within(tx).await?) } else { None };
    let renews = program.as_ref().filter(|program| program.auto_renew);
    let mut swept = Vec::with_capacity(expired.len());
    for (one, draw) in expired.iter().zip(draws) {
        match renews.filter(|_| may_renew(one)) {
            Some(program) => drop(put(tx, &one.slot, draw, program.code_days).await?),
            None => store::empty(tx, &Slot { now: one.ended_at, ..one.slot.clone() }).await?,
        }
        announce_code(tx, one.slot.owner, one.slot.version + 1).await?;
        swept.push((one.slot.owner, one.slot.version + 1));
    }
    Ok(swept)
}
