//! Receivers of webhooks by the libraries that the specification publishes.

use super::registered::MANAGER;
use super::server::{PASSWORD, Server, free_address};
use super::{Place, node, python};
use crate::shell;

/// <https://pypi.org/project/standardwebhooks/> and <https://www.npmjs.com/package/standardwebhooks>
pub fn run(place: &Place) -> Result<Vec<String>, String> {
    let constraints = include_str!("standardwebhooks/constraints.txt");
    let python = python::environment(&place.folder.join("standardwebhooks"), &["standardwebhooks"], constraints)?;
    let environment = node::environment(&place.folder)?;
    let here = [("REFERRAL_WEBHOOKS_ALLOW_NETWORKS".to_owned(), "127.0.0.0/8".to_owned())];
    let server = Server::start_at(place, free_address()?, &here)?;
    server.make_manager(MANAGER)?;
    let (token, url) = (server.sign_in(MANAGER)?, server.url());
    let receivers = [
        ("python", python::script(&python, "standardwebhooks/receiver.py")),
        ("javascript", node::script(&environment, "standardwebhooks/receiver.mjs")),
    ];
    let mut worst = 0;
    for (name, mut receiver) in receivers {
        let setting = format!(r#"{{"url":"{url}","token":"{token}","password":"{PASSWORD}","name":"{name}"}}"#);
        worst = worst.max(shell::run_with(&mut receiver, &setting)?);
    }
    Ok(server.verdict(worst))
}
