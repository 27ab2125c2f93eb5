//! Budgets: never more than they have, and what is taken back is given back.

use serde_json::{Value, json};

use super::helpers::{EVENTS, Shop, at_once, purchase, share};
use crate::on_every_setup;
use crate::support::app::Setup;

const PROGRAM: &str = "/api/v1/programs/default";

impl Shop {
    async fn budget(&self, budgets: Value) -> Value {
        let changed = self.manager.patch(PROGRAM, &json!({"budgets": budgets})).await.expect(200).json();
        changed["budgets"].clone()
    }
}

on_every_setup!(a_budget_gives_no_more_than_it_has_and_gets_back_what_is_taken_back);
async fn a_budget_gives_no_more_than_it_has_and_gets_back_what_is_taken_back(setup: Setup) {
    let shop = Shop::open(setup, &[share()]).await;
    shop.purchase("before", 1000).await.expect(201);
    assert_eq!(shop.budget(json!({"EUR": 250, "POINTS": 7})).await, json!({"EUR": 250, "POINTS": 7}));
    assert_eq!(shop.budget(json!({"POINTS": null})).await, json!({"EUR": 250}));
    // What was granted before is none of its business.
    shop.refund("before", "r", Some(500)).await.expect(201);
    let exhausted = json!([{"rule": "share", "reason": "budget_exhausted"}]);
    for (event, amount, skipped) in [("a", 2000, json!([])), ("b", 1000, exhausted.clone()), ("c", 500, json!([]))] {
        assert_eq!(shop.purchase(event, amount).await.expect(201).json()["skipped"], skipped, "{event}");
    }
    assert_eq!(shop.purchase("d", 10).await.expect(201).json()["skipped"], exhausted);
    // Refunds, denied rewards and denied referrals give back.
    shop.refund("a", "r", Some(1000)).await.expect(201);
    let told = shop.purchase("e", 1000).await.expect(201).json();
    let reward = told["rewards"][0]["id"].as_str().expect("an id");
    assert_eq!(shop.purchase("f", 10).await.expect(201).json()["skipped"], exhausted);
    let denial = json!({"reason": "why"});
    shop.manager.post(&format!("/api/v1/rewards/{reward}/deny"), &denial).await.expect(200);
    shop.purchase("g", 1000).await.expect(201);
    shop.adds_up().await;
    shop.manager.post(&format!("/api/v1/referrals/{}/deny", shop.referee), &json!({})).await.expect(200);
    shop.test.drain().await;
    assert_eq!(shop.test.number("select spent from budgets where unit = 'EUR'").await, 0);
    shop.adds_up().await;
    shop.test.sql("update budgets set spent = 1").await;
    let found = referral::features::rewards::actions::check::run(shop.test.app()).await.expect("a check");
    assert_eq!(found.faults.iter().map(|fault| fault.kind.word()).collect::<Vec<_>>(), ["budget"]);
}

on_every_setup!(of_many_at_once_no_budget_gives_more_than_it_has);
async fn of_many_at_once_no_budget_gives_more_than_it_has(setup: Setup) {
    let first = json!({"key": "first", "on": "purchase", "to": "referee", "fixed": 3, "unit": "POINTS",
        "times": "first"});
    let shop = Shop::of(setup.start_two().await, &[share(), first]).await;
    shop.budget(json!({"EUR": 1050, "POINTS": 2})).await;
    let calls = (0..32).map(|place| (EVENTS.to_owned(), purchase("ivan", &format!("e{place}"), 1000))).collect();
    for answer in at_once(&shop, calls).await {
        answer.expect(201);
    }
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (1000, 0, 0));
    assert_eq!(shop.balance(&shop.referee, "POINTS").await, (0, 0, 0));
    shop.adds_up().await;
}
