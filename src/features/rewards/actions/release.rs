//! Rewards become available when their hold is over: late, but never early.

use super::take;
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::rewards::model::message::MovementCause;
use crate::features::rewards::model::reward::{Act, Step};
use crate::features::rewards::store;
use crate::features::rewards::store::ledger::Hold;
use crate::features::{outbox, referrals};
use crate::kernel::actor::Actor;
use crate::kernel::error::Result;
use crate::kernel::ids::{RewardId, UserId};
use crate::kernel::time::Time;

/// Rewards that one unit of work releases, or takes back.
pub(super) const UNIT: i64 = 32;

/// Referees whose rewards are let go in one round of housekeeping.
const MENDED: i64 = 1000;

/// Releases whatever is due, and says how many rewards that were.
pub async fn release(app: &App) -> Result<usize> {
    let mut all = 0;
    // Where nothing is due nothing is written.
    while store::rewards::is_due(&app.db, app.clock.now()).await? {
        let work: Work<Time, usize> = |tx, now| Box::pin(release_some(tx, *now));
        all += app.db.write(Actor::SERVICE, app.clock.now(), work).await?;
        app.to_tell.notify_one();
    }
    Ok(all)
}

/// Releases some of what is due, as far as no other node has meanwhile.
async fn release_some(tx: &mut Tx<'_>, now: Time) -> Result<usize> {
    let due = store::rewards::due(tx, now, UNIT).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let (ids, holders): (Vec<RewardId>, Vec<UserId>) = due.into_iter().unzip();
    store::ledger::hold(tx, &holders, Hold::Shared).await?;
    let mut told = Vec::new();
    for reward in store::rewards::lock_due(tx, &ids).await? {
        let Step::Moved(next, movement) = reward.standing.step(Act::Release) else { continue };
        // The grant is its cause: it is released once.
        take(tx, &reward, (next, movement), (MovementCause::Hold(reward.event), now), &mut told).await?;
    }
    outbox::actions::tell_all(tx, &told).await?;
    Ok(told.len())
}

/// A referral counts now, as part of the unit that confirms it: what was granted for it waits for its hold alone.
pub async fn confirmed(tx: &mut Tx<'_>, referee: UserId) -> Result<()> {
    let referral = referrals::actions::share(tx, referee).await?;
    match referral.is_some_and(|referral| !referral.waits()) {
        true => store::rewards::set_waiting(tx, referee, false).await,
        // What a manager holds goes on waiting.
        false => Ok(()),
    }
}

/// Nodes of the release before confirm referrals and know no rewards: what was granted is let go here.
pub async fn housekeeping(app: &App) -> Result<()> {
    let work: Work<UserId, ()> = |tx, referee| Box::pin(confirmed(tx, *referee));
    for referee in store::rewards::left_waiting(&app.db, MENDED).await? {
        app.db.write(Actor::SERVICE, referee, work).await?;
    }
    Ok(())
}
