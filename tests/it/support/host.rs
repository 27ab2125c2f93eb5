//! The back end of a host's app.

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::oauth::{Registered, register, text};

pub const PARTICIPANTS: &str = "/api/v1/participants";

/// A client that may write, as a manager has let it in.
pub async fn host_of(manager: &Client) -> Client {
    host_with(manager, json!({})).await.1
}

/// As [`host_of`], with something different about it.
pub async fn host_with(manager: &Client, change: Value) -> (Registered, Client) {
    let mut alone = json!({"grants": ["client_credentials"], "scope": "program:write", "redirect_uris": []});
    alone.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    let host = register(manager, alone).await;
    let given = host.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200).json();
    let client = Client::new(&host.base).with_token(text(&given, "access_token"));
    (host, client)
}

impl Client {
    /// Tells of a participant.
    pub async fn tell(&self, external: &str, body: Value) -> Answer {
        self.put(&format!("{PARTICIPANTS}/{external}"), &body).await
    }

    /// Tells of many.
    pub async fn tell_all(&self, participants: Value) -> Vec<(u64, Value)> {
        let answer = self.post(PARTICIPANTS, &json!({"participants": participants})).await.expect(200).json();
        let results = answer["results"].as_array().expect("results").iter();
        results.map(|result| (result["status"].as_u64().expect("a status"), result["body"].clone())).collect()
    }
}
