//! `referral admin`

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

use clap::Subcommand;

use crate::app::App;
use crate::features::accounts::model::{Credentials, Registration, check_name_against};
use crate::features::accounts::{admin, password};
use crate::kernel::email::Email;
use crate::kernel::error::Error;
use crate::kernel::name::Username;

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
    /// Set a user's password, read from the standard input, and end all their sessions
    ResetPassword {
        /// User name or e-mail address
        user: String,
    },
    /// Keep a user out: sessions end, the active code dies, log-in is refused
    Disable {
        /// User name or e-mail address
        user: String,
    },
    /// Let a disabled user in again
    Enable {
        /// User name or e-mail address
        user: String,
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
            admin::reset_password(&app, &found, &new).await.map_err(text)??;
            done(&format!("{} has the new password; all sessions have ended", found.username))
        }
        Admin::Disable { user } => {
            let found = find(&app, &user).await?;
            admin::disable(&app, found.id).await.map_err(text)?;
            done(&format!("{} is disabled", found.username))
        }
        Admin::Enable { user } => {
            let found = find(&app, &user).await?;
            admin::enable(&app, found.id).await.map_err(text)?;
            done(&format!("{} may log in again", found.username))
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
    let id = admin::create_manager(app, Registration { username, email, password: typed }).await.map_err(text)?;
    done(&format!("{name} is a manager, with the id {id}"))
}

async fn find(app: &App, user: &str) -> Result<Credentials, String> {
    admin::find(app, user).await.map_err(text)?.ok_or_else(|| format!("there is no user {user}"))
}

fn read_password() -> Result<String, String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        print!("Password (shown as you type): ");
        std::io::stdout().flush().map_err(|error| error.to_string())?;
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|error| format!("cannot read the password: {error}"))?;
    let typed = line.trim_end_matches(['\n', '\r']).to_owned();
    if typed.is_empty() { Err("no password was given on the standard input".to_owned()) } else { Ok(typed) }
}

fn text(error: Error) -> String {
    error.to_string()
}

#[expect(clippy::unnecessary_wraps, reason = "the end of every command")]
fn done(text: &str) -> Result<(), String> {
    super::say(text);
    Ok(())
}
