//! Callers at both nodes, and what a node remembers.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use referral::kernel::email::Email;
use serde_json::json;

use crate::support::app::{Node, TestApp, eventually};
use crate::support::client::{Answer, Client};

pub const FAR: &str = "2099-01-01";
/// No answer takes longer than a second because Redis is silent; the rest is for a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// Four people with a code each.
pub struct Callers(pub Vec<Client>);

impl Callers {
    pub async fn meet(test: &TestApp) -> Self {
        let mut callers = Vec::new();
        for name in ["caller0", "caller1", "caller2", "caller3"] {
            let caller = test.user(name).await;
            caller.post("/api/v1/codes", &json!({"expires_at": FAR})).await.expect(201);
            callers.push(caller);
        }
        Self(callers)
    }

    /// Each looks up everybody's code and replaces their own, all at once, on both nodes; says how long each took.
    pub async fn all_call(&self, test: &TestApp) -> Vec<Duration> {
        let calls = self.0.iter().enumerate().map(|(place, caller)| async move {
            let mut took = Vec::new();
            for turn in 0..8 {
                let caller = caller.at(&test.nodes[turn % 2].url);
                let began = Instant::now();
                if turn == place {
                    let body = json!({"expires_at": FAR});
                    caller.post("/api/v1/codes?replace=true", &body).await.expect(201);
                } else {
                    find(&caller, &self.0[turn % self.0.len()].username).await;
                }
                took.push(began.elapsed());
            }
            took
        });
        join_all(calls).await.concat()
    }
}

/// The active code behind `NAME@example.com`.
pub async fn find(client: &Client, name: &str) -> Answer {
    find_any(client, &format!("{name}@example.com")).await.expect(200)
}

pub async fn find_any(client: &Client, email: &str) -> Answer {
    client.get(&format!("/api/v1/codes/{email}")).await
}

pub fn key(name: &str) -> String {
    Email::parse(&format!("{name}@example.com")).expect("an address").key().to_owned()
}

/// Whether a node knows the code behind `NAME@example.com` without its database.
pub async fn remembers(node: &Node, name: &str) -> bool {
    let found = node.app.codes.get(&key(name), async { Ok(None) }).await;
    found.expect("nothing that can fail was asked").is_some()
}

pub async fn redis_is(test: &TestApp, up: bool) {
    for node in 0..test.nodes.len() {
        eventually("the node notices", || async { redis(test, node).is_up() == up }).await;
    }
}

pub fn redis(test: &TestApp, node: usize) -> &referral::cache::redis::Redis {
    test.nodes[node].app.redis.as_ref().expect("a node with Redis")
}
