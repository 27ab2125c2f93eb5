//! `referral admin`

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

use clap::Subcommand;

use super::audit::{self, Audit};
use super::jobs::{self, Jobs};
use super::ledger::{self, Ledger};
use super::people::{self, People};
use super::webhook::{self, Webhook};
use crate::app::App;
use crate::features::accounts::actions::{administration as admin, management};
use crate::features::accounts::model::password;
use crate::features::accounts::model::{Credentials, Entrance, Registration, check_name_against};
use crate::features::audit::model::Reason;
use crate::features::clients;
use crate::features::clients::model::{GrantType, RedirectUri, parse_name};
use crate::kernel::actor::Actor;
use crate::kernel::caller::IdTokenAlgorithm;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal};
use crate::kernel::name::Username;
use crate::kernel::scope::Scopes;

/// Passwords are asked for on the terminal, or read from the first line of the standard input: never arguments, which
/// every user of the machine can see.
#[derive(Subcommand)]
pub enum Admin {
    /// Make an account with the manager's role; its password is read from the standard input
    Create {
        /// User name
        username: String,
        /// E-mail address
        email: String,
    },
    /// Make an existing user a manager
    Promote {
        /// User name or e-mail address
        user: String,
    },
    /// Make a manager an ordinary user
    Demote {
        /// User name or e-mail address
        user: String,
    },
    /// Set a user's password, read from the standard input; all their sessions end, and other providers are unlinked
    ResetPassword {
        /// User name or e-mail address
        user: String,
    },
    /// Keep a user out: sessions end, the active code dies, log-in is refused
    Disable {
        /// User name or e-mail address
        user: String,
        /// Why: fraud, abuse, security, legal, request, mistake or other
        #[arg(long, value_name = "WORD", value_parser = people::reason)]
        reason: Option<Reason>,
    },
    /// Let a disabled user in again
    Enable {
        /// User name or e-mail address
        user: String,
        /// Why: fraud, abuse, security, legal, request, mistake or other
        #[arg(long, value_name = "WORD", value_parser = people::reason)]
        reason: Option<Reason>,
    },
    #[command(flatten)]
    People(People),
    /// Manage the programs (OAuth clients) that may act for people, or for themselves
    #[command(subcommand)]
    Client(ClientCommand),
    /// Manage the webhook endpoints that are told what happens
    #[command(subcommand)]
    Webhook(Webhook),
    /// Look at what is noted of what managers, clients and commands have done
    #[command(subcommand)]
    Audit(Audit),
    /// Look at whether what people have adds up
    #[command(subcommand)]
    Ledger(Ledger),
    /// List the jobs that were given up: id, kind, since when, attempts, subject, how the last attempt went
    Jobs {
        #[command(subcommand)]
        command: Option<Jobs>,
    },
}

#[derive(Subcommand)]
pub enum ClientCommand {
    /// Register a client and print its id and, this once, its secret
    Create {
        /// What people are shown when they are asked for consent
        name: String,
        /// It can keep a secret: programs on a server can, apps and pages in a browser cannot
        #[arg(long)]
        confidential: bool,
        /// Where people may be sent back to; may be given several times
        #[arg(long = "redirect-uri", value_name = "URI")]
        redirect_uris: Vec<String>,
        /// authorization_code, refresh_token or client_credentials; may be given several times [default: the first two]
        #[arg(long = "grant", value_name = "GRANT")]
        grants: Vec<String>,
        /// What it may ask for, with a space between, such as "openid profile codes:read"
        #[arg(long)]
        scope: String,
        /// What its ID tokens are signed with: RS256 or EdDSA
        #[arg(long, value_name = "ALGORITHM", default_value = "RS256")]
        id_token_algorithm: String,
        /// Let in a confidential client that knows no PKCE; its requests must have the scope openid and a nonce
        #[arg(long)]
        without_pkce: bool,
        /// Take its word that addresses of participants are proven; for clients with program:write
        #[arg(long)]
        trusts_addresses: bool,
    },
    /// List the clients
    List,
    /// Give a client another secret and print it, this once; the old one is no good from then on
    NewSecret {
        /// The client's id
        client_id: String,
    },
    /// Remove a client: its tokens end, and what people allowed it is forgotten
    Remove {
        /// The client's id
        client_id: String,
    },
}

pub async fn run(app: Arc<App>, command: Admin) -> Result<(), String> {
    match command {
        Admin::Create { username, email } => create(&app, &username, &email).await,
        Admin::Promote { user } => {
            let found = find(&app, &user).await?;
            admin::set_manager(&app, found.id, true).await.map_err(text)?;
            done(&format!("{} is a manager", found.username))
        }
        Admin::Demote { user } => {
            let found = find(&app, &user).await?;
            admin::set_manager(&app, found.id, false).await.map_err(text)?;
            done(&format!("{} is no manager any more", found.username))
        }
        Admin::ResetPassword { user } => {
            let found = find(&app, &user).await?;
            let new = read_password()?;
            admin::reset_password(&app, &found, &new).await.map_err(text)?;
            done(&format!("{} has the new password; all sessions have ended", found.username))
        }
        Admin::Disable { user, reason } => {
            let found = find(&app, &user).await?;
            management::disable(&app, Actor::OPERATOR.into(), found.id, reason).await.map_err(text)?;
            done(&format!("{} is disabled", found.username))
        }
        Admin::Enable { user, reason } => {
            let found = find(&app, &user).await?;
            management::enable(&app, Actor::OPERATOR.into(), found.id, reason).await.map_err(text)?;
            done(&format!("{} may log in again", found.username))
        }
        Admin::Client(command) => client(&app, command).await,
        Admin::Webhook(command) => webhook::run(&app, command).await,
        Admin::People(command) => people::run(&app, command).await,
        Admin::Audit(command) => audit::run(&app, command).await,
        Admin::Ledger(command) => ledger::run(&app, command).await,
        Admin::Jobs { command } => jobs::run(&app, command).await,
    }
}

async fn client(app: &App, command: ClientCommand) -> Result<(), String> {
    match command {
        ClientCommand::Create {
            name,
            confidential,
            redirect_uris,
            grants,
            scope,
            id_token_algorithm,
            without_pkce,
            trusts_addresses,
        } => {
            let grants = match grants.as_slice() {
                [] => vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
                words => words
                    .iter()
                    .map(|word| GrantType::parse(word).ok_or_else(|| no_grant(word)))
                    .collect::<Result<_, _>>()?,
            };
            let uris: Result<Vec<RedirectUri>, String> = redirect_uris
                .iter()
                .map(|uri| RedirectUri::parse(uri).map_err(|rule| format!("{uri}: {rule}")))
                .collect();
            let new = clients::model::ClientRegistration {
                name: parse_name(&name)?,
                confidential,
                redirect_uris: uris?,
                grants,
                scopes: Scopes::parse(&scope).ok_or_else(|| format!("not all of these are scopes: {scope}"))?,
                id_token_algorithm: IdTokenAlgorithm::parse(&id_token_algorithm)
                    .ok_or("the algorithm is RS256 or EdDSA")?,
                require_pkce: !without_pkce,
                trusts_addresses,
            };
            let made = clients::actions::register(app, Actor::OPERATOR.into(), new).await.map_err(not_registered)?;
            super::say(&format!("client_id      {}", made.client.id));
            match made.secret {
                Some(secret) => done(&format!("client_secret  {secret}")),
                None => Ok(()),
            }
        }
        ClientCommand::List => {
            for client in clients::actions::list(app).await.map_err(text)? {
                let kind = if client.is_confidential() { "confidential" } else { "public" };
                super::say(&format!("{}  {kind:12}  {}  ({})", client.id, client.name, client.scopes));
            }
            Ok(())
        }
        ClientCommand::NewSecret { client_id } => {
            let secret = clients::actions::new_secret(app, Actor::OPERATOR.into(), &client_id).await.map_err(text)?;
            done(&format!("client_secret  {secret}"))
        }
        ClientCommand::Remove { client_id } => {
            clients::actions::remove(app, Actor::OPERATOR.into(), &client_id).await.map_err(text)?;
            done("removed; its tokens have ended")
        }
    }
}

async fn create(app: &App, username: &str, email: &str) -> Result<(), String> {
    let username = Username::parse(username)?;
    let email = Email::parse(email)?;
    check_name_against(&username, &email)?;
    let typed = read_password()?;
    password::check_new(&typed, app.config.accounts.min_password_length, Some(&username), Some(&email))?;
    let name = username.as_str().to_owned();
    let id = admin::create_manager(app, Registration { username, email, entrance: Entrance::Password(typed) })
        .await
        .map_err(text)?;
    done(&format!("{name} is a manager, with the id {id}"))
}

async fn find(app: &App, user: &str) -> Result<Credentials, String> {
    admin::find(app, user).await.map_err(text)?.ok_or_else(|| format!("there is no user {user}"))
}

fn read_password() -> Result<String, String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        // Whoever cannot see the question may answer it all the same.
        let mut output = std::io::stdout();
        let _ = write!(output, "Password (shown as you type): ").and_then(|()| output.flush());
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|error| format!("cannot read the password: {error}"))?;
    let typed = line.trim_end_matches(['\n', '\r']).to_owned();
    if typed.is_empty() { Err("no password was given on the standard input".to_owned()) } else { Ok(typed) }
}

fn text(error: Error) -> String {
    match error {
        Error::Refused(refusal @ Refusal::ClientNotFound) => {
            format!("{}: `referral admin client list` shows those there are", refusal.sentence())
        }
        error => error.to_string(),
    }
}

fn no_grant(word: &str) -> String {
    let words = GrantType::ALL.iter().map(|grant| grant.word()).collect::<Vec<_>>().join(", ");
    format!("there is no grant {word}: write one of {words}, several with a --grant for each")
}

fn not_registered(error: Error) -> String {
    let wants_uri = matches!(&error, Error::Invalid(fields) if fields.iter().any(|field| {
        field.loc.last().is_some_and(|name| name == "redirect_uris")
    }));
    let remedy =
        if wants_uri { ": give --redirect-uri, or --grant client_credentials for a program alone" } else { "" };
    format!("{error}{remedy}")
}

#[expect(clippy::unnecessary_wraps, reason = "the end of every command")]
fn done(text: &str) -> Result<(), String> {
    super::say(text);
    Ok(())
}
