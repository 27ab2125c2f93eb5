//! `referral mail`

use clap::{Subcommand, ValueEnum};

use super::say;
use crate::config::Config;
use crate::features::mails::actions::host;
use crate::kernel::ids::MailId;
use crate::kernel::mail::MailKind;
use crate::kernel::time::Clock;
use crate::outbound::smtp::{Letter, Mailer};
use crate::web::views::language::Language;
use crate::web::views::mails::{Content, contents};

/// Stands where a link has its token.
const TOKEN: &str = "TOKEN";

#[derive(Subcommand)]
pub enum Mail {
    /// Print what a mail says, without sending it
    Preview {
        kind: Kind,
        /// In which language
        #[arg(long, default_value = "en")]
        language: Tongue,
        /// Print the HTML part instead of the text
        #[arg(long)]
        html: bool,
    },
    /// Send a mail to an address, and tell what the mail server says
    Test { address: String },
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Kind {
    Confirm,
    Reset,
    PasswordChanged,
    AddressChanged,
    AlreadyRegistered,
    EndpointFailing,
    EndpointDisabled,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Tongue {
    En,
    Ru,
}

impl Kind {
    fn mail(self) -> MailKind {
        match self {
            Self::Confirm => MailKind::Confirm,
            Self::Reset => MailKind::Reset,
            Self::PasswordChanged => MailKind::PasswordChanged,
            Self::AddressChanged => MailKind::AddressChanged,
            Self::AlreadyRegistered => MailKind::AlreadyRegistered,
            Self::EndpointFailing => MailKind::EndpointFailing,
            Self::EndpointDisabled => MailKind::EndpointDisabled,
        }
    }
}

impl Tongue {
    fn language(self) -> Language {
        match self {
            Self::En => Language::English,
            Self::Ru => Language::Russian,
        }
    }
}

pub async fn run(config: Config, command: Mail) -> Result<(), String> {
    match command {
        Mail::Preview { kind, language, html } => preview(&config, kind.mail(), language.language(), html),
        Mail::Test { address } => test(&config, &address).await,
    }
}

fn site(config: &Config) -> &str {
    if config.http.public_url.is_empty() { "http://127.0.0.1:8000" } else { &config.http.public_url }
}

fn written(config: &Config, kind: MailKind, language: Language) -> Result<(String, String, String), String> {
    let token = MailKind::WITH_LINK.contains(&kind).then_some(TOKEN);
    let lives = if kind == MailKind::Confirm { config.mail.confirm() } else { config.mail.reset() };
    let content = Content { kind, site: site(config), token, minutes: lives.as_secs() / 60 };
    contents(language, &content).map_err(|error| error.to_string())
}

fn preview(config: &Config, kind: MailKind, language: Language, html: bool) -> Result<(), String> {
    let (subject, text, page) = written(config, kind, language)?;
    if html {
        say(page.trim_end());
    } else {
        say(&format!("Subject: {subject}\n\n{}", text.trim_end()));
    }
    Ok(())
}

async fn test(config: &Config, address: &str) -> Result<(), String> {
    let mailer = Mailer::open(&config.mail)?
        .ok_or("no mail is sent: set mail.smtp_url (SMTP_URL) and mail.from (REFERRAL_MAIL_FROM)")?;
    let (subject, text, html) = written(config, MailKind::PasswordChanged, Language::English)?;
    let letter = Letter {
        id: MailId::new().to_string(),
        host: host(site(config)),
        to: address.to_owned(),
        date: Clock::default().now(),
        language: Language::English.words().lang,
        subject: format!("A test: {subject}"),
        text,
        html,
    };
    mailer.try_to_send(&letter).await.map_err(|said| {
        format!("the mail server does not take a mail to {address}: {said}. Check mail.smtp_url and mail.from")
    })?;
    say(&format!("the mail server has taken a mail to {address}, {}: look for it there", letter.subject));
    Ok(())
}
