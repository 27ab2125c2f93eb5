//! `referral admin jobs`

use clap::Subcommand;

use super::say;
use crate::app::App;
use crate::jobs::{self, Kind, Retried};
use crate::kernel::time::Time;

#[derive(Subcommand)]
pub enum Jobs {
    /// Try given-up jobs again, with all the attempts of their kind
    Retry {
        /// Their ids, as the list prints them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
    },
}

pub async fn run(app: &App, command: Option<Jobs>) -> Result<(), String> {
    match command {
        None => list(app).await,
        Some(Jobs::Retry { ids }) => {
            for id in ids {
                retry(app, id).await?;
            }
            Ok(())
        }
    }
}

async fn list(app: &App) -> Result<(), String> {
    let given_up = jobs::given_up(&app.db).await.map_err(|error| error.to_string())?;
    if given_up.is_empty() {
        say("no job was given up");
        return Ok(());
    }
    let line = |cells: [&str; 6]| {
        let [id, kind, at, attempts, subject, outcome] = cells;
        say(&format!("{id:<8}  {kind:<16}  {at:<20}  {attempts:<8}  {subject:<36}  {outcome}"));
    };
    line(["id", "kind", "given up", "attempts", "subject", "last outcome"]);
    for job in &given_up {
        let at = Time(job.at.seconds() * 1_000_000).to_string();
        line([&job.id.to_string(), &job.kind, &at, &job.attempts.to_string(), &job.subject, &job.outcome]);
    }
    let all = jobs::count_given_up(&app.db).await.map_err(|error| error.to_string())?;
    if let Some(more) = all.checked_sub(given_up.len() as i64).filter(|more| *more > 0) {
        say(&format!("and {more} more, given up before"));
    }
    for kind in Kind::ALL.iter().filter(|kind| given_up.iter().any(|job| job.kind == kind.word())) {
        say(&format!("{}: {}", kind.word(), kind.policy().given_up));
    }
    say("`referral admin jobs retry ID` tries one again");
    Ok(())
}

async fn retry(app: &App, id: i64) -> Result<(), String> {
    match jobs::retry(&app.db, id, app.clock.now()).await.map_err(|error| error.to_string())? {
        Retried::Waiting(kind) => {
            say(&format!("job {id} ({kind}) is tried again; a node takes it up within a second or two"));
            Ok(())
        }
        Retried::OpenAlready(kind) => {
            Err(format!("job {id} ({kind}) is not needed: the same was asked for again since, and that job is open"))
        }
        Retried::NotGivenUp => {
            Err(format!("there is no given-up job {id}: `referral admin jobs` lists those there are"))
        }
    }
}
