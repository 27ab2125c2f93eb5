//! How much of a user is kept.

use std::time::Duration;

use futures_util::future::join_all;
use referral::features::tokens::actions::browser_sessions;
use referral::features::tokens::model::Credential;
use referral::kernel::actor::Actor;
use referral::kernel::digest::VisitorHash;
use referral::kernel::ids::UserId;
use serde_json::json;

use super::helpers::FAR;
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::clock::move_clock;
use crate::support::oauth::register;
use crate::support::visit::Visit;

const DAY: i64 = 24 * 3600 * 1_000_000;

on_every_setup!(so_many_codes_are_made_in_a_day_and_not_one_more);
/// Whoever makes codes from many places at once gets as many as there may be within a day, not one more.
async fn so_many_codes_are_made_in_a_day_and_not_one_more(setup: Setup) {
    let settings = [
        ("REFERRAL_LIMITS", "on"),
        ("REFERRAL_LIMITS_CODES_PER_USER_AND_DAY", "5"),
        ("REFERRAL_LIMITS_WRITES_PER_USER", "1000000"),
    ];
    let mut test = setup.start_with(&settings).await;
    if setup != Setup::Sqlite {
        test.add_node().await;
    }
    let (user, other) = (test.user("user").await, test.user("other").await);
    let make = async || {
        let calls = (0..20).map(|caller| {
            let user = user.at(&test.nodes[caller % test.nodes.len()].url);
            async move { user.post("/api/v1/codes?replace=true", &json!({"expires_at": FAR})).await }
        });
        let (made, refused): (Vec<_>, Vec<_>) =
            join_all(calls).await.into_iter().partition(|answer| answer.status == 201);
        for answer in refused {
            let answer = answer.expect_problem(429, "rate_limited");
            let wait: i64 = answer.header("retry-after").parse().expect("seconds");
            assert!((1..=DAY / 1_000_000).contains(&wait), "{wait}");
        }
        made.len()
    };
    assert_eq!(make().await, 5);
    other.create_code("OTHER2030ABC").await.expect(201);
    move_clock(&test, DAY - 3_600_000_000).await;
    assert_eq!(make().await, 0);
    move_clock(&test, DAY + 1_000_000).await;
    assert_eq!(make().await, 5);
    // The code that is there refers people all the while.
    let active = user.get("/api/v1/me").await.expect(200).json()["active_code"]["code"].clone();
    test.client().register("guest", active.as_str()).await.expect(201);
    assert_eq!(test.number("select count(*) from codes").await, 11);
    // A clock that ran ahead by more than a day tells nothing about when they were made.
    let dates = "expires_at = 9000000000000001, revoked_at = case when revoked_at > 0 then 9000000000000000 end";
    test.sql(&format!("update codes set created_at = 9000000000000000, {dates}")).await;
    assert_eq!(make().await, 5);
}

on_every_setup!(so_many_log_ins_of_a_user_are_kept);
/// The sessions that a person leaves behind have an end: the one that was unused for longest goes.
async fn so_many_log_ins_of_a_user_are_kept(setup: Setup) {
    let settings = [
        ("REFERRAL_LIMITS", "on"),
        ("REFERRAL_LIMITS_SESSIONS_PER_USER", "3"),
        ("REFERRAL_LIMITS_LOGINS_PER_ACCOUNT", "1000"),
    ];
    let mut test = setup.start_with(&settings).await;
    if setup != Setup::Sqlite {
        test.add_node().await;
    }
    let other = test.user("other").await;
    let mut clients = vec![test.user("user").await];
    for _ in 0..4 {
        test.move_clock(Duration::from_secs(1));
        clients.push(test.client().logged_in("user").await);
        // The first is used all the time.
        let first = clients[0].refresh_token.clone().expect("a refresh token");
        let answer = clients[0].refresh(&first).await.expect(200);
        clients[0].take_tokens(&answer);
    }
    for node in &test.nodes {
        for (place, client) in clients.iter().enumerate() {
            let kept = [0, 3, 4].contains(&place);
            let status = if kept { 200 } else { 401 };
            eventually(&format!("log-in {place} is kept: {kept}"), || async {
                client.at(&node.url).get("/api/v1/me").await.status == status
            })
            .await;
        }
    }
    for (place, client) in clients.iter().enumerate() {
        let status = if [0, 3, 4].contains(&place) { 200 } else { 401 };
        client.refresh(client.refresh_token.as_deref().expect("a refresh token")).await.expect(status);
    }
    let of_user = format!("select count(*) from token_families where user_id = {}", id(&test, &clients[0]));
    assert_eq!(test.number(&of_user).await, 3);
    other.get("/api/v1/me").await.expect(200);
}

on_every_setup!(so_many_browsers_of_a_user_are_kept);
/// The same for browsers. A session that a code was given in stays for as long as the code.
async fn so_many_browsers_of_a_user_are_kept(setup: Setup) {
    let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_SESSIONS_PER_USER", "3")];
    let test = setup.start_with(&settings).await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    let user = test.user("user").await;
    let mut visit = Visit::new(&test.nodes[0].url);
    let page = visit.get(&shop.request(&[])).await.expect(200);
    let page = visit.log_in(&page, "user", PASSWORD).await.leaves();
    let page = visit.follow(page).await.expect(200);
    visit.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await.leaves();
    let (whose, hash) = (UserId::parse(&user.id).expect("an id"), password_hash(&test, "user").await);
    for browser in 1..=5 {
        test.move_clock(Duration::from_secs(1));
        let credential = Credential::Password(hash.clone());
        browser_sessions::begin(test.app(), Actor::SERVICE, whose, credential, VisitorHash::of([browser]))
            .await
            .expect("logged in");
    }
    let sessions = "select count(*) from browser_sessions";
    assert_eq!(test.number(sessions).await, 4);
    assert_eq!(test.number("select count(*) from authorization_codes").await, 1);
    for (browser, kept) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
        let found =
            browser_sessions::who(test.app(), Actor::SERVICE, &VisitorHash::of([browser])).await.expect("an answer");
        assert_eq!(found.is_some(), kept, "{browser}");
    }
}

/// A user's id as SQL has it.
fn id(test: &TestApp, client: &Client) -> String {
    match test.setup {
        Setup::Sqlite => format!("x'{}'", client.id.replace('-', "")),
        _ => format!("'{}'", client.id),
    }
}

async fn password_hash(test: &TestApp, name: &str) -> String {
    let rows = test.query(&format!("select password_hash from users where username = '{name}'")).await;
    rows[0][0].clone().expect("a hash")
}
