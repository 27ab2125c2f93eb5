//! The job that gives committed messages their numbers and makes the deliveries of them.

use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::outbox;
use crate::features::webhooks::actions::lanes::LEASE;
use crate::features::webhooks::model::schedule::BEYOND;
use crate::features::webhooks::store;
use crate::kernel::actor::Actor;
use crate::kernel::error::Result;
use crate::kernel::time::{SKEW, Time};

/// Messages in one unit of work.
const AT_ONCE: i64 = 512;
/// Rows that are removed in one unit: one of more would hold up others.
const FORGOTTEN_AT_ONCE: i64 = 1000;

/// Takes all messages that are committed, and says how many.
pub async fn run(app: &App) -> Result<i64> {
    let mut all = 0;
    while outbox::actions::is_waiting(app).await? {
        let work: Work<Time, i64> = |tx, now| Box::pin(fan_out(tx, *now));
        let taken = app.db.write(Actor::SERVICE, app.clock.now(), work).await?;
        if taken > 0 {
            app.to_deliver.notify_one();
            app.told.notify_waiters();
        } else {
            // Another node has them.
            tokio::task::yield_now().await;
        }
        all += taken;
    }
    Ok(all)
}

async fn fan_out(tx: &mut Tx<'_>, now: Time) -> Result<i64> {
    let Some((first, last)) = outbox::actions::number(tx, AT_ONCE, now).await? else { return Ok(0) };
    store::deliveries::fan_out(tx, (first, last), now).await?;
    Ok(last - first + 1)
}

/// Makes due what a clock has put off that was ahead, and says how much that was.
pub async fn mend_times(app: &App, now: Time) -> Result<u64> {
    app.db.write(Actor::SERVICE, now, |tx, now| Box::pin(mend(tx, *now))).await
}

async fn mend(tx: &mut Tx<'_>, now: Time) -> Result<u64> {
    let (put_off, taken_up) = (now.plus(BEYOND + SKEW), now.plus(LEASE + SKEW));
    Ok(store::deliveries::mend(tx, now, put_off, taken_up).await? + store::mend(tx, now, now.plus(SKEW)).await?)
}

/// Removes messages, attempts and secrets whose time is over.
pub async fn housekeeping(app: &App, now: Time) -> Result<()> {
    let retention = &app.config.retention;
    let forget: Work<Time, bool> = |tx, before| Box::pin(forget_messages(tx, *before));
    while app.db.write(Actor::SERVICE, now.minus(retention.messages()), forget).await? {}
    let forget: Work<Time, u64> =
        |tx, before| Box::pin(store::deliveries::forget_attempts(tx, *before, FORGOTTEN_AT_ONCE));
    let before = now.minus(retention.attempts());
    while app.db.write(Actor::SERVICE, before, forget).await? == FORGOTTEN_AT_ONCE.unsigned_abs() {}
    let forget: Work<(), u64> = |tx, ()| Box::pin(store::deliveries::forget_removed(tx, FORGOTTEN_AT_ONCE));
    while app.db.write(Actor::SERVICE, (), forget).await? == FORGOTTEN_AT_ONCE.unsigned_abs() {}
    let forget: Work<Time, ()> = |tx, now| Box::pin(store::forget_secrets(tx, *now));
    app.db.write(Actor::SERVICE, now, forget).await
}

/// False when nothing is left to be removed.
async fn forget_messages(tx: &mut Tx<'_>, before: Time) -> Result<bool> {
    store::deliveries::forget(tx, before, FORGOTTEN_AT_ONCE).await?;
    Ok(outbox::actions::forget(tx, before, FORGOTTEN_AT_ONCE).await?.is_some())
}
