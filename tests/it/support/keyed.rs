//! Requests with an `Idempotency-Key`.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::paths::CODES;

pub const FAR: &str = "2099-01-01";
pub const REPLACE: &str = "/api/v1/codes?replace=true";

/// A request with this key.
pub fn request(client: &Client, method: &Method, path: &str, body: Option<&Value>, key: &str) -> RequestBuilder {
    let request = client.request(method.clone(), path).header("idempotency-key", key);
    match body {
        Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
        None => request,
    }
}

/// Makes a code in the place of the active one.
pub async fn replace(client: &Client, key: &str) -> Answer {
    let body = json!({"expires_at": FAR});
    client.send(request(client, &Method::POST, REPLACE, Some(&body), key)).await
}

/// Makes a code of this text, where there is none.
pub async fn create(client: &Client, code: &str, key: &str) -> Answer {
    let body = json!({"code": code, "expires_at": FAR});
    client.send(request(client, &Method::POST, CODES, Some(&body), key)).await
}

/// Whether it is an answer that was given before.
pub fn is_replayed(answer: &Answer) -> bool {
    match answer.header("idempotency-replayed") {
        "true" => true,
        "" => false,
        other => panic!("{other}"),
    }
}
