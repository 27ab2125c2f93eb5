//! Refunds: in parts and whole, in any order, once each.

use serde_json::{Value, json};

use super::helpers::{EVENTS, Shop, purchase, release, share, welcome};
use crate::on_every_setup;
use crate::support::app::Setup;

on_every_setup!(a_refund_takes_back_what_the_rules_would_not_have_given_for_the_rest);
/// The example of the ledger, as far as payments do not matter.
async fn a_refund_takes_back_what_the_rules_would_not_have_given_for_the_rest(setup: Setup) {
    let mut rule = share();
    rule["hold_days"] = json!(0);
    let shop = Shop::open(setup, &[rule]).await;
    let event = shop.purchase("a", 12_345).await.expect(201).json();
    let reward = event["rewards"][0]["id"].clone();
    let first = shop.refund("a", "r1", Some(2345)).await.expect(201).json();
    assert_eq!((&first["refunded_total"], &first["event_id"]), (&json!(2345), &event["id"]));
    assert_eq!(first["reversed"], json!([{"reward_id": reward, "kind": "deny", "amount": 234, "unit": "EUR"}]));
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (1000, 0, 0));
    assert_eq!(release(&shop).await, 1);
    let second = shop.refund("a", "r2", Some(4006)).await.expect(201).json();
    assert_eq!(second["reversed"], json!([{"reward_id": reward, "kind": "reverse", "amount": 401, "unit": "EUR"}]));
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 599, 0));
    // Each again, in any order: the first answer.
    assert_eq!(shop.refund("a", "r2", Some(4006)).await.expect(200).json(), second);
    assert_eq!(shop.refund("a", "r1", Some(2345)).await.expect(200).json(), first);
    shop.refund("a", "r1", Some(2346)).await.expect_problem(409, "event_differs");
    shop.refund("a", "r3", Some(5995)).await.expect_problem(409, "refund_exceeds");
    let last = shop.refund("a", "r3", None).await.expect(201).json();
    assert_eq!(last["refunded_total"], 12_345);
    shop.refund("a", "r4", None).await.expect_problem(409, "refund_exceeds");
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 0, 0));
    let now =
        shop.host.get(&format!("{EVENTS}/{}", event["id"].as_str().expect("it is there"))).await.expect(200).json();
    assert_eq!((&now["refunded"], &now["rewards"][0]["state"]), (&json!(12_345), &json!("reversed")));
    shop.adds_up().await;
}

on_every_setup!(however_a_refund_is_split_as_much_is_taken_back_as_at_once);
async fn however_a_refund_is_split_as_much_is_taken_back_as_at_once(setup: Setup) {
    let capped = json!({"key": "capped", "on": "purchase", "to": "referee", "percent_bp": 333, "max": 40,
        "min_amount": 300, "event_unit": "EUR", "times": "every", "hold_days": 0});
    let shop = Shop::open(setup, &[share(), capped, welcome()]).await;
    let splits: [&[i64]; 5] = [&[1500], &[1, 1499], &[700, 1, 1, 798], &[100; 15], &[1399, 99, 2]];
    for (place, parts) in splits.iter().enumerate() {
        let event = format!("e{place}");
        let told = shop.purchase(&event, 1999).await.expect(201).json();
        for (number, part) in parts.iter().enumerate() {
            if number == parts.len() / 2 {
                release(&shop).await;
            }
            shop.refund(&event, &format!("r{number}"), Some(*part)).await.expect(201);
        }
        let path = format!("{EVENTS}/{}", told["id"].as_str().expect("it is there"));
        let now = shop.host.get(&path).await.expect(200).json();
        let reversed: Vec<i64> = now["rewards"]
            .as_array()
            .expect("it is there")
            .iter()
            .map(|reward| reward["reversed"].as_i64().expect("it is there"))
            .collect();
        // 499 are left: a tenth is 49 of 199; of 333 hundredths of a percent 16 of 40; points stay as they are.
        let expected: &[i64] = if place == 0 { &[150, 24, 0] } else { &[150, 24] };
        assert_eq!(reversed, expected, "{parts:?}");
    }
    shop.adds_up().await;
}

on_every_setup!(an_event_about_no_amount_is_taken_back_as_a_whole_once);
async fn an_event_about_no_amount_is_taken_back_as_a_whole_once(setup: Setup) {
    let shop = Shop::open(setup, &[welcome(), share()]).await;
    let body = json!({"type": "purchase", "external_id": "a", "participant": {"external_id": "ivan"}});
    let told = shop.host.post(EVENTS, &body).await.expect(201).json();
    assert_eq!(told["skipped"], json!([{"rule": "share", "reason": "other_unit"}]));
    shop.refund("a", "r1", Some(1)).await.expect_problem(409, "refund_exceeds");
    let refund = shop.refund("a", "r1", None).await.expect(201).json();
    assert_eq!((&refund["refunded_total"], &refund["reversed"][0]["amount"]), (&json!(0), &json!(500)));
    assert_eq!(shop.refund("a", "r1", None).await.expect(200).json(), refund);
    shop.refund("a", "r2", None).await.expect_problem(409, "refund_exceeds");
    // A first purchase that was taken back stays the first.
    let next = shop.purchase("b", 10).await.expect(201).json();
    assert_eq!(next["skipped"], json!([{"rule": "welcome", "reason": "not_first"}]));
    shop.adds_up().await;
}

on_every_setup!(refunds_name_their_event_by_either_id_and_say_what_is_wrong);
async fn refunds_name_their_event_by_either_id_and_say_what_is_wrong(setup: Setup) {
    let shop = Shop::open(setup, &[share()]).await;
    let event = shop.purchase("a b/c&d", 1000).await.expect(201).json();
    let path = format!("{EVENTS}/{}/refunds", event["id"].as_str().expect("it is there"));
    let body = json!({"external_id": "r", "amount": 100, "reason": "chargeback"});
    let told = shop.host.post(&path, &body).await.expect(201).json();
    let by_key = format!("{EVENTS}/refunds?external_id=a%20b%2Fc%26d&type=purchase");
    assert_eq!(shop.host.post(&by_key, &body).await.expect(200).json(), told);
    for (field, wrong) in [
        ("external_id", Value::Null),
        ("amount", json!(0)),
        ("amount", json!(-1)),
        ("amount", json!(1.5)),
        ("reason", json!("whim")),
        ("reason", Value::Null),
    ] {
        let mut body = body.clone();
        body[field] = wrong;
        shop.host.post(&path, &body).await.expect_problem(422, "invalid");
    }
    for unknown in [
        format!("{EVENTS}/{}/refunds", shop.referee),
        format!("{EVENTS}/nonsense/refunds"),
        format!("{EVENTS}/refunds?external_id=z&type=purchase"),
        format!("{EVENTS}/refunds?external_id=a%20b%2Fc%26d&type=signup"),
    ] {
        shop.host.post(&unknown, &body).await.expect_problem(404, "event_not_found");
    }
    shop.host.post(&format!("{EVENTS}/refunds?type=purchase"), &body).await.expect_problem(422, "invalid");
    shop.host.post(EVENTS, &purchase("ivan", "b", 0)).await.expect(201);
    shop.refund("b", "r", None).await.expect_problem(409, "refund_exceeds");
}
