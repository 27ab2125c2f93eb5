//! The server under test: its own folder and database, a free port, a clean end.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::Duration;

use super::http::{self, Answer};
use crate::shell;

const PAUSE: Duration = Duration::from_millis(50);
/// Half a minute of pauses, to start and to end.
const PAUSES: usize = 600;

pub struct Server {
    child: Child,
    folder: PathBuf,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(program: &Path) -> Result<Server, String> {
        // Outside the repository, where no developer's `.env` or database lies about; and no environment of theirs.
        let folder = std::env::temp_dir().join(format!("referral-interop-{}", std::process::id()));
        let file_error = |error| format!("{} cannot be written: {error}", folder.display());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(file_error)?;
        let log = File::create(folder.join("log")).map_err(file_error)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.map_err(|error| format!("no free port: {error}"))?;

        let mut command = Command::new(program);
        command.arg("serve").current_dir(&folder).env_clear();
        command.env("DATABASE_URL", format!("sqlite:{}", folder.join("referral.db").display()));
        command.env("REFERRAL_LISTEN", address.to_string()).env("REFERRAL_LIMITS", "off");
        command.stdout(log.try_clone().map_err(file_error)?).stderr(log);
        let child = command.spawn().map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
        let mut server = Server { child, folder, address };

        for _ in 0..PAUSES {
            if http::get(address, "/readyz").is_ok_and(|answer| answer.status == 200) {
                return Ok(server);
            }
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("the server ended at once, with {status}\n{}", server.log()));
            }
            sleep(PAUSE);
        }
        Err(format!("the server did not become ready\n{}", server.log()))
    }

    /// Registers the user that clients act as.
    pub fn register(&self) -> Result<(), String> {
        let user = r#"{"username":"schema","email":"schema@example.com","password":"Correct-Horse-91!"}"#;
        self.post("/api/v1/auth/user", user, 201)?;
        Ok(())
    }

    /// Returns an access token.
    pub fn sign_in(&self) -> Result<String, String> {
        let user = r#"{"username":"schema","password":"Correct-Horse-91!"}"#;
        let answer = self.post("/api/v1/auth/token", user, 200)?;
        answer.text("access_token").map(str::to_owned).ok_or_else(|| format!("no access_token in {}", answer.body))
    }

    fn post(&self, path: &str, json: &str, expected: u16) -> Result<Answer, String> {
        let fault = match http::post(self.address, path, json) {
            Ok(answer) if answer.status == expected => return Ok(answer),
            Ok(answer) => format!("POST {path} was answered {}: {}", answer.status, answer.body),
            Err(sentence) => sentence,
        };
        Err(format!("{fault}\n{}", self.log()))
    }

    /// Asks it to end, as service managers do; a fault is returned when it does not end in good order.
    pub fn stop(mut self) -> Option<String> {
        let end = self.ask_to_end();
        let fault = match end {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("the server ended with {status} when asked to end\n{}", self.log())),
            None => Some(format!("the server did not end when asked to\n{}", self.log())),
        };
        if fault.is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
        fault
    }

    fn ask_to_end(&mut self) -> Option<ExitStatus> {
        // The shell's own `kill`: the program of that name is not on every machine.
        let _ = shell::run(&mut shell::command("sh", &["-c", &format!("kill -s TERM {}", self.child.id())]));
        for _ in 0..PAUSES {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            sleep(PAUSE);
        }
        None
    }

    /// The end of what it wrote, and where the rest is.
    pub fn log(&self) -> String {
        let path = self.folder.join("log");
        let log = fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n      ");
        format!("    the end of {}:\n      {last}", path.display())
    }
}

/// For errors on the way; a server that ended already does not mind.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
