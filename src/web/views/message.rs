//! What a page without a form says, and where it leads on.

use askama::Template;

use super::notes::Alert;
use super::words::Words;
use super::{HOME, local, plain};
use crate::kernel::error::{Error, Refusal};

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
    /// The provider does not answer, or says that it cannot.
    ProviderUnavailable(&'a str),
    /// The provider does not take us: a matter of the settings, here or there.
    ProviderSetup(&'a str),
    /// What it answered cannot be believed.
    ProviderAnswer(&'a str),
    /// The person, or the provider, has said no.
    ProviderDenied(&'a str),
    /// The form, or the way to a provider and back, has taken too long or belongs to another browser.
    Expired,
    LoggedOut,
    /// The account is erased.
    Erased,
    /// The link of a mail was used, or its time is over.
    LinkExpired,
    /// A mail with a link is on its way, if there is anybody to write to.
    LinkSent,
    PasswordSet,
    /// This person, or this client, may not.
    AccessDenied,
    EmailCheckPending,
    EmailRefused,
    /// The person has to show that the address is theirs.
    ConfirmFirst,
    /// They have.
    EmailConfirmed,
    /// Seconds until the next try.
    TooManyTries(u64),
    Overloaded,
    Unavailable,
    NotFound,
    /// Nobody's link is called so.
    UnknownLink,
    WrongMethod,
    TooLarge,
    AddressTooLong,
    /// What was sent is no form of ours.
    Unreadable,
    Internal,
}

impl Message<'_> {
    /// For an error where there is no form to show it on.
    pub fn of(error: &Error) -> Self {
        match Alert::of(error) {
            Some(Alert::WrongCredentials | Alert::LogInAgain | Alert::LastWayIn | Alert::LastManager) => {
                Self::AccessDenied
            }
            Some(Alert::TooManyTries(seconds)) => Self::TooManyTries(seconds),
            Some(Alert::EmailCheckPending) => Self::EmailCheckPending,
            Some(Alert::EmailRefused) => Self::EmailRefused,
            Some(Alert::ConfirmFirst) => Self::ConfirmFirst,
            Some(Alert::Overloaded) => Self::Overloaded,
            Some(Alert::Expired) => Self::Expired,
            Some(Alert::Unavailable) => Self::Unavailable,
            None if matches!(error, Error::Refused(Refusal::NotFound)) => Self::NotFound,
            None => Self::Internal,
        }
    }
}

/// What a person does next after a message: a link to one of our pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep<'a> {
    Again(&'a str),
    LogIn(&'a str),
    /// To ask for a new link.
    Reset,
    /// To the person's own page.
    Home,
}

/// Something said, and what to do next.
#[derive(Template)]
#[template(path = "message.html")]
pub struct MessagePage<'a> {
    pub words: &'static Words,
    pub message: Message<'a>,
    pub next_step: NextStep<'a>,
}

/// A refusal, for a person who has met it where no page is.
#[derive(Template)]
#[template(path = "refusal.html")]
pub struct RefusalPage<'a> {
    pub words: &'static Words,
    pub message: Message<'a>,
    pub status: u16,
    /// The refusal's word; its page explains it to developers.
    pub code: &'a str,
    /// The request's id, as the log knows it.
    pub request: &'a str,
}

impl<'a> NextStep<'a> {
    pub(super) fn path(self) -> &'a str {
        match self {
            Self::Again(path) | Self::LogIn(path) => path,
            Self::Reset => "/oauth/reset",
            Self::Home => HOME,
        }
    }
}
