//! Around every request: its id, its time and the end of its time, panics caught, errors written out, headers that
//! protect or open.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::accept::prefers_page;
use super::correlation::Correlation;
use super::cors::Cors;
use super::malformed;
use crate::app::App;
use crate::kernel::deadline::{self, Ended};
use crate::kernel::error::Refusal;
use crate::limits::told::{self, Counted};
use crate::web::client_address::Peer;
use crate::web::problem::{self, Problem};
use crate::web::views::language::Language;
use crate::web::views::words::Words;
use crate::web::{idempotency, pages};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Routes that have another deadline than `http.request_seconds`.
const DEADLINES: &[(&str, Duration)] = &[
    // They ask an identity provider up to four times, one after the other, for five seconds at most.
    ("/oauth/login/{provider}", Duration::from_secs(25)),
    ("/oauth/callback/{provider}", Duration::from_secs(25)),
    // It waits for a receiver's answer, for 15 seconds at most.
    ("/api/v1/webhook-endpoints/{endpoint_id}/test", Duration::from_secs(25)),
    // It waits for messages, for 25 seconds at most.
    ("/api/v1/webhook-messages", Duration::from_secs(35)),
    // Up to 500 items, each of which may need a unit of work of its own.
    ("/api/v1/participants", Duration::from_secs(30)),
    ("/api/v1/events/batch", Duration::from_secs(30)),
];

/// How long a 429 is held back. Whoever asks again at once would otherwise be refused as fast as the processors can,
/// and others would wait for them.
const REFUSED: Duration = Duration::from_millis(500);

/// What the requests of a listener are guarded with.
pub struct Guard {
    pub app: Arc<App>,
    pub cors: Cors,
    /// The routes that the document describes. What else is refused is a page for who asks for one; a listener that has
    /// no pages has nothing here.
    pub described: Option<HashSet<String>>,
}

pub async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let app = &guard.app;
    let began = Instant::now();
    let names = Correlation::of(request.extensions().get::<Peer>(), request.headers());
    // For those below who say who makes a change.
    request.extensions_mut().insert(names.id);
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("(none)", MatchedPath::as_str);
    let described = guard.described.as_ref().map(|routes| routes.contains(route));
    let is_api = matched.is_none() || described == Some(true);
    let readers = guard.cors.readers(route, is_api, request.headers());
    let unfit = malformed::unfit(&request);
    let reader = described.map(|described| Reader::of(request.headers(), described));
    let (mut response, wrote, counted) = if let Some(refusal) = unfit {
        (Problem::from(refusal).into_response(), false, Vec::new())
    } else if let Some(response) = readers.preflight(&request) {
        (response, false, Vec::new())
    } else {
        let limit = limit(route).unwrap_or(app.config.http.request());
        let noted = idempotency::note(&mut request);
        let answering = async {
            let response = next.run(request).await;
            match noted {
                Some(noted) => idempotency::or_first_answer(app, &noted, response).await,
                None => response,
            }
        };
        let work = deadline::request(limit, AssertUnwindSafe(answering).catch_unwind());
        let (ended, counted) = told::counting(work).await;
        let wrote = ended.wrote;
        (answer(ended), wrote, counted)
    };
    if let Some(problem) = response.extensions_mut().get_mut::<Problem>() {
        problem.violated.extend(counted.iter().filter(|one| one.refused).map(|one| one.quota));
    }
    let mut response = write_problem(app, response, &names, wrote, reader);
    let headers = response.headers_mut();
    if described == Some(true) {
        tell(&counted, headers);
    }
    protect(app, headers);
    readers.tell(headers);
    if let Some(name) = names.header() {
        headers.insert(REQUEST_ID, name);
    }
    if unfit == Some(Refusal::Malformed) {
        // Who is wrong about one request may be wrong about where the next begins.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let (status, took) = (response.status().as_u16(), began.elapsed());
    app.metrics.request(route, known(&method), status, took);
    // The route, not the path: paths hold addresses and codes.
    tracing::debug!(
        request = %names.id,
        proxy_request = names.proxy,
        trace = names.trace_id(),
        parent = names.parent_id(),
        %method,
        route,
        status,
        micros = took.as_micros() as u64,
        "answered"
    );
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        tokio::time::sleep(REFUSED).await;
    }
    response
}

/// Tells a program how much it may ask (draft-ietf-httpapi-ratelimit-headers-11). Who is refused hears of what has
/// refused it alone: then nothing that is told ends later than `Retry-After`.
fn tell(counted: &[Counted], headers: &mut HeaderMap) {
    let mut insert = |name: HeaderName, items: Vec<String>| {
        if let Some(value) = HeaderValue::from_str(&items.join(", ")).ok().filter(|_| !items.is_empty()) {
            headers.insert(name, value);
        }
    };
    let refused = counted.iter().any(|one| one.refused);
    insert(RATE_LIMIT_POLICY, counted.iter().map(Counted::policy).collect());
    insert(RATE_LIMIT, counted.iter().filter(|one| one.refused || !refused).map(Counted::limit).collect());
}

/// The deadline of a route that has one of its own.
fn limit(route: &str) -> Option<Duration> {
    DEADLINES.iter().find(|(known, _)| *known == route).map(|(_, limit)| *limit)
}

fn answer(ended: Ended<std::thread::Result<Response>>) -> Response {
    let context = match ended.outcome {
        Some(Ok(response)) => return response,
        Some(Err(_)) => {
            let context = Some("a handler panicked".to_owned());
            return Problem { context, ..Refusal::Internal.into() }.into_response();
        }
        None => Some("not answered within the time that a request has".to_owned()),
    };
    if ended.receiving {
        return Problem::from(Refusal::RequestTimeout).into_response();
    }
    Problem { context, retry_after: Some(Duration::from_secs(1)), ..Refusal::Overloaded.into() }.into_response()
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

/// Who will read what is refused.
struct Reader {
    /// What they accept, to be read only if something is refused.
    accept: Vec<HeaderValue>,
    language: Option<HeaderValue>,
    /// Whether the route promises problems as JSON, whatever `Accept` says: programs that take any type send all sorts.
    described: bool,
}

impl Reader {
    fn of(headers: &HeaderMap, described: bool) -> Self {
        let accept = headers.get_all(ACCEPT).iter().cloned().collect();
        Self { accept, language: headers.get(ACCEPT_LANGUAGE).cloned(), described }
    }

    /// The language of a page, if that is what they like better.
    fn words(&self) -> Option<&'static Words> {
        let language = self.language.as_ref().and_then(|value| value.to_str().ok());
        prefers_page(&self.accept).then(|| Language::of(language, None).words())
    }
}

fn write_problem(
    app: &App,
    mut response: Response,
    names: &Correlation,
    wrote: bool,
    reader: Option<Reader>,
) -> Response {
    let Some(mut problem) = response.extensions_mut().remove::<Problem>() else { return response };
    // This word promises that nothing was done; what was held up may have done something before.
    if problem.refusal == Refusal::Overloaded && wrote {
        problem.refusal = Refusal::Unavailable;
    }
    let status = problem::status(problem.refusal).as_u16();
    match &problem.context {
        Some(context) if status >= 500 => tracing::error!(
            request = %names.id,
            proxy_request = names.proxy,
            trace = names.trace_id(),
            parent = names.parent_id(),
            status,
            context,
            "a request failed"
        ),
        _ => tracing::debug!(request = %names.id, status, code = problem.refusal.word(), "refused"),
    }
    let response = problem.render(names.id);
    // What a route answers to other methods is no promise of its operations.
    match reader.filter(|reader| !reader.described || problem.refusal == Refusal::MethodNotAllowed) {
        Some(reader) => for_reader(app, response, &problem, names, reader),
        None => response,
    }
}

/// The refusal as its reader wants it.
fn for_reader(app: &App, mut response: Response, problem: &Problem, names: &Correlation, reader: Reader) -> Response {
    if let Some(words) = reader.words()
        && let Ok((headers, html)) = pages::refusal(app, problem, words, names.id)
    {
        response.headers_mut().extend(headers);
        *response.body_mut() = html.into();
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    response
}

/// Headers for every answer; pages have set a policy and a cache of their own.
pub fn protect(app: &App, headers: &mut HeaderMap) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_with_a_deadline_of_their_own_are_routes() {
        let sources = concat!(
            include_str!("../features/signin/pages.rs"),
            include_str!("../features/webhooks/api/mod.rs"),
            include_str!("../features/webhooks/api/feed.rs"),
            include_str!("../features/participants/api/batch.rs"),
            include_str!("../features/rewards/api/batch.rs")
        );
        for (route, _) in DEADLINES {
            assert!(sources.contains(&format!("\"{route}\"")), "{route}");
        }
        assert_eq!(limit("/api/v1/me"), None);
        assert_eq!(limit("/oauth/callback/{provider}"), Some(Duration::from_secs(25)));
    }
}
