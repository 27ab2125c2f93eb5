//! What a person has allowed which apps.

use axum::http::StatusCode;
use axum::response::Response;

use super::log_in::{LogInPage, ask_to_log_in};
use crate::features::clients::actions::consents;
use crate::features::tokens::actions::browser_sessions;
use crate::kernel::error::{Error, Refusal, Result};
use crate::web::browser::Browser;
use crate::web::views::{AllowedApp, Apps, Message, NextStep};
use crate::web::visitor::ProtectedForm;

pub async fn apps(browser: Browser) -> Response {
    browser.or_say(show(&browser, None).await)
}

/// `withdrawn`: the client from which access has just been withdrawn.
async fn show(browser: &Browser, withdrawn: Option<&str>) -> Result<Response> {
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
    let (words, csrf) = (browser.words, browser.visitor.csrf());
    let view = Apps { words, csrf: &csrf, user: &person.username, apps: &apps, withdrawn };
    browser.page(StatusCode::OK, &view)
}

pub async fn withdraw_on_page(browser: Browser, form: ProtectedForm) -> Response {
    browser.or_say(withdraw(&browser, &form).await)
}

async fn withdraw(browser: &Browser, form: &ProtectedForm) -> Result<Response> {
    let app = &browser.app;
    let Some(form) = form.verified(&browser.visitor) else {
        return browser.say(StatusCode::FORBIDDEN, Message::Expired, NextStep::Home);
    };
    let Some(person) = browser_sessions::person(app, &browser.visitor).await? else {
        return show(browser, None).await;
    };
    let client = form.first("client_id").unwrap_or_default();
    let consents = consents::list(app, person.user).await?;
    let name = consents.into_iter().find(|consent| consent.client_id == client).map(|consent| consent.name);
    match consents::withdraw(app, browser.actor().person(person.user).into(), person.user, client).await {
        // Twice is once: a form may be sent again.
        Ok(()) | Err(Error::Refused(Refusal::ConsentNotFound)) => show(browser, name.as_deref()).await,
        Err(error) => Err(error),
    }
}
