//! The apps under `examples/`, as their readers run them: somebody shares a link, and friends come by it, in Chromium.

use std::fs;
use std::process::{Child, Command};

use super::registered::MANAGER;
use super::server::{Server, free_address, wait_for};
use super::{Place, node, python};
use crate::machine::{CHROMEDRIVER, CHROMIUM, PYTHON, ZBARIMG, postgresql_programs, provide};
use crate::shell;

/// Lets a code expire: the service reads this from its own database, and nothing in the API ends a code like that.
const EXPIRE: &str = "update codes set created_at = 0, expires_at = 1 where code = 'CODE';
                      update code_slots set expires_at = 1 where code = 'CODE';";

/// An app that runs beside us; whatever happens, it ends with the run.
struct App(Child);

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn fastapi(place: &Place) -> Result<Vec<String>, String> {
    let packages = ["fastapi", "httpx", "python-multipart", "standardwebhooks", "uvicorn"];
    let requirements = include_str!("../../../examples/fastapi/requirements.txt");
    let python = python::environment(&place.folder.join("fastapi"), &packages, requirements)?;
    journey(place, |port| {
        let mut command = shell::command(&python, &["-m", "uvicorn", "app:app", "--no-access-log", "--port"]);
        command.arg(port).current_dir(shell::root().join("examples/fastapi")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    })
}

pub fn express(place: &Place) -> Result<Vec<String>, String> {
    let (sources, folder) = (shell::root().join("examples/express"), place.folder.join("express"));
    let lock = include_str!("../../../examples/express/package-lock.json");
    node::install(&folder, include_str!("../../../examples/express/package.json"), lock)?;
    fs::copy(sources.join("app.mjs"), folder.join("app.mjs")).map_err(|error| format!("app.mjs: {error}"))?;
    journey(place, |port| {
        let mut command = shell::command("node", &["app.mjs"]);
        command.current_dir(&folder).env("PORT", port);
        command
    })
}

/// Starts a server and an app that is one of its clients, and goes the whole way of a person and of those they invite.
fn journey(place: &Place, app: impl Fn(&str) -> Command) -> Result<Vec<String>, String> {
    provide(&[CHROMIUM, CHROMEDRIVER, ZBARIMG, PYTHON])?;
    let environment = node::environment(&place.folder)?;
    let here = [("REFERRAL_WEBHOOKS_ALLOW_NETWORKS".to_owned(), "127.0.0.0/8".to_owned())];
    let server = Server::start_at(place, free_address()?, &here)?;
    server.register("olga")?;
    server.make_manager(MANAGER)?;
    let manager = server.sign_in(MANAGER)?;
    let client = r#"{"name":"Shop","redirect_uris":[],"grants":["client_credentials"],"scope":"program:write",
                     "confidential":true}"#;
    let client = server.post("/api/v1/clients", &manager, client, 201)?;
    let told = |name: &str| client.text(name).ok_or_else(|| format!("no {name} in {}", client.body));
    let (id, secret) = (told("client_id")?, told("client_secret")?);
    let address = free_address()?;
    let endpoint = format!(r#"{{"url":"http://{address}/referral-hooks","types":["referral.confirmed"]}}"#);
    let endpoint = server.post("/api/v1/webhook-endpoints", &manager, &endpoint, 201)?;
    let webhook = endpoint.text("secret").ok_or_else(|| format!("no secret in {}", endpoint.body))?;
    let mut command = app(&address.port().to_string());
    command.env("REFERRAL_URL", server.url()).env("CLIENT_ID", id).env("CLIENT_SECRET", secret);
    command.env("REFERRAL_WEBHOOK_SECRET", webhook);
    let mut app = App(command.spawn().map_err(|error| format!("the app cannot be run: {error}"))?);
    wait_for(address, "/", || matches!(app.0.try_wait(), Ok(Some(_)))).map_err(|fault| format!("the app {fault}"))?;
    let (url, expire) = (server.url(), expire(&server)?);
    let setting = format!(
        r#"{{"server":"{url}","app":"http://{address}","manager":"{manager}","id":"{id}","secret":"{secret}",
            "expire":[{expire}]}}"#
    );
    let code = shell::run_with(&mut node::script(&environment, "examples/journey.mjs"), &setting)?;
    drop(app);
    Ok(server.verdict(code))
}

/// The command that lets a code expire, whose text is to be put in for `CODE`: strings of JSON.
fn expire(server: &Server) -> Result<String, String> {
    let database = server.database();
    let program = match database.strip_prefix("sqlite:") {
        Some(path) => {
            let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=10).executescript(sys.argv[2])";
            vec!["python3".to_owned(), "-c".to_owned(), script.to_owned(), path.to_owned()]
        }
        None => {
            let psql = postgresql_programs().ok_or("PostgreSQL's programs are gone")?.join("psql");
            vec![psql.display().to_string(), database.to_owned(), "-qc".to_owned()]
        }
    };
    let words = program.iter().map(String::as_str).chain([EXPIRE]);
    Ok(words.map(|word| format!("\"{}\"", word.replace('\n', " "))).collect::<Vec<_>>().join(","))
}
