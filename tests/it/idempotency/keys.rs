//! What a key means: to whom, for what, and for how long.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::keyed::{FAR, create, is_replayed, replace, request};
use crate::support::oauth;
use crate::support::paths::{CODES, ME, USER};

const RECORDS: &str = "select count(*) from idempotency";

on_every_setup!(a_retried_replacement_makes_one_code);
async fn a_retried_replacement_makes_one_code(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let first = replace(&user, "order-17").await.expect(201);
    let again = replace(&user, "order-17").await.expect(201);
    assert_eq!((is_replayed(&first), is_replayed(&again)), (false, true));
    assert_eq!(first.text, again.text);
    // In quotes it is the same key.
    assert_eq!(replace(&user, "\"order-17\"").await.expect(201).text, first.text);
    assert_eq!(test.number("select count(*) from codes").await, 1);
    assert_ne!(replace(&user, "order-18").await.expect(201).json()["code"], first.json()["code"]);
    assert_eq!(test.number("select count(*) from codes").await, 2);
    // What was answered stays answered, whatever has become of it since.
    let again = replace(&user, "order-17").await.expect(201);
    assert_eq!(again.text, first.text);
}

on_every_setup!(a_retried_choice_of_a_handle_is_one_choice);
async fn a_retried_choice_of_a_handle_is_one_choice(setup: Setup) {
    let test = setup.start().await;
    let (user, other) = (test.user("user").await, test.user("other").await);
    let choose = async |client: &Client, handle: &str, key: &str| {
        let body = json!({"handle": handle, "discoverable": false});
        client.send(request(client, &Method::PATCH, ME, Some(&body), key)).await
    };
    let first = choose(&user, "olga1", "key").await.expect(200);
    let again = choose(&user, "olga1", "key").await.expect(200);
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!(first.text, again.text);
    choose(&user, "olga2", "key").await.expect_problem(422, "idempotency_key_reused");
    choose(&user, "olga2", "another").await.expect_problem(409, "handle_chosen");
    // What was refused has left the rest alone too, and its key unused.
    choose(&other, "olga1", "key").await.expect_problem(409, "handle_taken");
    assert_eq!(other.get(ME).await.expect(200).json()["discoverable"], true);
    assert!(!is_replayed(&choose(&other, "olga2", "key").await.expect(200)));
    assert_eq!(test.number("select count(*) from handle_strings").await, 2);
    assert_eq!(test.number(RECORDS).await, 2);
}

on_every_setup!(a_key_that_comes_with_another_request_is_refused_and_nothing_is_done);
async fn a_key_that_comes_with_another_request_is_refused_and_nothing_is_done(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    create(&user, "FIRST2099ABC", "key").await.expect(201);
    create(&user, "OTHER2099ABC", "key").await.expect_problem(422, "idempotency_key_reused");
    let body = json!({"code": "FIRST2099ABC", "expires_at": FAR});
    let path = format!("{CODES}?replace=true");
    let other = user.send(request(&user, &Method::POST, &path, Some(&body), "key")).await;
    other.expect_problem(422, "idempotency_key_reused");
    // Blanks and the order of fields are no other request.
    let text = format!("{{ \"expires_at\":\"{FAR}\",\n \"code\":\"FIRST2099ABC\"}}");
    let spelled = user.request(Method::POST, CODES).header("idempotency-key", "key").body(text);
    assert!(is_replayed(&user.send(spelled).await.expect(201)));
    // Another operation has keys of its own.
    let body = json!({"discoverable": false});
    let patched = user.send(request(&user, &Method::PATCH, ME, Some(&body), "key")).await.expect(200);
    assert!(!is_replayed(&patched));
    assert_eq!(test.number("select count(*) from codes").await, 1);
}

on_every_setup!(a_token_of_other_scopes_of_the_same_person_gets_no_answer_that_shows_more);
/// One operation and one body, and a profile that shows the active code to whoever may read codes.
async fn a_token_of_other_scopes_of_the_same_person_gets_no_answer_that_shows_more(setup: Setup) {
    let test = setup.start().await;
    let shop = oauth::register(&test.manager("boss").await, json!({})).await;
    let user = test.user("user").await;
    user.create_code("SECRET2099ABC").await.expect(201);
    let narrow = shop.tokens("user", &[("scope", "openid account profile")]).await;
    let narrow = oauth::bearer(&shop.base, &narrow);
    let body = json!({"discoverable": false});
    let change = async |client: &Client| client.send(request(client, &Method::PATCH, ME, Some(&body), "key")).await;
    let first = change(&user).await.expect(200);
    assert_eq!(first.json()["active_code"]["code"], "SECRET2099ABC");
    let other = change(&narrow).await.expect_problem(422, "idempotency_key_reused");
    assert!(!other.text.contains("SECRET2099ABC"), "{other:?}");
    // The same scopes by another log-in are the same caller.
    let again = change(&test.client().logged_in("user").await).await.expect(200);
    assert!(is_replayed(&again));
    assert_eq!(again.text, first.text);
    assert_eq!(test.number(RECORDS).await, 1);
}

on_every_setup!(what_was_refused_leaves_no_record_and_applies_when_it_comes_again);
async fn what_was_refused_leaves_no_record_and_applies_when_it_comes_again(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    user.create_code("FIRST2099ABC").await.expect(201);
    create(&user, "NEXT2099ABCD", "key").await.expect_problem(409, "active_code_exists");
    assert_eq!(test.number(RECORDS).await, 0);
    user.revoke_code("FIRST2099ABC").await.expect(204);
    assert!(!is_replayed(&create(&user, "NEXT2099ABCD", "key").await.expect(201)));
    assert!(is_replayed(&create(&user, "NEXT2099ABCD", "key").await.expect(201)));
    assert_eq!(test.number(RECORDS).await, 1);
}

on_every_setup!(two_callers_with_one_key_have_an_effect_each);
async fn two_callers_with_one_key_have_an_effect_each(setup: Setup) {
    let test = setup.start().await;
    let (one, other) = (test.user("one").await, test.user("other").await);
    let codes = [replace(&one, "order-17").await.expect(201), replace(&other, "order-17").await.expect(201)];
    assert!(codes.iter().all(|answer| !is_replayed(answer)));
    assert_ne!(codes[0].json()["code"], codes[1].json()["code"]);
    assert_eq!(codes[1].json()["user_id"], json!(other.id));
}

on_every_setup!(a_retried_registration_makes_one_account);
async fn a_retried_registration_makes_one_account(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("OWNER2099ABC").await.expect(201);
    let stranger = test.client();
    let send = async |name: &str| {
        let body = json!({
            "username": name, "email": format!("{name}@example.com"), "password": PASSWORD, "code": "OWNER2099ABC",
        });
        stranger.send(request(&stranger, &Method::POST, USER, Some(&body), "a form")).await
    };
    let first = send("newcomer").await.expect(201);
    let again = send("newcomer").await.expect(201);
    assert_eq!((is_replayed(&first), is_replayed(&again), &first.text), (false, true, &again.text));
    assert_eq!(test.number("select count(*) from referrals").await, 1);
    send("another").await.expect_problem(422, "idempotency_key_reused");
    // Without the key it is a second one.
    stranger.register("newcomer", None).await.expect_problem(409, "username_taken");
}

on_every_setup!(an_answer_is_kept_for_a_day);
async fn an_answer_is_kept_for_a_day(setup: Setup) {
    let test = setup.start().await;
    let mut user = test.user("user").await;
    let first = replace(&user, "key").await.expect(201);
    test.move_clock(Duration::from_secs(24 * 3600 - 60));
    user = test.client().logged_in("user").await;
    assert_eq!(replace(&user, "key").await.expect(201).text, first.text);
    referral::worker::clean(test.app()).await.expect("housekeeping");
    assert_eq!(test.number(RECORDS).await, 1);
    test.move_clock(Duration::from_secs(120));
    // Also where nobody has cleaned up yet.
    let next = replace(&user, "key").await.expect(201);
    assert!(!is_replayed(&next) && next.text != first.text, "{next:?}");
    assert_eq!(replace(&user, "key").await.expect(201).text, next.text);
    assert_eq!(test.number(RECORDS).await, 1);
    test.move_clock(Duration::from_secs(24 * 3600));
    referral::worker::clean(test.app()).await.expect("housekeeping");
    assert_eq!(test.number(RECORDS).await, 0);
}

on_every_setup!(a_key_that_is_none_is_told_and_without_one_nothing_is_kept);
async fn a_key_that_is_none_is_told_and_without_one_nothing_is_kept(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    for key in ["\"half", "caf\u{e9}", &"k".repeat(256)] {
        let problem = replace(&user, key).await.expect_problem(422, "invalid");
        assert_eq!(problem.json()["errors"][0]["loc"], json!(["header", "Idempotency-Key"]), "{key}");
    }
    assert_eq!(test.number("select count(*) from codes").await, 0);
    // Where it means nothing, it is not read.
    let mark = user.request(Method::GET, ME).header("idempotency-key", "\"half");
    user.send(mark).await.expect(200);
    user.post("/api/v1/codes?replace=true", &json!({"expires_at": FAR})).await.expect(201);
    assert_eq!(test.number(RECORDS).await, 0);
}

/// Between nodes the second waits for the first, and not longer than for any lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_another_node_has_is_in_flight_until_it_is_done() {
    let mut test = Setup::Postgres.start().await;
    test.add_node_with(&[("REFERRAL_HTTP_REQUEST_SECONDS", "5")]).await;
    let user = test.user("user").await;
    user.create_code("FIRST2099ABC").await.expect(201);
    // Somebody holds what the first needs.
    let beside = test.beside().await;
    beside.batch_execute("begin; select 1 from code_slots for update").await.expect("a lock");
    let first = tokio::spawn({
        let user = user.clone();
        async move { replace(&user, "key").await }
    });
    eventually("the first waits", || async { test.waiting().await == 1 }).await;
    let second = user.at(&test.nodes[1].url);
    replace(&second, "key").await.expect_problem(409, "idempotency_in_flight");
    beside.batch_execute("commit").await.expect("the lock is let go");
    let first = first.await.expect("an answer").expect(201);
    assert_eq!(replace(&second, "key").await.expect(201).text, first.text);
    assert_eq!(test.number("select count(*) from codes").await, 2);
}
