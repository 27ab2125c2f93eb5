//! Many participants in one call.

use std::collections::BTreeMap;

use referral::limits::turns::Key;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::host::{PARTICIPANTS, host_of, host_with};

on_every_setup!(each_item_has_its_own_result_and_the_good_ones_are_in);
async fn each_item_has_its_own_result_and_the_good_ones_are_in(setup: Setup) {
    let test = setup.start().await;
    let host = host_of(&test.manager("manager").await).await;
    test.user("taken").await;
    let olga = host.tell("olga", json!({})).await.expect(201).json();
    host.tell("gone", json!({})).await.expect(201);
    host.delete(&format!("{PARTICIPANTS}/gone")).await.expect(204);
    let mut items = Vec::new();
    let mut expected = Vec::new();
    let mut add = |item: Value, status: u64, word: &str| {
        items.push(item);
        expected.push((status, word.to_owned()));
    };
    // Good ones all around, in no order, so that there is none of the bad whose unit has not some of them.
    for number in (0..120).rev() {
        add(json!({"external_id": format!("p{number:03}"), "code": olga["code"]}), 201, "");
        match number {
            7 => add(json!({"external_id": "p003x", "email": "taken@example.com"}), 409, "email_taken"),
            17 => add(json!({"external_id": "p009x", "code": "AMSEL2099XYZ"}), 404, "code_not_usable"),
            27 => add(json!({"external_id": "gone"}), 409, "participant_erased"),
            37 => add(json!({"external_id": "p050x", "email": "no address", "name": 7}), 422, "invalid"),
            47 => add(json!({"external_id": ""}), 422, "invalid"),
            57 => add(json!({"name": "nobody"}), 422, "invalid"),
            67 => add(json!("p067"), 422, "invalid"),
            77 => add(json!({"external_id": "olga", "code": olga["code"]}), 409, "already_joined"),
            87 => add(json!({"external_id": "p087x", "verified": true}), 422, "invalid"),
            97 => add(json!({"external_id": "olga", "name": "Olga"}), 200, ""),
            _ => {}
        }
    }
    // The same one twice: the first makes them, the second finds them; with another code it is refused.
    add(json!({"external_id": "twice", "name": "One"}), 201, "");
    add(json!({"external_id": "twice", "name": "Two"}), 200, "");
    add(json!({"external_id": "twice", "code": olga["code"]}), 409, "already_joined");
    // An address that two want is the first one's, in the order of their ids.
    add(json!({"external_id": "zz2", "email": "both@example.com"}), 409, "email_taken");
    add(json!({"external_id": "zz1", "email": "both@example.com"}), 201, "");
    let said = |results: &[(u64, Value)]| -> Vec<(u64, String)> {
        let word = |body: &Value| body["code"].as_str().unwrap_or_default().to_owned();
        results.iter().map(|(status, body)| (*status, if *status < 300 { String::new() } else { word(body) })).collect()
    };
    let results = host.tell_all(json!(items)).await;
    assert_eq!(said(&results), expected);
    for ((status, body), item) in results.iter().zip(&items) {
        if *status < 300 {
            assert_eq!(body["external_id"], item["external_id"]);
        } else {
            assert_eq!(body["status"], json!(status));
        }
    }
    assert_eq!(results.iter().find(|(_, body)| body["name"] == "Two").map(|(status, _)| *status), Some(200));
    let invalid = &results[items.iter().position(|item| item["external_id"] == "p050x").expect("it is there")].1;
    let fields: Vec<&Value> = invalid["errors"].as_array().expect("errors").iter().map(|error| &error["loc"]).collect();
    assert_eq!(fields, [&json!(["body", "email"]), &json!(["body", "name"])]);
    let counted = async || {
        let mut counts = BTreeMap::new();
        for table in ["users", "referrals", "codes", "code_slots", "logins"] {
            counts.insert(table, test.number(&format!("select count(*) from {table}")).await);
        }
        counts
    };
    let before = counted().await;
    assert_eq!(before["referrals"], 120);
    // Sent again nothing is there twice.
    let again: Vec<(u64, String)> =
        expected.iter().map(|(status, word)| (if *status == 201 { 200 } else { *status }, word.clone())).collect();
    assert_eq!(said(&host.tell_all(json!(items)).await), again);
    assert_eq!(counted().await, before);
}

on_every_setup!(a_batch_has_its_limits_and_a_client_one_at_a_time);
async fn a_batch_has_its_limits_and_a_client_one_at_a_time(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let (registered, host) = host_with(&manager, json!({})).await;
    assert_eq!(host.tell_all(json!([])).await, []);
    let many = |count: usize| json!({"participants": vec![json!({"external_id": "one"}); count]});
    let results = host.post(PARTICIPANTS, &many(500)).await.expect(200).json();
    assert_eq!(results["results"].as_array().map(Vec::len), Some(500));
    for (wrong, loc) in [
        (many(501), json!(["body", "participants"])),
        (json!({}), json!(["body", "participants"])),
        (json!({"participants": {}}), json!(["body", "participants"])),
        (json!([]), json!(["body"])),
    ] {
        let answer = host.post(PARTICIPANTS, &wrong).await.expect_problem(422, "invalid").json();
        assert_eq!(answer["errors"][0]["loc"], loc);
    }
    // A body of nearly 1 MiB is read, a larger one is not, and of others than clients that may write none is.
    let long = |bytes: usize| json!({"participants": [], "more": "x".repeat(bytes)});
    host.post(PARTICIPANTS, &long(1024 * 1024 - 100)).await.expect(200);
    host.post(PARTICIPANTS, &long(1024 * 1024)).await.expect_problem(413, "too_large");
    host.tell("one", long(64 * 1024)).await.expect_problem(413, "too_large");
    manager.post(PARTICIPANTS, &long(100 * 1024)).await.expect_problem(403, "insufficient_scope");
    test.client().post(PARTICIPANTS, &long(100 * 1024)).await.expect_problem(401, "not_authenticated");
    host.post_form(PARTICIPANTS, "participants=1").await.expect_problem(415, "unsupported_media_type");
    // While one is under way.
    let client = Uuid::parse_str(&registered.id).expect("an id");
    let busy = test.app().turns.take(Key::Batch(client)).await.expect("a turn");
    let refused = host.post(PARTICIPANTS, &many(1)).await.expect_problem(429, "client_busy");
    assert!(!refused.header("retry-after").is_empty());
    host_of(&manager).await.post(PARTICIPANTS, &many(1)).await.expect(200);
    host.tell("one", json!({})).await.expect(200);
    drop(busy);
    host.post(PARTICIPANTS, &many(1)).await.expect(200);
}

on_every_setup!(batches_that_meet_leave_every_participant_once);
/// The same people in two orders and with their addresses crossed: whoever meets in the database goes on one by one.
async fn batches_that_meet_leave_every_participant_once(setup: Setup) {
    let test = setup.start_two().await;
    let manager = test.manager("manager").await;
    let item = |letter: char, number: i32, mail: i32| {
        let email = format!("m{mail:02}@example.com");
        json!({"external_id": format!("{letter}{number:02}"), "email": email})
    };
    let items: Vec<Value> = (0..100).map(|number| item('p', number, 99 - number)).collect();
    let crossed: Vec<Value> = (0..100).map(|number| item('q', number, number)).collect();
    let mut hosts = Vec::new();
    for node in [0, 1, 0, 1] {
        hosts.push(host_of(&manager).await.at(&test.nodes[node].url));
    }
    let calls = hosts.into_iter().enumerate().map(|(place, host)| {
        let mut items = if place < 2 { items.clone() } else { crossed.clone() };
        if place % 2 == 1 {
            items.reverse();
        }
        tokio::spawn(async move { host.tell_all(json!(items)).await })
    });
    let mut made = 0;
    for call in calls.collect::<Vec<_>>() {
        for (status, body) in call.await.expect("results") {
            assert!(matches!(status, 200 | 201) || body["code"] == "email_taken", "{status} {body}");
            made += u64::from(status == 201);
        }
    }
    assert_eq!(made, 100, "each address is one's");
    assert_eq!(test.number("select count(*) from users where external_id is not null").await, 100);
    assert_eq!(test.number("select count(*) from codes").await, 100);
}
