//! Attempts: when they are made, what ends them, and what becomes of an endpoint that fails.

use std::time::Duration;

use serde_json::json;

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::hunter::Reply;
use crate::support::receiver::{HERE, Receiver};
use crate::support::servers::Smtp;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn states(test: &TestApp) -> Vec<String> {
    let rows = test.query("select state from deliveries order by message_id").await;
    rows.into_iter().flatten().flatten().collect()
}

/// One endpoint and one message for it.
async fn told(setup: Setup, receiver: &Receiver) -> (TestApp, crate::support::client::Client) {
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    manager.endpoint(&receiver.url).await;
    test.client().register("ivan", None).await.expect(201);
    (test, manager)
}

on_every_setup!(a_delivery_is_tried_as_published_and_given_up_after_the_tenth);
async fn a_delivery_is_tried_as_published_and_given_up_after_the_tenth(setup: Setup) {
    const PUBLISHED: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
    let receiver = Receiver::saying(|_| Reply::new(500, &[], "no")).await;
    let test = told(setup, &receiver).await.0;
    test.drain().await;
    for (attempts, seconds) in (1..).zip(PUBLISHED) {
        assert_eq!(receiver.received().len(), attempts);
        // Not a fifth before the published time, and not later than a fifth behind it.
        test.move_clock(Duration::from_secs(seconds) * 4 / 5);
        test.drain().await;
        assert_eq!(receiver.received().len(), attempts, "{seconds} s");
        test.move_clock(Duration::from_secs(seconds) * 2 / 5);
        test.drain().await;
    }
    assert_eq!(receiver.received().len(), 10);
    assert_eq!(states(&test).await, ["failed"]);
    test.move_clock(DAY * 30);
    test.drain().await;
    let received = receiver.received();
    assert_eq!(received.len(), 10);
    assert!(received.iter().all(|one| one.id() == received[0].id() && one.text == received[0].text));
    assert!(received.windows(2).all(|pair| pair[0].sent_at() <= pair[1].sent_at()));
    let manager = test.client().logged_in("manager").await;
    let message = manager.get(&format!("/api/v1/webhook-messages/{}", received[0].id())).await.expect(200).json();
    let attempts = message["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 10);
    assert!(attempts.iter().all(|attempt| attempt["status"] == 500 && attempt["error"].is_null()), "{attempts:?}");
    assert_eq!(message["deliveries"][0]["state"], "failed");
}

on_every_setup!(what_fails_once_gets_through_the_next_time);
async fn what_fails_once_gets_through_the_next_time(setup: Setup) {
    let receiver = Receiver::saying(|_| Reply::new(503, &[("retry-after", "120")], "")).await;
    let (test, manager) = told(setup, &receiver).await;
    test.drain().await;
    receiver.says(|_| Reply::new(200, &[], "thanks"));
    // It has asked for two minutes.
    test.move_clock(Duration::from_secs(110));
    test.drain().await;
    assert_eq!(receiver.received().len(), 1);
    let failing = manager.get("/api/v1/webhook-endpoints").await.expect(200).json();
    assert!(failing["items"][0]["failing_since"].is_string(), "{failing}");
    test.move_clock(Duration::from_secs(11));
    test.drain().await;
    assert_eq!(receiver.received().len(), 2);
    assert_eq!(states(&test).await, ["delivered"]);
    let mended = manager.get("/api/v1/webhook-endpoints").await.expect(200).json();
    assert!(mended["items"][0]["failing_since"].is_null(), "{mended}");
    let path = format!("/api/v1/webhook-messages/{}/resend", receiver.received()[0].id());
    manager.post(&path, &json!({})).await.expect(202);
    test.drain().await;
    assert_eq!(receiver.received().len(), 3);
}

on_every_setup!(an_endpoint_that_is_gone_is_disabled_at_once);
async fn an_endpoint_that_is_gone_is_disabled_at_once(setup: Setup) {
    let receiver = Receiver::saying(|_| Reply::new(410, &[], "")).await;
    let test = told(setup, &receiver).await.0;
    test.drain().await;
    test.client().register("olga", None).await.expect(201);
    test.move_clock(DAY);
    test.drain().await;
    assert_eq!(receiver.received().len(), 1);
    let manager = test.client().logged_in("manager").await;
    let listed = manager.get("/api/v1/webhook-endpoints").await.expect(200).json();
    let endpoint = &listed["items"][0];
    assert_eq!((&endpoint["state"], &endpoint["disabled_reason"]), (&json!("disabled"), &json!("gone")));
    assert!(endpoint["disabled_at"].is_string(), "{endpoint}");
}

on_every_setup!(an_endpoint_that_fails_for_five_days_is_disabled_and_recovered_in_full);
async fn an_endpoint_that_fails_for_five_days_is_disabled_and_recovered_in_full(setup: Setup) {
    let smtp = Smtp::start().await;
    let settings = Smtp::settings(smtp.port);
    let mut settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.push(HERE);
    let receiver = Receiver::saying(|_| Reply::new(500, &[], "")).await;
    let test = setup.start_with(&settings).await;
    let manager = test.manager("manager").await;
    let endpoint = manager.endpoint_for(&receiver.url, &["participant.created"]).await;
    let mut subjects = Vec::new();
    let began = test.app().clock.now();
    for day in 0..7 {
        test.client().register(&format!("person{day}"), None).await.expect(201);
        test.drain().await;
        test.drain().await;
        let mails = smtp.mails_to("manager@example.com");
        subjects.push(mails.iter().filter(|mail| mail.subject.contains("endpoint")).count());
        test.move_clock(DAY + HOUR);
    }
    // A warning after the first day, the end after the fifth, and nothing more.
    assert_eq!(subjects, [0, 1, 1, 1, 1, 2, 2]);
    let manager = test.client().logged_in("manager").await;
    let listed = manager.get(&endpoint.path()).await.expect(200).json();
    assert_eq!((&listed["state"], &listed["disabled_reason"]), (&json!("disabled"), &json!("failing")));
    let audited = "select count(*) from audit where action = 'endpoint_disabled' and actor_kind = 'service'";
    assert_eq!(test.number(audited).await, 1);
    let tried = receiver.received().len();
    test.drain().await;
    assert_eq!(receiver.received().len(), tried);

    receiver.says(|_| Reply::new(204, &[], ""));
    receiver.forget();
    manager.post(&format!("{}/enable", endpoint.path()), &json!({})).await.expect(200);
    let since = json!({"since": began.to_string()});
    manager.post(&format!("{}/recover", endpoint.path()), &since).await.expect(202);
    test.drain().await;
    let ids: std::collections::BTreeSet<String> =
        receiver.received().iter().map(|one| one.body()["data"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 7, "{:?}", receiver.kinds());
    assert_eq!(test.number("select count(*) from deliveries where state <> 'delivered'").await, 0);
    // Once more recovers nothing.
    receiver.forget();
    manager.post(&format!("{}/recover", endpoint.path()), &since).await.expect(202);
    test.drain().await;
    assert_eq!(receiver.received().len(), 0);
    let old = json!({"since": "2020-01-01"});
    manager.post(&format!("{}/recover", endpoint.path()), &old).await.expect_problem(422, "invalid");
}

on_every_setup!(one_slow_receiver_holds_up_nobody);
async fn one_slow_receiver_holds_up_nobody(setup: Setup) {
    let (slow, fast) = (Receiver::saying(|_| Reply::Silence).await, Receiver::start().await);
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    let endpoint = manager.endpoint(&slow.url).await;
    manager.endpoint(&fast.url).await;
    for person in 0..20 {
        test.client().register(&format!("person{person}"), None).await.expect(201);
    }
    let (_go, stop) = tokio::sync::watch::channel(false);
    let working = tokio::spawn(referral::worker::work(test.app().clone(), stop));
    crate::support::app::eventually("the fast one has all", || async { fast.received().len() == 20 }).await;
    // At most eight are under way for the other.
    let leased = "select count(*) from deliveries where lease_until is not null and endpoint_id";
    let leased = test.number(&format!("{leased} = {}", endpoint.sql(&test))).await;
    assert!(leased <= 8, "{leased}");
    working.abort();
}

on_every_setup!(deliveries_are_listed_by_state_and_in_parts);
async fn deliveries_are_listed_by_state_and_in_parts(setup: Setup) {
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    let endpoint = manager.endpoint(&receiver.url).await;
    for person in 0..5 {
        if person == 3 {
            test.drain().await;
            receiver.says(|_| Reply::new(500, &[], ""));
        }
        test.client().register(&format!("person{person}"), None).await.expect(201);
    }
    test.drain().await;
    let path = format!("{}/deliveries", endpoint.path());
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let part = manager.get(&format!("{path}?size=2{cursor}")).await.expect(200).json();
        seen.extend(part["items"].as_array().expect("items").clone());
        let Some(next) = part["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let ids: Vec<&str> = seen.iter().filter_map(|one| one["message_id"].as_str()).collect();
    assert!(ids.len() == 5 && ids.windows(2).all(|pair| pair[0] > pair[1]), "{ids:?}");
    for (state, count) in [("pending", 2), ("delivered", 3), ("failed", 0)] {
        let part = manager.get(&format!("{path}?state={state}")).await.expect(200).json();
        let items = part["items"].as_array().expect("items");
        assert_eq!(items.len(), count, "{state}");
        assert!(items.iter().all(|one| one["next_attempt_at"].is_string() == (state == "pending")), "{items:?}");
    }
    for bad in ["state=sent", "size=0", "size=101", "cursor=nonsense"] {
        manager.get(&format!("{path}?{bad}")).await.expect_problem(422, "invalid");
    }
}

on_every_setup!(what_is_due_for_a_disabled_endpoint_waits);
async fn what_is_due_for_a_disabled_endpoint_waits(setup: Setup) {
    let receiver = Receiver::saying(|_| Reply::new(500, &[], "")).await;
    let (test, manager) = told(setup, &receiver).await;
    test.drain().await;
    let listed = manager.get("/api/v1/webhook-endpoints").await.expect(200).json();
    let id = listed["items"][0]["id"].as_str().expect("an id");
    test.sql("update webhook_endpoints set state = 'disabled', reason = 'failing', disabled_at = 1").await;
    receiver.says(|_| Reply::new(204, &[], ""));
    test.move_clock(HOUR);
    test.drain().await;
    // A lane that was open meanwhile looks again before it takes anything up.
    let (_go, stop) = tokio::sync::watch::channel(false);
    let endpoint = referral::kernel::ids::EndpointId::parse(id).expect("an id");
    referral::features::webhooks::actions::lanes::run(test.app(), endpoint, stop).await.expect("a lane");
    assert_eq!(receiver.received().len(), 1);
    let manager = test.client().logged_in("manager").await;
    manager.post(&format!("/api/v1/webhook-endpoints/{id}/enable"), &json!({})).await.expect(200);
    test.drain().await;
    assert_eq!(receiver.received().len(), 2);
    assert_eq!(states(&test).await, ["delivered"]);
}

on_every_setup!(no_more_are_under_way_for_an_endpoint_than_may_be_on_all_nodes);
async fn no_more_are_under_way_for_an_endpoint_than_may_be_on_all_nodes(setup: Setup) {
    use referral::features::webhooks::actions::{fan_out, lanes};
    let silent = Receiver::saying(|_| Reply::Silence).await;
    let test = setup.start_with(&[HERE]).await;
    let made = test.manager("manager").await.endpoint(&silent.url).await;
    let endpoint = referral::kernel::ids::EndpointId::parse(&made.id).expect("an id");
    for person in 0..30 {
        test.client().register(&format!("person{person}"), None).await.expect(201);
    }
    fan_out::run(test.app()).await.expect("numbers");
    let (_go, stop) = tokio::sync::watch::channel(false);
    let (app, told) = (test.app().clone(), stop.clone());
    let busy = tokio::spawn(async move { lanes::run(&app, endpoint, told).await });
    let came = || async { silent.received().len() == 8 };
    crate::support::app::eventually("as many as may be have come", came).await;
    // Another node finds no room, and does not wait for any.
    let other = test.open(&[]).await.expect("a node starts");
    lanes::run(&other, endpoint, stop).await.expect("a lane");
    assert_eq!(test.number("select count(*) from deliveries where lease_until is not null").await, 8);
    assert_eq!(silent.received().len(), 8);
    busy.abort();
}

on_every_setup!(what_a_clock_has_put_off_that_was_ahead_is_due_once_it_is_mended);
async fn what_a_clock_has_put_off_that_was_ahead_is_due_once_it_is_mended(setup: Setup) {
    let receiver = Receiver::saying(|_| Reply::new(500, &[], "")).await;
    let test = told(setup, &receiver).await.0;
    test.drain().await;
    // As an attempt would have left it by a clock that was a year ahead, and its node had died over another.
    let year = 365 * 24 * 3_600_000_000_i64;
    let ahead = format!("next_at = next_at + {year}, lease_until = next_at + {year}");
    test.sql(&format!("update deliveries set {ahead}")).await;
    test.sql(&format!("update webhook_endpoints set failing_since = failing_since + {year}")).await;
    receiver.says(|_| Reply::new(204, &[], ""));
    test.drain().await;
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(referral::worker::mend_times(test.app()).await.expect("times are mended"), 3);
    test.drain().await;
    assert_eq!(receiver.received().len(), 2);
    assert_eq!(states(&test).await, ["delivered"]);
    // What is put off for as long as is published stays so.
    assert_eq!(referral::worker::mend_times(test.app()).await.expect("times are mended"), 0);
}
