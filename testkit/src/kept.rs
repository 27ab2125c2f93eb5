//! Processes that end with this one however it ends, each in a folder of its own that goes with it.
//!
//! A small shell script, the keeper, holds the read end of a pipe whose write end is ours alone. Only the kernel closes
//! that end without fail (`kill -9`, libtest's exit without destructors, a crash), and then the keeper ends the process
//! and removes the folder.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes that is not stuck: a busy machine is slow, a minute of silence is a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// `$1` is the signal that ends the process, `$2` where to make its folder when not in TMPDIR. Each line on stdin
/// is a command that starts it; its process number is the answer.
///
/// The signal goes to the process only and is repeated, since a PostgreSQL still being set up ignores it, while
/// the programs that set it up would leave shared memory behind. What the process started is found by the HOME
/// it was given and by the process group: ChromeDriver's browsers keep one or the other.
///
/// The kernel itself sends HUP to a process group that loses its parent while one of it is stopped (a paused
/// Redis), so HUP must not be the keeper's end.
const KEEPER: &str = r#"
trap '' HUP
umask 077
folder=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/referral-kept.XXXXXX") && cd "$folder" || exit 1
echo "$folder"
pid=
while read -r command; do
    [ -z "$pid" ] || { kill -s KILL "$pid"; wait "$pid"; }
    env HOME="$folder" TMPDIR="$folder" sh -c "$command" </dev/null >>log 2>&1 &
    pid=$!
    echo "$pid"
done

tries=0
while grep -qs '^State:.[^Z]' "/proc/$pid/status" && [ "$tries" -lt 500 ]; do
    kill -s "$1" "$pid"
    sleep 0.02
    tries=$((tries + 1))
done
for process in "$pid" $(grep -ls "HOME=$folder" /proc/[0-9]*/environ | cut -d / -f 3); do
    kill -s KILL "$process"
done
wait
# A PostgreSQL that was killed has left this file, which names its shared memory, and the memory.
[ ! -s data/postmaster.pid ] || ipcrm -m "$(sed -n '7s/.* //p' data/postmaster.pid)"
cd /
until rm -rf "$folder" || [ "$tries" -gt 600 ]; do sleep 0.02; tries=$((tries + 1)); done
kill -s KILL 0
"#;

/// A process that ends when this is dropped, and its folder.
pub struct Kept {
    pub folder: PathBuf,
    /// Of the process that was started last.
    pub pid: u32,
    shell: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    owner: Option<(u32, u32)>,
}

impl Kept {
    /// A folder without a process yet. Processes will belong to this user and group, if any is given, and are ended by
    /// this signal; the folder is made below `root`, or in TMPDIR where that is empty.
    ///
    /// # Errors
    ///
    /// When no folder can be made.
    pub fn new(owner: Option<(u32, u32)>, signal: &str, root: &str) -> Result<Kept, String> {
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper", signal, root]).current_dir("/");
        // No output of its own: a reader of our output would wait for it to end as well. A process group of its own:
        // Ctrl-C at the terminal is for us, the keeper has work to do after it.
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        if let Some((user, group)) = owner {
            shell.uid(user).gid(group);
        }
        let mut shell = shell.spawn().map_err(|error| format!("`sh` cannot be run: {error}"))?;
        let commands = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().ok_or("the keeper has no output")?);
        let mut kept = Kept { folder: PathBuf::new(), pid: 0, shell, commands, answers, owner };
        kept.folder = kept.answer()?.into();
        Ok(kept)
    }

    /// A process of our own user, with a folder; see [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// When no folder can be made.
    pub fn running(command: &str, signal: &str) -> Result<Kept, String> {
        let mut kept = Kept::new(None, signal, "")?;
        kept.start(command)?;
        Ok(kept)
    }

    /// Runs a shell command that becomes the process (`exec …`); one that ran before is ended.
    ///
    /// # Errors
    ///
    /// When the keeper is gone.
    pub fn start(&mut self, command: &str) -> Result<(), String> {
        let commands = self.commands.as_mut().ok_or("the keeper was told to end")?;
        commands
            .write_all(format!("{command}\n").as_bytes())
            .map_err(|error| format!("the keeper is gone: {error}"))?;
        self.pid = self.answer()?.parse().map_err(|_| "the keeper tells no process number")?;
        Ok(())
    }

    /// The keeper answers within milliseconds.
    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        if read.is_err() || !line.ends_with('\n') {
            return Err("the keeper of a process ended: can folders be made in TMPDIR?".to_owned());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Waits until `look` finds what it looks for.
    ///
    /// # Errors
    ///
    /// When the process has ended, or a minute has passed: with the end of its log.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> Result<T, String> {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if !self.alive() || began.elapsed() > PATIENCE {
                return Err(format!("{what}: it does not come up; its log ends:\n{}", self.end_of_log()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the process, and those before it, have said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The last twenty lines of it.
    pub fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// One that has ended stays listed as a zombie until the keeper waits for it, so its number is not reused.
    pub fn alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    }

    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = format!("kill -s {name} {}", self.pid);
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    }

    /// As [`signal`](Self::signal), to its children as well.
    pub fn signal_all(&self, name: &str) {
        let pid = self.pid;
        let kill = format!("kill -s {name} {pid} $(cat /proc/{pid}/task/{pid}/children)");
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    }

    /// SIGKILL, until it has ended.
    ///
    /// # Errors
    ///
    /// When it does not end within a minute.
    pub fn kill(&self) -> Result<(), String> {
        let began = Instant::now();
        while self.alive() {
            if began.elapsed() > PATIENCE {
                return Err(format!("a process does not end by SIGKILL; its log ends:\n{}", self.end_of_log()));
            }
            self.signal("KILL");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Writes a file into the folder that the process alone can read.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.folder.join(name);
        let write = || {
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            self.owner.map_or(Ok(()), |(user, group)| chown(&path, Some(user), Some(group)))
        };
        write().map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{free_port, postgresql};

    #[test]
    fn a_process_and_its_folder_end_with_whoever_started_them() {
        let kept = Kept::running("sleep infinity & echo started; exec sleep infinity", "TERM").unwrap();
        kept.wait_for("sleep", |kept| kept.log().contains("started").then_some(())).unwrap();
        kept.write("file", "text").unwrap();
        let (folder, process) = (kept.folder.clone(), PathBuf::from(format!("/proc/{}", kept.pid)));
        assert!(folder.exists() && process.exists());
        drop(kept);
        assert!(!folder.exists() && !process.exists());
    }

    #[test]
    fn one_that_ends_by_itself_is_told_with_its_log() {
        let kept = Kept::running("echo what is the matter; exit 1", "TERM").unwrap();
        let told = kept.wait_for("it", |_| None::<()>).unwrap_err();
        assert!(told.contains("it: it does not come up") && told.contains("what is the matter"), "{told}");
    }

    #[test]
    fn a_postgresql_lets_clients_in_and_leaves_nothing() {
        let programs = postgresql::programs(&["initdb", "postgres"]).expect("PostgreSQL is installed");
        let mut kept = Kept::new(postgresql::user().unwrap(), postgresql::SIGNAL, "").unwrap();
        let command =
            postgresql::server(&programs, &postgresql::initdb(&programs), free_port().unwrap(), "-c fsync=off");
        kept.start(&command).unwrap();
        kept.wait_for("PostgreSQL", |kept| kept.log().contains(postgresql::READY).then_some(())).unwrap();
        let folder = kept.folder.clone();
        drop(kept);
        assert!(!folder.exists());
    }
}
