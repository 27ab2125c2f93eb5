//! Many messages: the whole schedule, a secret replaced meanwhile, and readers of the feed beside writers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use referral::features::outbox::actions::tell;
use referral::features::outbox::model::Message;
use referral::features::webhooks::actions::fan_out;
use referral::kernel::actor::Actor;
use referral::kernel::ids::UserId;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;
use crate::support::host::host_of;
use crate::support::hunter::Reply;
use crate::support::receiver::{HERE, Receiver};

/// Writes so many messages at a node, as registrations would.
async fn write(test: &TestApp, node: usize, count: usize) {
    let app = test.nodes[node].app.clone();
    let now = app.clock.now();
    let one = |_| {
        let (app, message) = (app.clone(), Message::participant_created(UserId::new(), now));
        async move { app.db.write(Actor::SERVICE, message, |tx, message| Box::pin(tell(tx, message))).await }
    };
    for part in (0..count).collect::<Vec<_>>().chunks(50) {
        let written = join_all(part.iter().map(one)).await;
        assert!(written.into_iter().all(|written| written.is_ok()));
    }
}

on_every_setup!(many_messages_are_tried_at_the_published_times);
/// All of them fail all ten times; the clock goes through the whole schedule. A thousand where there is time.
async fn many_messages_are_tried_at_the_published_times(setup: Setup) {
    const PUBLISHED: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
    let messages: usize = if crate::support::thorough() { 1000 } else { 100 };
    let receiver = Receiver::saying(|_| Reply::new(500, &[], "")).await;
    let test = setup.start_with(&[HERE]).await;
    test.manager("manager").await.endpoint(&receiver.url).await;
    write(&test, 0, messages).await;
    test.drain().await;
    for (done, seconds) in (1..).zip(PUBLISHED) {
        // Each is put off for as long as is published after as many attempts, within a fifth.
        let put_off = "select d.attempts, d.next_at - (select max(a.at + a.millis * 1000) from attempts a \
                                                       where a.message_id = d.message_id) \
                       from deliveries d where d.state = 'pending'";
        let put_off = test.query(put_off).await;
        assert_eq!(put_off.len(), messages);
        for row in put_off {
            let number = |at: usize| row[at].as_ref().and_then(|text| text.parse::<i64>().ok()).expect("a number");
            let (attempts, pause) = (usize::try_from(number(0)).expect("attempts"), number(1) as f64 / 1e6);
            let published = PUBLISHED[attempts - 1] as f64;
            assert!((published * 0.8..published * 1.2).contains(&pause), "{pause} s after {attempts} attempts");
        }
        // The shortest pause may be over while others are still tried; of all longer ones none is.
        let tried = receiver.received().len();
        test.move_clock(Duration::from_secs(seconds) * 4 / 5);
        test.drain().await;
        assert!(done == 1 || receiver.received().len() == tried, "{seconds} s: before their time");
        test.move_clock(Duration::from_secs(seconds) * 2 / 5);
        test.drain().await;
        assert_eq!(receiver.received().len(), (done + 1) * messages, "{seconds} s: by their time");
    }
    let mut tried: BTreeMap<String, usize> = BTreeMap::new();
    for one in receiver.received() {
        *tried.entry(one.id().to_owned()).or_default() += 1;
    }
    assert!(tried.len() == messages && tried.values().all(|times| *times == 10));
    let failed = "select count(*) from deliveries where state = 'failed' and attempts = 10";
    assert_eq!(test.number(failed).await, i64::try_from(messages).expect("a number"));
}

on_every_setup!(no_receiver_refuses_anything_while_a_secret_is_replaced_under_load);
async fn no_receiver_refuses_anything_while_a_secret_is_replaced_under_load(setup: Setup) {
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    let endpoint = manager.endpoint(&receiver.url).await;
    let over = Arc::new(AtomicBool::new(false));
    let sending = async {
        while !over.load(Ordering::Relaxed) {
            write(&test, 0, 50).await;
            test.drain().await;
        }
        test.drain().await;
    };
    let replacing = async {
        let replaced = manager.post(&format!("{}/secret", endpoint.path()), &json!({})).await.expect(200).json();
        // From here on the manager may give it to the receiver, which is sent to all the while.
        let from = receiver.received().len();
        while receiver.received().len() < from + 200 {
            tokio::task::yield_now().await;
        }
        over.store(true, Ordering::Relaxed);
        replaced["secret"].as_str().expect("a secret").to_owned()
    };
    let ((), new) = tokio::join!(sending, replacing);
    let received = receiver.received();
    assert!(received.iter().all(|one| one.verifies_with(&endpoint.secret)), "the former secret is good for a day");
    let first = received.iter().position(|one| one.verifies_with(&new)).expect("some have both");
    // Those that were on their way when it was replaced have one signature; what was taken up later has two.
    let of_old = received[first..].iter().filter(|one| !one.verifies_with(&new)).count();
    assert!(of_old <= 8, "{of_old} of {}", received.len());
}

/// Reads the feed to a place, in parts of so many, and begins anew after each if told so.
async fn read(reader: Client, size: usize, until: i64) -> Vec<Value> {
    let (mut seen, mut after) = (Vec::new(), 0);
    while after < until {
        let path = format!("/api/v1/webhook-messages?after={after}&size={size}&wait=5");
        let part = reader.get(&path).await.expect(200).json();
        seen.extend(part["items"].as_array().expect("items").clone());
        after = part["next_after"].as_i64().expect("a number");
    }
    seen
}

on_every_setup!(each_reader_of_the_feed_sees_every_message_once_and_in_order_while_three_nodes_write);
async fn each_reader_of_the_feed_sees_every_message_once_and_in_order_while_three_nodes_write(setup: Setup) {
    const EACH: usize = 150;
    let mut test = setup.start_with(&[("REFERRAL_WEBHOOKS_FEED", "on")]).await;
    if setup != Setup::Sqlite {
        test.add_node().await;
        test.add_node().await;
    }
    let manager = test.manager("manager").await;
    let before = test.number("select count(*) from outbox").await;
    let until = before + i64::try_from(EACH * test.nodes.len()).expect("a number");
    let over = AtomicBool::new(false);
    let writing = async { join_all((0..test.nodes.len()).map(|node| write(&test, node, EACH))).await };
    let numbering = join_all(test.nodes.iter().map(|node| async {
        while !over.load(Ordering::Relaxed) {
            fan_out::run(&node.app).await.expect("numbers");
            tokio::task::yield_now().await;
        }
    }));
    let readers = async {
        let mut readers = Vec::new();
        // A fast one, a slow one, and one that reads from wherever it was with another process.
        for (turn, size) in [100, 7, 1].into_iter().enumerate() {
            let host = host_of(&manager).await;
            readers.push(read(host.at(&test.nodes[turn % test.nodes.len()].url), size, until));
        }
        let seen = join_all(readers).await;
        over.store(true, Ordering::Relaxed);
        seen
    };
    let (_, _, seen) = tokio::join!(writing, numbering, readers);
    for seen in seen {
        let numbers: Vec<i64> = seen.iter().filter_map(|one| one["seq"].as_i64()).collect();
        assert_eq!(numbers, (1..=until).collect::<Vec<_>>());
        let ids: std::collections::BTreeSet<&str> = seen.iter().filter_map(|one| one["id"].as_str()).collect();
        assert_eq!(ids.len(), seen.len());
    }
}
