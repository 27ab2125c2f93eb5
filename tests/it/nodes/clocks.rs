//! A clock that jumps ahead and is corrected: what was written meanwhile heals within minutes.

use std::time::Duration;

use referral::features::tokens;
use referral::jobs::{self, Kind};
use referral::worker;
use serde_json::json;

use crate::on_both_engines;
use crate::support::app::{Setup, TestApp};
use crate::support::hunter::{Hunter, Reply};
use crate::support::raw;

const YEAR: Duration = Duration::from_secs(400 * 24 * 3600);
const YEAR_MICROS: i64 = 400 * 24 * 3600 * 1_000_000;

fn jump(test: &TestApp) {
    test.move_clock(YEAR);
}

fn correct(test: &TestApp) {
    test.app().clock.shift(-YEAR_MICROS);
}

/// What the service does each minute.
async fn mend(test: &TestApp) -> u64 {
    worker::mend_times(test.app()).await.expect("times are mended")
}

on_both_engines!(a_token_from_the_future_is_refused_also_where_it_was_believed_before);
async fn a_token_from_the_future_is_refused_also_where_it_was_believed_before(setup: Setup) {
    let test = setup.start().await;
    jump(&test);
    let user = test.user("user").await;
    user.get("/api/v1/me").await.expect(200);
    correct(&test);
    user.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    // The session goes on, with a token of today.
    let refreshed = user.refresh(user.refresh_token.as_deref().expect("a token")).await.expect(200);
    let token = refreshed.json()["access_token"].as_str().expect("a token").to_owned();
    user.clone().with_token(&token).get("/api/v1/me").await.expect(200);
    // A minute is no future: by so much the clocks of nodes may differ.
    test.move_clock(Duration::from_secs(50));
    let near = test.client().logged_in("user").await;
    test.app().clock.shift(-50_000_000);
    near.get("/api/v1/me").await.expect(200);
}

on_both_engines!(sessions_begun_in_the_future_end_like_others);
async fn sessions_begun_in_the_future_end_like_others(setup: Setup) {
    let test = setup.start().await;
    let before = test.user("before").await;
    jump(&test);
    test.user("ahead").await;
    correct(&test);
    let far = format!(
        "select count(*) from token_families where expires_at > {} or created_at > {} or used_at > {1}",
        test.app().clock.now().plus(test.app().config.tokens.absolute() + Duration::from_secs(60)).0,
        test.app().clock.now().plus(Duration::from_secs(60)).0,
    );
    assert_eq!(test.number(&far).await, 1);
    assert_eq!(mend(&test).await, 1);
    assert_eq!(test.number(&far).await, 0);
    assert_eq!(mend(&test).await, 0);
    before.get("/api/v1/me").await.expect(200);
}

on_both_engines!(jobs_of_the_future_are_done_and_their_leases_end);
async fn jobs_of_the_future_are_done_and_their_leases_end(setup: Setup) {
    let hunter = Hunter::saying(|_| Reply::verdict("valid")).await;
    let test = setup.start_with(&hunter.settings("flag")).await;
    test.client().register("early", None).await.expect(201);
    jump(&test);
    // One is claimed by a node that dies over it, one is made.
    let app = test.app();
    assert_eq!(jobs::claim(&app.db, Kind::CheckEmail, 16, app.clock.now()).await.expect("a claim").len(), 1);
    test.client().register("late", None).await.expect(201);
    correct(&test);
    assert_eq!(test.drain().await, 0);
    assert_eq!(mend(&test).await, 2);
    assert_eq!(test.drain().await, 2);
    assert_eq!(test.number("select count(*) from users where email_verdict = 'valid'").await, 2);
    // Nor does the time after which an address passes lie a year ahead.
    let ahead = format!("select count(*) from users where created_at > {}", app.clock.now().0 + 61_000_000);
    assert_eq!(test.number(&ahead).await, 0);
}

on_both_engines!(rows_of_the_feed_dated_ahead_are_dated_anew_and_forgotten);
async fn rows_of_the_feed_dated_ahead_are_dated_anew_and_forgotten(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    let ahead = async || {
        let now = test.number("select max(at) from changes where topic = 'keys'").await;
        test.number(&format!("select count(*) from changes where at > {now} + 3600000000")).await
    };
    test.move_database_clock(YEAR_MICROS).await;
    owner.post("/api/v1/codes?replace=true", &json!({"expires_at": "2099-01-01"})).await.expect(201);
    assert_ne!(ahead().await, 0);
    let back = if setup == Setup::Sqlite { -YEAR_MICROS } else { 0 };
    test.move_database_clock(back).await;
    assert_ne!(mend(&test).await, 0);
    assert_eq!(ahead().await, 0);
    assert_eq!(mend(&test).await, 0);
}

on_both_engines!(a_key_made_in_the_future_signs_soon);
async fn a_key_made_in_the_future_signs_soon(setup: Setup) {
    let test = setup.start().await;
    jump(&test);
    tokens::actions::keys::rotate(test.app(), false).await.expect("a rotation");
    correct(&test);
    let again = tokens::actions::keys::rotate(test.app(), false).await;
    assert!(again.is_err(), "the next key bars another");
    assert_eq!(mend(&test).await, 1);
    test.move_clock(tokens::actions::keys::LEAD + Duration::from_secs(1));
    tokens::actions::keys::rotate(test.app(), false).await.expect("a rotation");
}

/// The libraries that make ids and the header `Date` panic at such times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_1970_everybody_is_answered_without_a_date() {
    let test = Setup::Sqlite.start().await;
    let base = test.nodes[0].url.clone();
    let ask = async || raw::ask(&base, "GET", "/livez", &[], b"").await.expect(200);
    assert!(!ask().await.header("date").is_empty());
    test.app().clock.shift(-100 * YEAR_MICROS);
    assert_eq!(ask().await.header("date"), "");
}
