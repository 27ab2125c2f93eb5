//! Registrations, the verdicts on their addresses, and the jobs that ask for them.

use std::time::Duration;

use referral::jobs::{self};
use serde_json::json;

use crate::support::app::{Setup, TestApp};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::hunter::{Hunter, Reply};

pub const MINUTE: Duration = Duration::from_secs(60);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Registers NAME with an address at a domain that is on no list, and returns the id.
pub async fn register(test: &TestApp, name: &str, code: Option<&str>) -> String {
    let body = json!({"username": name, "email": format!("{name}@asked.test"), "password": PASSWORD, "code": code});
    let answer = test.client().post("/api/v1/auth/user", &body).await.expect(201).json();
    answer["id"].as_str().expect("an id").to_owned()
}

pub async fn log_in(test: &TestApp, name: &str) -> Answer {
    test.client().log_in(name, PASSWORD).await
}

/// What the database knows about an address.
pub async fn verdict(test: &TestApp, id: &str) -> String {
    let user = match test.setup {
        Setup::Sqlite => format!("x'{}'", id.replace('-', "")),
        _ => format!("'{id}'"),
    };
    let rows = test.query(&format!("select email_verdict from users where id = {user}")).await;
    rows[0][0].clone().expect("a verdict")
}

/// The job that asks about a user: whether it is open, since when it may run next, how the last try went.
pub async fn job(test: &TestApp, id: &str) -> (bool, i64, String) {
    let rows = test
        .query(&format!(
            "select case when done_at is null then 1 else 0 end, run_at, coalesce(outcome, '') from jobs \
             where kind = 'check_email' and subject = '{id}'"
        ))
        .await;
    let text = |index: usize| rows[0][index].clone().expect("a value");
    (text(0) == "1", text(1).parse().expect("a number"), text(2))
}

pub async fn open_jobs(test: &TestApp) -> i64 {
    jobs::waiting(&test.app().db).await.expect("a count")
}

/// An owner whose address is good, logged in, with a code.
pub async fn owner(test: &TestApp) -> Client {
    register(test, "owner", None).await;
    test.drain().await;
    let owner = test.client().logged_in("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    owner
}

/// Says what the name of the user in the address says; the owner's is good.
pub async fn hunter_by_name() -> Hunter {
    Hunter::saying(|asked| match asked.email().trim_end_matches("@asked.test") {
        "owner" => Reply::verdict("valid"),
        word => Reply::verdict(word),
    })
    .await
}
