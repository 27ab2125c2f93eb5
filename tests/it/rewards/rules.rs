//! Versions of rules, what they may say, and what they would have given.

use serde_json::{Value, json};

use super::helpers::{RULES, Shop, purchase, share, welcome};
use crate::on_every_setup;
use crate::support::app::Setup;

on_every_setup!(each_making_of_rules_is_a_version_that_stays_as_it_is);
async fn each_making_of_rules_is_a_version_that_stays_as_it_is(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    assert_eq!(manager.get(RULES).await.expect(200).json(), json!({"version": 0, "rules": []}));
    let full = json!({"key": "full", "on": "purchase", "to": "referrer", "percent_bp": 250, "max": 5000,
        "times": "first", "min_amount": 100, "event_unit": "EUR", "within_days": 90, "hold_days": 0,
        "limit": {"count": 10, "per": "month"}});
    let versions = [json!([share()]), json!([welcome(), full]), json!([])];
    for (place, rules) in versions.iter().enumerate() {
        let made = manager.post(RULES, &json!({"rules": rules})).await.expect(201).json();
        assert_eq!(made, json!({"version": place + 1, "rules": rules}));
        assert_eq!(manager.get(RULES).await.expect(200).json(), made);
    }
    for (place, rules) in versions.iter().enumerate() {
        let version = manager.get(&format!("{RULES}?version={}", place + 1)).await.expect(200).json();
        assert_eq!(version, json!({"version": place + 1, "rules": rules}));
    }
    assert_eq!(manager.get(&format!("{RULES}?version=0")).await.expect(200).json()["rules"], json!([]));
    manager.get(&format!("{RULES}?version=4")).await.expect_problem(404, "rules_not_found");
    manager.get(&format!("{RULES}?version=-1")).await.expect_problem(422, "invalid");
    manager.get("/api/v1/programs/other/rules").await.expect_problem(404, "program_not_found");
    let noted = manager.get("/api/v1/audit?action=program_changed").await.expect(200).json();
    assert_eq!(noted["items"].as_array().expect("rows").len(), 3);
}

on_every_setup!(rules_that_say_what_they_may_not_are_refused_by_field);
async fn rules_that_say_what_they_may_not_are_refused_by_field(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let with = |field: &str, value: Value| {
        let mut rule = share();
        rule[field] = value;
        rule
    };
    for (rule, loc) in [
        (with("key", json!("Two Words")), json!(["body", "rules", "0", "key"])),
        (with("on", json!("signup")), json!(["body", "rules", "0", "percent_bp"])),
        (with("on", json!("Purchase")), json!(["body", "rules", "0", "on"])),
        (with("to", json!("nobody")), json!(["body", "rules", "0", "to"])),
        (with("percent_bp", json!(10_001)), json!(["body", "rules", "0", "percent_bp"])),
        (with("percent_bp", json!(1.5)), json!(["body", "rules", "0", "percent_bp"])),
        (with("fixed", json!(1)), json!(["body", "rules", "0", "fixed"])),
        (with("event_unit", json!("ABC")), json!(["body", "rules", "0", "event_unit"])),
        (with("event_unit", Value::Null), json!(["body", "rules", "0", "event_unit"])),
        (with("times", json!("twice")), json!(["body", "rules", "0", "times"])),
        (with("times", Value::Null), json!(["body", "rules", "0", "times"])),
        (with("max", json!(1_000_000_000_000_001_i64)), json!(["body", "rules", "0", "max"])),
        (with("limit", json!({"count": 0, "per": "day"})), json!(["body", "rules", "0", "limit", "count"])),
        (with("limit", json!({"count": 1, "per": "week"})), json!(["body", "rules", "0", "limit", "per"])),
    ] {
        let answer = manager.post(RULES, &json!({"rules": [rule]})).await.expect_problem(422, "invalid").json();
        assert_eq!(answer["errors"][0]["loc"], loc, "{rule}");
    }
    let twice = json!({"rules": [share(), share()]});
    manager.post(RULES, &twice).await.expect_problem(422, "invalid");
    let many: Vec<Value> = (0..21).map(|place| with("key", json!(format!("k{place}")))).collect();
    manager.post(RULES, &json!({"rules": many})).await.expect_problem(422, "invalid");
    manager.post(RULES, &json!({"rules": many[..20]})).await.expect(201);
    assert_eq!(test.number("select count(*) from program_rules").await, 1);
}

on_every_setup!(a_preview_tells_what_rules_would_have_given_and_makes_nothing);
async fn a_preview_tells_what_rules_would_have_given_and_makes_nothing(setup: Setup) {
    let shop = Shop::open(setup, &[]).await;
    for (external, amount) in [("a", 1000), ("b", 2000), ("c", 9)] {
        shop.purchase(external, amount).await.expect(201);
    }
    let before = shop.test.number("select count(*) from program_rules").await;
    let rules = json!({"rules": [share(), welcome()]});
    let preview = shop.manager.post(&format!("{RULES}?preview=true"), &rules).await.expect(200).json();
    let told = json!({"events": 3, "more": false, "rules": [
        {"rule": "share", "rewards": 2, "totals": [{"amount": 300, "unit": "EUR"}]},
        {"rule": "welcome", "rewards": 1, "totals": [{"amount": 500, "unit": "POINTS"}]},
    ]});
    assert_eq!(preview, told);
    assert_eq!(shop.test.number("select count(*) from program_rules").await, before);
    assert_eq!(shop.test.number("select count(*) from rewards").await, 0);
}

on_every_setup!(rules_judge_what_is_received_while_they_are_in_force);
async fn rules_judge_what_is_received_while_they_are_in_force(setup: Setup) {
    let shop = Shop::open(setup, &[share()]).await;
    let first = shop.purchase("a", 1000).await.expect(201).json();
    assert_eq!(first["rewards"][0]["rule"], json!({"key": "share", "version": 1}));
    shop.manager.post(RULES, &json!({"rules": [welcome()]})).await.expect(201);
    let second = shop.purchase("b", 1000).await.expect(201).json();
    assert_eq!(second["rewards"][0]["rule"], json!({"key": "welcome", "version": 2}));
    // A refund asks the rule that granted.
    shop.refund("a", "r", Some(500)).await.expect(201);
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (50, 0, 0));
    shop.adds_up().await;
}

on_every_setup!(a_program_has_types_of_events_and_a_hold_of_its_own);
async fn a_program_has_types_of_events_and_a_hold_of_its_own(setup: Setup) {
    let shop = Shop::open(setup, &[]).await;
    let mut rule = share();
    rule["on"] = json!("subscription");
    let rules = json!({"rules": [rule]});
    let mut event = purchase("ivan", "a", 1000);
    event["type"] = json!("subscription");
    for path in [RULES.to_owned(), format!("{RULES}?preview=true")] {
        let refused = shop.manager.post(&path, &rules).await.expect_problem(422, "invalid").json();
        assert_eq!(refused["errors"][0]["loc"], json!(["body", "rules"]));
    }
    shop.host.post(super::helpers::EVENTS, &event).await.expect_problem(422, "invalid");
    let change = json!({"event_types": ["subscription"], "hold_days": 0});
    shop.manager.patch("/api/v1/programs/default", &change).await.expect(200);
    shop.manager.post(RULES, &rules).await.expect(201);
    shop.host.post(super::helpers::EVENTS, &event).await.expect(201);
    // The same external id as another type is another event, which the rule does not hear of.
    let other = shop.purchase("a", 1000).await.expect(201).json();
    assert_eq!((&other["rewards"], &other["skipped"]), (&json!([]), &json!([])));
    assert_eq!(super::helpers::release(&shop).await, 1);
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 100, 0));
}

on_every_setup!(a_program_that_is_paused_or_over_takes_no_new_events);
async fn a_program_that_is_paused_or_over_takes_no_new_events(setup: Setup) {
    let shop = Shop::open(setup, &[share()]).await;
    let told = shop.purchase("a", 1000).await.expect(201).json();
    let act = |act: &str| format!("/api/v1/programs/default/{act}");
    for (path, state) in [(act("pause"), "paused"), (act("end"), "ended")] {
        for _ in 0..2 {
            assert_eq!(shop.manager.post(&path, &json!({})).await.expect(200).json()["state"], state);
        }
        shop.purchase("b", 1000).await.expect_problem(409, "program_not_active");
        // What was told before is answered as before, and taken back.
        assert_eq!(shop.purchase("a", 1000).await.expect(200).json(), told);
        shop.refund("a", state, Some(100)).await.expect(201);
        if state == "paused" {
            shop.manager.post(&act("activate"), &json!({})).await.expect(200);
            shop.purchase("c", 1000).await.expect(201);
        }
    }
    shop.manager.post(&act("activate"), &json!({})).await.expect_problem(409, "program_not_active");
    shop.manager.post("/api/v1/programs/other/pause", &json!({})).await.expect_problem(404, "program_not_found");
    let unknown = shop.host.post(super::helpers::EVENTS, &purchase("nobody", "z", 1)).await;
    unknown.expect_problem(409, "program_not_active");
}
