//! Answers of the pages that people log in and consent on.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, LOCATION, REFRESH, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, status};
pub use super::views::HOME;
use super::views::destination::Destination;
use super::views::notes::whole_seconds;
use super::views::words::Words;
use super::views::{Leaving, Message, MessagePage, NextStep, RefusalPage, View, render};
use super::visitor::Visitor;
use crate::app::App;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::RequestId;
use crate::kernel::parameters::Parameters;

/// Where a log-in leads when no program has sent the person, and they have just made an account.
pub const HOME_REGISTERED: &str = "/share?done=registered";
/// Where people make an account.
pub const REGISTER: &str = "/oauth/register";
/// The same, for whom somebody has invited in vain.
pub const REGISTER_ENDED: &str = "/oauth/register?invitation=ended";
/// Where an authorization request begins.
pub const AUTHORIZE: &str = "/oauth/authorize?";

/// Where a person goes on to, as forms carry it with them: only paths of ours, whatever they say, spelled as we do:
/// encoded, so that headers take them and databases too.
pub fn safe_next(next: Option<&str>) -> &str {
    let ours = |next: &&str| next.starts_with(AUTHORIZE) && Destination::of(next).is_some();
    next.filter(ours).unwrap_or(HOME)
}

/// Where a new account leads: whom no program has sent, is told that the account is there.
pub fn after_registration(next: &str) -> &str {
    if next == HOME { HOME_REGISTERED } else { next }
}

/// The parameters of the authorization request that such a path leads to.
pub fn request_on(next: &str) -> Parameters {
    Parameters::parse(next.strip_prefix(AUTHORIZE).unwrap_or_default().as_bytes())
}

/// A page, with the cookie if the browser has none.
pub fn page(app: &App, visitor: &Visitor, status: StatusCode, view: &impl View) -> Result<Response> {
    let (headers, html) = render(view, &app.brand)?;
    let mut response = (status, headers, html).into_response();
    visitor.remember(app, response.headers_mut());
    Ok(response)
}

/// Sends the browser on with a GET, whatever brought it here (BCP 9700, 4.12).
pub fn see_other(app: &App, visitor: &Visitor, location: &str) -> Result<Response> {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let value =
        HeaderValue::from_str(location).map_err(|_| Error::Internal("an address that no header takes".into()))?;
    response.headers_mut().insert(LOCATION, value);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    visitor.remember(app, response.headers_mut());
    Ok(response)
}

/// The answer to a form. Chromium holds every redirect behind a form to the `form-action` of the form's page, those of
/// the client's own callback too. So no redirect leads from a form to others, nor to the authorization endpoint, which
/// may redirect to them: a page of ours goes there by itself, and what it meets is behind no form any more.
pub fn leave(app: &App, words: &'static Words, answer: Response) -> Result<Response> {
    let (mut parts, body) = answer.into_parts();
    let Some(location) = parts.headers.get(LOCATION) else { return Ok(Response::from_parts(parts, body)) };
    let location = location.to_str().unwrap_or_default().to_owned();
    if location.starts_with('/') && !location.starts_with(AUTHORIZE) {
        return Ok(Response::from_parts(parts, body));
    }
    let no_header = || Error::Internal("an address that no page leads to".into());
    let to = Destination::of(&location).ok_or_else(no_header)?;
    let (headers, html) = render(&Leaving { words, to: &to }, &app.brand)?;
    let refresh = HeaderValue::from_str(&format!("0; url={}", to.address())).map_err(|_| no_header())?;
    parts.status = StatusCode::OK;
    parts.headers.remove(LOCATION);
    parts.headers.extend(headers);
    parts.headers.insert(REFRESH, refresh);
    Ok(Response::from_parts(parts, Body::from(html)))
}

/// A page that says one thing.
pub fn say(
    app: &App,
    visitor: &Visitor,
    words: &'static Words,
    status: StatusCode,
    message: Message<'_>,
    next_step: NextStep<'_>,
) -> Result<Response> {
    page(app, visitor, status, &MessagePage { words, message, next_step })
}

/// The answer, or a page that says what went wrong.
pub fn or_say(app: &App, visitor: &Visitor, words: &'static Words, answer: Result<Response>) -> Response {
    let error = match answer {
        Ok(response) => return response,
        Err(error) => error,
    };
    let problem = Problem::from(error);
    let message = message(&problem);
    let next_step = match problem.refusal {
        Refusal::SignInExpired => NextStep::LogIn(HOME),
        Refusal::LinkExpired if app.config.mail.is_on() => NextStep::Reset,
        _ => NextStep::Home,
    };
    if let Some(context) = problem.context.as_ref().filter(|_| problem.refusal == Refusal::Internal) {
        tracing::error!(context, "a page failed");
    }
    let status = match problem.refusal {
        // A page asks for no scheme of HTTP's, which a 401 would have to name.
        Refusal::BadCredentials => StatusCode::FORBIDDEN,
        refusal => status(refusal),
    };
    match say(app, visitor, words, status, message, next_step) {
        Ok(mut response) => {
            retry(&mut response, problem.retry_after);
            response
        }
        Err(_) => problem.into_response(),
    }
}

/// What a page says of a refusal.
fn message(problem: &Problem) -> Message<'static> {
    match problem.refusal {
        Refusal::EmailCheckPending => Message::EmailCheckPending,
        Refusal::EmailRefused => Message::EmailRefused,
        Refusal::EmailUnconfirmed => Message::ConfirmFirst,
        Refusal::RateLimited => Message::TooManyTries(problem.retry_after.map_or(1, whole_seconds)),
        // Nothing was done, and a moment later it may be.
        Refusal::Overloaded | Refusal::ReadOnly => Message::Overloaded,
        Refusal::Unavailable => Message::Unavailable,
        Refusal::Internal => Message::Internal,
        Refusal::NotFound => Message::NotFound,
        Refusal::LinkNotFound => Message::UnknownLink,
        Refusal::SignInExpired => Message::Expired,
        Refusal::LinkExpired => Message::LinkExpired,
        Refusal::MethodNotAllowed => Message::WrongMethod,
        Refusal::TooLarge => Message::TooLarge,
        Refusal::UriTooLong => Message::AddressTooLong,
        Refusal::UnsupportedMediaType | Refusal::Invalid | Refusal::Malformed | Refusal::RequestTimeout => {
            Message::Unreadable
        }
        _ => Message::AccessDenied,
    }
}

/// A refusal for a browser that is on none of the pages above, so it has no form to be told on.
pub fn refusal(app: &App, problem: &Problem, words: &'static Words, request: RequestId) -> Result<(HeaderMap, String)> {
    let view = RefusalPage {
        words,
        message: message(problem),
        status: status(problem.refusal).as_u16(),
        code: problem.refusal.word(),
        request: &request.to_string(),
    };
    render(&view, &app.brand)
}

/// When to come back.
pub fn retry(response: &mut Response, after: Option<std::time::Duration>) {
    if let Some(after) = after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_way_on_is_one_that_a_page_leads_to() {
        let ours = "/oauth/authorize?client_id=docs&state=%22";
        assert_eq!(safe_next(Some(ours)), ours);
        for other in ["/oauth/authorize?state=\"", "/oauth/authorize?<", "//evil.example", "https://evil.example", ""] {
            assert_eq!(safe_next(Some(other)), HOME, "{other}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_form_carries_leads_on(next in "(/oauth/authorize\\?)?\\PC{0,20}") {
            prop_assert!(Destination::of(safe_next(Some(&next))).is_some());
        }
    }
}
