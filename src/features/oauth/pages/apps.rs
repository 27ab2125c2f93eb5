//! A person's account at our own pages: their code, and what they have allowed which apps.

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::Response;

use super::log_in::{LogInPage, ask_to_log_in};
use crate::app::App;
use crate::features::clients::actions::consents;
use crate::features::codes;
use crate::features::tokens::actions::browser_sessions;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::parameters::Parameters;
use crate::kernel::time::Time;
use crate::web::browser::Browser;
use crate::web::views::{AllowedApp, Apps, Message, OwnCode, Way};
use crate::web::visitor::ProtectedForm;

pub async fn apps(browser: Browser, RawQuery(query): RawQuery) -> Response {
    let news = match Parameters::parse(query.unwrap_or_default().as_bytes()).first("registered") {
        Some(_) => News::Registered,
        None => News::None,
    };
    browser.or_say(show(&browser, news).await)
}

/// What has just happened to the account.
#[derive(Clone, Copy)]
enum News<'a> {
    None,
    Registered,
    /// Access was withdrawn from this client.
    Withdrawn(&'a str),
}

async fn show(browser: &Browser, news: News<'_>) -> Result<Response> {
    let app = &browser.app;
    let Some(person) = browser_sessions::person(app, &browser.visitor).await? else {
        return ask_to_log_in(browser, StatusCode::OK, &LogInPage::default()).await;
    };
    let consents = consents::list(app, person.user).await?;
    let apps: Vec<AllowedApp<'_>> = consents
        .iter()
        .map(|consent| AllowedApp {
            client_id: &consent.client_id,
            name: &consent.name,
            scopes: consent.scopes,
            since: consent.granted_at,
        })
        .collect();
    let active = codes::actions::active_of(app, person.user).await?;
    let link = active.as_ref().map(|active| register_with(app, &active.code)).unwrap_or_default();
    let view = Apps {
        words: browser.words,
        csrf: &browser.visitor.csrf(),
        user: &person.username,
        registered: matches!(news, News::Registered),
        code: active.as_ref().map(|active| OwnCode {
            code: &active.code,
            expires_at: Time(active.expires_at),
            link: &link,
        }),
        apps: &apps,
        withdrawn: match news {
            News::Withdrawn(client) => Some(client),
            News::None | News::Registered => None,
        },
    };
    browser.page(StatusCode::OK, &view)
}

/// The page to register on with a code, in full: people send it to each other.
fn register_with(app: &App, code: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("code", code).finish();
    format!("{}/oauth/register?{query}", app.public_url())
}

pub async fn withdraw_on_page(browser: Browser, form: ProtectedForm) -> Response {
    browser.or_say(withdraw(&browser, &form).await)
}

async fn withdraw(browser: &Browser, form: &ProtectedForm) -> Result<Response> {
    let app = &browser.app;
    let Some(form) = form.verified(&browser.visitor) else {
        return browser.say(StatusCode::FORBIDDEN, Message::Expired, Way::Apps);
    };
    let Some(person) = browser_sessions::person(app, &browser.visitor).await? else {
        return show(browser, News::None).await;
    };
    let client = form.first("client_id").unwrap_or_default();
    let consents = consents::list(app, person.user).await?;
    let name = consents.into_iter().find(|consent| consent.client_id == client).map(|consent| consent.name);
    match consents::withdraw(app, browser.actor().person(person.user).into(), person.user, client).await {
        // Twice is once: a form may be sent again.
        Ok(()) | Err(Error::Refused(Refusal::ConsentNotFound)) => {
            show(browser, name.as_deref().map_or(News::None, News::Withdrawn)).await
        }
        Err(error) => Err(error),
    }
}
