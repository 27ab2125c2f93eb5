//! The programs that are registered with the server, and what a script is told of them.

use super::server::{PASSWORD, Server};

/// The server's words for what a client is registered with; the scripts know the rest.
struct Client {
    name: &'static str,
    /// How it authenticates at the token endpoint; `none` is a public client.
    method: &'static str,
    algorithm: &'static str,
    redirect_uri: &'static str,
    machine: bool,
}

const HTTPS: &str = "https://app.example.com:8443/oauth/callback";
const PERSONS_SCOPE: &str = "openid profile email";
const MACHINES_SCOPE: &str = "program:read";
/// What the one may ask for that brings its own people.
const HOSTS_SCOPE: &str = "program:write";

/// `redirects.json` knows the redirect URIs of the first two.
const CLIENTS: [Client; 4] = [
    Client {
        name: "public",
        method: "none",
        algorithm: "RS256",
        redirect_uri: "http://127.0.0.1:21420/callback",
        machine: false,
    },
    Client { name: "basic", method: "client_secret_basic", algorithm: "RS256", redirect_uri: HTTPS, machine: true },
    Client { name: "post", method: "client_secret_post", algorithm: "RS256", redirect_uri: HTTPS, machine: true },
    Client { name: "eddsa", method: "client_secret_basic", algorithm: "EdDSA", redirect_uri: HTTPS, machine: false },
];

/// Somebody with an account at the server.
pub struct Person(&'static str);

impl Person {
    pub fn register(server: &Server, name: &'static str) -> Result<Person, String> {
        server.register(name)?;
        Ok(Person(name))
    }
}

/// Who registers the clients, with everybody's password.
pub const MANAGER: &str = "manager";

/// Registers the clients as a manager does, and returns what scripts read from their standard input: JSON. `more` is
/// for members that one script alone needs, each with a comma before it.
pub fn setting(server: &Server, user: Person, more: &str) -> Result<String, String> {
    server.make_manager(MANAGER)?;
    let manager = server.sign_in(MANAGER)?;
    let mut clients = Vec::new();
    for client in CLIENTS {
        let Client { name, method, algorithm, redirect_uri, machine } = client;
        let (grants, scopes) = match machine {
            true => (r#","client_credentials""#, format!("{PERSONS_SCOPE} {MACHINES_SCOPE} {HOSTS_SCOPE}")),
            false => ("", PERSONS_SCOPE.to_owned()),
        };
        let confidential = method != "none";
        let request = format!(
            r#"{{"name":"{name}","redirect_uris":["{redirect_uri}"],
                "grants":["authorization_code","refresh_token"{grants}],"scope":"{scopes}",
                "confidential":{confidential},"id_token_algorithm":"{algorithm}"}}"#
        );
        let answer = server.post("/api/v1/clients", &manager, &request, 201)?;
        let id = answer.text("client_id").ok_or_else(|| format!("no client_id in {}", answer.body))?;
        let secret = match (confidential, answer.text("client_secret")) {
            (true, Some(secret)) => format!("\"{secret}\""),
            (true, None) => return Err(format!("no client_secret in {}", answer.body)),
            (false, _) => "null".to_owned(),
        };
        clients.push(format!(
            r#""{name}":{{"id":"{id}","secret":{secret},"method":"{method}","algorithm":"{algorithm}",
                "redirect_uri":"{redirect_uri}"}}"#
        ));
    }
    let (url, name, clients) = (server.url(), user.0, clients.join(","));
    Ok(format!(
        r#"{{"issuer":"{url}","api":"{url}/api/v1/me","machine_scope":"{MACHINES_SCOPE}","clients":{{{clients}}},
            "user":{{"username":"{name}","email":"{name}@example.com","password":"{PASSWORD}"}}{more}}}"#
    ))
}
