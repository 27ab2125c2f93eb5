//! Nodes of a set-up, callers at each of them, and codes that stay.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use referral::kernel::time::Time;
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;

/// Callers at once.
pub const CALLERS: usize = 16;
/// Short enough that codes die under the callers' hands.
pub const BRIEF: Duration = Duration::from_millis(20);
pub const FAR: &str = "2099-01-01";
pub const HOUR: Duration = Duration::from_secs(3600);

/// Two nodes where the database is a server, one where it is a file.
pub async fn start(setup: Setup) -> TestApp {
    match setup {
        Setup::Sqlite => setup.start().await,
        Setup::Postgres | Setup::PostgresAndRedis => setup.start_two().await,
    }
}

/// The same person at one of the nodes, by turns.
pub fn spread(test: &TestApp, client: &Client, turn: usize) -> Client {
    client.at(&test.nodes[turn % test.nodes.len()].url)
}

pub fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When codes end that are meant to stay.
pub fn far() -> i64 {
    Time::parse(FAR).expect("a date").0
}

pub async fn validate(client: &Client, code: &str) -> Value {
    client.post("/api/v1/codes/validate", &json!({"code": code})).await.expect(200).json()
}
