//! Hunter's e-mail verifier, version 2: `GET /v2/email-verifier`.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::EmailCheck;
use crate::kernel::email::Email;
use crate::kernel::verdict::Verdict;

/// Hunter itself gives a mail server 20 seconds.
const PATIENCE: Duration = Duration::from_secs(25);
/// More is no answer of Hunter's.
const MOST_BYTES: usize = 256 * 1024;

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub enum VerifierReply {
    Verdict(Verdict),
    /// Not now; `after` only where Hunter, or its way of refusing, says how long.
    Again {
        why: &'static str,
        after: Option<Duration>,
    },
}

pub struct Hunter {
    client: reqwest::Client,
    url: String,
    key: String,
    /// When the next question may be asked.
    next: Mutex<Instant>,
    spacing: Duration,
}

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    status: String,
}

impl Hunter {
    /// Nothing when addresses are not to be verified.
    pub fn open(settings: &EmailCheck) -> Result<Option<Self>, String> {
        if !settings.verifies() {
            return Ok(None);
        }
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("referral/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("cannot make an HTTP client: {error}"))?;
        Ok(Some(Self {
            client,
            url: format!("{}/v2/email-verifier", settings.hunter_url),
            key: settings.hunter_api_key.clone(),
            next: Mutex::new(Instant::now()),
            spacing: Duration::from_secs(1) / settings.checks_per_second,
        }))
    }

    /// Asks about one address, in turn.
    pub async fn verify(&self, email: &Email) -> VerifierReply {
        self.turn().await;
        let request = self.client.get(&self.url).query(&[("email", email.as_str())]).header("X-API-KEY", &self.key);
        match request.send().await {
            Ok(response) => read(response).await,
            Err(error) if error.is_timeout() => again("the verifier did not answer in time"),
            Err(_) => again("the verifier cannot be reached"),
        }
    }

    async fn turn(&self) {
        let at = {
            let mut next = self.next.lock().await;
            let at = (*next).max(Instant::now());
            *next = at + self.spacing;
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

async fn read(mut response: reqwest::Response) -> VerifierReply {
    let status = response.status();
    let after = retry_after(response.headers());
    match status.as_u16() {
        200 => {}
        202 => return again("the verifier is still at work"),
        222 => return again("the mail server did not play along"),
        401 => return later("the verifier refuses the key", Some(Duration::from_secs(300))),
        403 => return later("the verifier asks for fewer questions", after.or(Some(Duration::from_secs(60)))),
        429 => return later("the verifier's quota is used up", after.or(Some(Duration::from_secs(300)))),
        // The person has asked not to be processed; we ask no further.
        451 => return VerifierReply::Verdict(Verdict::Unknown),
        // It does not take the address for one; ours was parsed, so this is no proof of anything.
        400 | 404 | 422 => return VerifierReply::Verdict(Verdict::Unknown),
        _ if status.is_server_error() => return later("the verifier is broken", after),
        _ => return again("the verifier answered in an unknown way"),
    }
    debug_assert_eq!(status, StatusCode::OK);
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MOST_BYTES => body.extend_from_slice(&chunk),
            Ok(None) => break,
            _ => return again("the verifier's answer broke off"),
        }
    }
    match serde_json::from_slice::<Body>(&body) {
        Ok(body) => match body.data.status.as_str() {
            "valid" => VerifierReply::Verdict(Verdict::Valid),
            "invalid" => VerifierReply::Verdict(Verdict::Invalid),
            "accept_all" => VerifierReply::Verdict(Verdict::AcceptAll),
            "webmail" => VerifierReply::Verdict(Verdict::Webmail),
            "disposable" => VerifierReply::Verdict(Verdict::Disposable),
            _ => VerifierReply::Verdict(Verdict::Unknown),
        },
        Err(_) => again("the verifier's answer makes no sense"),
    }
}

fn again(why: &'static str) -> VerifierReply {
    VerifierReply::Again { why, after: None }
}

fn later(why: &'static str, after: Option<Duration>) -> VerifierReply {
    VerifierReply::Again { why, after }
}

/// The seconds of a `Retry-After`, an hour at most; dates are not used by Hunter.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.clamp(1, 3600)))
}
