//! `cargo xtask interop`: clients we did not write say whether the server does what it publishes.

mod axe;
mod examples;
mod generated;
mod http;
mod node;
mod oauth;
mod postgres;
mod providers;
pub mod python;
mod registered;
mod schemathesis;
mod server;
mod webhooks;

use std::path::PathBuf;
use std::time::Instant;

use postgres::Cluster;

use crate::{Failure, Outcome, help, shell};

const HELP: &str = "\
Let other people's clients loose on the server, built as users get it, on an empty database.

Usage: cargo xtask interop [--only NAME] [--postgres]

Options:
      --only NAME  Run this one only
      --postgres   Keep the data in PostgreSQL, started for these runs, instead of SQLite

Names:
  schemathesis           Sends what the OpenAPI document allows and what it forbids, and compares the answers with it
  authlib                OAuth and OpenID Connect from Python: everything that a client may do, and what it must be refused
  requests-oauthlib      The same, with the library of that name and PyJWT
  openid-client          The same, from JavaScript
  oauth4webapi           The same, with another library from JavaScript
  oidc-provider          Signs people in with two other identity providers, and tries to mix them up
  openapi-typescript     Generates types from the document and compiles them; openapi-fetch goes a way with them
  openapi-python-client  Generates a client from the document, imports all of it and goes the same way
  axe                    Looks for what keeps people with disabilities out of the pages, in Chromium
  standardwebhooks       Receives webhooks with the libraries of that name from PyPI and npm
  fastapi                Runs examples/fastapi: a person shares a link there, and friends come by it, in Chromium
  express                The same with examples/express

Clients are installed under target/interop, at the versions named under xtask/src/interop. Python, Node.js, Chromium,
ChromeDriver and PostgreSQL come from the system's packages, as for `cargo xtask test`.
";

/// A client runs and returns what it found wrong.
type Client = fn(&Place) -> Result<Vec<String>, String>;

const CLIENTS: [(&str, Client); 12] = [
    ("schemathesis", schemathesis::run),
    ("authlib", oauth::authlib),
    ("requests-oauthlib", oauth::requests_oauthlib),
    ("openid-client", oauth::openid_client),
    ("oauth4webapi", oauth::oauth4webapi),
    ("oidc-provider", providers::run),
    ("openapi-typescript", generated::openapi_typescript),
    ("openapi-python-client", generated::openapi_python_client),
    ("axe", axe::run),
    ("standardwebhooks", webhooks::run),
    ("fastapi", examples::fastapi),
    ("express", examples::express),
];

/// Where a client's run happens.
struct Place {
    /// The server's program.
    server: PathBuf,
    /// What is kept from run to run: installed clients, the last reports.
    folder: PathBuf,
    /// Has a database for each server; without it they are on SQLite.
    cluster: Option<Cluster>,
}

pub fn run(arguments: &[String]) -> Outcome {
    let (mut only, mut on_postgres) = (None, false);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            "-h" | "--help" => return help(HELP),
            "--postgres" => on_postgres = true,
            "--only" => match arguments.next() {
                Some(name) if CLIENTS.iter().any(|(known, _)| *known == name) => only = Some(name),
                name => {
                    let sentence = format!("there is no client `{}`", name.unwrap_or_default());
                    return Err(Failure::Usage(sentence, HELP));
                }
            },
            other => return Err(Failure::Usage(format!("what is `{other}`?"), HELP)),
        }
    }

    let built = shell::run(&mut shell::command("cargo", &["build", "--release", "--locked"]))?;
    if built != 0 {
        return Ok(built);
    }
    let target = shell::target()?;
    let cluster = if on_postgres { Some(Cluster::start()?) } else { None };
    let place = Place { server: target.join("release/referral"), folder: target.join("interop"), cluster };
    let mut verdicts = Vec::new();
    for (name, client) in CLIENTS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        println!("\nxtask: {name}");
        let began = Instant::now();
        let faults = client(&place).map_err(|sentence| format!("{name}: {sentence}"))?;
        verdicts.push((name, faults, began.elapsed().as_secs()));
    }

    println!();
    for (name, faults, seconds) in &verdicts {
        println!("xtask: {name}: {}, {seconds} s", if faults.is_empty() { "nothing found" } else { "FAILED" });
        for fault in faults {
            println!("  - {fault}");
        }
    }
    let failed = verdicts.iter().any(|(_, faults, _)| !faults.is_empty());
    Ok(u8::from(failed))
}
