//! What browsers let pages of other origins read of our answers (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).
//!
//! What is public is open to all, the API to the origins in the settings, our pages to nobody; and nothing to requests
//! with credentials, for the cookie is for our own pages. It is part of the guard: a layer around it would answer without
//! id, figures and the headers that protect, and one within would leave what the guard itself answers unreadable.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::config;

/// Seconds that a browser remembers what it may ask; no browser remembers longer.
const MEMORY: &str = "7200";

/// Who may read what.
#[derive(Default)]
pub struct Cors {
    origins: Vec<HeaderValue>,
}

/// Who may read the answer to a request.
pub enum Readers {
    Everybody,
    /// The origin that asks, if it is in the settings.
    Listed(Option<HeaderValue>),
    Nobody,
}

impl Cors {
    pub fn new(settings: &config::Http) -> Self {
        let origins = settings.cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        Self { origins: origins.collect() }
    }

    /// By the template of its route, and whether that is the API's or none: what is nowhere is no page.
    pub fn readers(&self, route: &str, is_api: bool, headers: &HeaderMap) -> Readers {
        if route.starts_with("/.well-known/") || route == "/openapi.json" {
            return Readers::Everybody;
        }
        if self.origins.is_empty() || !is_api {
            return Readers::Nobody;
        }
        Readers::Listed(headers.get(ORIGIN).filter(|origin| self.origins.contains(origin)).cloned())
    }
}

impl Readers {
    /// The answer to a browser that asks whether it may send a page's request, if it may.
    pub fn preflight(&self, request: &Request) -> Option<Response> {
        let open = matches!(self, Self::Everybody | Self::Listed(Some(_)));
        let asks = || request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        (open && *request.method() == Method::OPTIONS && asks()).then(|| {
            let headers = [
                (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, PATCH, DELETE"),
                // The asterisk does not mean this one.
                (ACCESS_CONTROL_ALLOW_HEADERS, "*, authorization"),
                (ACCESS_CONTROL_MAX_AGE, MEMORY),
            ];
            (StatusCode::NO_CONTENT, headers).into_response()
        })
    }

    /// Tells the browser, and caches that another origin's answer is another.
    pub fn tell(self, headers: &mut HeaderMap) {
        let origin = match self {
            Self::Everybody => HeaderValue::from_static("*"),
            Self::Listed(origin) => {
                headers.append(VARY, HeaderValue::from_static("origin"));
                let Some(origin) = origin else { return };
                origin
            }
            Self::Nobody => return,
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    }
}
