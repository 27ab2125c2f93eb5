//! What the tests of links share.

use std::io::Read;

use flate2::read::GzDecoder;
use referral::features::links::actions::clicks;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue, USER_AGENT};
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::client::{Answer, Client};

pub const LANDING: &str = "https://shop.example/join";
/// A browser's.
pub const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The handle of somebody, drawn if there is none yet.
pub async fn handle_of(client: &Client) -> String {
    let share = client.get("/api/v1/me/share").await.expect(200).json();
    share["handle"].as_str().expect("a handle").to_owned()
}

/// Sets where links lead.
pub async fn land_on(test: &TestApp, url: &str) {
    let manager = test.manager("landlord").await;
    manager.patch("/api/v1/programs/default", &json!({"landing_url": url})).await.expect(200);
}

/// Opens a link as a browser does that calls itself so.
pub async fn open_as(client: &Client, method: Method, path: &str, agent: &[u8], more: &[(&str, &str)]) -> Answer {
    let agent = HeaderValue::from_bytes(agent).expect("an agent");
    let mut request = client.request(method, path).header(USER_AGENT, agent);
    for (name, value) in more {
        request = request.header(HeaderName::from_bytes(name.as_bytes()).expect("a name"), *value);
    }
    client.send(request).await
}

/// Where a link leads that a browser opens.
pub async fn lead(client: &Client, path: &str) -> String {
    let answer = open_as(client, Method::GET, path, AGENT.as_bytes(), &[]).await.expect(302);
    assert_eq!((answer.header("x-robots-tag"), answer.header("cache-control")), ("noindex", "no-store"));
    answer.header("location").to_owned()
}

/// Has what a node has counted written, and says what is there: clicks and visitors.
pub async fn counted(test: &TestApp) -> (i64, i64) {
    for node in &test.nodes {
        clicks::flush(&node.app).await.expect("written");
    }
    let sum = |column: &str| format!("select cast(coalesce(sum({column}), 0) as bigint) from clicks_daily");
    (test.number(&sum("clicks")).await, test.number(&sum("visitors")).await)
}

/// The lines of a list beside these tests.
pub fn list(bytes: &[u8]) -> Vec<String> {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).expect("a list");
    text.lines().map(str::to_owned).collect()
}
