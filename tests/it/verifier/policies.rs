//! What each policy bars and lets through, and that registrations complete whatever Hunter does.

use std::collections::HashMap;
use std::time::Duration;

use referral::worker;
use serde_json::{Value, json};

use super::helpers::{DAY, MINUTE, hunter_by_name, job, log_in, open_jobs, owner, register, verdict};
use crate::on_both_engines;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::hunter::{Hunter, Reply};

/// Questions that were ever to be asked. (Referrals bring jobs of another kind now and then.)
async fn questions(test: &TestApp) -> i64 {
    test.number("select count(*) from jobs where kind = 'check_email'").await
}

on_both_engines!(while_hunter_is_silent_registrations_complete_and_other_work_goes_on);
/// Half-open: connections are taken and nothing is ever said.
async fn while_hunter_is_silent_registrations_complete_and_other_work_goes_on(setup: Setup) {
    let hunter = Hunter::saying(|_| Reply::Silence).await;
    let test = setup.start_with(&hunter.settings("flag")).await;
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let working = tokio::spawn(worker::work(test.app().clone(), stopped));
    let first = register(&test, "first", None).await;
    eventually("Hunter is asked", || async { hunter.asked().len() == 1 }).await;

    let second = register(&test, "second", None).await;
    log_in(&test, "second").await.expect(200);
    test.sql(&format!(
        "insert into jobs (kind, subject, created_at, run_at, attempts) values ('fold_referrals', '{first}', 0, 0, 0)"
    ))
    .await;
    eventually("other jobs are done", || async {
        test.number("select count(*) from jobs where kind = 'fold_referrals' and done_at is not null").await == 1
    })
    .await;
    for id in [&first, &second] {
        assert!(job(&test, id).await.0, "the job is still open");
        assert_eq!(verdict(&test, id).await, "pending");
    }

    // The node dies over it. When its lease has run out another one asks, and by then Hunter speaks.
    working.abort();
    let _ = working.await;
    hunter.says(|_| Reply::verdict("valid"));
    test.move_clock(Duration::from_secs(121));
    test.drain().await;
    assert_eq!(open_jobs(&test).await, 0);
    for id in [&first, &second] {
        assert_eq!(verdict(&test, id).await, "valid");
    }
}

/// The status of each referee in the owner's list, by name.
async fn statuses(owner: &Client) -> HashMap<String, String> {
    let list = owner.get(&format!("/api/v1/users/{}", owner.id)).await.expect(200).json();
    let items = list["items"].as_array().expect("items").clone();
    assert_eq!(list["total"], json!(items.len()));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    items.iter().map(|item| (text(&item["username"]), text(&item["status"]))).collect()
}

const WORDS: [&str; 6] = ["valid", "invalid", "accept_all", "webmail", "disposable", "unknown"];

on_both_engines!(under_off_nothing_is_asked_and_nobody_waits);
async fn under_off_nothing_is_asked_and_nobody_waits(setup: Setup) {
    let hunter = hunter_by_name().await;
    let test = setup.start_with(&hunter.settings("off")).await;
    let owner = owner(&test).await;
    register(&test, "invalid", Some("SPRING2030AB")).await;
    let me = test.client().logged_in("invalid").await;
    assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "unchecked");
    let body = json!({"username": "short", "email": "short@mailinator.com", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect(201);
    let me = test.client().logged_in("short").await;
    assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "unchecked");
    test.drain().await;
    assert_eq!(questions(&test).await, 0);
    assert!(hunter.asked().is_empty());
    assert_eq!(statuses(&owner).await["invalid"], "confirmed");
}

on_both_engines!(under_flag_the_verdict_is_shown_and_bars_nobody);
async fn under_flag_the_verdict_is_shown_and_bars_nobody(setup: Setup) {
    let hunter = hunter_by_name().await;
    let test = setup.start_with(&hunter.settings("flag")).await;
    let owner = owner(&test).await;
    for word in WORDS {
        register(&test, word, Some("SPRING2030AB")).await;
        let me = test.client().logged_in(word).await;
        assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "pending");
        assert_eq!(statuses(&owner).await[word], "confirmed");
    }
    test.drain().await;
    for word in WORDS {
        let me = test.client().logged_in(word).await;
        assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], word);
        assert_eq!(statuses(&owner).await[word], "confirmed");
    }
    // A domain on our own list is flagged without a question.
    let asked = hunter.asked().len();
    let body =
        json!({"username": "short", "email": "short@mailinator.com", "password": PASSWORD, "code": "SPRING2030AB"});
    test.client().post("/api/v1/auth/user", &body).await.expect(201);
    test.drain().await;
    assert_eq!(questions(&test).await as usize, asked);
    assert_eq!(hunter.asked().len(), asked);
    let me = test.client().logged_in("short").await;
    assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "disposable");
    assert_eq!(statuses(&owner).await["short"], "confirmed");
}

on_both_engines!(under_block_log_in_and_the_referral_wait_for_the_verdict);
async fn under_block_log_in_and_the_referral_wait_for_the_verdict(setup: Setup) {
    let hunter = hunter_by_name().await;
    let test = setup.start_with(&hunter.settings("block")).await;
    let owner = owner(&test).await;
    for word in WORDS {
        register(&test, word, Some("SPRING2030AB")).await;
        log_in(&test, word).await.expect_problem(403, "email_check_pending");
        test.client().log_in(&format!("{word}@asked.test"), PASSWORD).await.expect(403);
        // Why somebody does not get in is told only to who has the password.
        test.client().log_in(word, "not the password").await.expect_problem(401, "bad_credentials");
        assert_eq!(statuses(&owner).await[word], "pending");
    }
    test.drain().await;
    assert_eq!(open_jobs(&test).await, 0);
    let after = async || {
        for word in WORDS {
            if matches!(word, "invalid" | "disposable") {
                log_in(&test, word).await.expect_problem(403, "email_refused");
                test.client().log_in(word, "not the password").await.expect_problem(401, "bad_credentials");
            } else {
                log_in(&test, word).await.expect(200);
            }
        }
        let owner = test.client().logged_in("owner").await;
        for (word, status) in statuses(&owner).await {
            let bad = matches!(word.as_str(), "invalid" | "disposable");
            assert_eq!(status, if bad { "pending" } else { "confirmed" }, "{word}");
        }
    };
    after().await;
    // Bad addresses do not become good by waiting.
    test.move_clock(2 * DAY);
    assert_eq!(test.drain().await, 0);
    after().await;
    assert_eq!(hunter.asked().len(), 1 + WORDS.len());
}

on_both_engines!(under_block_an_address_without_a_verdict_passes_when_the_time_is_up);
async fn under_block_an_address_without_a_verdict_passes_when_the_time_is_up(setup: Setup) {
    let hunter = hunter_by_name().await;
    let test = setup.start_with(&hunter.settings("block")).await;
    let owner = owner(&test).await;
    hunter.says(|_| Reply::new(500, &[], ""));
    let id = register(&test, "waits", Some("SPRING2030AB")).await;
    test.drain().await;
    test.move_clock(59 * MINUTE);
    test.drain().await;
    log_in(&test, "waits").await.expect_problem(403, "email_check_pending");
    assert_eq!(verdict(&test, &id).await, "pending");
    test.move_clock(MINUTE);
    // Nobody waits for the job to say so.
    let waits = log_in(&test, "waits").await.expect(200).json();
    assert!(waits["access_token"].is_string());
    let owner = test.client().logged_in(&owner.username).await;
    assert_eq!(statuses(&owner).await["waits"], "pending");
    let asked = hunter.asked().len();
    assert_eq!(test.drain().await, 1, "the job is due at the end of the time, however long its last pause was");
    assert_eq!(hunter.asked().len(), asked, "it is too late to ask");
    assert_eq!(verdict(&test, &id).await, "unknown");
    assert_eq!(statuses(&owner).await["waits"], "confirmed");
    assert_eq!(open_jobs(&test).await, 0);
}

on_both_engines!(the_time_after_which_an_address_passes_is_a_setting);
async fn the_time_after_which_an_address_passes_is_a_setting(setup: Setup) {
    let hunter = Hunter::saying(|_| Reply::new(429, &[("retry-after", "3000")], "")).await;
    let mut settings = hunter.settings("block").to_vec();
    settings.push(("REFERRAL_EMAIL_GIVE_UP_MINUTES", "5"));
    let test = setup.start_with(&settings).await;
    let id = register(&test, "waits", None).await;
    test.drain().await;
    test.move_clock(4 * MINUTE);
    log_in(&test, "waits").await.expect_problem(403, "email_check_pending");
    test.move_clock(MINUTE);
    log_in(&test, "waits").await.expect(200);
    assert_eq!(test.drain().await, 1, "Retry-After is not waited for past the end of the time");
    assert_eq!(verdict(&test, &id).await, "unknown");
}

on_both_engines!(under_block_a_disposable_domain_is_refused_at_registration);
async fn under_block_a_disposable_domain_is_refused_at_registration(setup: Setup) {
    let hunter = hunter_by_name().await;
    let test = setup.start_with(&hunter.settings("block")).await;
    for email in ["short@mailinator.com", "short@MAILINATOR.com"] {
        let body = json!({"username": "short", "email": email, "password": PASSWORD});
        let refused = test.client().post("/api/v1/auth/user", &body).await.expect_problem(422, "invalid").json();
        assert_eq!(refused["errors"][0]["loc"], json!(["body", "email"]));
        assert_eq!(refused["errors"][0]["type"], "disposable_address");
    }
    assert_eq!(test.number("select count(*) from users").await, 0);
    assert_eq!(test.number("select count(*) from jobs").await, 0);
    assert!(hunter.asked().is_empty());
}

on_both_engines!(without_a_key_nobody_is_asked_and_nobody_waits);
/// `block` with nobody to ask: only our own list speaks.
async fn without_a_key_nobody_is_asked_and_nobody_waits(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_EMAIL_CHECK", "block")]).await;
    let owner = owner(&test).await;
    register(&test, "friend", Some("SPRING2030AB")).await;
    let me = test.client().logged_in("friend").await;
    assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "unchecked");
    assert_eq!(statuses(&owner).await["friend"], "confirmed");
    let body = json!({"username": "short", "email": "short@mailinator.com", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect_problem(422, "invalid");
    assert_eq!(questions(&test).await, 0);
}

on_both_engines!(nothing_is_asked_about_who_was_erased_meanwhile);
async fn nothing_is_asked_about_who_was_erased_meanwhile(setup: Setup) {
    let hunter = hunter_by_name().await;
    let test = setup.start_with(&hunter.settings("flag")).await;
    let id = register(&test, "valid", None).await;
    let me = test.client().logged_in("valid").await;
    me.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
    assert_eq!(test.drain().await, 1);
    assert!(hunter.asked().is_empty());
    assert!(!job(&test, &id).await.0, "the job is done");
}
