//! How often a password may be tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use reqwest::Method;
use serde_json::json;

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::paths::{ME, TOKEN};
use crate::support::spending::{spend, spend_from};

on_every_setup!(the_sixth_log_in_of_an_account_in_a_row_is_one_too_many);
async fn the_sixth_log_in_of_an_account_in_a_row_is_one_too_many(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
    let (user, other) = (test.user("user").await, test.user("other").await);
    let wrong = spend(5, async |_| user.log_in("nobody", "not the password").await).await;
    assert_eq!(wrong.json()["detail"], "Too many requests; try again later");
    // One was used when the account was made; the right password does not help when the budget is spent.
    spend_from(1, 5, async |_| user.log_in("user", PASSWORD).await).await;
    other.log_in("other", PASSWORD).await.expect(200);
    user.get(ME).await.expect(200);
}

on_every_setup!(a_spent_budget_tells_nothing_but_the_name_it_was_spent_on);
/// A name has one budget however it is spelled. Its owner's address has another: were it the same, a spent budget
/// would tell everybody whose address belongs to which name.
async fn a_spent_budget_tells_nothing_but_the_name_it_was_spent_on(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
    test.client().register("user", None).await.expect(201);
    for spellings in [
        ["user", "USER", "ｕser"],
        ["user@example.com", "User@Example.com", "USER@EXAMPLE.COM"],
        ["nobody", "Nobody", "NOBODY"],
    ] {
        let guess = async |turn: usize| test.client().log_in(spellings[turn % 3], "not the password").await;
        spend(5, guess).await;
    }
}

on_every_setup!(a_budget_of_log_ins_is_spent_for_one_client_alone);
/// Who guesses locks out nobody but themselves.
async fn a_budget_of_log_ins_is_spent_for_one_client_alone(setup: Setup) {
    let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1")];
    let test = setup.start_with(&settings).await;
    let user = test.user("user").await;
    let log_in = async |client: &str, password: &str| {
        let body = json!({"username": "user", "password": password}).to_string();
        let stranger = user.anonymous();
        stranger.send(stranger.request(Method::POST, TOKEN).header("x-forwarded-for", client).body(body)).await
    };
    spend(5, async |_| log_in("198.51.100.1", "not the password").await).await;
    log_in("198.51.100.2", PASSWORD).await.expect(200);
}

on_every_setup!(guesses_at_the_password_under_me_are_limited_too);
async fn guesses_at_the_password_under_me_are_limited_too(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
    let (user, other) = (test.user("user").await, test.user("other").await);
    // One budget for both ways to guess.
    let guess = async |turn: usize| match turn % 2 {
        0 => user.delete_with(ME, &json!({"password": "a guess"})).await,
        _ => {
            user.post("/api/v1/me/password", &json!({"current_password": "a guess", "new_password": "Zaunkoenig-7"}))
                .await
        }
    };
    spend(5, guess).await;
    let change = json!({"current_password": PASSWORD, "new_password": "Zaunkoenig-7"});
    other.post("/api/v1/me/password", &change).await.expect(204);
}

on_every_setup!(guesses_at_a_name_that_is_somebodys_id_cost_that_person_nothing);
/// Ids are no secret: whoever tries one for a name does not spend what its owner has, and learns nothing by it.
async fn guesses_at_a_name_that_is_somebodys_id_cost_that_person_nothing(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
    let user = test.user("user").await;
    spend(5, async |_| user.log_in(&user.id, "not the password").await).await;
    user.log_in("user", PASSWORD).await.expect(200);
    user.delete_with(ME, &json!({"password": "not the password"})).await.expect_problem(403, "wrong_password");
}

on_every_setup!(log_ins_beyond_the_queue_are_told_to_come_back_and_hold_nobody_else_up);
async fn log_ins_beyond_the_queue_are_told_to_come_back_and_hold_nobody_else_up(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_HASHING_QUEUE", "1"), ("REFERRAL_HASHING_THREADS", "1")]).await;
    let user = test.user("user").await;
    let client = test.client();
    let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let reads = tokio::spawn({
        let (user, client, over, rounds) = (user.clone(), client.clone(), over.clone(), rounds.clone());
        async move {
            while !over.load(Ordering::Relaxed) {
                client.get("/readyz").await.expect(200);
                user.get("/api/v1/codes").await.expect(200);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let began = Instant::now();
    let (mut let_in, mut turned_away) = (0, 0);
    // A round is as a rule enough; who says how fast a machine hashes?
    while turned_away == 0 || let_in == 0 || rounds.load(Ordering::Relaxed) < 5 {
        assert!(began.elapsed().as_secs() < 60, "{let_in} let in, {turned_away} turned away");
        assert!(!reads.is_finished(), "a read was not answered as it should be");
        let body = json!({"username": "user", "password": PASSWORD});
        let asked = (0..40).map(|_| client.post(TOKEN, &body));
        for answer in futures_util::future::join_all(asked).await {
            if answer.status == 503 {
                let answer = answer.expect_problem(503, "overloaded");
                assert!(answer.header("retry-after").parse::<u64>().expect("seconds") >= 1);
                turned_away += 1;
            } else {
                answer.expect(200);
                let_in += 1;
            }
        }
    }
    over.store(true, Ordering::Relaxed);
    reads.await.expect("every read was answered");
    // Nothing stays behind: the next one gets in.
    user.log_in("user", PASSWORD).await.expect(200);
}
