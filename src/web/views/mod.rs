//! The pages of log-in and consent: what they say and how they look. What happens on them is their callers' business.
//!
//! Whatever a page is given may have been written by somebody hostile. The templates escape all of it; names are set
//! apart besides, so that none turns the text around it about.

pub mod destination;
pub mod language;
pub mod mails;
mod message;
pub mod notes;
pub mod share;
pub mod words;

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};

use self::destination::Destination;
pub use self::message::{Message, MessagePage, NextStep, RefusalPage};
use self::notes::{Alert, Notes};
use self::words::Words;
use crate::brand::Brand;
use crate::kernel::error::{Error, Result};
use crate::kernel::scope::{Scope, Scopes};
use crate::kernel::time::Time;

/// Where a person is when no program has sent them: their own page.
pub const HOME: &str = "/share";

/// What the pages let a browser do: show themselves with our style sheet, and send their forms to us.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
     form-action 'self'";

/// A page of ours.
pub trait View: Template {
    fn words(&self) -> &'static Words;
}

/// Headers and text of a page; its status is the caller's.
pub fn render(page: &impl View, brand: &Brand) -> Result<(HeaderMap, String)> {
    let html = page.render_with_values(brand).map_err(|error| Error::Internal(format!("a page: {error}")))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept-language"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(page.words().lang));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok((headers, html))
}

/// Another identity provider that people can log in with.
#[derive(Clone, Copy, Debug)]
pub struct ProviderButton<'a> {
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
    pub providers: &'a [ProviderButton<'a>],
    /// Whether a forgotten password can be replaced by a link in a mail.
    pub mails: bool,
    pub alert: Option<Alert>,
}

/// Asking for a link to choose a new password with. Sends `csrf`, `email` to `/oauth/reset`.
#[derive(Template)]
#[template(path = "reset.html")]
pub struct AskForReset<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    pub email: &'a str,
    pub alert: Option<Alert>,
    pub notes: &'a Notes,
}

/// Choosing a new password, behind the link of a mail. Sends `csrf`, `password` to `/mail/TOKEN`.
#[derive(Template)]
#[template(path = "new_password.html")]
pub struct NewPassword<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    /// That of the link, as we write it.
    pub token: &'a str,
    pub user: &'a str,
    /// Characters that a password has at least.
    pub least: usize,
    pub alert: Option<Alert>,
    pub notes: &'a Notes,
}

/// What a page to register on says of the invitation that somebody has followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invited<'a> {
    Not,
    /// By the person of this name.
    By(&'a str),
    /// By somebody whose name is not known.
    BySomebody,
    /// By nobody any more.
    Ended,
}

/// Making an account. Sends `csrf`, `next`, `username`, `email`, `password`, `code` to `/oauth/register`, or by a
/// provider's button to `/oauth/login/NAME`.
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
    pub invitation: Invited<'a>,
    /// Characters that a password has at least.
    pub least: usize,
    pub providers: &'a [ProviderButton<'a>],
    pub alert: Option<Alert>,
    pub notes: &'a Notes,
}

/// Showing that an address is one's own, behind the link of a mail. Sends `csrf` to `/mail/TOKEN`.
#[derive(Template)]
#[template(path = "confirm.html")]
pub struct ConfirmEmail<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    /// That of the link, as we write it.
    pub token: &'a str,
    pub email: &'a str,
    pub alert: Option<Alert>,
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
    /// Where the person is going, to log in there in another way; a path of ours.
    pub next: &'a str,
    /// The name or address typed to link an account.
    pub login: &'a str,
    pub alert: Option<Alert>,
    pub notes: &'a Notes,
}

impl Finish<'_> {
    /// Whether the alert is about the account to link, and no matter of the page as a whole.
    fn is_for_link(&self) -> bool {
        self.alert == Some(Alert::WrongCredentials)
    }

    /// Who vouches for the address.
    fn email_hint(&self) -> String {
        let (before, after) = self.words.email_verified;
        if self.email_verified { format!("{before}{}{after}", plain(self.provider)) } else { String::new() }
    }
}

/// A client that somebody has allowed something.
#[derive(Clone, Copy, Debug)]
pub struct AllowedApp<'a> {
    pub client_id: &'a str,
    pub name: &'a str,
    pub scopes: Scopes,
    pub since: Time,
}

/// The consents that a person has given. Sends `csrf`, `client_id` to `/oauth/apps`, and `csrf` to `/oauth/logout`.
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

/// The browser goes on by itself; the link is for one that does not.
#[derive(Template)]
#[template(path = "leaving.html")]
pub struct Leaving<'a> {
    pub words: &'static Words,
    pub to: &'a Destination<'a>,
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

views! { Login ConfirmEmail AskForReset NewPassword Register Consent Finish Apps Leaving MessagePage RefusalPage }

/// Whether to allow it is to be thought about twice.
fn is_weighty(scope: Scope) -> bool {
    matches!(scope, Scope::Account | Scope::Admin)
}

/// A path of ours to link to, whatever it came from.
fn local(path: &str) -> &str {
    if path.starts_with("/oauth/") { path } else { HOME }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::language::Language;
    use super::*;

    /// Every page, with this text wherever one may come from somebody else.
    fn pages(words: &'static Words, text: &str) -> Vec<String> {
        let (scopes, since) = (Scopes::PERSON, Time(0));
        let providers = [ProviderButton { name: text, label: text }];
        let notes = Notes::none().with(text, text).with("email", text);
        let alert = Some(Alert::Expired);
        let app = AllowedApp { client_id: text, name: text, scopes, since };
        let html = |page: &dyn Fn() -> Result<(HeaderMap, String)>| page().unwrap().1;
        vec![
            html(&|| {
                let (client, code) = (Some(text), Some(text));
                let providers = &providers;
                let (csrf, next, mails) = (text, text, true);
                render(
                    &Login { words, csrf, next, client, username: text, code, providers, mails, alert },
                    &Brand::default(),
                )
            }),
            html(&|| {
                let page = Register {
                    words,
                    csrf: text,
                    next: text,
                    client: Some(text),
                    username: text,
                    email: text,
                    code: text,
                    invitation: Invited::By(text),
                    least: 12,
                    providers: &providers,
                    alert,
                    notes: &notes,
                };
                render(&page, &Brand::default())
            }),
            html(&|| {
                let page = Consent { words, csrf: text, next: text, client: text, host: text, user: text, scopes };
                render(&page, &Brand::default())
            }),
            html(&|| {
                let page = Finish {
                    words,
                    csrf: text,
                    ticket: text,
                    provider: text,
                    username: text,
                    email: text,
                    email_verified: true,
                    code: text,
                    next: text,
                    login: text,
                    alert,
                    notes: &notes,
                };
                render(&page, &Brand::default())
            }),
            html(&|| {
                render(&Apps { words, csrf: text, user: text, apps: &[app], withdrawn: Some(text) }, &Brand::default())
            }),
            html(&|| render(&ConfirmEmail { words, csrf: text, token: text, email: text, alert }, &Brand::default())),
            html(&|| render(&AskForReset { words, csrf: text, email: text, alert, notes: &notes }, &Brand::default())),
            html(&|| {
                let (csrf, token, user) = (text, text, text);
                render(&NewPassword { words, csrf, token, user, least: 12, alert, notes: &notes }, &Brand::default())
            }),
            html(&|| {
                let message = Message::ProviderDenied(text);
                render(&MessagePage { words, message, next_step: NextStep::Again(text) }, &Brand::default())
            }),
        ]
    }

    /// How often each character stands there that means something in HTML.
    fn skeleton(html: &str) -> Vec<usize> {
        ['<', '>', '"', '\''].into_iter().map(|mark| html.chars().filter(|c| *c == mark).count()).collect()
    }

    #[test]
    fn names_are_plain_and_set_apart() {
        for language in Language::ALL {
            let pages = pages(language.words(), "\u{202e}a\u{200b}b\u{0}\u{2066}\n<i>");
            for html in pages.iter().take(5) {
                assert!(html.contains("<bdi>ab &#60;i&#62;</bdi>"), "{html}");
            }
        }
    }

    #[test]
    fn links_lead_to_paths_of_ours() {
        for path in ["javascript:alert(1)", "//evil.example/oauth/", "https://evil.example", "/docs", ""] {
            for html in pages(Language::English.words(), path) {
                assert!(!html.contains(&format!("href=\"{path}\"")), "{html}");
            }
        }
        assert_eq!(local("/oauth/authorize?a=b"), "/oauth/authorize?a=b");
    }

    #[test]
    fn headers_keep_pages_private_and_say_their_language() {
        for language in Language::ALL {
            let words = language.words();
            let page = MessagePage { words, message: Message::LoggedOut, next_step: NextStep::Home };
            let (headers, html) = render(&page, &Brand::default()).unwrap();
            assert_eq!(headers[CACHE_CONTROL], "no-store");
            assert_eq!(headers[VARY], "accept-language");
            assert_eq!(headers[CONTENT_LANGUAGE], words.lang);
            assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
            assert_eq!(headers[CONTENT_SECURITY_POLICY], POLICY);
            assert!(html.contains(&format!("<html lang=\"{}\">", words.lang)));
        }
    }

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in "\\PC{0,20}[<>&\"'a-z]\\PC{0,20}") {
            for language in Language::ALL {
                let words = language.words();
                for (hostile, harmless) in pages(words, &text).iter().zip(&pages(words, "x")) {
                    prop_assert_eq!(skeleton(hostile), skeleton(harmless), "{}", hostile);
                }
            }
        }
    }
}
