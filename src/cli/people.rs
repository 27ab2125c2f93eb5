//! `referral admin`: people, as managers have them by the API.

use clap::Subcommand;
use serde::Serialize;

use super::say;
use crate::app::App;
use crate::features::accounts::actions::{administration, management};
use crate::features::audit::model::Reason;
use crate::features::managers::actions;
use crate::features::managers::api::exports::Export;
use crate::features::managers::api::profile::PersonProfile;
use crate::features::managers::model::{Filter, Search};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal};
use crate::kernel::ids::UserId;

/// People that a search prints at a time.
const PART: i64 = 100;

#[derive(Subcommand)]
pub enum People {
    /// Look for people: id, state, role, name and address of each
    Search {
        /// The beginning of a name or of an address, or an id; left out: everybody, the newest first
        #[arg(allow_hyphen_values = true)]
        beginning: Option<String>,
    },
    /// Print all that is known of somebody, as JSON
    Show {
        /// User name, e-mail address or id
        user: String,
    },
    /// Print all that is kept of somebody, as JSON, to be given to them
    Export {
        /// User name, e-mail address or id
        user: String,
    },
    /// Revoke somebody's active code
    RevokeCode {
        /// User name, e-mail address or id
        user: String,
        /// Why: fraud, abuse, security, legal, request, mistake or other
        #[arg(long, value_name = "WORD", value_parser = reason)]
        reason: Option<Reason>,
    },
    /// Erase somebody's account for good; the place in others' lists stays, without a face
    Erase {
        /// User name, e-mail address or id
        user: String,
        /// Why: fraud, abuse, security, legal, request, mistake or other
        #[arg(long, value_name = "WORD", value_parser = reason)]
        reason: Option<Reason>,
    },
}

/// A reason on the command line.
pub fn reason(word: &str) -> Result<Reason, String> {
    Reason::parse(word).ok_or_else(|| {
        let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        format!("write one of {}", words.join(", "))
    })
}

pub async fn run(app: &App, command: People) -> Result<(), String> {
    match command {
        People::Search { beginning } => search(app, beginning.as_deref()).await,
        People::Show { user } => {
            let profile = actions::profile(app, find(app, &user).await?).await.map_err(text)?;
            print(&PersonProfile::of(app, profile))
        }
        People::Export { user } => {
            let export = actions::export_by_operator(app, find(app, &user).await?).await.map_err(text)?;
            print(&Export::of(app, export).map_err(text)?)
        }
        People::RevokeCode { user, reason } => {
            let id = find(app, &user).await?;
            management::revoke_code(app, Actor::OPERATOR.into(), id, reason).await.map_err(text)?;
            say("revoked");
            Ok(())
        }
        People::Erase { user, reason } => {
            let id = find(app, &user).await?;
            management::erase(app, Actor::OPERATOR.into(), id, reason).await.map_err(text)?;
            say(&format!("{id} is erased"));
            Ok(())
        }
    }
}

async fn search(app: &App, beginning: Option<&str>) -> Result<(), String> {
    let mut after = None;
    loop {
        let part = actions::search(app, Search::of(beginning), Filter::default(), after, PART).await;
        let (people, next) = part.map_err(text)?;
        for person in people {
            let role = if person.is_manager { "manager" } else { "user" };
            say(&format!(
                "{}  {:<8}  {role:<7}  {}  {}",
                person.id,
                person.state.word(),
                person.username,
                person.email
            ));
        }
        let Some(next) = next else { return Ok(()) };
        after = Some(next);
    }
}

async fn find(app: &App, typed: &str) -> Result<UserId, String> {
    if let Some(found) = administration::find(app, typed).await.map_err(text)? {
        return Ok(found.id);
    }
    UserId::parse(typed).ok_or_else(|| format!("there is no user {typed}"))
}

fn print(value: &impl Serialize) -> Result<(), String> {
    let json = serde_json::to_string_pretty(value).map_err(|error| format!("cannot write: {error}"))?;
    say(&json);
    Ok(())
}

fn text(error: Error) -> String {
    match error {
        Error::Refused(refusal @ Refusal::UserNotFound) => {
            format!("{}: `referral admin search` finds people", refusal.sentence())
        }
        Error::Refused(Refusal::NoActiveCode) => "there is no active code to revoke".to_owned(),
        error => error.to_string(),
    }
}
