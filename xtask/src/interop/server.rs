//! The server under test: its own folder and database, a free port, a clean end.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::Duration;

use super::Place;
use super::http::{self, Answer};
use crate::shell;

const PAUSE: Duration = Duration::from_millis(50);
/// Half a minute of pauses, to start and to end.
const PAUSES: usize = 600;

/// Everybody's password.
pub const PASSWORD: &str = "Correct-Horse-91!";

pub struct Server {
    child: Child,
    program: PathBuf,
    folder: PathBuf,
    /// Its address.
    database: String,
    pub address: SocketAddr,
}

/// An address of this machine that nobody listens at.
pub fn free_address() -> Result<SocketAddr, String> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, testkit::free_port()?)))
}

/// Waits until this is answered with 200; `has_ended` may tell that it never will be.
pub fn wait_for(address: SocketAddr, path: &str, mut has_ended: impl FnMut() -> bool) -> Result<(), String> {
    for _ in 0..PAUSES {
        if http::get(address, path).is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        if has_ended() {
            return Err("ended at once".to_owned());
        }
        sleep(PAUSE);
    }
    Err("did not become ready".to_owned())
}

impl Server {
    pub fn start(place: &Place) -> Result<Server, String> {
        Server::start_at(place, free_address()?, &[])
    }

    /// At an address that others were told already, with settings of its own.
    pub fn start_at(place: &Place, address: SocketAddr, settings: &[(String, String)]) -> Result<Server, String> {
        let program = &place.server;
        // Outside the repository, where no developer's `.env` or database lies about; and no environment of theirs.
        let folder = std::env::temp_dir().join(format!("referral-interop-{}", std::process::id()));
        let file_error = |error| format!("{} cannot be written: {error}", folder.display());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(file_error)?;
        let log = File::create(folder.join("log")).map_err(file_error)?;
        let database = match &place.cluster {
            Some(cluster) => cluster.database(),
            None => format!("sqlite:{}", folder.join("referral.db").display()),
        };
        let mut command = own(program, &folder, &database);
        command.arg("serve").envs(settings.iter().map(|(name, value)| (name, value)));
        command.env("REFERRAL_LISTEN", address.to_string()).env("REFERRAL_LIMITS", "off");
        command.stdout(log.try_clone().map_err(file_error)?).stderr(log);
        let child = command.spawn().map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
        let mut server = Server { child, program: program.to_owned(), folder, database, address };
        let ready = wait_for(address, "/readyz", || matches!(server.child.try_wait(), Ok(Some(_))));
        ready.map_err(|fault| format!("the server {fault}\n{}", server.log()))?;
        Ok(server)
    }

    /// The base of its addresses, and its name as an issuer of tokens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of its database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Registers a user that clients act as.
    pub fn register(&self, name: &str) -> Result<(), String> {
        let user = format!(r#"{{"username":"{name}","email":"{name}@example.com","password":"{PASSWORD}"}}"#);
        self.post("/api/v1/auth/user", "", &user, 201)?;
        Ok(())
    }

    /// Makes a manager, as operators do.
    pub fn make_manager(&self, name: &str) -> Result<(), String> {
        let mut command = own(&self.program, &self.folder, &self.database);
        command.args(["admin", "create", name, &format!("{name}@example.com")]);
        match shell::run_with(&mut command, PASSWORD)? {
            0 => Ok(()),
            _ => Err("no manager could be made, see above".to_owned()),
        }
    }

    /// Returns an access token.
    pub fn sign_in(&self, name: &str) -> Result<String, String> {
        let user = format!(r#"{{"username":"{name}","password":"{PASSWORD}"}}"#);
        let answer = self.post("/api/v1/auth/token", "", &user, 200)?;
        answer.text("access_token").map(str::to_owned).ok_or_else(|| format!("no access_token in {}", answer.body))
    }

    /// `token` may be empty.
    pub fn post(&self, path: &str, token: &str, json: &str, expected: u16) -> Result<Answer, String> {
        let fault = match http::post(self.address, path, token, json) {
            Ok(answer) if answer.status == expected => return Ok(answer),
            Ok(answer) => format!("POST {path} was answered {}: {}", answer.status, answer.body),
            Err(sentence) => sentence,
        };
        Err(format!("{fault}\n{}", self.log()))
    }

    /// Ends it, and tells what a script's exit code and this end mean.
    pub fn verdict(self, code: u8) -> Vec<String> {
        let mut faults = Vec::new();
        if code != 0 {
            faults.push(format!("exit code {code}; each failure is above"));
            faults.push(format!("what the server wrote\n{}", self.log()));
        }
        faults.extend(self.stop());
        faults
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

/// The program on this database, without the environment of whoever runs us.
fn own(program: &Path, folder: &Path, database: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("DATABASE_URL", database);
    command
}

/// For errors on the way; a server that ended already does not mind.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
