//! `referral erase-log`

use std::path::Path;

use super::say;
use crate::app::App;
use crate::features::accounts::actions::{administration, management};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal};
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;

/// Lines that are read at a time.
const PART: i64 = 1000;

/// Prints who was erased when, or erases those again whom a file names.
pub async fn run(app: &App, apply: Option<&Path>) -> Result<(), String> {
    match apply {
        None => print(app).await,
        Some(file) => apply_file(app, file).await,
    }
}

async fn print(app: &App) -> Result<(), String> {
    let mut behind = (Time(i64::MIN), UserId(uuid::Uuid::nil()));
    loop {
        let part = administration::erased_log(app, behind, PART).await.map_err(|error| error.to_string())?;
        let Some((user, at)) = part.last() else { return Ok(()) };
        behind = (*at, *user);
        for (user, at) in part {
            say(&format!("{user}  {at}"));
        }
    }
}

async fn apply_file(app: &App, file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let id = line.split_whitespace().next().and_then(UserId::parse);
        let place = || format!("{}, line {}: no id begins it; nothing was done", file.display(), number + 1);
        users.push(id.ok_or_else(place)?);
    }
    let (mut erased, all) = (0, users.len());
    for user in users {
        match management::erase(app, Actor::OPERATOR.into(), user, None).await {
            Ok(()) => erased += 1,
            // Erased still, or made after the backup.
            Err(Error::Refused(Refusal::UserNotFound)) => {}
            Err(error) => return Err(format!("{user}: {error}; {erased} were erased before")),
        }
    }
    say(&format!("{erased} of {all} were there and are erased again"));
    Ok(())
}
