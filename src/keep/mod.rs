//! Keeping and moving what is in a database: backups, restores, copies from one engine to the other, imports. All of
//! them end with the same look whether the laws hold.

pub mod backup;
pub mod copy;
pub mod import;
pub mod laws;
pub mod restore;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{self, Config};
use crate::db::{Db, Options};

/// For a statement: it may read all of a large database.
pub const PATIENCE: Duration = Duration::from_secs(5 * 3600);

/// Whom progress is told.
pub type Tell = fn(&str);

/// Opens a database for one who reads all of it. The error is a sentence with a remedy.
async fn open(url: &str, config: &Config) -> Result<Db, String> {
    // Whoever reads such an address takes a piece of the password for something that may be told.
    if !url.starts_with("sqlite:") && config::is_ambiguous(url) {
        return Err(format!("the address of a database {}", config::RESERVED));
    }
    let prepared_statements = config.database.prepared_statements;
    Db::open(url, Options { connections: 3, prepared_statements, request: PATIENCE, mapped_mib: 0 }).await
}

/// A file beside another.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A schema that this binary does not know.
fn newer(what: &str, version: i64, newest: i64) -> String {
    format!("{what} has schema {version}, this binary knows {newest}: use the binary that made it, or a newer one")
}
