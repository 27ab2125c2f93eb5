//! Refresh tokens that nobody can invent, whichever version of the service has made them.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use referral::features::tokens::actions::keys;
use serde_json::json;

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;
use crate::support::paths::ME;
use crate::support::tokens::in_time;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

on_every_setup!(who_invents_a_refresh_token_ends_nothing);
async fn who_invents_a_refresh_token_ends_nothing(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let good = user.refresh_token.clone().expect("a refresh token");
    let bytes = decoded(&good);
    let mut forged: Vec<Vec<u8>> = (16..48)
        .map(|at| {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            changed
        })
        .collect();
    forged.push([&bytes[..16], &[7; 32]].concat());
    forged.push([&bytes[..16], &[0; 32]].concat());
    // A secret of our own making, with the MAC of another.
    forged.push([&bytes[..16], &[1; 16], &bytes[32..]].concat());
    // The same for a token that another session was given.
    let other = decoded(&user.logged_in("user").await.refresh_token.expect("a refresh token"));
    forged.push([&bytes[..16], &other[16..]].concat());
    for forged in &forged {
        user.refresh(&encoded(forged)).await.expect_problem(401, "invalid_refresh_token");
    }
    user.get(ME).await.expect(200);
    let next = refreshed(&user, &good).await;
    for forged in &forged {
        user.refresh(&encoded(forged)).await.expect_problem(401, "invalid_refresh_token");
    }
    refreshed(&user, &next).await;
    user.get(ME).await.expect(200);
}

on_every_setup!(a_replaced_token_ends_the_session_however_old_it_is);
async fn a_replaced_token_ends_the_session_however_old_it_is(setup: Setup) {
    let test = setup.start().await;
    for steps in [2, 7] {
        let user = test.user(&format!("user{steps}")).await;
        let first = user.refresh_token.clone().expect("a refresh token");
        let mut last = first.clone();
        for _ in 0..steps {
            last = refreshed(&user, &last).await;
            test.move_clock(DAY);
        }
        assert_eq!(u32::from_be_bytes(decoded(&last)[32..36].try_into().expect("four bytes")), steps);
        user.refresh(&first).await.expect_problem(401, "invalid_refresh_token");
        user.refresh(&last).await.expect_problem(401, "invalid_refresh_token");
    }
}

on_every_setup!(refresh_tokens_go_from_old_nodes_to_new_ones_and_back);
/// A node of the version before gives tokens that are 256 random bits, and reads ours as such.
async fn refresh_tokens_go_from_old_nodes_to_new_ones_and_back(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let first = user.refresh_token.clone().expect("a refresh token");
    // There, here, there, there, here: each takes what the other gave.
    let second = refreshed_there(&test, &first).await;
    let third = refreshed(&user, &second).await;
    let fourth = refreshed_there(&test, &third).await;
    let fifth = refreshed_there(&test, &fourth).await;
    let sixth = refreshed(&user, &fifth).await;
    user.get(ME).await.expect(200);
    refreshed(&user, &sixth).await;
    // Replaced tokens of either form end the session, as ever.
    user.refresh(&second).await.expect_problem(401, "invalid_refresh_token");
    user.get(ME).await.expect_problem(401, "invalid_token");

    // What was replaced there a moment ago gets the same successor here.
    let (there, here) = in_time(async || {
        let user = user.logged_in("user").await;
        let token = user.refresh_token.clone().expect("a refresh token");
        let there = refreshed_there(&test, &token).await;
        (there, user.refresh(&token).await)
    })
    .await;
    assert_eq!(here.expect(200).json()["refresh_token"], json!(there));

    // A session that was begun there.
    let user = user.logged_in("user").await;
    let token = encoded(&[&decoded(user.refresh_token.as_ref().expect("a token"))[..16], &[9; 32]].concat());
    adopt(&test, &token).await;
    let next = refreshed(&user, &token).await;
    let next = refreshed(&user, &next).await;
    user.refresh(&token).await.expect_problem(401, "invalid_refresh_token");
    user.refresh(&next).await.expect_problem(401, "invalid_refresh_token");
    // There a secret that somebody has invented ends it as well: the two cannot be told apart.
    let user = user.logged_in("user").await;
    let handle = decoded(user.refresh_token.as_ref().expect("a token"))[..16].to_vec();
    adopt(&test, &encoded(&[&handle[..], &[9; 32]].concat())).await;
    user.refresh(&encoded(&[&handle[..], &[8; 32]].concat())).await.expect_problem(401, "invalid_refresh_token");
    user.get(ME).await.expect_problem(401, "invalid_token");
}

on_every_setup!(the_key_of_refresh_tokens_is_one_and_sealed_and_replaced_in_an_emergency);
async fn the_key_of_refresh_tokens_is_one_and_sealed_and_replaced_in_an_emergency(setup: Setup) {
    let mut test = setup.start().await;
    let user = test.user("user").await;
    let first = user.refresh_token.clone().expect("a refresh token");
    let count = "select count(*) from refresh_keys";
    assert_eq!(test.number(count).await, 1);
    let open = test.query("select kid, secret from refresh_keys").await;
    let (master, other) = (STANDARD.encode([7; 32]), STANDARD.encode([8; 32]));
    test.add_node_with(&[("REFERRAL_MASTER_KEY", &master)]).await;
    assert_eq!(test.number(&format!("{count} where sealed")).await, 1);
    let sealed = test.query("select kid, secret from refresh_keys").await;
    assert_eq!(sealed[0][0], open[0][0]);
    let secret = open[0][1].as_deref().expect("a secret").trim_start_matches("\\x").to_owned();
    assert!(secret.len() == 64 && !sealed[0][1].as_deref().expect("a secret").contains(&secret));
    // Either node knows the other's tokens.
    let sealing = user.at(&test.nodes[1].url);
    let second = refreshed(&sealing, &first).await;
    let third = refreshed(&user, &second).await;
    let robbed = test.user("robbed").await;
    let owners = robbed.refresh_token.clone().expect("a refresh token");
    let thiefs = refreshed(&robbed, &owners).await;
    assert!(test.open(&[("REFERRAL_MASTER_KEY", &other)]).await.is_err());
    assert!(test.open(&[]).await.is_err());

    // After a leak, what was made with the former key is still somebody's session and proves nothing else.
    let command = test.command(&[("REFERRAL_MASTER_KEY", &master)]).await;
    keys::rotate(&command, true).await.expect("no refusal");
    assert_eq!(test.number(&format!("{count} where sealed")).await, 1);
    assert_ne!(test.query("select kid from refresh_keys").await[0][0], open[0][0]);
    let app = &test.nodes[1].app;
    referral::features::tokens::actions::keys::read(&app.keyring, &app.db).await.expect("the keys");
    sealing.refresh(&first).await.expect_problem(401, "invalid_refresh_token");
    let fourth = refreshed(&sealing, &third).await;
    let fifth = refreshed(&sealing, &fourth).await;
    test.move_clock(Duration::from_secs(11));
    // The one replaced last is known without the key.
    let robbed = robbed.at(&test.nodes[1].url);
    robbed.refresh(&owners).await.expect_problem(401, "invalid_refresh_token");
    robbed.refresh(&thiefs).await.expect_problem(401, "invalid_refresh_token");
    sealing.refresh(&fourth).await.expect_problem(401, "invalid_refresh_token");
    sealing.refresh(&fifth).await.expect_problem(401, "invalid_refresh_token");
}

async fn refreshed(client: &Client, token: &str) -> String {
    client.refresh(token).await.expect(200).json()["refresh_token"].as_str().expect("a refresh token").to_owned()
}

fn decoded(token: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix("rt_").expect("a refresh token")).expect("base64url");
    assert_eq!(bytes.len(), 48, "nodes of the version before read 48 bytes and no others");
    bytes
}

fn encoded(bytes: &[u8]) -> String {
    format!("rt_{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn literal(test: &TestApp, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if test.setup == Setup::Sqlite { format!("x'{hex}'") } else { format!("'\\x{hex}'") }
}

/// What a node of the version before does with a refresh token, which must be the current one.
async fn refreshed_there(test: &TestApp, token: &str) -> String {
    let bytes = decoded(token);
    let (handle, secret) = bytes.split_at(16);
    let salt = [5; 32];
    let next = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &salt);
    let current = literal(test, digest(&SHA256, secret).as_ref());
    let handle_there = literal(test, handle);
    let rows = format!(
        "select count(*) from token_families where handle = {handle_there} and current_hash = {current} and ended_at is null"
    );
    assert_eq!(test.number(&rows).await, 1, "a node of the version before refuses it");
    let now = test.app().clock.now().0;
    test.sql(&format!(
        "update token_families set counter = counter + 1, previous_hash = current_hash, current_hash = {}, salt = {}, \
         rotated_at = {now}, used_at = {now} where handle = {handle_there} and current_hash = {current}",
        literal(test, digest(&SHA256, next.as_ref()).as_ref()),
        literal(test, &salt),
    ))
    .await;
    encoded(&[handle, next.as_ref()].concat())
}

/// Makes a family what it were if a node of the version before had begun it with this token.
async fn adopt(test: &TestApp, token: &str) {
    let bytes = decoded(token);
    let (handle, secret) = bytes.split_at(16);
    test.sql(&format!(
        "update token_families set current_hash = {}, sealed_tokens = 0 where handle = {}",
        literal(test, digest(&SHA256, secret).as_ref()),
        literal(test, handle),
    ))
    .await;
}
