//! Rules of the program: versions, of which the last one is in force.

use std::time::Duration;

use super::events::UNKNOWN_TYPE;
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::audit::model::{Event as Noted, Part};
use crate::features::rewards::model::preview::{Preview, preview};
use crate::features::rewards::model::rules::{Rule, Rules};
use crate::features::rewards::store;
use crate::features::{audit, programs};
use crate::idempotency::Sent;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::UserId;
use crate::kernel::program::{DEFAULT, Program};
use crate::kernel::time::Time;

/// How far a preview looks back.
const PREVIEWED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Events of a preview.
const MOST_PREVIEWED: i64 = 10_000;

struct NewRules {
    rules: Vec<Rule>,
    by: UserId,
    now: Time,
}

/// Makes the next version, which is in force from its commit on.
pub async fn make(app: &App, sent: Sent<Rules>, slug: &str, by: UserId, rules: Vec<Rule>) -> Result<Rules> {
    programs::actions::exists(slug)?;
    let new = NewRules { rules, by, now: app.clock.now() };
    let work: Work<NewRules, Rules> = |tx, new| Box::pin(insert(tx, new));
    let made = app.write(sent, new, work).await?;
    app.program.forget();
    Ok(made)
}

async fn insert(tx: &mut Tx<'_>, new: &NewRules) -> Result<Rules> {
    known(&new.rules, &programs::actions::hold(tx).await?)?;
    let version = store::rules::insert(tx, &new.rules, new.by, new.now).await?;
    let of_sign_ups = new.rules.iter().any(|rule| rule.on.is_sign_up());
    programs::actions::note_sign_up_rules(tx, of_sign_ups).await?;
    audit::actions::record(tx, new.now, Noted::ProgramChanged(DEFAULT, vec![Part::Rules])).await?;
    Ok(Rules { version, rules: new.rules.clone() })
}

/// Whether the program takes what these rules are about.
fn known(rules: &[Rule], program: &Program) -> Result<()> {
    if rules.iter().all(|rule| rule.on.is_among(&program.event_types)) {
        return Ok(());
    }
    Err(Error::field("rules", "value_error", UNKNOWN_TYPE))
}

/// The rules of a version, or those in force.
pub async fn get(app: &App, slug: &str, version: Option<i64>) -> Result<Rules> {
    programs::actions::exists(slug)?;
    match version {
        None => store::rules::in_force(&app.db).await,
        // None were made yet: so it was before the first version.
        Some(0) => Ok(Rules::default()),
        Some(version) => store::rules::of_version(&app.db, version).await?.ok_or_else(|| Refusal::RulesNotFound.into()),
    }
}

/// What these rules would have given for the events of the last thirty days.
pub async fn look_ahead(app: &App, slug: &str, rules: &[Rule]) -> Result<Preview> {
    known(rules, &programs::actions::get(app, slug).await?)?;
    let from = app.clock.now().minus(PREVIEWED);
    let mut events = store::events::since(&app.db, from, MOST_PREVIEWED + 1).await?;
    let most = usize::try_from(MOST_PREVIEWED).unwrap_or(0);
    let more = events.len() > most;
    events.truncate(most);
    Ok(Preview { more, ..preview(rules, &events) })
}
