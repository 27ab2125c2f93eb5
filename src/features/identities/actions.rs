//! Whose an identity is, and who waits to become somebody's.

use std::time::Duration;

use uuid::Uuid;

use super::model::{LinkedIdentity, PendingSignIn, UnclaimedIdentity, UnclaimedIdentityKey};
use super::store;
use crate::app::App;
use crate::db::{Tx, Work};
use crate::idempotency::Sent;
use crate::kernel::actor::Actor;
use crate::kernel::digest::{StateHash, TicketHash, VisitorHash};
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::UserId;
use crate::kernel::time::{SKEW, Time};

/// How long the way there and back may take, and then the form.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Who is waiting under a ticket of our form.
pub async fn waiting(app: &App, ticket: &str, visitor_hash: &VisitorHash) -> Result<Option<UnclaimedIdentity>> {
    store::arrival(&app.db, &TicketHash::of(ticket), visitor_hash, app.clock.now()).await
}

/// Makes whoever waits under a ticket a user's, as part of a unit of work.
pub async fn claim(tx: &mut Tx<'_>, key: &UnclaimedIdentityKey, user: UserId, now: Time) -> Result<()> {
    let arrival = store::take_arrival(tx, &key.ticket_hash, &key.visitor_hash, now).await?;
    let identity = arrival.ok_or(Refusal::SignInExpired)?.identity;
    if store::link(tx, &identity.issuer, &identity.subject, user, now).await? {
        Ok(())
    } else {
        Err(Refusal::SignInExpired.into())
    }
}

/// Notes a sign-in that begins, under the hash of its state.
pub async fn begin(app: &App, actor: Actor, state: StateHash, departure: PendingSignIn) -> Result<()> {
    let note: Work<(StateHash, PendingSignIn), ()> =
        |tx, (hash, departure)| Box::pin(store::insert_departure(tx, hash, departure));
    app.db.write(actor, (state, departure), note).await
}

/// The sign-in that was begun with this state in this browser. It is taken: nobody gets it a second time.
pub async fn take(
    app: &App,
    actor: Actor,
    state: StateHash,
    visitor_hash: VisitorHash,
    now: Time,
) -> Result<Option<PendingSignIn>> {
    let take: Work<(StateHash, VisitorHash, Time), Option<PendingSignIn>> =
        |tx, (state, visitor, now)| Box::pin(store::take_departure(tx, state, visitor, *now));
    app.db.write(actor, (state, visitor_hash, now), take).await
}

/// Notes who has come and is nobody's yet, under the hash of the ticket in our form.
pub async fn wait(app: &App, actor: Actor, ticket: TicketHash, arrival: UnclaimedIdentity) -> Result<()> {
    let note: Work<(TicketHash, UnclaimedIdentity), ()> =
        |tx, (hash, arrival)| Box::pin(store::insert_arrival(tx, hash, arrival));
    app.db.write(actor, (ticket, arrival), note).await
}

/// Whose an identity is.
pub async fn owner(app: &App, issuer: &str, subject: &str) -> Result<Option<UserId>> {
    store::owner(&app.db, issuer, subject).await
}

/// Makes an identity a user's, as part of a unit of work. False when it is somebody else's, or the user is erased.
pub async fn link(tx: &mut Tx<'_>, issuer: &str, subject: &str, user: UserId, now: Time) -> Result<bool> {
    Ok(store::link(tx, issuer, subject, user, now).await? || store::holder(tx, issuer, subject).await? == Some(user))
}

/// With which accounts elsewhere a user signs in, the oldest first.
pub async fn of(app: &App, user: UserId) -> Result<Vec<LinkedIdentity>> {
    store::identities_of(&app.db, user).await
}

struct Unlinking {
    user: UserId,
    id: Uuid,
    /// The issuers of the providers that people can sign in with.
    usable: Vec<String>,
}

/// Takes an identity away from a user who has another way in.
pub async fn unlink(app: &App, sent: Sent<()>, user: UserId, id: Uuid) -> Result<()> {
    let issuers = app.providers.list().filter_map(|(name, _)| app.providers.settings(name));
    let usable = issuers.map(|settings| settings.issuer.clone()).collect();
    let unlink: Work<Unlinking, ()> = |tx, unlinking| Box::pin(unlink_one(tx, unlinking));
    app.write_for(sent, user, Unlinking { user, id, usable }, unlink).await
}

async fn unlink_one(tx: &mut Tx<'_>, input: &Unlinking) -> Result<()> {
    let Unlinking { user, id, usable } = input;
    let (has_password, identities) = store::hold_ways_in(tx, *user).await?;
    let (this, others): (Vec<_>, Vec<_>) = identities.into_iter().partition(|identity| identity.id(*user) == *id);
    let this = this.first().ok_or(Refusal::IdentityNotFound)?;
    if !has_password && !others.iter().any(|other| usable.contains(&other.issuer)) {
        return Err(Refusal::LastWayIn.into());
    }
    store::unlink(tx, *user, this).await
}

/// Takes everything away that says who a user is elsewhere, as part of a unit of work.
pub async fn forget(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    store::unlink_all(tx, user).await.map(drop)
}

/// Removes those who have not come back in time.
pub async fn housekeeping(app: &App) -> Result<u64> {
    let forget: Work<Time, u64> = |tx, now| Box::pin(store::forget_sign_ins(tx, *now, now.plus(PATIENCE + SKEW)));
    app.db.write(Actor::SERVICE, app.clock.now(), forget).await
}
