//! Around every request: its id, its time, panics caught, errors written out, headers that protect.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::problem::{self, Problem};
use crate::app::App;
use crate::kernel::error::Refusal;
use crate::kernel::ids::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of a path with its query.
const MOST_URI: usize = 8 * 1024;

pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = RequestId::new();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let too_long = request.uri().path_and_query().is_some_and(|uri| uri.as_str().len() > MOST_URI);
    let response = if too_long {
        Problem::from(Refusal::UriTooLong).into_response()
    } else {
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        answered.unwrap_or_else(|_| {
            let context = Some("a handler panicked".to_owned());
            Problem { context, ..Refusal::Internal.into() }.into_response()
        })
    };
    let mut response = write_problem(response, id);
    protect(&app, response.headers_mut(), id);
    let (status, took) = (response.status().as_u16(), began.elapsed());
    let route = matched.as_ref().map_or("(none)", MatchedPath::as_str);
    app.metrics.request(route, known(&method), status, took);
    // The route, not the path: paths hold addresses and codes.
    tracing::debug!(request = %id, %method, route, status, micros = took.as_micros() as u64, "answered");
    response
}

/// A method as a label: callers make up others without end.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

fn write_problem(mut response: Response, id: RequestId) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let status = problem::status(problem.refusal).as_u16();
    match &problem.context {
        Some(context) if status >= 500 => tracing::error!(request = %id, status, context, "a request failed"),
        _ => tracing::debug!(request = %id, status, code = problem.refusal.word(), "refused"),
    }
    problem.render(id)
}

/// Headers for every answer; pages have set a policy and a cache of their own.
fn protect(app: &App, headers: &mut HeaderMap, id: RequestId) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    if app.closed() {
        // Whoever goes on asking learns here, and not from a connection that is closed on their next request.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if app.is_behind_tls() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}
