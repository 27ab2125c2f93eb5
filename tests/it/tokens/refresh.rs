//! Refresh tokens: their rotation and their end.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::helpers::MINUTE;
use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Answer, PASSWORD};
use crate::support::paths::{LOG_OUT, ME, TOKEN};
use crate::support::tokens::{GRACE, bytes, in_time, opened};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

on_every_setup!(a_refresh_token_is_replaced_and_for_a_moment_gives_the_same_successor_again);
/// An answer can get lost: who asks again at once gets the same successor, and no second lineage.
async fn a_refresh_token_is_replaced_and_for_a_moment_gives_the_same_successor_again(setup: Setup) {
    let test = setup.start_two().await;
    let user = test.user("user").await;
    let afar = user.at(&test.nodes[1].url);
    let (first, answers) = in_time(async || {
        let first = refresh_token(&user.log_in("user", PASSWORD).await.expect(200));
        let form = format!("grant_type=refresh_token&refresh_token={first}");
        let answers =
            [user.refresh(&first).await, afar.refresh(&first).await, user.anonymous().post_form(TOKEN, &form).await];
        (first, answers)
    })
    .await;
    let answers = answers.map(|answer| answer.expect(200));
    let second = refresh_token(&answers[0]);
    assert_ne!(second, first);
    let mut ids = Vec::new();
    for answer in &answers {
        assert_eq!(refresh_token(answer), second);
        assert_eq!(answer.header("cache-control"), "no-store");
        let mut holder = test.client();
        holder.take_tokens(answer);
        holder.get(ME).await.expect(200);
        ids.push(opened(holder.token.as_deref().expect("a token")).1["jti"].clone());
    }
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "each access token is its own");
    let third = refresh_token(&user.refresh(&second).await.expect(200));
    assert!(third != second && third != first);
    user.refresh(&third).await.expect(200);
}

on_every_setup!(once_its_successor_is_used_a_replaced_token_ends_the_family);
async fn once_its_successor_is_used_a_replaced_token_ends_the_family(setup: Setup) {
    let test = setup.start_two().await;
    let user = test.user("user").await;
    let session = user.logged_in("user").await;
    let first = session.refresh_token.clone().expect("a refresh token");
    let (mut second, mut third) = (session.clone(), session.clone());
    second.take_tokens(&user.refresh(&first).await.expect(200));
    third.take_tokens(&user.refresh(second.refresh_token.as_ref().expect("a token")).await.expect(200));
    for holder in [&session, &second, &third] {
        holder.get(ME).await.expect(200);
    }

    // At another node than it was replaced at.
    user.at(&test.nodes[1].url).refresh(&first).await.expect_problem(401, "invalid_refresh_token");
    for holder in [&session, &second, &third] {
        let token = holder.refresh_token.as_ref().expect("a token");
        user.refresh(token).await.expect_problem(401, "invalid_refresh_token");
        for node in &test.nodes {
            let holder = holder.at(&node.url);
            eventually("the session has ended here", || async { holder.get(ME).await.status == 401 }).await;
        }
    }
    user.get(ME).await.expect(200);
    user.refresh(user.refresh_token.as_ref().expect("a token")).await.expect(200);
}

on_every_setup!(ten_seconds_after_it_was_replaced_a_token_ends_the_family);
async fn ten_seconds_after_it_was_replaced_a_token_ends_the_family(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let session = user.logged_in("user").await;
    let first = session.refresh_token.clone().expect("a refresh token");
    let mut second = session.clone();
    second.take_tokens(&user.refresh(&first).await.expect(200));
    test.move_clock(GRACE + Duration::from_secs(1));
    user.refresh(&first).await.expect_problem(401, "invalid_refresh_token");
    user.refresh(second.refresh_token.as_ref().expect("a token")).await.expect_problem(401, "invalid_refresh_token");
    session.get(ME).await.expect_problem(401, "invalid_token");
    second.get(ME).await.expect_problem(401, "invalid_token");
    user.get(ME).await.expect(200);
}

on_every_setup!(fifty_refreshes_at_once_with_one_token_make_one_lineage);
async fn fifty_refreshes_at_once_with_one_token_make_one_lineage(setup: Setup) {
    let test = setup.start_two().await;
    let user = test.user("user").await;
    let clients = [test.client(), test.client_of(1)];
    let answers = in_time(async || {
        test.sql("delete from token_families").await;
        let first = refresh_token(&user.log_in("user", PASSWORD).await.expect(200));
        let body = json!({"grant_type": "refresh_token", "refresh_token": first});
        let asked = (0..50).map(|number: usize| clients[number % 2].post(TOKEN, &body));
        futures_util::future::join_all(asked).await
    })
    .await;
    let answers: Vec<Answer> = answers.into_iter().map(|answer| answer.expect(200)).collect();
    let second = refresh_token(&answers[0]);
    assert!(answers.iter().all(|answer| refresh_token(answer) == second));
    assert_eq!(test.query("select counter from token_families").await, [[Some("1".to_owned())]]);
    for answer in [&answers[0], &answers[49]] {
        let mut holder = test.client();
        holder.take_tokens(answer);
        holder.get(ME).await.expect(200);
    }
    user.refresh(&second).await.expect(200);
}

on_every_setup!(a_log_in_ends_after_fourteen_idle_days);
async fn a_log_in_ends_after_fourteen_idle_days(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let first = user.refresh_token.clone().expect("a refresh token");
    test.move_clock(14 * DAY - MINUTE);
    let second = refresh_token(&user.refresh(&first).await.expect(200));
    test.move_clock(14 * DAY + MINUTE);
    user.refresh(&second).await.expect_problem(401, "invalid_refresh_token");
    user.log_in("user", PASSWORD).await.expect(200);
}

on_every_setup!(a_log_in_ends_after_thirty_days_however_busy);
async fn a_log_in_ends_after_thirty_days_however_busy(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let mut token = user.refresh_token.clone().expect("a refresh token");
    for pause in [13 * DAY, 13 * DAY, 4 * DAY - MINUTE] {
        test.move_clock(pause);
        token = refresh_token(&user.refresh(&token).await.expect(200));
    }
    test.move_clock(2 * MINUTE);
    user.refresh(&token).await.expect_problem(401, "invalid_refresh_token");
    user.log_in("user", PASSWORD).await.expect(200);
}

on_every_setup!(what_is_no_refresh_token_is_refused_and_disturbs_nobody);
async fn what_is_no_refresh_token_is_refused_and_disturbs_nobody(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let good = user.refresh_token.clone().expect("a refresh token");
    let unknown = format!("rt_{}", URL_SAFE_NO_PAD.encode([7; 48]));
    let spaced = format!(" {good} ");
    for garbage in [
        "",
        "rt_",
        "rt_nonsense",
        "nonsense",
        good.get(..good.len() - 1).expect("a shorter one"),
        good.trim_start_matches("rt_"),
        &good.replacen("rt_", "RT_", 1),
        &format!("{good}="),
        &format!("{good}A"),
        &format!("{good}\u{0}"),
        &spaced,
        &unknown,
        &format!("rt_{}", "A".repeat(60_000)),
        "rt_\u{0}",
        "rt_' or '1'='1",
        "rt_ИванИванИван",
        user.token.as_deref().expect("a token"),
    ] {
        let answer = user.refresh(garbage).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (401, Some("invalid_refresh_token")),
            "{garbage:.80}"
        );
        assert_eq!(answer.json()["detail"], "The refresh token is not valid any more");
    }
    user.get(ME).await.expect(200);
    user.refresh(&good).await.expect(200);
}

on_every_setup!(the_database_holds_no_refresh_token);
async fn the_database_holds_no_refresh_token(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let token = user.refresh_token.clone().expect("a refresh token");
    let secret = URL_SAFE_NO_PAD.decode(token.trim_start_matches("rt_")).expect("base64url").split_off(16);
    let columns = "handle, user_id, client_id, scope, current_hash, previous_hash, salt";
    let select = format!("select {columns} from token_families");
    let mut rows = test.query(&select).await;
    // Once more when it has become the token before the last.
    user.refresh(&token).await.expect(200);
    rows.extend(test.query(&select).await);
    let kept: Vec<Vec<u8>> = rows.iter().flatten().map(bytes).collect();
    let hashes = kept.iter().filter(|value| *value == digest(&SHA256, &secret).as_ref()).count();
    assert_eq!(hashes, 2, "the hash is what is kept, as the current one and then as the previous one");
    assert!(kept.iter().all(|value| !value.windows(32).any(|part| part == secret)), "the token itself is not");
}

on_every_setup!(log_out_ends_the_session_everywhere_and_no_other);
async fn log_out_ends_the_session_everywhere_and_no_other(setup: Setup) {
    let test = setup.start_two().await;
    let user = test.user("user").await;
    let other = user.logged_in("user").await;
    let afar = user.at(&test.nodes[1].url);
    afar.get(ME).await.expect(200);
    user.delete(LOG_OUT).await.expect_problem(405, "method_not_allowed");
    user.get(ME).await.expect(200);

    assert_eq!(user.post(LOG_OUT, &json!({})).await.expect(204).text, "");
    user.get(ME).await.expect_problem(401, "invalid_token");
    eventually("the other node follows", || async { afar.get(ME).await.status == 401 }).await;
    for client in [&user, &afar] {
        client
            .refresh(user.refresh_token.as_ref().expect("a token"))
            .await
            .expect_problem(401, "invalid_refresh_token");
    }
    user.post(LOG_OUT, &json!({})).await.expect_problem(401, "invalid_token");
    for client in [&other, &other.at(&test.nodes[1].url)] {
        client.get(ME).await.expect(200);
    }
    other.refresh(other.refresh_token.as_ref().expect("a token")).await.expect(200);
}

fn refresh_token(answer: &Answer) -> String {
    answer.json()["refresh_token"].as_str().expect("a refresh token").to_owned()
}
