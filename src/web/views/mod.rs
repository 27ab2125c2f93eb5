//! The pages of log-in and consent: what they say and how they look. What happens on them is their callers' business.
//!
//! Whatever a page is given may have been written by somebody hostile. The templates escape all of it; names are set
//! apart besides, so that none turns the text around it about.

pub mod language;
pub mod notes;
pub mod policy;
pub mod words;

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};

use self::notes::{Alert, Notes};
use self::policy::FormSource;
use self::words::Words;
use crate::kernel::error::{Error, Result};
use crate::kernel::scope::Scopes;
use crate::kernel::time::Time;

/// A page of ours.
pub trait View: Template {
    fn words(&self) -> &'static Words;
}

/// Headers and text of a page; its status is the caller's. `leads_to` is where a form on it may end up, through any
/// number of redirects, when that is not here: the redirect URI of the client.
pub fn render(page: &impl View, leads_to: Option<&FormSource>) -> Result<(HeaderMap, String)> {
    let html = page.render().map_err(|error| Error::Internal(format!("a page: {error}")))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept-language"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(page.words().lang));
    headers.insert(CONTENT_SECURITY_POLICY, policy::policy(leads_to));
    Ok((headers, html))
}

/// Another identity provider that people can log in with.
#[derive(Clone, Copy, Debug)]
pub struct Provider<'a> {
    /// Its name in our addresses.
    pub name: &'a str,
    /// Its name for people.
    pub label: &'a str,
}

/// Logging in. Sends `csrf`, `next`, `username`, `password` to `/oauth/login`.
#[derive(Template)]
#[template(path = "login.html")]
pub struct Login<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    pub next: &'a str,
    /// The client that asks for the log-in, if one does.
    pub client: Option<&'a str>,
    /// The name or address as typed, or as the client believes it to be.
    pub username: &'a str,
    /// A referral code to carry along to a registration.
    pub code: Option<&'a str>,
    pub providers: &'a [Provider<'a>],
    pub alert: Option<Alert>,
}

/// Making an account. Sends `csrf`, `next`, `username`, `email`, `password`, `code` to `/oauth/register`.
#[derive(Template)]
#[template(path = "register.html")]
pub struct Register<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    pub next: &'a str,
    pub client: Option<&'a str>,
    pub username: &'a str,
    pub email: &'a str,
    pub code: &'a str,
    /// Characters that a password has at least.
    pub least: usize,
    pub providers: &'a [Provider<'a>],
    pub alert: Option<Alert>,
    pub notes: &'a Notes,
}

/// What a client asks to be allowed. Sends `csrf`, `next`, `decision` (`allow` or `deny`) to `/oauth/consent`.
#[derive(Template)]
#[template(path = "consent.html")]
pub struct Consent<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    pub next: &'a str,
    pub client: &'a str,
    /// Where the person goes afterwards: the host of the redirect URI, or its scheme where it has no host.
    pub host: &'a str,
    /// Who is logged in.
    pub user: &'a str,
    pub scopes: Scopes,
}

/// The first visit with another provider. Sends `csrf`, `ticket` and either `username`, `email`, `code` or `login`,
/// `password` to `/oauth/finish`.
#[derive(Template)]
#[template(path = "finish.html")]
pub struct Finish<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    pub ticket: &'a str,
    /// The provider's name for people.
    pub provider: &'a str,
    pub username: &'a str,
    pub email: &'a str,
    /// Whether the provider vouches for the address: then it cannot be changed here.
    pub email_verified: bool,
    pub code: &'a str,
    /// The name or address typed to link an account.
    pub login: &'a str,
    pub alert: Option<Alert>,
    pub notes: &'a Notes,
}

/// A client that somebody has allowed something.
#[derive(Clone, Copy, Debug)]
pub struct AllowedApp<'a> {
    pub client_id: &'a str,
    pub name: &'a str,
    pub scopes: Scopes,
    pub since: Time,
}

/// The consents somebody has given. Sends `csrf`, `client_id` to `/oauth/apps`, and `csrf` to `/oauth/logout`.
#[derive(Template)]
#[template(path = "apps.html")]
pub struct Apps<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    /// Who is logged in.
    pub user: &'a str,
    pub apps: &'a [AllowedApp<'a>],
    /// The client from which access has just been withdrawn.
    pub withdrawn: Option<&'a str>,
}

/// What a page without a form has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The request for a log-in names no client of ours.
    UnknownClient,
    /// It names a redirect URI that the client did not register.
    BadRedirect,
    /// It cannot be understood, and the client cannot be told.
    BadRequest,
    /// There is no such provider.
    UnknownProvider,
    /// The provider does not answer.
    ProviderUnreachable(&'a str),
    /// What it answered cannot be believed.
    ProviderAnswer(&'a str),
    /// The person, or the provider, has said no.
    ProviderDenied(&'a str),
    /// The form, or the way to a provider and back, has taken too long or belongs to another browser.
    Expired,
    LoggedOut,
    /// This person, or this client, may not.
    AccessDenied,
    EmailCheckPending,
    EmailRefused,
    /// Seconds until the next try.
    TooManyTries(u64),
    Overloaded,
    Unavailable,
    NotFound,
    Internal,
}

/// Where to go from a message; paths of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    Nowhere,
    Again(&'a str),
    LogIn(&'a str),
    Apps,
}

/// Something said, and perhaps a way on.
#[derive(Template)]
#[template(path = "message.html")]
pub struct MessagePage<'a> {
    pub words: &'static Words,
    pub message: Message<'a>,
    pub way: Way<'a>,
}

macro_rules! views {
    ($($name:ident)*) => {
        $(impl View for $name<'_> {
            fn words(&self) -> &'static Words {
                self.words
            }
        })*
    };
}

views! { Login Register Consent Finish Apps MessagePage }

/// A path of ours to link to, whatever it came from.
fn local(path: &str) -> &str {
    if path.starts_with("/oauth/") { path } else { "/oauth/apps" }
}

/// Without what is not seen but changes how the text around it is read: control characters, and those that turn the
/// direction of writing, hide or join.
fn plain(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !hidden(*c)).collect()
}

impl<'a> Way<'a> {
    fn path(self) -> Option<&'a str> {
        match self {
            Self::Nowhere => None,
            Self::Again(path) | Self::LogIn(path) => Some(path),
            Self::Apps => Some("/oauth/apps"),
        }
    }
}
