//! Processes that end with this one however it ends, each in a folder of its own that goes with it.
//!
//! A small shell script, the keeper, holds the read end of a pipe whose write end is ours alone. Only the kernel closes
//! that end without fail, and then the keeper ends the process and removes the folder. (The tests do the same, for
//! servers that they kill and start again; here each runs once.)

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes that is not stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// `$1` is the signal that ends the process, `$2` what makes it. Its folder and its process number are told.
const KEEPER: &str = r#"
trap '' HUP INT
umask 077
folder=$(mktemp -d "${TMPDIR:-/tmp}/referral-bench.XXXXXX") && cd "$folder" || exit 1
echo "$folder"
env HOME="$folder" TMPDIR="$folder" sh -c "$2" </dev/null >log 2>&1 &
pid=$!
echo "$pid"
read -r _
tries=0
while grep -qs '^State:.[^Z]' "/proc/$pid/status" && [ "$tries" -lt 500 ]; do
    kill -s "$1" "$pid"
    sleep 0.02
    tries=$((tries + 1))
done
kill -s KILL "$pid" 2>/dev/null
wait
cd /
until rm -rf "$folder" || [ "$tries" -gt 600 ]; do sleep 0.02; tries=$((tries + 1)); done
"#;

pub struct Kept {
    pub pid: u32,
    pub folder: PathBuf,
    keeper: Child,
}

impl Kept {
    /// Runs a shell command that becomes the process (`exec …`), as another user where one is given.
    pub fn start(command: &str, signal: &str, user: Option<(u32, u32)>) -> Result<Kept, String> {
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper", signal, command]).current_dir("/");
        // Ctrl-C at the terminal is for us; the keeper has work to do after it.
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        if let Some((user, group)) = user {
            shell.uid(user).gid(group);
        }
        let mut keeper = shell.spawn().map_err(|error| format!("`sh` cannot be run: {error}"))?;
        let mut lines = BufReader::new(keeper.stdout.take().ok_or("the keeper has no output")?).lines();
        let mut line = || match lines.next() {
            Some(Ok(line)) => Ok(line),
            _ => Err("the keeper of a process ended: can folders be made in TMPDIR?".to_owned()),
        };
        let folder = PathBuf::from(line()?);
        let pid = line()?.parse().map_err(|_| "the keeper tells no process number")?;
        Ok(Kept { pid, folder, keeper })
    }

    /// Waits until `look` finds what it looks for.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> Result<T, String> {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if !self.alive() || began.elapsed() > PATIENCE {
                let log = self.log();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
                return Err(format!("{what}: it does not come up; its log ends:\n{end}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the process has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// For the shell.
pub fn quoted(text: impl AsRef<Path>) -> String {
    format!("'{}'", text.as_ref().display().to_string().replace('\'', r"'\''"))
}
