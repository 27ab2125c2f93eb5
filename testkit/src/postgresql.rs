//! PostgreSQL's programs, the user who may run them, and the command that becomes a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the newest programs that Debian's packages put side by side, else an empty path: then they are in
/// PATH. Nothing when these are nowhere all together.
///
/// `TEST_POSTGRESQL` names another folder, for tests on another version.
pub fn programs(names: &[&str]) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "it is no setting of the service")]
    if let Some(folder) = std::env::var_os("TEST_POSTGRESQL").map(PathBuf::from)
        && names.iter().all(|name| folder.join(name).is_file())
    {
        return Some(folder);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .collect();
    folders.sort();
    let folders = folders.into_iter().rev().map(|(_, folder)| folder).chain([PathBuf::new()]);
    folders.into_iter().find(|folder| names.iter().all(|name| crate::says(folder.join(name), "(PostgreSQL)")))
}

/// Root may not run PostgreSQL; its packages come with a user who may. Nothing for anybody else.
///
/// # Errors
///
/// When root has no such user.
pub fn user() -> Result<Option<(u32, u32)>, String> {
    let id = |which| {
        let output = Command::new("id").args([which, "postgres"]).output().map_err(|error| format!("`id`: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().parse();
        text.map_err(|_| "there is no user `postgres`, whom PostgreSQL's packages bring".to_owned())
    };
    if crate::is_root() { Ok(Some((id("-u")?, id("-g")?))) } else { Ok(None) }
}

/// Makes an empty cluster in the folder `data`, with the superuser `postgres`, who needs no password.
pub fn initdb(programs: &Path) -> String {
    let initdb = crate::quoted(programs.join("initdb"));
    format!("{initdb} -D data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync")
}

/// The command for [`crate::Kept`] that becomes a server on this port of this machine, without a socket if no folder is
/// among the settings. What `make` says is done before, where there is no cluster yet.
pub fn server(programs: &Path, make: &str, port: u16, settings: &str) -> String {
    let postgres = crate::quoted(programs.join("postgres"));
    format!(
        "{{ [ -s data/PG_VERSION ] || {{ {make}; }}; }} && exec {postgres} -D data -c listen_addresses=127.0.0.1 \
         -c port={port} -c unix_socket_directories= {settings}"
    )
}

/// The signal for an immediate shutdown: it frees the shared memory that a plain kill would leave behind.
pub const SIGNAL: &str = "QUIT";

/// What its log says when it lets clients in.
pub const READY: &str = "database system is ready to accept connections";
