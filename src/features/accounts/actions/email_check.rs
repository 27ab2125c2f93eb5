//! Asking the verifier about addresses, after the registration and apart from it.

use super::confirmation::count_referral;
use crate::app::App;
use crate::db::Tx;
use crate::features::accounts::model::ReferralRules;
use crate::features::accounts::store;
use crate::jobs::{Job, Outcome};
use crate::kernel::actor::Actor;
use crate::kernel::email::Email;
use crate::kernel::error::Result;
use crate::kernel::ids::UserId;
use crate::kernel::time::{SKEW, Time};
use crate::kernel::verdict::Verdict;
use crate::outbound::hunter::VerifierReply;

/// Asks once; without an answer it is asked again until the time is up, then the address passes.
pub async fn check_email(app: &App, job: &Job) -> Result<Outcome> {
    let Some(user) = UserId::parse(&job.subject) else { return Ok(Outcome::Done("no such user")) };
    let Some(person) = store::user(&app.db, user).await? else { return Ok(Outcome::Done("no such user")) };
    if person.erased || person.verdict != Verdict::Pending {
        return Ok(Outcome::Done("nothing to ask"));
    }
    let now = app.clock.now();
    if person.created_at > now.plus(SKEW) {
        // By a clock that was ahead: from there on the time would not be up for as long.
        app.db
            .write(Actor::SERVICE, (user, now), |tx, (user, now)| Box::pin(store::set_created_at(tx, *user, *now)))
            .await?;
    }
    let deadline = person.created_at.min(now.plus(SKEW)).plus(app.config.email.give_up());
    let (Some(hunter), Ok(email)) = (&app.hunter, Email::parse(&person.email)) else {
        return record(app, user, Verdict::Unknown).await;
    };
    if app.clock.now() >= deadline {
        return record(app, user, Verdict::Unknown).await;
    }
    match hunter.verify(&email).await {
        VerifierReply::Verdict(verdict) => record(app, user, verdict).await,
        VerifierReply::Again { why, after } => {
            // No later than the deadline, at which the address passes.
            let left = deadline.since(app.clock.now());
            Ok(Outcome::Again { after: after.unwrap_or_else(|| job.pause()).min(left), why })
        }
    }
}

/// Stores the verdict; a referral that waited for it counts unless the address is bad and bad ones are blocked, or
/// unless it waits for something else.
async fn record(app: &App, user: UserId, verdict: Verdict) -> Result<Outcome> {
    let checked = Checked { user, verdict, rules: ReferralRules::of(&app.config), now: app.clock.now() };
    app.db.write(Actor::SERVICE, checked, |tx, input| Box::pin(store_verdict(tx, input))).await?;
    app.metrics.verdict(verdict.word());
    Ok(Outcome::Done(verdict.word()))
}

struct Checked {
    user: UserId,
    verdict: Verdict,
    rules: ReferralRules,
    now: Time,
}

async fn store_verdict(tx: &mut Tx<'_>, input: &Checked) -> Result<()> {
    if store::set_verdict(tx, input.user, input.verdict, input.now).await? {
        count_referral(tx, input.user, input.rules, input.now).await?;
    }
    Ok(())
}
