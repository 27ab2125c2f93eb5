//! The way to identity providers: where requests may go, how long they may take and how much they may bring.

use std::time::Duration;

use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use url::Url;

use super::identity_provider::model::{Failure, SignInError};
use crate::kernel::program::is_loopback;

/// More is no answer of a provider's.
const MOST_BYTES: usize = 1024 * 1024;

/// The only way to a provider.
pub struct Http {
    client: reqwest::Client,
    /// Whether this machine's own addresses may be spoken to without TLS, because the issuer is one of them.
    plain: bool,
}

/// What a provider has answered.
pub struct Reply {
    path: String,
    status: u16,
    pub body: Vec<u8>,
}

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
        url.scheme() == "https" || self.plain && url.scheme() == "http" && is_loopback(url)
    }

    pub fn get(&self, url: &Url) -> RequestBuilder {
        self.client.get(url.clone())
    }

    pub fn post(&self, url: &Url) -> RequestBuilder {
        self.client.post(url.clone())
    }

    /// Whatever the provider answers, but for a redirect: who sends us elsewhere does not keep to its own metadata.
    pub async fn send(&self, request: RequestBuilder) -> Result<Reply, Failure> {
        let request = request.build().map_err(|_| SignInError::BrokenAnswer.because("what no request can hold"))?;
        if !self.goes_to(request.url()) {
            return Err(SignInError::MetadataAddress.because("the metadata has an address that is not https"));
        }
        let path = request.url().path().to_owned();
        let mut response = self.client.execute(request).await.map_err(|error| unreachable(&path, error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(broken_status(&path, status.as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&path, error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(SignInError::BrokenAnswer.because(format!("{path}: more than {MOST_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { path, status: status.as_u16(), body })
    }
}

impl Reply {
    /// A good answer's body.
    pub fn good(&self) -> Result<&[u8], Failure> {
        if (200..300).contains(&self.status) { Ok(&self.body) } else { Err(broken_status(&self.path, self.status)) }
    }

    /// A good answer's body as JSON. What is wrong with it is not quoted: it may be secret or personal.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.good()?)
            .map_err(|_| SignInError::BrokenAnswer.because(format!("{}: no JSON object", self.path)))
    }
}

fn broken_status(path: &str, status: u16) -> Failure {
    SignInError::BrokenAnswer.because(format!("{path}: status {status}"))
}

/// With all causes, for "error sending request" alone helps nobody; without the address, whose query is not ours.
fn unreachable(path: &str, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut text = format!("{path}: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    SignInError::Unreachable.because(text)
}
