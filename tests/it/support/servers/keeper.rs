//! The keeper: a small shell script, one for each server, which holds the read end of a pipe whose write end is this
//! process's alone. Only the kernel closes that end without fail (`kill -9`, libtest's exit without destructors, a
//! crash), and then the keeper ends the server and removes its folder.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::{LOOKS, PAUSE};

/// `$1` is the signal that ends the server, `$2` where to make its folder when not in TMPDIR. Each line on stdin
/// is a command that starts the server; its process number is the answer.
///
/// The signal goes to the server only and is repeated, since a PostgreSQL still being set up ignores it, while
/// the programs that set it up would leave shared memory behind. What the server started is found by the HOME
/// it was given and by the process group: ChromeDriver's browsers keep one or the other.
///
/// The kernel itself sends HUP to a process group that loses its parent while one of it is stopped (a paused
/// Redis), so HUP must not be the keeper's end.
const KEEPER: &str = r#"
trap '' HUP
umask 077
folder=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/referral-test.XXXXXX") && cd "$folder" || exit 1
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

pub struct Keeper {
    shell: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    owner: Option<(u32, u32)>,
    pub folder: PathBuf,
    pub pid: u32,
}

impl Keeper {
    pub fn new(owner: Option<(u32, u32)>, signal: &str, root: &str) -> Keeper {
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper", signal, root]);
        // No output of its own: a reader of the tests' output would wait for it to end as well. A process
        // group of its own: Ctrl-C at the terminal is for the tests, the keeper has work to do after it.
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        if let Some((user, group)) = owner {
            shell.uid(user).gid(group);
        }
        let mut shell = shell.spawn().expect("`sh` runs");
        let commands = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("it is piped"));
        let mut keeper = Keeper { shell, commands, answers, owner, folder: PathBuf::new(), pid: 0 };
        keeper.folder = keeper.answer().into();
        keeper
    }

    /// Starts the server; one that ran before must have ended.
    pub fn start(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("closed on drop only");
        commands.write_all(format!("{command}\n").as_bytes()).expect("the keeper reads");
        self.pid = self.answer().parse().expect("a process number");
    }

    /// The keeper answers within milliseconds: not worth an asynchronous pipe.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the keeper writes text");
        assert!(line.ends_with('\n'), "the keeper of a test server ended: can folders be made in TMPDIR?");
        line.trim_end().to_owned()
    }

    /// Waits until the server answers; false when it ended instead.
    pub async fn answers(&self, answers: impl AsyncFn() -> bool) -> bool {
        for _ in 0..LOOKS {
            if answers().await {
                return true;
            }
            if !self.alive() {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.give_up()
    }

    /// One that has ended stays listed as a zombie until the keeper waits for it, so its number is not reused.
    pub fn alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    }

    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = format!("kill -s {name} {}", self.pid);
        Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().expect("`sh` runs");
    }

    /// As [`signal`](Self::signal), to its children as well.
    pub fn signal_all(&self, name: &str) {
        let pid = self.pid;
        let kill = format!("kill -s {name} {pid} $(cat /proc/{pid}/task/{pid}/children)");
        Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().expect("`sh` runs");
    }

    pub fn kill(&self) {
        for _ in 0..LOOKS {
            if !self.alive() {
                return;
            }
            self.signal("KILL");
            thread::sleep(Duration::from_millis(1));
        }
        self.give_up()
    }

    pub fn give_up(&self) -> ! {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        panic!(
            "a test server does not do as told; its log ends:\n{}",
            lines[lines.len().saturating_sub(20)..].join("\n")
        )
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("the folder can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        if let Some((user, group)) = self.owner {
            chown(&path, Some(user), Some(group)).expect("root may give files away");
        }
    }

    pub fn write_certificates(&self) {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "referral test authority");
        let new_key = || KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, new_key()).expect("an authority");
        let key = new_key();
        let server = CertificateParams::new(["localhost".to_owned()]).expect("a host name");
        let server = server.signed_by(&key, &authority).expect("a certificate");
        self.write("ca.pem", &authority.pem());
        self.write("server.pem", &server.pem());
        self.write("server.key", &key.serialize_pem());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.shell.wait();
    }
}
