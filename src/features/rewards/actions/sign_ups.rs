//! Sign-ups, which nobody tells of: a job takes them as events, once the referral counts.

use super::events::{New, record};
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::programs;
use crate::features::rewards::model::event::{EventKey, Recorded, Told, Whom};
use crate::features::rewards::model::rules::EventType;
use crate::jobs::{self, Kind, Outcome};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;

/// A referral counts now, as part of the unit that confirms it: where a rule hears of it, a job tells.
pub async fn expect(tx: &mut Tx<'_>, referee: UserId, now: Time) -> Result<()> {
    if programs::actions::within(tx).await?.sign_up_rules {
        jobs::enqueue(tx, Kind::SignUpEvent, referee.to_string(), now).await?;
    }
    Ok(())
}

/// The job that takes a sign-up as an event, known by the referee's id.
pub async fn take(app: &App, subject: &str) -> Result<Outcome> {
    let Some(referee) = UserId::parse(subject) else { return Ok(Outcome::Done("no such referee")) };
    let told = Told {
        kind: EventType::sign_up(),
        key: EventKey::stored(referee.to_string()),
        whom: Whom::Id(referee),
        money: None,
        occurred_at: None,
        properties: None,
        said: Vec::new(),
    };
    let work: Work<New, Recorded> = |tx, new| Box::pin(record(tx, new));
    match app.db.write(Actor::SERVICE, New::of(app, told).await?, work).await {
        Ok(_) => {
            app.to_tell.notify_one();
            Ok(Outcome::Done("taken"))
        }
        Err(Error::Refused(Refusal::ProgramNotActive)) => Ok(Outcome::Done("the program is not active")),
        Err(error) => Err(error),
    }
}
