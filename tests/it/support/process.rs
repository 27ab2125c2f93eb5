//! The real binary, as an operator runs it: a process with a working directory of its own and nothing in its
//! environment but what the test puts there.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::Client;

/// Longer than anything takes that is not stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A working directory and an environment to run the binary in.
pub struct Operator {
    folder: TempDir,
    environment: Vec<(OsString, OsString)>,
    descriptors: Option<u32>,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A command that runs. It is killed when dropped, and with the test process however that ends.
pub struct Running {
    child: Child,
    stdout: Output,
    stderr: Output,
    /// Kills the process when this pipe is closed, which the kernel does without fail.
    watchdog: (Child, Option<ChildStdin>),
}

/// A service that runs and has said where it listens.
pub struct Serving {
    pub url: String,
    running: Running,
}

struct Output {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Operator {
    pub fn new() -> Operator {
        let mut operator = Operator {
            folder: tempfile::tempdir().expect("a temporary folder"),
            environment: Vec::new(),
            descriptors: None,
        };
        // What goes wrong is told without one; were there a panic, this would show it.
        operator.set("RUST_BACKTRACE", "1");
        operator
    }

    /// One whose services listen on a free port, without limits.
    pub fn on_a_free_port() -> Operator {
        let mut operator = Operator::new();
        operator.set("REFERRAL_LISTEN", "127.0.0.1:0");
        operator.set("REFERRAL_LIMITS", "off");
        operator
    }

    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
    }

    pub fn get(&self, name: &str) -> Option<String> {
        let (_, value) = self.environment.iter().find(|(known, _)| known == name)?;
        value.to_str().map(str::to_owned)
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Lets the commands have so many files and sockets open, and no more.
    pub fn limit_descriptors(&mut self, most: u32) {
        self.descriptors = Some(most);
    }

    /// A file of the working directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// Every file of the working directory with its content, but for what says nothing of a SQLite database: the memory
    /// that its users share, made anew by whoever opens it first, and a log in which nothing is left.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder").map(|entry| entry.expect("an entry"));
        let mut files: Vec<_> = entries
            .filter(|entry| entry.path().is_file())
            .map(|entry| {
                (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file"))
            })
            .filter(|(name, content)| !(name.ends_with("-shm") || name.ends_with("-wal") && content.is_empty()))
            .collect();
        files.sort();
        files
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "")
    }

    /// Runs a command to its end, with this on its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        let mut running = self.start(arguments);
        let mut stdin = running.child.stdin.take().expect("it is piped");
        // A command that does not read is none the worse for it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        running.wait()
    }

    /// Starts a command.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_in(".", arguments)
    }

    /// Starts a command in a folder within the working directory.
    pub fn start_in(&self, folder: &str, arguments: &[&str]) -> Running {
        let binary = env!("CARGO_BIN_EXE_referral");
        let mut command = match self.descriptors {
            None => Command::new(binary),
            Some(most) => {
                // Both limits: what is soft only could be raised again.
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!(r#"ulimit -n {most}; exec "$0" "$@""#), binary]);
                shell
            }
        };
        command.args(arguments);
        self.spawn(command, folder)
    }

    fn spawn(&self, command: Command, folder: &str) -> Running {
        self.launch(command, folder, &[], None)
    }

    /// Starts the service with this as its standard error.
    pub fn serve_telling(&self, stderr: Stdio) -> Serving {
        Serving::of(self.launch(Command::new(env!("CARGO_BIN_EXE_referral")), ".", &["serve"], Some(stderr)))
    }

    /// Starts another version of the service.
    pub fn serve_by(&self, binary: &Path) -> Serving {
        Serving::of(self.launch(Command::new(binary), ".", &["serve"], None))
    }

    /// Starts the service in such a way that a limit on the size of files is told to it, and does not end it.
    pub fn serve_limitable(&self) -> Serving {
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#, env!("CARGO_BIN_EXE_referral")]);
        Serving::of(self.launch(command, ".", &["serve"], None))
    }

    fn launch(&self, mut command: Command, folder: &str, arguments: &[&str], stderr: Option<Stdio>) -> Running {
        command.args(arguments).current_dir(self.path(folder)).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr.unwrap_or_else(Stdio::piped));
        let mut child = command.spawn().expect("the binary starts");
        let stdout = Output::of(child.stdout.take().expect("it is piped"));
        // The test has it if it is not ours.
        let stderr = child.stderr.take().map_or_else(|| Output::of(std::io::empty()), Output::of);
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", r#"read -r _ || kill -s KILL "$1""#, "watchdog", &child.id().to_string()]);
        watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut watchdog = watchdog.spawn().expect("`sh` runs");
        let pipe = watchdog.stdin.take();
        Running { child, stdout, stderr, watchdog: (watchdog, pipe) }
    }

    /// Runs a command to its end that a shell starts: `"$0"` is the binary.
    pub fn run_by(&self, script: &str, user: Option<(u32, u32)>) -> Ended {
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_referral")]);
        if let Some((user, group)) = user {
            command.uid(user).gid(group);
        }
        self.spawn(command, ".").wait()
    }

    /// Starts the service and waits until it says where it listens.
    pub fn serve(&self) -> Serving {
        self.serve_with(&[])
    }

    pub fn serve_with(&self, arguments: &[&str]) -> Serving {
        Serving::of(self.start(arguments))
    }
}

impl Serving {
    pub fn of(mut running: Running) -> Serving {
        let began = Instant::now();
        loop {
            if let Some(url) = running.listens_on() {
                return Serving { url, running };
            }
            if running.child.try_wait().expect("a child of ours").is_some() || began.elapsed() > PATIENCE {
                panic!("it does not serve: {:?}", running.wait());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Whether a part of this file is mapped into its memory.
    pub fn has_mapped(&self, path: &Path) -> bool {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.running.child.id())).expect("it runs");
        let path = path.to_str().expect("a plain path");
        maps.lines().any(|line| line.ends_with(path))
    }

    /// The most that it has had in memory so far, mapped files included, in MB.
    pub fn resident_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the most there was");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024 / 1_000_000
    }

    /// Bytes that each of its files may have from now on; `unlimited` for any.
    pub fn limit_files(&self, size: &str) {
        let set = ["--pid", &self.running.child.id().to_string(), &format!("--fsize={size}:")];
        assert!(Command::new("prlimit").args(set).status().expect("`prlimit` runs").success());
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.running.stderr.so_far()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        self.running.signal(name);
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        self.running.wait()
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.running.child.kill().expect("it runs");
        self.running.wait();
    }
}

impl Running {
    /// Where it says that it listens, once it does.
    pub fn listens_on(&self) -> Option<String> {
        let said = self.stdout.so_far();
        let (_, rest) = said.split_once("Referral listens on ")?;
        // The whole line, not half of a port.
        let (line, _) = rest.split_once('\n')?;
        line.split(' ').next().map(str::to_owned)
    }

    /// What it has said so far on the standard error.
    pub fn said(&self) -> String {
        self.stderr.so_far()
    }

    /// Whether it has this file open.
    pub fn has_open(&self, path: &Path) -> bool {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).into_iter().flatten().flatten();
        files.into_iter().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == path))
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = format!("kill -s {name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("`sh` runs");
        assert!(status.success(), "{name} cannot be sent");
    }

    pub fn wait(&mut self) -> Ended {
        let began = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("it does not end: {}{}", self.stdout.so_far(), self.stderr.so_far());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Ended { code: status.code(), stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The watchdog first, while the process number is certainly that of our child.
        if let Some(mut pipe) = self.watchdog.1.take() {
            let _ = pipe.write_all(b"let it be\n");
        }
        let _ = self.watchdog.0.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Output {
        let text = Arc::new(Mutex::new(String::new()));
        let reader = std::thread::spawn({
            let text = text.clone();
            move || {
                let mut lines = BufReader::new(pipe);
                let mut line = Vec::new();
                while let Ok(1..) = lines.read_until(b'\n', &mut line) {
                    text.lock().expect("no panic in here").push_str(&String::from_utf8_lossy(&line));
                    line.clear();
                }
            }
        });
        Output { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        self.text.lock().expect("no panic in here").clone()
    }

    /// Everything, once the process has ended.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading does not panic");
        }
        self.so_far()
    }
}

impl Ended {
    /// It did what it was asked.
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It refused, in one sentence that holds these parts and nothing of a panic.
    #[track_caller]
    pub fn refused(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{self:?}");
        // The log may have begun; it is JSON here. Commands say first which database is meant.
        let beside = |line: &&str| ["{", "database: ", "progress: "].iter().any(|begin| line.starts_with(begin));
        let said: Vec<&str> = self.stderr.lines().filter(|line| !beside(line)).collect();
        let [sentence] = said[..] else { panic!("not one sentence: {self:?}") };
        assert!(sentence.starts_with("referral: "), "{self:?}");
        for part in parts {
            assert!(sentence.contains(part), "no {part:?} in: {sentence}");
        }
        for word in ["panicked", "backtrace", "unwrap"] {
            assert!(!self.stderr.contains(word), "{self:?}");
        }
        self
    }
}
