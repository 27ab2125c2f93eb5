//! The page to log in on, as every page shows it that needs somebody who is logged in.

use axum::http::StatusCode;
use axum::response::Response;

use crate::app::App;
use crate::features::oauth::actions;
use crate::kernel::error::Result;
use crate::kernel::parameters::Parameters;
use crate::web::pages::{AUTHORIZE, page, request_on};
use crate::web::views::notes::Alert;
use crate::web::views::words::Words;
use crate::web::views::{Login, Provider};
use crate::web::visitor::Visitor;

/// What a log-in page is made with.
pub struct LogInPage<'a> {
    /// A path of ours.
    pub next: &'a str,
    pub username: &'a str,
    /// The referral code brought along.
    pub code: Option<&'a str>,
    pub alert: Option<Alert>,
}

/// The page to log in on.
pub async fn ask_to_log_in(
    app: &App,
    visitor: &Visitor,
    words: &'static Words,
    status: StatusCode,
    asked: &LogInPage<'_>,
) -> Result<Response> {
    let asker = asker(app, asked.next).await?;
    let view = Login {
        words,
        csrf: &visitor.csrf(),
        next: asked.next,
        client: asker.as_deref(),
        username: asked.username,
        code: asked.code,
        providers: &providers(app),
        mails: app.config.mail.is_on(),
        alert: asked.alert,
    };
    page(app, visitor, status, &view)
}

/// The client that has sent the person.
pub async fn asker(app: &App, next: &str) -> Result<Option<String>> {
    let Some(query) = next.strip_prefix(AUTHORIZE) else { return Ok(None) };
    let request = actions::read_request(app, &Parameters::parse(query.as_bytes())).await?;
    Ok(request.ok().map(|request| request.client.name))
}

pub fn providers(app: &App) -> Vec<Provider<'_>> {
    app.providers.list().map(|(name, label)| Provider { name, label }).collect()
}

/// The words of who is on the way to `next`.
pub fn words_for(visitor: &Visitor, next: &str) -> &'static Words {
    visitor.words(request_on(next).first("ui_locales"))
}

/// The referral code that somebody brings along, by the address itself or by the client's request.
pub fn code_on(query: &Parameters, next: &str) -> Option<String> {
    let request = request_on(next);
    let said = [query.first("code"), query.first("referral_code"), request.first("referral_code")];
    said.into_iter().flatten().map(str::trim).find(|code| !code.is_empty()).map(str::to_owned)
}
