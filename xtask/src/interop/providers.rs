//! <https://github.com/panva/node-oidc-provider>: two identity providers that people sign in with.

use std::net::SocketAddr;
use std::process::Child;

use super::registered::{self, Person};
use super::server::{Server, free_address, wait_for};
use super::{Place, node};
use crate::shell;

/// How the server knows a provider, and the provider the server.
struct Provider {
    name: &'static str,
    label: &'static str,
    id: &'static str,
    secret: &'static str,
}

const PROVIDERS: [Provider; 2] = [
    // All in it has to be escaped in an Authorization header.
    Provider { name: "one", label: "One", id: "the server: one", secret: "a secret: 50% + more & = ~" },
    Provider { name: "two", label: "Two", id: "server-two", secret: "another-secret" },
];

/// Both, in a process of their own.
pub struct Providers {
    child: Child,
    issuers: [String; 2],
}

/// Whatever happens, they end with the run.
impl Drop for Providers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Providers {
    /// They have to know where the server will be before it runs: it knows them from its start on.
    pub fn start(place: &Place, server: SocketAddr) -> Result<Providers, String> {
        let environment = node::environment(&place.folder)?;
        let addresses = [free_address()?, free_address()?];
        let issuers = addresses.map(|address| format!("http://{address}"));
        let told = format!(r#"{{"server":"http://{server}","providers":{}}}"#, describe(&issuers));
        let child = shell::spawn_with(&mut node::script(&environment, "oidc-provider/providers.mjs"), &told)?;
        let mut providers = Providers { child, issuers };
        for address in addresses {
            let has_ended = || matches!(providers.child.try_wait(), Ok(Some(_)));
            let ready = wait_for(address, "/.well-known/openid-configuration", has_ended);
            ready.map_err(|fault| format!("the identity providers: {fault}"))?;
        }
        Ok(providers)
    }

    /// What the server is told of them.
    pub fn settings(&self) -> Vec<(String, String)> {
        let settings = PROVIDERS.iter().zip(&self.issuers).flat_map(|(provider, issuer)| {
            let Provider { name, label, id, secret } = provider;
            let all = [("ISSUER", issuer.as_str()), ("CLIENT_ID", id), ("CLIENT_SECRET", secret), ("LABEL", label)];
            let prefix = format!("REFERRAL_PROVIDERS_{}", name.to_uppercase());
            all.map(|(key, value)| (format!("{prefix}_{key}"), value.to_owned()))
        });
        settings.collect()
    }

    /// What scripts are told of them.
    pub fn member(&self) -> String {
        format!(r#","providers":{}"#, describe(&self.issuers))
    }
}

/// As JSON.
fn describe(issuers: &[String; 2]) -> String {
    let members = PROVIDERS.iter().zip(issuers).map(|(Provider { name, id, secret, .. }, issuer)| {
        format!(r#""{name}":{{"issuer":"{issuer}","id":"{id}","secret":"{secret}"}}"#)
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Starts a server with both, and a script on it.
pub fn run_script(place: &Place, script: &str) -> Result<Vec<String>, String> {
    let environment = node::environment(&place.folder)?;
    let address = free_address()?;
    let providers = Providers::start(place, address)?;
    let server = Server::start_at(place, address, &providers.settings())?;
    let setting = registered::setting(&server, Person::register(&server, "olga")?, &providers.member())?;
    let code = shell::run_with(&mut node::script(&environment, script), &setting)?;
    Ok(server.verdict(code))
}

pub fn run(place: &Place) -> Result<Vec<String>, String> {
    run_script(place, "oidc-provider/sign-in.mjs")
}
