//! Where somebody is logged in, and how they end one of these sessions.

use std::time::Duration;

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::visit::Visit;

async fn sessions(client: &Client) -> Vec<Value> {
    let list = client.get("/api/v1/me/sessions").await.expect(200).json();
    list["items"].as_array().expect("a list").clone()
}

fn path(session: &Value) -> String {
    format!("/api/v1/me/sessions/{}", session["id"].as_str().expect("an id"))
}

on_every_setup!(a_person_sees_their_sessions_and_ends_one_on_every_node);
async fn a_person_sees_their_sessions_and_ends_one_on_every_node(setup: Setup) {
    let test = setup.start_two().await;
    let first = test.user("olga").await;
    test.move_clock(Duration::from_secs(60));
    let second = test.client().logged_in("olga").await;
    let mut visit = Visit::new(&test.nodes[0].url);
    let page = visit.get("/oauth/apps").await.expect(200);
    visit.log_in(&page, "olga", PASSWORD).await.expect(303);
    let ivan = test.user("ivan").await;

    let seen = sessions(&second).await;
    let word = |session: &Value| (session["kind"].clone(), session["client_id"].clone(), session["current"].clone());
    let current = seen.iter().find(|session| session["current"] == true).expect("the one that asks");
    assert_eq!(word(current), (json!("tokens"), json!("referral"), json!(true)));
    let other = seen.iter().find(|session| word(session) == (json!("tokens"), json!("referral"), json!(false)));
    let browser = seen.iter().find(|session| word(session) == (json!("browser"), Value::Null, json!(false)));
    let (other, browser) = (other.expect("the first log-in"), browser.expect("the browser"));
    assert_eq!((seen.len(), seen.last()), (3, Some(other)), "those used last come first");
    assert_eq!(current["scope"], "profile account codes:read codes:write referrals:read");
    assert_eq!(browser["scope"], Value::Null);

    // Somebody else's is none.
    for session in [current, other, browser] {
        ivan.delete(&path(session)).await.expect_problem(404, "session_not_found");
    }
    ivan.delete("/api/v1/me/sessions/nonsense").await.expect_problem(404, "session_not_found");
    assert_eq!(sessions(&second).await.len(), 3);

    second.delete(&path(other)).await.expect(204);
    first.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    let elsewhere = first.at(&test.nodes[1].url);
    eventually("the other node knows", || async { elsewhere.get("/api/v1/me").await.status == 401 }).await;
    let token = first.refresh_token.as_deref().expect("a token");
    first.refresh(token).await.expect_problem(401, "invalid_refresh_token");
    second.delete(&path(other)).await.expect_problem(404, "session_not_found");

    second.delete(&path(browser)).await.expect(204);
    let page = visit.get("/oauth/apps").await.expect(200);
    assert!(page.forms().iter().any(|form| form.action == "/oauth/login"), "the browser is logged out: {page:?}");
    second.delete(&path(browser)).await.expect_problem(404, "session_not_found");

    // The one that asks may be it.
    assert_eq!(sessions(&second).await.len(), 1);
    second.delete(&path(current)).await.expect(204);
    second.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    assert_eq!(sessions(&ivan).await.len(), 1);
}

on_every_setup!(a_session_that_is_over_by_itself_is_not_listed);
async fn a_session_that_is_over_by_itself_is_not_listed(setup: Setup) {
    let test = setup.start().await;
    test.user("olga").await;
    test.move_clock(Duration::from_secs(15 * 24 * 3600));
    // Unused for longer than 14 days.
    let olga = test.client().logged_in("olga").await;
    assert_eq!(sessions(&olga).await.len(), 1);
    test.sql("update token_families set expires_at = 1 where used_at = (select min(used_at) from token_families)")
        .await;
    assert_eq!(sessions(&olga).await.len(), 1);
    test.sql("update token_families set expires_at = 1").await;
    assert_eq!(sessions(&olga).await.len(), 0);
}
