//! Rows of the audit, and what is found of them.

use std::sync::Arc;

use referral::app::App;
use referral::db::Work;
use referral::features::audit::actions::verify::{self, Asked, Verified};
use referral::features::audit::actions::{chain, record};
use referral::features::audit::model::Event;
use referral::features::audit::model::chain::{Fault, FaultKind};
use referral::kernel::actor::Actor;
use referral::kernel::ids::UserId;
use referral::kernel::time::Time;

/// Notes something that was done to somebody.
pub async fn note(app: &App, user: UserId) {
    let work: Work<(UserId, Time), ()> = |tx, (user, now)| Box::pin(record(tx, *now, Event::UserDisabled(*user, None)));
    app.db.write(Actor::OPERATOR, (user, app.clock.now()), work).await.expect("it is noted");
}

/// Gives all rows their places.
pub async fn chained(app: &Arc<App>) -> i64 {
    chain::run(app).await.expect("a chain").seq
}

pub async fn verified(app: &Arc<App>) -> Verified {
    verify::run(app, Asked::default()).await.expect("a look")
}

/// The first fault.
pub async fn fault(app: &Arc<App>) -> Option<(i64, FaultKind)> {
    verified(app).await.fault.map(|Fault { seq, kind }| (seq, kind))
}
