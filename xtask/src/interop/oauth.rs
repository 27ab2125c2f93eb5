//! OAuth clients. What each has to do and to be refused is told once a language, in `python/scenario.py` and
//! `javascript/scenario.mjs`; a client's folder holds how it is done with that library.

use super::registered::{self, Person};
use super::server::Server;
use super::{Place, node, python};
use crate::shell;

/// <https://docs.authlib.org>
pub fn authlib(place: &Place) -> Result<Vec<String>, String> {
    in_python(place, "authlib", &["Authlib", "requests"], include_str!("authlib/constraints.txt"))
}

/// <https://requests-oauthlib.readthedocs.io>
pub fn requests_oauthlib(place: &Place) -> Result<Vec<String>, String> {
    let packages = ["requests-oauthlib", "PyJWT[crypto]"];
    in_python(place, "requests-oauthlib", &packages, include_str!("requests-oauthlib/constraints.txt"))
}

/// <https://github.com/panva/openid-client>
pub fn openid_client(place: &Place) -> Result<Vec<String>, String> {
    in_javascript(place, "openid-client")
}

/// <https://github.com/panva/oauth4webapi>
pub fn oauth4webapi(place: &Place) -> Result<Vec<String>, String> {
    in_javascript(place, "oauth4webapi")
}

fn in_python(place: &Place, name: &str, packages: &[&str], constraints: &str) -> Result<Vec<String>, String> {
    let python = python::environment(&place.folder.join(name), packages, constraints)?;
    let mut command = python::script(&python, &format!("{name}/client.py"));
    against_server(place, &mut command)
}

fn in_javascript(place: &Place, name: &str) -> Result<Vec<String>, String> {
    let environment = node::environment(&place.folder)?;
    against_server(place, &mut node::script(&environment, &format!("{name}/client.mjs")))
}

fn against_server(place: &Place, command: &mut std::process::Command) -> Result<Vec<String>, String> {
    let server = Server::start(place)?;
    let setting = registered::setting(&server, Person::register(&server, "olga")?, "")?;
    let code = shell::run_with(command, &setting)?;
    Ok(server.verdict(code))
}
