//! `referral backup`, `restore`, `copy` and `import`

use std::io::Write;
use std::path::Path;

use super::say;
use crate::app::App;
use crate::config::Config;
use crate::keep;
use crate::keep::restore::Wish;
use crate::kernel::deadline;

/// How far something is: on the standard error, for what a command prints is its result.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "progress: {text}");
}

pub async fn backup(config: &Config, file: &Path) -> Result<(), String> {
    say(&keep::backup::run(config, file, tell).await?);
    Ok(())
}

pub async fn restore(config: Config, wish: Wish) -> Result<(), String> {
    say(&deadline::patiently(keep::PATIENCE, keep::restore::run(config, &wish, tell)).await?);
    Ok(())
}

pub async fn copy(config: &Config, from: Option<String>, to: Option<String>) -> Result<(), String> {
    let of_settings = config.database.url.clone();
    if from.is_none() && to.is_none() {
        return Err(
            "name the other database with --from or --to; the one that is left out is DATABASE_URL's".to_owned()
        );
    }
    let (from, to) = (from.unwrap_or(of_settings.clone()), to.unwrap_or(of_settings));
    say(&keep::copy::run(config, &from, &to, tell).await?);
    Ok(())
}

pub async fn import(app: &App, from: &str, apply: bool) -> Result<(), String> {
    let report = deadline::patiently(keep::PATIENCE, keep::import::run(app, from, apply, tell)).await?;
    for line in report.lines {
        say(&line);
    }
    say(&report.summary);
    Ok(())
}
