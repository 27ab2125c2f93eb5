//! How often each user, client and address may ask.

use std::time::Duration;

use serde_json::json;

use super::helpers::{FAR, validate};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::oauth::{Registered, form, register};
use crate::support::paths::{CODES, USER};
use crate::support::spending::spend;

on_every_setup!(look_ups_are_limited_for_each_user);
async fn look_ups_are_limited_for_each_user(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_LOOKUPS_PER_USER", "3")]).await;
    let (user, other) = (test.user("user").await, test.user("other").await);
    // One budget for both ways to look, for hits and misses.
    let look = async |turn: usize| match turn % 2 {
        0 => user.get("/api/v1/codes/nobody@example.com").await,
        _ => user.post("/api/v1/codes/lookup", &json!({"email": "somebody@example.com"})).await,
    };
    spend(3, look).await;
    other.get("/api/v1/codes/nobody@example.com").await.expect_problem(404, "no_active_code");
    user.get("/api/v1/codes").await.expect(200);
}

on_every_setup!(validations_and_registrations_are_limited_for_each_address);
async fn validations_and_registrations_are_limited_for_each_address(setup: Setup) {
    let settings = [
        ("REFERRAL_LIMITS", "on"),
        ("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "3"),
        ("REFERRAL_LIMITS_REGISTRATIONS_PER_ADDRESS", "2"),
    ];
    let test = setup.start_with(&settings).await;
    spend(3, async |_| validate(&test, &[]).await).await;
    // Also those that are refused count: else they would be free guesses at names.
    spend(2, async |_| test.client().post(USER, &json!({})).await).await;
    test.client().log_in("nobody", PASSWORD).await.expect_problem(401, "bad_credentials");
}

on_every_setup!(writes_are_limited_for_each_user);
/// Whoever may write only so often is told when; what changes nothing goes on, and so does everybody else.
async fn writes_are_limited_for_each_user(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_WRITES_PER_USER", "4")]).await;
    let (user, other) = (test.user("user").await, test.user("other").await);
    // One budget for all ways.
    let write = async |turn: usize| match turn % 4 {
        0 => user.post("/api/v1/codes?replace=true", &json!({"expires_at": FAR})).await,
        1 => user.patch("/api/v1/me", &json!({"discoverable": turn % 8 == 1})).await,
        2 => user.revoke_code("NOBODYS2030A").await,
        _ => user.delete("/api/v1/me/consents/docs").await,
    };
    spend(4, write).await;
    // Refusing is cheap, so whoever asks on and on is held to two a second.
    let began = std::time::Instant::now();
    write(2).await.expect_problem(429, "rate_limited");
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    user.get(CODES).await.expect(200);
    user.get("/api/v1/me").await.expect(200);
    other.create_code("OTHER2030ABC").await.expect(201);
    user.post("/api/v1/auth/logout", &json!({})).await.expect(204);
}

on_every_setup!(programs_and_managers_write_so_often_too);
/// A program's own tokens are rows as well, and a manager is a user.
async fn programs_and_managers_write_so_often_too(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_WRITES_PER_USER", "4")]).await;
    let (manager, other) = (test.manager("manager").await, test.manager("other").await);
    let machine = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let machine = register(&other, machine).await;
    spend(4, async |_| machine.call("/oauth/token", &[("grant_type", "client_credentials")]).await).await;
    let path = format!("/api/v1/clients/{}", machine.id);
    spend(4, async |_| manager.patch(&path, &json!({"name": "Robot"})).await).await;
}

on_every_setup!(refreshes_are_limited_for_each_address);
/// Refreshing needs no secret of a client, so it is counted like everything that needs none.
async fn refreshes_are_limited_for_each_address(setup: Setup) {
    let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_TOKENS_PER_ADDRESS", "3")];
    let test = setup.start_with(&settings).await;
    let mut user = test.user("user").await;
    let refresh = async |_| user.refresh("rt_nonsense").await;
    spend(3, refresh).await;
    user.get("/api/v1/me").await.expect(200);
    user.token = None;
    user.logged_in("user").await;
}

on_every_setup!(a_secret_that_is_wrong_escapes_no_limit);
/// What is no client's secret is as good as none: it is counted, and counts nobody else.
async fn a_secret_that_is_wrong_escapes_no_limit(setup: Setup) {
    let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_TOKENS_PER_ADDRESS", "4")];
    let test = setup.start_with(&settings).await;
    let manager = test.manager("manager").await;
    let machine = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let machine = register(&manager, machine).await;
    let public = register(&manager, json!({"confidential": false})).await;
    let nobody = Registered { id: "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11".to_owned(), ..machine.clone() };
    let bogus = |client: &Registered| Registered { secret: Some("cs_bogus".to_owned()), ..client.clone() };
    // One budget: of a client with another's secret, of one that has none, of one that there is not; in the header
    // and in the form; at every endpoint.
    let guess = async |turn: usize| {
        let anonymous = test.client();
        let id = machine.id.as_str();
        match turn % 4 {
            0 => bogus(&machine).call("/oauth/token", &[("grant_type", "client_credentials")]).await,
            1 => bogus(&public).call("/oauth/revoke", &[("token", "rt_nonsense")]).await,
            2 => bogus(&nobody).call("/oauth/introspect", &[("token", "rt_nonsense")]).await,
            _ => {
                let fields = form(&[("client_id", id), ("client_secret", "cs_bogus"), ("token", "rt_nonsense")]);
                anonymous.post_form("/oauth/revoke", &fields).await
            }
        }
    };
    spend(4, guess).await;
    // Who has shown the secret is not held to what others at the same address have done.
    machine.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200);
}
