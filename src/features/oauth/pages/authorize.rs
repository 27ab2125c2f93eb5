//! The authorization endpoint: who asks, who is asked, and what they say.

use std::time::Duration;

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::Response;

use super::log_in::{LogInPage, ask_to_log_in};
use crate::features::clients::model::RedirectUri;
use crate::features::oauth::actions;
use crate::features::oauth::model::request::{AuthorizationRequest, Rejected};
use crate::features::oauth::model::{Fault, OAuthError};
use crate::features::tokens::actions::browser_sessions;
use crate::features::tokens::model::BrowserSession;
use crate::kernel::error::Result;
use crate::kernel::parameters::Parameters;
use crate::web::browser::Browser;
use crate::web::extract::Form;
use crate::web::pages::{AUTHORIZE, request_on};
use crate::web::views::{Consent, Message, NextStep};
use crate::web::visitor::ProtectedForm;

pub async fn authorize(mut browser: Browser, RawQuery(query): RawQuery) -> Response {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    browser.speaks(parameters.first("ui_locales"));
    let answer = lead(&mut browser, &parameters).await;
    browser.or_say(answer)
}

/// OpenID Connect lets clients post their request; from here on it is in the address all the same.
pub async fn authorize_by_post(mut browser: Browser, Form(form): Form) -> Response {
    browser.speaks(form.first("ui_locales"));
    let location = format!("{AUTHORIZE}{}", form.query(|_, value| Some(value.to_owned())));
    let answer = browser.see_other(&location).map(|mut response| {
        // The form is the client's, so a browser that is logged in here has sent no cookie. It keeps the one it has.
        response.headers_mut().remove(SET_COOKIE);
        response
    });
    browser.or_say(answer.and_then(|response| browser.leave(response)))
}

/// To the log-in, to the consent, or back to the client.
async fn lead(browser: &mut Browser, parameters: &Parameters) -> Result<Response> {
    browser.app.limits.oauth_from(browser.address).await?;
    let request = match actions::read_request(&browser.app, parameters).await {
        Ok(request) => request,
        Err(rejected) => return reject(browser, rejected),
    };
    let wishes = &request.wishes;
    let prompt = wishes.prompt;
    let followed = format!("{AUTHORIZE}{}", AuthorizationRequest::followed(parameters));
    if prompt.create {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("next", &followed);
        return browser.see_other(&format!("/oauth/register?{}", query.finish()));
    }
    let now = browser.app.clock.now();
    let young = |person: &BrowserSession| {
        let at = person.authenticated_at;
        !prompt.login && wishes.max_age.is_none_or(|most| now.is_soon_after(at, Duration::from_secs(most)))
    };
    let Some(person) = browser_sessions::person(&browser.app, &browser.visitor).await?.filter(young) else {
        if prompt.none {
            return tell(browser, &request, Fault::new(OAuthError::LoginRequired, "The person has to log in"));
        }
        browser.next = followed;
        let log_in = LogInPage {
            username: parameters.first("login_hint").unwrap_or_default(),
            code: parameters.first("referral_code"),
            alert: None,
        };
        return ask_to_log_in(browser, StatusCode::OK, &log_in).await;
    };
    if actions::has_consent(&browser.app, person.user, &request).await? {
        return allow(browser, &request, &person, false).await;
    }
    if prompt.none {
        return tell(browser, &request, Fault::new(OAuthError::ConsentRequired, "The person has to be asked"));
    }
    let view = Consent {
        words: browser.words,
        csrf: &browser.visitor.csrf(),
        next: &format!("{AUTHORIZE}{}", parameters.query(|_, value| Some(value.to_owned()))),
        client: &request.client.name,
        host: &request.redirect_uri.host(),
        user: &person.username,
        scopes: wishes.scopes,
    };
    browser.page(StatusCode::OK, &view)
}

/// What the person says.
pub async fn consent(mut browser: Browser, form: ProtectedForm) -> Response {
    browser.goes_on_to(form.unverified().first("next"));
    let answer = decide(&browser, &form).await;
    browser.or_say(answer.and_then(|response| browser.leave(response)))
}

async fn decide(browser: &Browser, form: &ProtectedForm) -> Result<Response> {
    let next = &browser.next;
    let Some(form) = form.verified(&browser.visitor) else {
        return browser.say(StatusCode::FORBIDDEN, Message::Expired, NextStep::Again(next));
    };
    let request = match actions::read_request(&browser.app, &request_on(next)).await {
        Ok(request) => request,
        Err(rejected) => return reject(browser, rejected),
    };
    let Some(person) = browser_sessions::person(&browser.app, &browser.visitor).await? else {
        return browser.see_other(next);
    };
    match form.first("decision") {
        Some("allow") => allow(browser, &request, &person, true).await,
        _ => tell(browser, &request, Fault::new(OAuthError::AccessDenied, "The person has said no")),
    }
}

async fn allow(
    browser: &Browser,
    request: &AuthorizationRequest,
    person: &BrowserSession,
    asked: bool,
) -> Result<Response> {
    let code = actions::issue_code(&browser.app, browser.actor(), person, request, asked).await?;
    send_back(browser, &request.redirect_uri, request.state.as_deref(), &[("code", &code)])
}

fn tell(browser: &Browser, request: &AuthorizationRequest, fault: Fault) -> Result<Response> {
    tell_at(browser, &request.redirect_uri, request.state.as_deref(), &fault)
}

fn tell_at(browser: &Browser, to: &RedirectUri, state: Option<&str>, fault: &Fault) -> Result<Response> {
    send_back(browser, to, state, &[("error", fault.wrong.word()), ("error_description", fault.sentence)])
}

/// Back to the client, with the name of who answers (RFC 9207).
fn send_back(browser: &Browser, to: &RedirectUri, state: Option<&str>, answer: &[(&str, &str)]) -> Result<Response> {
    let mut parameters = answer.to_vec();
    parameters.extend(state.map(|state| ("state", state)));
    parameters.push(("iss", browser.app.public_url()));
    browser.see_other(&to.with(&parameters))
}

fn reject(browser: &Browser, rejected: Rejected) -> Result<Response> {
    let bad = StatusCode::BAD_REQUEST;
    match rejected {
        Rejected::UnknownClient => browser.say(bad, Message::UnknownClient, NextStep::Home),
        Rejected::BadRedirect => browser.say(bad, Message::BadRedirect, NextStep::Home),
        Rejected::Told(to, state, fault) => tell_at(browser, &to, state.as_deref(), &fault),
        Rejected::Failed(error) => Err(error),
    }
}
