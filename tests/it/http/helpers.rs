//! What a refusal names, and what it must not have written.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::client::{Answer, Client};

pub const MOST_BODY: usize = 64 * 1024;
/// Pages beside the API, with the operations that are for programs.
pub const PAGES: &str =
    "/docs|/redoc|/openapi.json|/problems|/problems/invalid|/docs/assets/docs.css|/docs/assets/docs.js";

/// Fails unless the answer refuses the field or part at this place.
#[track_caller]
pub fn invalid(place: &str, answer: &Answer, loc: &[&str]) {
    assert_eq!(answer.status, 422, "{place}: {answer:?}");
    let problem = answer.json();
    assert_eq!(problem["code"], "invalid", "{place}: {problem}");
    let errors = problem["errors"].as_array().expect("errors");
    assert!(errors.iter().any(|error| error["loc"] == json!(loc)), "{place}: {problem}");
}

/// What a caller could have changed, counted.
pub async fn rows(test: &TestApp) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in
        ["users", "logins", "referrals", "jobs", "programs", "code_strings", "codes", "token_families", "changes"]
    {
        counts.push(test.number(&format!("select count(*) from {table}")).await);
    }
    counts.push(test.number("select count(*) from token_families where ended_at is null").await);
    counts
}

pub fn bearer(user: &Client) -> String {
    format!("Bearer {}", user.token.as_deref().expect("a token"))
}
