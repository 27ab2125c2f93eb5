//! A PostgreSQL of our own for the servers under test: its own folder, a free port, gone with the run.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use super::server::free_address;
use crate::machine::{POSTGRESQL, is_root, postgresql_programs, provide};
use crate::shell;

/// More than there are runs.
const DATABASES: u32 = 20;

/// `$1` begins each program's name, `$2` is the port, `$3` how many databases to make. It says `ready`, and ends when
/// its standard input does, as that happens however we end. Nothing is kept, so nothing has to reach the disk.
const KEEPER: &str = r#"
trap '' HUP INT
set -eu
exec 3>&1 >log 2>&1
"${1}initdb" -D data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync
for number in $(seq "$3"); do echo "create database run$number"; done | "${1}postgres" --single -F -D data postgres
options="-c listen_addresses=127.0.0.1 -c port=$2 -c unix_socket_directories='$PWD' -c fsync=off"
"${1}pg_ctl" -D data -w -o "$options" start 3>&-
echo ready >&3
read -r _ || true
"${1}pg_ctl" -D data -m immediate stop
"#;

pub struct Cluster {
    keeper: Child,
    folder: PathBuf,
    port: u16,
    used: Cell<u32>,
}

impl Cluster {
    pub fn start() -> Result<Cluster, String> {
        provide(&[POSTGRESQL])?;
        let programs = postgresql_programs().ok_or("PostgreSQL's programs are gone")?;
        let folder = std::env::temp_dir().join(format!("referral-interop-postgres-{}", std::process::id()));
        let file_error = |error| format!("{} cannot be made: {error}", folder.display());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(file_error)?;
        let port = free_address()?.port();
        let mut command = shell::command("sh", &["-c", KEEPER, "keeper"]);
        command.arg(programs.join("")).args([port.to_string(), DATABASES.to_string()]).current_dir(&folder);
        if is_root() {
            // It refuses to be run by root; its packages bring a user.
            let (user, group) = (postgres_id("-u")?, postgres_id("-g")?);
            chown(&folder, Some(user), Some(group)).map_err(file_error)?;
            command.uid(user).gid(group);
        }
        // A process group of its own: Ctrl-C is for us, the keeper has work to do after it.
        let keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn();
        let mut keeper = keeper.map_err(|error| format!("PostgreSQL cannot be run: {error}"))?;
        let mut said = String::new();
        let _ = keeper.stdout.take().map(|pipe| BufReader::new(pipe).read_line(&mut said));
        let cluster = Cluster { keeper, folder, port, used: Cell::new(0) };
        if said == "ready\n" {
            Ok(cluster)
        } else {
            let log = fs::read_to_string(cluster.folder.join("log")).unwrap_or_default();
            Err(format!("PostgreSQL did not start\n{log}"))
        }
    }

    /// The address of an empty database.
    pub fn database(&self) -> String {
        self.used.set(self.used.get() + 1);
        format!("postgres://postgres@127.0.0.1:{}/run{}", self.port, self.used.get())
    }
}

fn postgres_id(which: &str) -> Result<u32, String> {
    let id = shell::output("id", &[which, "postgres"]).and_then(|text| text.trim().parse().ok());
    id.ok_or_else(|| "there is no user `postgres`, whom PostgreSQL's packages bring".to_owned())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
