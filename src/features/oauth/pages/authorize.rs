//! The authorization endpoint: who asks, who is asked, and what they say.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::Response;

use super::log_in::{LogInPage, ask_to_log_in};
use crate::app::App;
use crate::features::clients::model::RedirectUri;
use crate::features::oauth::actions;
use crate::features::oauth::model::{AuthorizationRequest, Fault, OAuthError, Rejected};
use crate::features::tokens::actions::browser_sessions;
use crate::features::tokens::model::BrowserSession;
use crate::kernel::error::Result;
use crate::kernel::parameters::Parameters;
use crate::web::client_address::ClientAddress;
use crate::web::extract::Form;
use crate::web::pages::{AUTHORIZE, leave, or_say, page, safe_next, say, see_other};
use crate::web::views::words::Words;
use crate::web::views::{Consent, Message, Way};
use crate::web::visitor::{ProtectedForm, Visitor};

pub async fn authorize(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Response {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    let words = visitor.words(parameters.first("ui_locales"));
    let answer = match app.limits.oauth_from(client).await {
        Ok(()) => lead(&app, &visitor, words, &parameters).await,
        Err(error) => Err(error),
    };
    or_say(&app, &visitor, words, answer)
}

/// OpenID Connect lets clients post their request; from here on it is in the address all the same.
pub async fn authorize_by_post(State(app): State<Arc<App>>, visitor: Visitor, Form(form): Form) -> Response {
    let words = visitor.words(form.first("ui_locales"));
    let location = format!("{AUTHORIZE}{}", form.query(|_, value| Some(value.to_owned())));
    let answer = see_other(&app, &visitor, &location).map(|mut response| {
        // The form is the client's, so a browser that is logged in here has sent no cookie. It keeps the one it has.
        response.headers_mut().remove(SET_COOKIE);
        response
    });
    let answer = answer.and_then(|response| leave(words, response));
    or_say(&app, &visitor, words, answer)
}

/// To the log-in, to the consent, or back to the client.
async fn lead(app: &App, visitor: &Visitor, words: &'static Words, parameters: &Parameters) -> Result<Response> {
    let request = match actions::read_request(app, parameters).await? {
        Ok(request) => request,
        Err(rejected) => return reject(app, visitor, words, rejected),
    };
    let wishes = &request.wishes;
    let prompt = wishes.prompt;
    let followed = format!("{AUTHORIZE}{}", AuthorizationRequest::followed(parameters));
    if prompt.create {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("next", &followed);
        return see_other(app, visitor, &format!("/oauth/register?{}", query.finish()));
    }
    let now = app.clock.now();
    let young = |person: &BrowserSession| {
        let at = person.authenticated_at;
        !prompt.login && wishes.max_age.is_none_or(|most| now.is_soon_after(at, Duration::from_secs(most)))
    };
    let Some(person) = browser_sessions::person(app, visitor).await?.filter(young) else {
        if prompt.none {
            return tell(app, visitor, &request, Fault::new(OAuthError::LoginRequired, "The person has to log in"));
        }
        let log_in = LogInPage {
            next: &followed,
            username: parameters.first("login_hint").unwrap_or_default(),
            code: parameters.first("referral_code"),
            alert: None,
        };
        return ask_to_log_in(app, visitor, words, StatusCode::OK, &log_in).await;
    };
    if actions::has_consent(app, person.user, &request).await? {
        return allow(app, visitor, &request, &person, false).await;
    }
    if prompt.none {
        return tell(app, visitor, &request, Fault::new(OAuthError::ConsentRequired, "The person has to be asked"));
    }
    let view = Consent {
        words,
        csrf: &visitor.csrf(),
        next: &format!("{AUTHORIZE}{}", parameters.query(|_, value| Some(value.to_owned()))),
        client: &request.client.name,
        host: &request.redirect_uri.host(),
        user: &person.username,
        scopes: wishes.scopes,
    };
    page(app, visitor, StatusCode::OK, &view)
}

/// What the person says.
pub async fn consent(State(app): State<Arc<App>>, visitor: Visitor, form: ProtectedForm) -> Response {
    let next = safe_next(form.unverified().first("next"));
    let parameters = Parameters::parse(next.strip_prefix(AUTHORIZE).unwrap_or_default().as_bytes());
    let words = visitor.words(parameters.first("ui_locales"));
    let answer = decide(&app, &visitor, words, &form, next, &parameters).await;
    let answer = answer.and_then(|response| leave(words, response));
    or_say(&app, &visitor, words, answer)
}

async fn decide(
    app: &App,
    visitor: &Visitor,
    words: &'static Words,
    form: &ProtectedForm,
    next: &str,
    parameters: &Parameters,
) -> Result<Response> {
    let Some(form) = form.verified(visitor) else {
        return say(app, visitor, words, StatusCode::FORBIDDEN, Message::Expired, Way::Again(next));
    };
    let request = match actions::read_request(app, parameters).await? {
        Ok(request) => request,
        Err(rejected) => return reject(app, visitor, words, rejected),
    };
    let Some(person) = browser_sessions::person(app, visitor).await? else { return see_other(app, visitor, next) };
    match form.first("decision") {
        Some("allow") => allow(app, visitor, &request, &person, true).await,
        _ => tell(app, visitor, &request, Fault::new(OAuthError::AccessDenied, "The person has said no")),
    }
}

async fn allow(
    app: &App,
    visitor: &Visitor,
    request: &AuthorizationRequest,
    person: &BrowserSession,
    asked: bool,
) -> Result<Response> {
    let code = actions::issue_code(app, visitor.actor, person, request, asked).await?;
    send_back(app, visitor, &request.redirect_uri, request.state.as_deref(), &[("code", &code)])
}

fn tell(app: &App, visitor: &Visitor, request: &AuthorizationRequest, fault: Fault) -> Result<Response> {
    tell_at(app, visitor, &request.redirect_uri, request.state.as_deref(), &fault)
}

fn tell_at(app: &App, visitor: &Visitor, to: &RedirectUri, state: Option<&str>, fault: &Fault) -> Result<Response> {
    let answer = [("error", fault.wrong.word()), ("error_description", fault.sentence)];
    send_back(app, visitor, to, state, &answer)
}

/// Back to the client, with the name of who answers (RFC 9207).
fn send_back(
    app: &App,
    visitor: &Visitor,
    to: &RedirectUri,
    state: Option<&str>,
    answer: &[(&str, &str)],
) -> Result<Response> {
    let mut parameters = answer.to_vec();
    parameters.extend(state.map(|state| ("state", state)));
    parameters.push(("iss", app.public_url()));
    see_other(app, visitor, &to.with(&parameters))
}

fn reject(app: &App, visitor: &Visitor, words: &'static Words, rejected: Rejected) -> Result<Response> {
    let bad = StatusCode::BAD_REQUEST;
    match rejected {
        Rejected::UnknownClient => say(app, visitor, words, bad, Message::UnknownClient, Way::Apps),
        Rejected::BadRedirect => say(app, visitor, words, bad, Message::BadRedirect, Way::Apps),
        Rejected::Told(to, state, fault) => tell_at(app, visitor, &to, state.as_deref(), &fault),
    }
}
