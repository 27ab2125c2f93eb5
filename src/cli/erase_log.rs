//! `referral erase-log`

use std::path::Path;

use super::say;
use crate::app::App;
use crate::features::accounts::actions::administration;
use crate::keep::restore;
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
    let users = restore::read_log(file)?;
    let erased = restore::erase_again(app, &users).await?;
    say(&format!("{erased} of {} were there and are erased again", users.len()));
    Ok(())
}
