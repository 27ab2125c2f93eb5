//! Events: once for ever, by the rules, with a reason for each that gave nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::helpers::{EVENTS, RULES, Shop, purchase, share, welcome};
use crate::on_every_setup;
use crate::support::app::Setup;

const DAY: Duration = Duration::from_secs(86_400);

on_every_setup!(an_event_counts_once_and_the_same_words_get_the_same_answer);
/// Law 9.
async fn an_event_counts_once_and_the_same_words_get_the_same_answer(setup: Setup) {
    let mut shop = Shop::open(setup, &[share(), welcome()]).await;
    let mut body = purchase("ivan", "inv_1", 12_345);
    body["properties"] = json!({"plan": "gold", "seats": 3});
    let told = shop.host.post(EVENTS, &body).await.expect(201).json();
    assert_eq!(told["outcome"], "rewarded");
    assert_eq!(told["referee"], json!({"id": shop.referee, "external_id": "ivan"}));
    let figures: Vec<Value> = told["rewards"]
        .as_array()
        .expect("rewards")
        .iter()
        .map(|reward| json!([reward["side"], reward["amount"], reward["unit"], reward["state"], reward["rule"]["key"]]))
        .collect();
    let expected =
        json!([["referrer", 1234, "EUR", "pending", "share"], ["referee", 500, "POINTS", "pending", "welcome"]]);
    assert_eq!(json!(figures), expected);
    // Another order of the fields, and null for what is left out, are the same words.
    let mut again = json!({"program": null, "unit": "EUR"});
    again.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
    assert_eq!(shop.host.post(EVENTS, &again).await.expect(200).json(), told);
    for (field, value) in [
        ("amount", json!(12_346)),
        ("unit", json!("USD")),
        ("participant", json!({"id": shop.referee})),
        ("properties", json!({"plan": "gold"})),
        ("occurred_at", told["received_at"].clone()),
        ("program", json!("default")),
    ] {
        let mut other = body.clone();
        other[field] = value;
        shop.host.post(EVENTS, &other).await.expect_problem(409, "event_differs");
    }
    // For ever: also when its rewards have gone on.
    shop.pass(DAY * 31).await;
    assert_eq!(super::helpers::release(&shop).await, 2);
    assert_eq!(shop.host.post(EVENTS, &body).await.expect(200).json(), told);
    let id = told["id"].as_str().expect("an id");
    let now = shop.host.get(&format!("{EVENTS}/{id}")).await.expect(200).json();
    assert_eq!(now["rewards"][0]["state"], "available");
    for (table, count) in [("events", 1), ("rewards", 2), ("ledger", 4)] {
        assert_eq!(shop.test.number(&format!("select count(*) from {table}")).await, count, "{table}");
    }
    shop.adds_up().await;
}

on_every_setup!(each_rule_that_gives_nothing_says_why);
async fn each_rule_that_gives_nothing_says_why(setup: Setup) {
    let rule = |key: &str, change: Value| {
        let mut rule = share();
        rule["key"] = json!(key);
        rule.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        rule
    };
    let rules = [
        rule("window", json!({"within_days": 1})),
        rule("least", json!({"min_amount": 500})),
        rule("dollars", json!({"event_unit": "USD"})),
        rule("few", json!({"limit": {"count": 2, "per": "ever"}})),
        welcome(),
    ];
    let mut shop = Shop::open(setup, &rules).await;
    let skipped = |event: &Value| -> Vec<String> {
        let skipped = event["skipped"].as_array().expect("a list").iter();
        skipped
            .map(|skip| {
                format!(
                    "{} {}",
                    skip["rule"].as_str().expect("it is there"),
                    skip["reason"].as_str().expect("it is there")
                )
            })
            .collect()
    };
    let first = shop.purchase("a", 1000).await.expect(201).json();
    assert_eq!(skipped(&first), ["dollars other_unit"]);
    let second = shop.purchase("b", 499).await.expect(201).json();
    assert_eq!(skipped(&second), ["least below_minimum", "dollars other_unit", "welcome not_first"]);
    let third = shop.purchase("c", 1000).await.expect(201).json();
    assert_eq!(skipped(&third), ["dollars other_unit", "few limit_reached", "welcome not_first"]);
    // The window is over.
    shop.pass(DAY + Duration::from_secs(60)).await;
    let fourth = shop.purchase("d", 5).await.expect(201).json();
    let reasons = [
        "window outside_window",
        "least below_minimum",
        "dollars other_unit",
        "few below_minimum",
        "welcome not_first",
    ];
    assert_eq!(skipped(&fourth), reasons);
    assert_eq!((&fourth["outcome"], &fourth["rewards"]), (&json!("recorded"), &json!([])));
    assert_eq!(shop.purchase("d", 5).await.expect(200).json(), fourth);
    let fifth = shop.purchase("e", 1000).await.expect(201).json();
    assert_eq!(
        skipped(&fifth),
        ["window outside_window", "dollars other_unit", "few limit_reached", "welcome not_first"]
    );
    // Nothing for whoever was erased; the other side gets theirs.
    shop.host.delete("/api/v1/participants/olga").await.expect(204);
    let sixth = shop.purchase("f", 1000).await.expect(201).json();
    let erased = ["window", "least", "dollars", "few"].map(|rule| format!("{rule} holder_erased"));
    assert_eq!(skipped(&sixth)[..4], erased);
    shop.adds_up().await;
}

on_every_setup!(nobodys_referee_is_not_kept_and_what_is_wrong_is_told);
async fn nobodys_referee_is_not_kept_and_what_is_wrong_is_told(setup: Setup) {
    let shop = Shop::open(setup, &[share()]).await;
    let nobody = json!({"outcome": "not_referred"});
    for unknown in ["nobody", "olga"] {
        assert_eq!(shop.host.post(EVENTS, &purchase(unknown, "x", 5)).await.expect(200).json(), nobody);
    }
    let mut by_id = purchase("ivan", "x", 1000);
    by_id["participant"] = json!({"id": shop.referee});
    for (field, wrong) in [
        ("type", json!("signup")),
        ("type", json!("whatever")),
        ("external_id", json!("")),
        ("external_id", json!("a".repeat(129))),
        ("amount", json!(-1)),
        ("amount", json!(1.0)),
        ("amount", json!(1e3)),
        ("amount", json!(1_000_000_000_000_001_i64)),
        ("amount", Value::Null),
        ("unit", json!("eur")),
        ("unit", Value::Null),
        ("program", json!("other")),
        ("occurred_at", json!("2026-11-30T00:00:00")),
        ("occurred_at", json!("2001-01-01T00:00:00Z")),
        ("participant", json!({})),
        ("participant", json!({"id": "nonsense"})),
        ("participant", json!({"id": shop.referee, "external_id": "ivan"})),
        ("participant", json!("ivan")),
        ("properties", json!({"a": 1.5})),
        ("properties", json!({"a": {"b": 1}})),
        ("properties", json!({"a": "x".repeat(2048)})),
        ("properties", json!({"a": "\u{0}"})),
        ("properties", json!((0..17).map(|place| (place.to_string(), json!(1))).collect::<serde_json::Map<_, _>>())),
    ] {
        let mut body = by_id.clone();
        body[field] = wrong;
        shop.host.post(EVENTS, &body).await.expect_problem(422, "invalid");
    }
    assert_eq!(shop.test.number("select count(*) from events").await, 0);
    shop.host.post(EVENTS, &by_id).await.expect(201);
    shop.host.get(&format!("{EVENTS}/{}", shop.referee)).await.expect_problem(404, "event_not_found");
    shop.host.get(&format!("{EVENTS}/nonsense")).await.expect_problem(404, "event_not_found");
}

on_every_setup!(a_dry_run_tells_what_would_come_of_it_and_leaves_nothing);
async fn a_dry_run_tells_what_would_come_of_it_and_leaves_nothing(setup: Setup) {
    let shop = Shop::open(setup, &[share(), welcome()]).await;
    let path = format!("{EVENTS}?dry_run=true");
    let body = purchase("ivan", "a", 1000);
    for _ in 0..2 {
        let told = shop.host.post(&path, &body).await.expect(201).json();
        assert_eq!(told["rewards"].as_array().expect("rewards").len(), 2);
        for table in ["events", "rewards", "ledger", "accounts", "idempotency"] {
            assert_eq!(shop.test.number(&format!("select count(*) from {table}")).await, 0, "{table}");
        }
    }
    let told = shop.host.post(EVENTS, &body).await.expect(201).json();
    assert_eq!(shop.host.post(&path, &body).await.expect(200).json(), told);
    shop.host.post(&path, &purchase("ivan", "a", 1001)).await.expect_problem(409, "event_differs");
}

on_every_setup!(a_batch_takes_each_by_itself_in_the_order_of_external_ids);
async fn a_batch_takes_each_by_itself_in_the_order_of_external_ids(setup: Setup) {
    let shop = Shop::open(setup, &[share(), welcome()]).await;
    shop.purchase("before", 10).await.expect(201);
    shop.host.tell("petr", json!({"code": shop.host.tell("olga", json!({})).await.json()["code"]})).await.expect(201);
    let mut wrong = purchase("petr", "w", 1);
    wrong["amount"] = json!("much");
    let mut events: Vec<Value> = (0..40).rev().map(|place| purchase("petr", &format!("b{place:02}"), 1000)).collect();
    events.extend([
        wrong,
        purchase("ivan", "before", 11),
        purchase("ivan", "before", 10),
        purchase("nobody", "n", 1),
        json!(7),
    ]);
    let path = format!("{EVENTS}/batch");
    let told = shop.host.post(&path, &json!({"events": events})).await.expect(200).json();
    let results = told["results"].as_array().expect("results");
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().expect("a status")).collect();
    assert_eq!(statuses, [vec![201; 40], vec![422, 409, 200, 200, 422]].concat());
    // The last that was sent is the first by its id.
    let first = |result: &Value| result["body"]["rewards"].as_array().expect("rewards").len() == 2;
    assert_eq!(results[..40].iter().map(first).collect::<Vec<_>>(), [vec![false; 39], vec![true]].concat());
    assert_eq!(shop.test.number("select count(*) from events").await, 41);
    let again = shop.host.post(&path, &json!({"events": events[..40]})).await.expect(200).json();
    for (result, before) in again["results"].as_array().expect("results").iter().zip(results) {
        assert_eq!((&result["status"], &result["body"]), (&json!(200), &before["body"]));
    }
    shop.host.post(&path, &json!({"events": vec![json!({}); 501]})).await.expect_problem(422, "invalid");
    shop.adds_up().await;
}

on_every_setup!(events_are_listed_the_newest_first_and_by_person_type_and_time);
async fn events_are_listed_the_newest_first_and_by_person_type_and_time(setup: Setup) {
    let shop = Shop::open(setup, &[share()]).await;
    for place in 0..5 {
        shop.purchase(&format!("e{place}"), 1000).await.expect(201);
    }
    let names = |list: &Value| -> Vec<String> {
        list["items"]
            .as_array()
            .expect("it is there")
            .iter()
            .map(|item| item["external_id"].as_str().expect("it is there").to_owned())
            .collect()
    };
    let all = shop.host.get(EVENTS).await.expect(200).json();
    assert_eq!(names(&all), ["e4", "e3", "e2", "e1", "e0"]);
    assert_eq!(all["items"][0]["rewards"][0]["amount"], 100);
    let part = shop.manager.get(&format!("{EVENTS}?size=2&type=purchase")).await.expect(200).json();
    assert_eq!(names(&part), ["e4", "e3"]);
    let cursor = part["next_cursor"].as_str().expect("a cursor");
    let rest = shop.manager.get(&format!("{EVENTS}?cursor={cursor}&participant={}", shop.referee)).await;
    assert_eq!(names(&rest.expect(200).json()), ["e2", "e1", "e0"]);
    for none in [format!("participant={}", shop.referrer), "from=2099-01-01".to_owned()] {
        assert_eq!(names(&shop.host.get(&format!("{EVENTS}?{none}")).await.expect(200).json()), [""; 0]);
    }
    for wrong in ["participant=x", "type=Signup", "from=x", "cursor=x", "size=0"] {
        shop.host.get(&format!("{EVENTS}?{wrong}")).await.expect_problem(422, "invalid");
    }
}

on_every_setup!(what_was_told_of_an_erased_person_is_gone_and_the_numbers_stay);
/// Law 14.
async fn what_was_told_of_an_erased_person_is_gone_and_the_numbers_stay(setup: Setup) {
    let shop = Shop::open(setup, &[share()]).await;
    let mut body = purchase("ivan", "a", 1000);
    body["properties"] = json!({"note": "a secret of ivan's"});
    shop.host.post(EVENTS, &body).await.expect(201);
    let before = shop.balance(&shop.referrer, "EUR").await;
    shop.host.delete("/api/v1/participants/ivan").await.expect(204);
    assert_eq!(shop.test.number("select count(*) from events where properties is not null").await, 0);
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, before);
    // The same words are still known, others still refused; nothing new is taken.
    let again = shop.host.post(EVENTS, &body).await.expect(200).json();
    assert_eq!(again["referee"]["external_id"], Value::Null);
    shop.host.post(EVENTS, &purchase("ivan", "a", 1000)).await.expect_problem(409, "event_differs");
    assert_eq!(shop.purchase("b", 1).await.expect(200).json()["outcome"], "not_referred");
    shop.manager.post(RULES, &json!({"rules": []})).await.expect(201);
}
