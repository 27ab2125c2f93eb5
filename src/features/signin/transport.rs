//! The way to identity providers: where requests may go, how long they may take and how much they may bring.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use openidconnect::http::Response;
use openidconnect::url::Url;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};

use crate::config;

/// More is no answer of a provider's.
const MOST_BYTES: usize = 1024 * 1024;

/// The only way to a provider.
pub struct Http {
    client: reqwest::Client,
    /// Whether this machine's own addresses may be spoken to without TLS, because the issuer is one of them.
    plain: bool,
}

#[derive(Debug)]
pub enum HttpFault {
    /// The address is none that we go to.
    Forbidden,
    /// No connection, or no whole answer in time.
    Unreachable(String),
    /// An answer that none may be.
    Broken(String),
}

impl fmt::Display for HttpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden => f.write_str("the metadata has an address that is not https"),
            Self::Unreachable(text) | Self::Broken(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for HttpFault {}

/// One for all providers, so that connections are kept.
pub fn client(patience: Duration) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .timeout(patience)
        .connect_timeout(patience)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("referral/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("cannot make an HTTP client: {error}"))
}

impl Http {
    pub fn to(issuer: &Url, client: &reqwest::Client) -> Self {
        Self { client: client.clone(), plain: issuer.scheme() == "http" }
    }

    /// Whether an address is one that requests, or people, may be sent to.
    pub fn goes_to(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.plain && url.scheme() == "http" && config::is_own(url)
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        let request = reqwest::Request::try_from(request)
            .map_err(|_| HttpFault::Broken("an address that no request can be sent to".to_owned()))?;
        if !self.goes_to(request.url()) {
            return Err(HttpFault::Forbidden);
        }
        let path = request.url().path().to_owned();
        let mut response = self.client.execute(request).await.map_err(|error| unreachable(&path, error))?;
        let status = response.status();
        // Whoever sends us elsewhere does not keep to its own metadata; of a failing server no word counts.
        if status.is_redirection() || status.is_server_error() {
            return Err(HttpFault::Broken(format!("{path}: status {}", status.as_u16())));
        }
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&path, error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(HttpFault::Broken(format!("{path}: more than {MOST_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpFault;
    type Future = BoxFuture<'c, Result<HttpResponse, HttpFault>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// With all causes, for "error sending request" alone helps nobody; without the address, whose query is not ours.
fn unreachable(path: &str, error: reqwest::Error) -> HttpFault {
    let error = error.without_url();
    let mut text = format!("{path}: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    HttpFault::Unreachable(text)
}
