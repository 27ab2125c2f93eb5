//! What a person who is logged in finds at their own pages.

mod account;
mod overview;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use crate::app::App;
use crate::features::oauth::pages::log_in::{LogInPage, ask_to_log_in};
use crate::features::tokens::actions::browser_sessions;
use crate::features::tokens::model::BrowserSession;
use crate::kernel::error::{Error, Result};
use crate::kernel::parameters::Parameters;
use crate::web::browser::Browser;
use crate::web::views::{Message, NextStep};
use crate::web::visitor::ProtectedForm;

pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/share", get(overview::overview))
        .route("/share/code", post(overview::change_code))
        .route("/share/account", get(account::account))
        .route("/share/account/name", post(account::set_name))
        .route("/share/account/handle", post(account::choose_handle))
        .route("/share/account/discoverable", post(account::set_discoverable))
        .route("/share/account/email", post(account::change_email))
        .route("/share/account/password", post(account::change_password))
        .route("/share/account/sign-ins", post(account::unlink))
        .route("/share/account/sessions", post(account::end_session))
        .route("/share/account/export", post(account::export))
        .route("/share/account/erase", get(account::ask_to_erase).post(account::erase))
}

/// Why a page is not shown, or a form leads no further.
enum Halted {
    /// Another page says what is missing.
    Answered(Box<Response>),
    Failed(Error),
}

impl From<Error> for Halted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What a page or a form comes to, or a page that says what went wrong.
async fn answer(browser: &Browser, outcome: impl Future<Output = Result<Response, Halted>>) -> Response {
    browser.or_say(match outcome.await {
        Ok(response) => Ok(response),
        Err(Halted::Answered(response)) => Ok(*response),
        Err(Halted::Failed(error)) => Err(error),
    })
}

/// Who is logged in; others see the page to log in on.
async fn logged_in(browser: &Browser) -> Result<BrowserSession, Halted> {
    match browser_sessions::person(&browser.app, &browser.visitor).await? {
        Some(person) => Ok(person),
        None => {
            let page = ask_to_log_in(browser, StatusCode::OK, &LogInPage::default()).await?;
            Err(Halted::Answered(Box::new(page)))
        }
    }
}

/// The fields of a form that somebody has sent who is logged in.
async fn sent<'f>(browser: &Browser, form: &'f ProtectedForm) -> Result<(&'f Parameters, BrowserSession), Halted> {
    match form.verified(&browser.visitor) {
        Some(fields) => Ok((fields, logged_in(browser).await?)),
        None => {
            let page = browser.say(StatusCode::FORBIDDEN, Message::Expired, NextStep::Home)?;
            Err(Halted::Answered(Box::new(page)))
        }
    }
}
