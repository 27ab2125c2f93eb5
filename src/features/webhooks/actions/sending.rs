//! One attempt.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use tokio::time::Instant;
use url::Url;

use super::is_good;
use crate::app::App;
use crate::features::outbox::model::{PING, Stored};
use crate::features::webhooks::model::{DeliveryState, Endpoint, body, schedule, signature};
use crate::features::webhooks::store::deliveries::Settlement;
use crate::kernel::ids::MessageId;
use crate::kernel::time::Time;
use crate::outbound::receivers::{Failure, Receipt};

/// To whom something is sent, and what it is signed with.
pub struct Target {
    pub url: String,
    pub secrets: Vec<Vec<u8>>,
}

/// How an attempt went.
pub struct Answered {
    pub at: Time,
    pub millis: i64,
    pub receipt: Receipt,
}

/// Sends a message that tells of nothing and is kept nowhere.
pub async fn ping(app: &App, endpoint: &Endpoint, secrets: &[Vec<u8>]) -> Answered {
    let text = body(PING, app.clock.now(), &json!({"endpoint_id": endpoint.id.0}));
    post(app, &endpoint.url, secrets, MessageId::new(), text).await
}

/// Makes one attempt to deliver a message that was tried so often before.
pub async fn attempt(app: &App, target: &Target, message: &Stored, attempts: i64) -> (Settlement, bool) {
    // Those whose names are known stand in it already.
    let text = body(&message.kind, message.at, &message.data);
    let Answered { at, millis, receipt } = post(app, &target.url, &target.secrets, message.id, text).await;
    let now = app.clock.now();
    let (status, error, asked) = match &receipt {
        Receipt::Answered(status, after) => {
            (Some(*status), None, after.as_deref().and_then(|text| schedule::retry_after(text, now)))
        }
        Receipt::Failed(failure) => (None, Some(failure.word()), None),
    };
    let is_gone = status == Some(410);
    let chance = app.random().map_or(u16::MAX / 2, u16::from_be_bytes);
    let pause = schedule::pause(attempts + 1, chance, asked).filter(|_| !is_gone);
    let (state, pause) = match (is_good(&receipt), pause) {
        (true, _) => (DeliveryState::Delivered, Duration::ZERO),
        (false, Some(pause)) => (DeliveryState::Pending, pause),
        (false, None) => (DeliveryState::Failed, Duration::ZERO),
    };
    app.metrics.delivery(if is_good(&receipt) { "delivered" } else { "failed" });
    (Settlement { message: message.id, state, next_at: now.plus(pause), status, error, at, millis }, is_gone)
}

async fn post(app: &App, url: &str, secrets: &[Vec<u8>], id: MessageId, text: String) -> Answered {
    let (at, began) = (app.clock.now(), Instant::now());
    let receipt = match (Url::parse(url), signed(secrets, id, at, &text)) {
        (Ok(url), Some(headers)) => app.receivers.post(&url, headers, text).await,
        (Err(_), _) => Receipt::Failed(Failure::Blocked),
        (_, None) => Receipt::Failed(Failure::Unsigned),
    };
    Answered { at, millis: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX), receipt }
}

/// The headers of Standard Webhooks; nothing where there is no secret.
fn signed(secrets: &[Vec<u8>], id: MessageId, at: Time, text: &str) -> Option<HeaderMap> {
    if secrets.is_empty() {
        return None;
    }
    let (id, seconds) = (id.to_string(), at.seconds());
    let signature = signature::sign(secrets, &id, seconds, text);
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("webhook-id", id), ("webhook-timestamp", seconds.to_string()), ("webhook-signature", signature)]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).ok()?);
    }
    Some(headers)
}
