//! <https://github.com/dequelabs/axe-core> in Chromium.

use super::registered::{self, Person};
use super::server::Server;
use super::{Place, node};
use crate::machine::{CHROMEDRIVER, CHROMIUM, provide};
use crate::shell;

pub fn run(place: &Place) -> Result<Vec<String>, String> {
    let environment = node::environment(&place.folder)?;
    provide(&[CHROMIUM, CHROMEDRIVER])?;
    let server = Server::start(&place.server)?;
    let setting = registered::setting(&server, Person::register(&server, "olga")?, "")?;
    let code = shell::run_with(&mut node::script(&environment, "axe/pages.mjs"), &setting)?;
    Ok(server.verdict(code))
}
