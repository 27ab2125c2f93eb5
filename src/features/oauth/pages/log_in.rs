//! The page to log in on, as every page shows it that needs somebody who is logged in.

use axum::http::StatusCode;
use axum::response::Response;

use crate::app::App;
use crate::features::oauth::actions;
use crate::features::oauth::model::request::Rejected;
use crate::kernel::error::Result;
use crate::kernel::parameters::Parameters;
use crate::web::browser::Browser;
use crate::web::pages::{AUTHORIZE, request_on};
use crate::web::views::notes::Alert;
use crate::web::views::{Login, ProviderButton};

/// What a log-in page is made with, beside the browser.
#[derive(Default)]
pub struct LogInPage<'a> {
    pub username: &'a str,
    /// The referral code brought along.
    pub code: Option<&'a str>,
    pub alert: Option<Alert>,
}

/// The page to log in on.
pub async fn ask_to_log_in(browser: &Browser, status: StatusCode, asked: &LogInPage<'_>) -> Result<Response> {
    let app = &*browser.app;
    let asker = asker(app, &browser.next).await?;
    let view = Login {
        words: browser.words,
        csrf: &browser.visitor.csrf(),
        next: &browser.next,
        client: asker.as_deref(),
        username: asked.username,
        code: asked.code,
        providers: &providers(app),
        mails: app.config.mail.is_on(),
        alert: asked.alert,
    };
    browser.page(status, &view)
}

/// The client that has sent the person.
pub async fn asker(app: &App, next: &str) -> Result<Option<String>> {
    let Some(query) = next.strip_prefix(AUTHORIZE) else { return Ok(None) };
    match actions::read_request(app, &Parameters::parse(query.as_bytes())).await {
        Ok(request) => Ok(Some(request.client.name)),
        Err(Rejected::Failed(error)) => Err(error),
        Err(Rejected::UnknownClient | Rejected::BadRedirect | Rejected::Told(..)) => Ok(None),
    }
}

pub fn providers(app: &App) -> Vec<ProviderButton<'_>> {
    app.providers.list().map(|(name, label)| ProviderButton { name, label }).collect()
}

/// The referral code that somebody brings along, by the address itself or by the client's request.
pub fn code_on(query: &Parameters, next: &str) -> Option<String> {
    let request = request_on(next);
    let said = [query.first("code"), query.first("referral_code"), request.first("referral_code")];
    said.into_iter().flatten().map(str::trim).find(|code| !code.is_empty()).map(str::to_owned)
}
