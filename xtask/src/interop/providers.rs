//! <https://github.com/panva/node-oidc-provider>: two identity providers that people sign in with.

use std::process::Child;

use super::registered::{self, Person};
use super::server::{Server, free_address, wait_for};
use super::{Place, node};
use crate::shell;

/// Whatever happens, the providers end with the run.
struct Providers(Child);

impl Drop for Providers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn run(place: &Place) -> Result<Vec<String>, String> {
    let environment = node::environment(&place.folder)?;
    // All three know each other's addresses before any of them runs.
    let (address, one, two) = (free_address()?, free_address()?, free_address()?);
    let (issuer_one, issuer_two) = (format!("http://{one}"), format!("http://{two}"));
    // The first has an id and a secret with all that has to be escaped in an Authorization header.
    let (id_one, secret_one) = ("the server: one", "a secret: 50% + more & = ~");
    let (id_two, secret_two) = ("server-two", "another-secret");
    let providers = format!(
        r#"{{"one":{{"issuer":"{issuer_one}","id":"{id_one}","secret":"{secret_one}"}},
             "two":{{"issuer":"{issuer_two}","id":"{id_two}","secret":"{secret_two}"}}}}"#
    );
    let told = format!(r#"{{"server":"http://{address}","providers":{providers}}}"#);
    let child = shell::spawn_with(&mut node::script(&environment, "oidc-provider/providers.mjs"), &told)?;
    let mut child = Providers(child);
    for provider in [one, two] {
        let ready =
            wait_for(provider, "/.well-known/openid-configuration", || matches!(child.0.try_wait(), Ok(Some(_))));
        ready.map_err(|fault| format!("the identity providers: {fault}"))?;
    }

    let settings = [
        ("REFERRAL_PROVIDERS_ONE_ISSUER", issuer_one.as_str()),
        ("REFERRAL_PROVIDERS_ONE_CLIENT_ID", id_one),
        ("REFERRAL_PROVIDERS_ONE_CLIENT_SECRET", secret_one),
        ("REFERRAL_PROVIDERS_ONE_LABEL", "One"),
        ("REFERRAL_PROVIDERS_TWO_ISSUER", issuer_two.as_str()),
        ("REFERRAL_PROVIDERS_TWO_CLIENT_ID", id_two),
        ("REFERRAL_PROVIDERS_TWO_CLIENT_SECRET", secret_two),
        ("REFERRAL_PROVIDERS_TWO_LABEL", "Two"),
    ];
    let server = Server::start_at(&place.server, address, &settings)?;
    let setting =
        registered::setting(&server, Person::register(&server, "olga")?, &format!(r#","providers":{providers}"#))?;
    let code = shell::run_with(&mut node::script(&environment, "oidc-provider/sign-in.mjs"), &setting)?;
    Ok(server.verdict(code))
}
