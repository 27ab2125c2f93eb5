//! Ids, hashes, and all that one refusal could be told from another by.

use referral::kernel::ids::UserId;

use crate::support::app::TestApp;
use crate::support::client::{Answer, Client};

pub const WRONG: &str = "not the password";

pub async fn hash_of(test: &TestApp, name: &str) -> String {
    test.query(&format!("select password_hash from users where username = '{name}'")).await[0][0]
        .clone()
        .expect("a hash")
}

pub fn id(user: &Client) -> UserId {
    UserId::parse(&user.id).expect("an id")
}

/// All that a caller could tell one answer from another by, without what names the request.
pub fn face(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let instance = answer.json()["instance"].as_str().expect("an instance").to_owned();
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().expect("a plain header").to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, answer.text.replace(&instance, ""))
}
