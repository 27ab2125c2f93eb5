//! What is said of a code that refers nobody.

use std::time::{Duration, Instant};

use referral::app::App;
use referral::db::Work;
use referral::features::codes;
use referral::kernel::actor::Actor;
use referral::kernel::error::{Error, Refusal};
use referral::kernel::handle::InvitationKey;
use serde_json::json;

use super::client::{Client, PASSWORD};

/// A second is what look-ups may lag behind a revocation; the rest is for a machine with much else to do.
pub const LAG: Duration = Duration::from_millis(1500);

/// Registers with a code, in the body and in the path, and is told that there is no such code.
pub async fn refers_nobody(client: &Client, name: &str, code: &str) {
    client.register(name, Some(code)).await.expect_problem(404, "code_not_usable");
    let body = json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD});
    client.post(&format!("/api/v1/auth/user/{code}"), &body).await.expect_problem(404, "code_not_usable");
}

/// What a registration decides about a code, without the account.
pub async fn hold(app: &App, code: &str) -> Result<(), Refusal> {
    let look: Work<InvitationKey, ()> =
        |tx, key| Box::pin(async move { codes::actions::hold(tx, *key, None).await.map(drop) });
    match app.db.write(Actor::SERVICE, InvitationKey::of(code).expect("a code"), look).await {
        Ok(()) => Ok(()),
        Err(Error::Refused(refusal)) => Err(refusal),
        Err(fault) => panic!("the database failed: {fault}"),
    }
}

/// Looks a code up until it is gone, which must be soon after its end.
pub async fn gone_in_time(client: &Client, email: &str, ended: Instant) {
    loop {
        let answer = client.get(&format!("/api/v1/codes/{email}")).await;
        if answer.status == 404 {
            answer.expect_problem(404, "no_active_code");
            return;
        }
        assert!(ended.elapsed() < LAG, "still found {:?} after its end: {answer:?}", ended.elapsed());
        answer.expect(200);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
