//! Which keys are published, and which of them signs.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use referral::app::App;
use referral::features::tokens::actions::keys::{self};
use referral::kernel::error::OperatorError;

use crate::support::client::{Client, PASSWORD};
use crate::support::paths::KEYS;
use crate::support::tokens::opened;

pub fn master_key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

/// The names of the keys that a node publishes.
pub async fn published(client: &Client) -> BTreeSet<String> {
    let set = client.anonymous().get(KEYS).await.expect(200).json();
    set["keys"].as_array().expect("keys").iter().map(|key| key["kid"].as_str().expect("a name").to_owned()).collect()
}

pub fn kid(token: &str) -> String {
    opened(token).0["kid"].as_str().expect("a name").to_owned()
}

/// The name of the key that a node signs access tokens with.
pub async fn signs_with(client: &Client, name: &str) -> String {
    kid(client.log_in(name, PASSWORD).await.expect(200).json()["access_token"].as_str().expect("a token"))
}

/// Rotates as the command line does.
pub async fn rotate(app: &App, emergency: bool) -> Vec<String> {
    let rotated = keys::rotate(app, emergency).await.expect("no refusal");
    rotated.made.into_iter().map(|(kid, _)| kid).collect()
}

/// What the operator is told of something that was not done.
pub fn refused<T>(outcome: Result<T, OperatorError>) -> String {
    match outcome {
        Err(OperatorError::Refused(sentence)) => sentence,
        Err(OperatorError::Failed(error)) => panic!("a fault: {error}"),
        Ok(_) => panic!("it was done"),
    }
}
