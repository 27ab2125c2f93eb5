//! The feed: the same messages for who cannot receive.

use std::time::{Duration, Instant};

use referral::limits::turns::Key;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;
use crate::support::host::host_of;
use crate::support::receiver::{HERE, Receiver};

const FEED: &str = "/api/v1/webhook-messages";
const ON: (&str, &str) = ("REFERRAL_WEBHOOKS_FEED", "on");

async fn part(reader: &Client, query: &str) -> (Vec<Value>, i64) {
    let part = reader.get(&format!("{FEED}?{query}")).await.expect(200).json();
    let next = part["next_after"].as_i64().expect("a number");
    (part["items"].as_array().expect("items").clone(), next)
}

async fn numbered(test: &TestApp) {
    referral::features::webhooks::actions::fan_out::run(test.app()).await.expect("numbers");
}

on_every_setup!(a_feed_has_what_endpoints_get_once_and_in_order);
async fn a_feed_has_what_endpoints_get_once_and_in_order(setup: Setup) {
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[ON, HERE]).await;
    // Without any endpoint.
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    for person in 0..5 {
        test.client().register(&format!("person{person}"), None).await.expect(201);
    }
    manager.endpoint(&receiver.url).await;
    test.client().register("last", None).await.expect(201);
    numbered(&test).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (items, next) = part(&host, &format!("size=2{after}")).await;
        if items.is_empty() {
            break;
        }
        seen.extend(items);
        after = format!("&after={next}");
    }
    let numbers: Vec<i64> = seen.iter().filter_map(|one| one["seq"].as_i64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    test.drain().await;
    let received = receiver.received();
    let body = received.iter().find(|one| json!(one.id()) == seen[6]["id"]).expect("the last").body();
    assert_eq!(
        [&seen[6]["type"], &seen[6]["timestamp"], &seen[6]["data"]],
        ["type", "timestamp", "data"].map(|name| &body[name])
    );
    assert_eq!(part(&manager, "after=5").await.0.len(), 2);
}

on_every_setup!(who_waits_is_answered_when_something_comes_and_two_at_a_time);
async fn who_waits_is_answered_when_something_comes_and_two_at_a_time(setup: Setup) {
    let test = setup.start_with(&[ON]).await;
    let host = host_of(&test.manager("manager").await).await;
    numbered(&test).await;
    let (_, last) = part(&host, "").await;
    let began = Instant::now();
    let query = format!("after={last}&wait=25");
    let reader = host.clone();
    let waiting = tokio::spawn(async move { part(&reader, &query).await });
    test.client().register("somebody", None).await.expect(201);
    numbered(&test).await;
    let (items, next) = waiting.await.expect("an answer");
    assert_eq!((items.len(), next), (1, last + 1));
    // Two are read at once, and no third.
    let id = if setup == Setup::Sqlite { "lower(hex(id))" } else { "id::text" };
    let id = test.query(&format!("select {id} from clients")).await[0][0].clone().expect("an id");
    let key = Key::Feed(referral::kernel::ids::uuid(&id).expect("an id"));
    let one = test.app().turns.take(key).await.expect("room for one");
    assert_eq!(part(&host, &format!("after={last}")).await.0.len(), 1);
    let two = test.app().turns.take(key).await.expect("room for two");
    host.get(&format!("{FEED}?after={last}")).await.expect_problem(429, "client_busy");
    drop((one, two));
    assert!(began.elapsed() < Duration::from_secs(25));
    // At a stop whoever waits is answered.
    let query = format!("after={}&wait=25", last + 1);
    let reader = host.clone();
    let waiting = tokio::spawn(async move { part(&reader, &query).await });
    test.app().stop();
    assert_eq!(waiting.await.expect("an answer").0.len(), 0);
}

on_every_setup!(a_feed_that_is_off_or_of_too_long_ago_says_so);
async fn a_feed_that_is_off_or_of_too_long_ago_says_so(setup: Setup) {
    let off = setup.start().await;
    off.manager("manager").await.get(FEED).await.expect_problem(409, "feed_off");
    let test = setup.start_with(&[ON]).await;
    let manager = test.manager("manager").await;
    numbered(&test).await;
    for bad in ["after=-1", "after=x", "wait=26", "wait=-1", "size=0", "size=101"] {
        manager.get(&format!("{FEED}?{bad}")).await.expect_problem(422, "invalid");
    }
    manager.get(&format!("{FEED}?after=1000")).await.expect_problem(410, "cursor_expired");
    test.move_clock(Duration::from_secs(91 * 24 * 3600));
    let manager = test.client().logged_in("manager").await;
    test.client().register("somebody", None).await.expect(201);
    numbered(&test).await;
    referral::worker::clean(test.app()).await.expect("housekeeping");
    manager.get(&format!("{FEED}?after=0")).await.expect_problem(410, "cursor_expired");
    let (items, next) = part(&manager, "").await;
    assert_eq!((items.len(), next), (1, 2));
    assert_eq!(part(&manager, "after=1").await.0.len(), 1);
}
