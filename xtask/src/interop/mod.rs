//! `cargo xtask interop`: clients we did not write say whether the server does what it publishes.

mod axe;
mod http;
mod node;
mod oauth;
mod providers;
mod python;
mod registered;
mod schemathesis;
mod server;

use std::path::PathBuf;

use crate::{Failure, Outcome, help, shell};

const HELP: &str = "\
Let other people's clients loose on the server, built as users get it, on an empty database.

Usage: cargo xtask interop [--only NAME]

Options:
      --only NAME  Run this one only

Names:
  schemathesis       Sends what the OpenAPI document allows and what it forbids, and compares the answers with it
  authlib            OAuth and OpenID Connect from Python: everything that a client may do, and what it must be refused
  requests-oauthlib  The same, with the library of that name and PyJWT
  openid-client      The same, from JavaScript
  oauth4webapi       The same, with another library from JavaScript
  oidc-provider      Signs people in with two other identity providers, and tries to mix them up
  axe                Looks for what keeps people with disabilities out of the pages, in Chromium

Clients are installed under target/interop, at the versions named under xtask/src/interop. Python, Node.js, Chromium and
ChromeDriver come from the system's packages, as for `cargo xtask test`.
";

/// A client runs and returns what it found wrong.
type Client = fn(&Place) -> Result<Vec<String>, String>;

const CLIENTS: [(&str, Client); 7] = [
    ("schemathesis", schemathesis::run),
    ("authlib", oauth::authlib),
    ("requests-oauthlib", oauth::requests_oauthlib),
    ("openid-client", oauth::openid_client),
    ("oauth4webapi", oauth::oauth4webapi),
    ("oidc-provider", providers::run),
    ("axe", axe::run),
];

/// Where a client's run happens.
struct Place {
    /// The server's program.
    server: PathBuf,
    /// What is kept from run to run: installed clients, the last reports.
    folder: PathBuf,
}

pub fn run(arguments: &[String]) -> Outcome {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let only = match arguments[..] {
        [] => None,
        ["-h" | "--help"] => return help(HELP),
        ["--only", name] if CLIENTS.iter().any(|(known, _)| *known == name) => Some(name),
        ["--only", name] => return Err(Failure::Usage(format!("there is no client `{name}`"), HELP)),
        _ => return Err(Failure::Usage(format!("what is `{}`?", arguments.join(" ")), HELP)),
    };

    let built = shell::run(&mut shell::command("cargo", &["build", "--release", "--locked"]))?;
    if built != 0 {
        return Ok(built);
    }
    let target = shell::target()?;
    let place = Place { server: target.join("release/referral"), folder: target.join("interop") };
    let mut verdicts = Vec::new();
    for (name, client) in CLIENTS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        println!("\nxtask: {name}");
        let faults = client(&place).map_err(|sentence| format!("{name}: {sentence}"))?;
        verdicts.push((name, faults));
    }

    println!();
    for (name, faults) in &verdicts {
        println!("xtask: {name}: {}", if faults.is_empty() { "nothing found" } else { "FAILED" });
        for fault in faults {
            println!("  - {fault}");
        }
    }
    let failed = verdicts.iter().any(|(_, faults)| !faults.is_empty());
    Ok(u8::from(failed))
}
