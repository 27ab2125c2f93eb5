//! What is decided by hand: of referrals, of rewards, of balances.

use serde_json::{Value, json};

use super::helpers::{EVENTS, Shop, purchase, release, share, welcome};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::Answer;

/// A tenth for the referrer that is available at once.
fn at_once() -> Value {
    let mut rule = share();
    rule["hold_days"] = json!(0);
    rule
}

impl Shop {
    /// The one reward of a purchase of ivan's.
    async fn reward(&self, external: &str, amount: i64) -> String {
        let told = self.purchase(external, amount).await.expect(201).json();
        told["rewards"][0]["id"].as_str().expect("an id").to_owned()
    }

    /// Does something with a reward as a manager.
    async fn act(&self, reward: &str, act: &str) -> Answer {
        self.manager.post(&format!("/api/v1/rewards/{reward}/{act}"), &json!({"reason": "why"})).await
    }

    /// Decides about ivan's referral.
    async fn decide(&self, decision: &str) -> Answer {
        self.manager.post(&format!("/api/v1/referrals/{}/{decision}", self.referee), &json!({"note": "why"})).await
    }
}

on_every_setup!(each_state_takes_each_act_as_the_table_has_it);
async fn each_state_takes_each_act_as_the_table_has_it(setup: Setup) {
    let shop = Shop::open(setup, &[share()]).await;
    // How a pending reward gets there.
    let states: [(&str, &[&str]); 5] = [
        ("pending", &[]),
        ("available", &["approve"]),
        ("paid", &["approve", "pay"]),
        ("denied", &["deny"]),
        ("reversed", &["approve", "refund"]),
    ];
    let expected = |state: &str, act: &str| match (act, state) {
        ("approve", "pending") => Some("available"),
        ("deny", "pending") => Some("denied"),
        ("pay", "available") => Some("paid"),
        ("return", "paid") => Some("available"),
        _ => None,
    };
    for (state, way) in states {
        for act in ["approve", "deny", "pay", "return"] {
            let event = format!("{state} {act}");
            let reward = shop.reward(&event, 1000).await;
            for step in way {
                match *step {
                    "refund" => drop(shop.refund(&event.replace(' ', "%20"), "r", None).await.expect(201)),
                    step => drop(shop.act(&reward, step).await.expect(200)),
                }
            }
            let answer = shop.act(&reward, act).await;
            match expected(state, act) {
                Some(next) => assert_eq!(answer.expect(200).json()["state"], next, "{event}"),
                None => drop(answer.expect_problem(409, "reward_state")),
            }
        }
    }
    for act in ["approve", "deny", "pay", "return"] {
        shop.act(&shop.referee, act).await.expect_problem(404, "reward_not_found");
    }
    let reward = shop.reward("z", 1000).await;
    let deny = format!("/api/v1/rewards/{reward}/deny");
    shop.manager.post(&deny, &json!({})).await.expect_problem(422, "invalid");
    shop.adds_up().await;
}

on_every_setup!(nobody_is_paid_more_than_they_have);
/// The example of the documents, with a payment where they have a payout.
async fn nobody_is_paid_more_than_they_have(setup: Setup) {
    let shop = Shop::open(setup, &[at_once()]).await;
    let balance = async || shop.balance(&shop.referrer, "EUR").await;
    let first = shop.reward("a", 12_345).await;
    shop.refund("a", "r1", Some(2345)).await.expect(201);
    assert_eq!(balance().await, (1000, 0, 0));
    release(&shop).await;
    let paid = shop.host.post(&format!("/api/v1/rewards/{first}/pay"), &json!({})).await.expect(200).json();
    assert_eq!((&paid["state"], &paid["paid_amount"]), (&json!("paid"), &json!(1000)));
    shop.refund("a", "r2", Some(4006)).await.expect(201);
    assert_eq!(balance().await, (0, -401, 1000));
    let second = shop.reward("b", 9000).await;
    assert_eq!(balance().await, (900, -401, 1000));
    release(&shop).await;
    assert_eq!(balance().await, (0, 499, 1000));
    shop.act(&second, "pay").await.expect_problem(409, "insufficient_balance");
    let debit = |amount: i64, kind: &str| {
        let holder = &shop.referrer;
        json!({"holder": holder, "kind": kind, "unit": "EUR", "amount": amount, "reason": "why"})
    };
    let adjust = async |body: Value| shop.manager.post("/api/v1/ledger/adjustments", &body).await;
    adjust(debit(500, "debit")).await.expect_problem(409, "insufficient_balance");
    adjust(debit(499, "debit")).await.expect(201);
    adjust(debit(900, "credit")).await.expect(201);
    shop.act(&second, "pay").await.expect(200);
    assert_eq!(balance().await, (0, 0, 1900));
    // A payment that did not arrive, of which all was taken back meanwhile.
    shop.refund("b", "r1", None).await.expect(201);
    let back = shop.host.post(&format!("/api/v1/rewards/{second}/return"), &json!({})).await.expect(200).json();
    assert_eq!((&back["state"], &back["paid_amount"], &back["reversed"]), (&json!("reversed"), &json!(0), &json!(900)));
    assert_eq!(balance().await, (0, 0, 1000));
    let sheet = shop.host.get("/api/v1/ledger/sheet?unit=EUR").await.expect(200).json();
    let expected = json!({"unit": "EUR", "issued": 1000, "pending": 0, "available": 0, "paid": 1000, "shortfalls": 0});
    assert_eq!(sheet, json!({"items": [expected]}));
    shop.adds_up().await;
}

on_every_setup!(what_is_held_stays_pending_until_another_decision);
async fn what_is_held_stays_pending_until_another_decision(setup: Setup) {
    let shop = Shop::open(setup, &[at_once()]).await;
    let before = shop.reward("a", 1000).await;
    let told = shop.decide("hold").await.expect(200).json();
    assert_eq!((&told["decision"], &told["referee_id"]), (&json!("hold"), &json!(shop.referee)));
    let after = shop.reward("b", 1000).await;
    assert_eq!(release(&shop).await, 0);
    shop.act(&before, "approve").await.expect_problem(409, "reward_state");
    shop.act(&after, "deny").await.expect(200);
    shop.decide("approve").await.expect(200);
    assert_eq!(release(&shop).await, 1);
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 100, 0));
    // Who brought nobody, and nobody.
    for none in [&shop.referrer, "nonsense"] {
        let path = format!("/api/v1/referrals/{none}/hold");
        shop.manager.post(&path, &json!({})).await.expect_problem(404, "referral_not_found");
    }
    let noted = shop.manager.get("/api/v1/audit").await.expect(200).json();
    let actions: Vec<&str> = noted["items"]
        .as_array()
        .expect("it is there")
        .iter()
        .map(|row| row["action"].as_str().expect("it is there"))
        .take(3)
        .collect();
    assert_eq!(actions, ["referral_approved", "reward_denied", "referral_held"]);
    shop.adds_up().await;
}

on_every_setup!(a_denied_referral_has_nothing_that_is_paid);
async fn a_denied_referral_has_nothing_that_is_paid(setup: Setup) {
    let shop = Shop::open(setup, &[at_once()]).await;
    // More than one unit of work takes back.
    for place in 0..40 {
        shop.purchase(&format!("e{place}"), 1000).await.expect(201);
    }
    let paid = shop.reward("paid", 500).await;
    release(&shop).await;
    shop.act(&paid, "pay").await.expect(200);
    let available = shop.reward("available", 1000).await;
    release(&shop).await;
    let pending = shop.reward("pending", 1000).await;
    shop.decide("deny").await.expect(200);
    // From the commit on, and before anything is taken back.
    shop.act(&available, "pay").await.expect_problem(409, "reward_state");
    assert_eq!(release(&shop).await, 0);
    let skipped = shop.purchase("later", 1000).await.expect(201).json()["skipped"].clone();
    assert_eq!(skipped, json!([{"rule": "share", "reason": "denied"}]));
    shop.test.drain().await;
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, -50, 50));
    let states: Vec<String> = shop
        .test
        .query("select state || ' ' || count(*) from rewards group by state order by state")
        .await
        .into_iter()
        .map(|row| row[0].clone().expect("it is there"))
        .collect();
    assert_eq!(states, ["denied 1", "paid 1", "reversed 41"]);
    shop.act(&pending, "approve").await.expect_problem(409, "reward_state");
    shop.adds_up().await;
    // What was decided last counts, and the job of a denial before that does nothing.
    shop.decide("deny").await.expect(200);
    shop.decide("approve").await.expect(200);
    let again = shop.reward("again", 1000).await;
    shop.test.drain().await;
    release(&shop).await;
    shop.act(&again, "pay").await.expect_problem(409, "insufficient_balance");
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 50, 50));
    shop.adds_up().await;
}

on_every_setup!(nobody_decides_about_what_they_are_part_of);
async fn nobody_decides_about_what_they_are_part_of(setup: Setup) {
    let test = setup.start().await;
    let olga = test.manager("olga").await;
    olga.create_code("OLGA2099ABCD").await.expect(201);
    let ivan = test.client().register("ivan", Some("OLGA2099ABCD")).await.expect(201).json();
    let shop = Shop::of(test, &[share(), welcome()]).await;
    shop.test.sql("update users set is_manager = true where username = 'ivan'").await;
    let ivans = shop.test.client().logged_in("ivan").await;
    let mut body = purchase("ivan", "a", 1000);
    body["participant"] = json!({"id": ivan["id"]});
    let told = shop.host.post(EVENTS, &body).await.expect(201).json();
    let [hers, his] = [0, 1].map(|place| told["rewards"][place]["id"].as_str().expect("it is there").to_owned());
    for manager in [&olga, &ivans] {
        let path = format!("/api/v1/referrals/{}/approve", ivan["id"].as_str().expect("it is there"));
        manager.post(&path, &json!({})).await.expect_problem(403, "conflict_of_interest");
        for reward in [&hers, &his] {
            for act in ["approve", "deny"] {
                let path = format!("/api/v1/rewards/{reward}/{act}");
                let answer = manager.post(&path, &json!({"reason": "why"})).await;
                answer.expect_problem(403, "conflict_of_interest");
            }
        }
    }
    for reward in [&hers, &his] {
        shop.act(reward, "approve").await.expect(200);
    }
    // Who is not paid may pay.
    let pay = |reward: &str| format!("/api/v1/rewards/{reward}/pay");
    olga.post(&pay(&hers), &json!({})).await.expect_problem(403, "conflict_of_interest");
    ivans.post(&pay(&hers), &json!({})).await.expect(200);
    let path = format!("/api/v1/rewards/{hers}/return");
    olga.post(&path, &json!({})).await.expect_problem(403, "conflict_of_interest");
    let credit = json!({"holder": olga.id, "kind": "credit", "unit": "EUR", "amount": 5, "reason": "why"});
    olga.post("/api/v1/ledger/adjustments", &credit).await.expect_problem(403, "conflict_of_interest");
    ivans.post("/api/v1/ledger/adjustments", &credit).await.expect(201);
    shop.adds_up().await;
}

on_every_setup!(a_balance_is_changed_by_hand_with_a_reason);
async fn a_balance_is_changed_by_hand_with_a_reason(setup: Setup) {
    let shop = Shop::open(setup, &[]).await;
    let path = "/api/v1/ledger/adjustments";
    let good = json!({"holder": shop.referrer, "kind": "credit", "unit": "POINTS", "amount": 5, "reason": "a gift"});
    let told = shop.manager.post(path, &good).await.expect(201).json();
    for (field, value) in good.as_object().expect("it is there") {
        assert_eq!(&told[field], value);
        let mut without = good.clone();
        without.as_object_mut().expect("it is there").remove(field);
        shop.manager.post(path, &without).await.expect_problem(422, "invalid");
    }
    for (field, wrong) in [
        ("holder", json!("nobody")),
        ("kind", json!("grant")),
        ("unit", json!("points")),
        ("amount", json!(0)),
        ("amount", json!(1_000_000_000_000_001_i64)),
        ("reason", json!("")),
    ] {
        let mut body = good.clone();
        body[field] = wrong;
        shop.manager.post(path, &body).await.expect_problem(422, "invalid");
    }
    let ledger = shop.host.get(&format!("/api/v1/ledger?holder={}", shop.referrer)).await.expect(200).json();
    let entry = &ledger["items"][0];
    assert_eq!(
        (&entry["kind"], &entry["reward_id"], &entry["cause_id"]),
        (&json!("credit"), &Value::Null, &told["id"])
    );
    let mut unknown = good.clone();
    unknown["holder"] = told["id"].clone();
    shop.manager.post(path, &unknown).await.expect_problem(404, "user_not_found");
    // What a manager has written goes with the person; what they have stays in the totals.
    shop.host.delete("/api/v1/participants/olga").await.expect(204);
    assert_eq!(shop.test.number("select count(*) from decisions where note is not null").await, 0);
    assert_eq!(shop.balance(&shop.referrer, "POINTS").await, (0, 5, 0));
    shop.manager.post(path, &good).await.expect_problem(404, "user_not_found");
}

on_every_setup!(nothing_is_written_of_whoever_is_erased);
async fn nothing_is_written_of_whoever_is_erased(setup: Setup) {
    let shop = Shop::open(setup, &[at_once()]).await;
    let reward = shop.reward("a", 1000).await;
    shop.act(&reward, "approve").await.expect(200);
    for person in ["olga", "ivan"] {
        shop.host.delete(&format!("/api/v1/participants/{person}")).await.expect(204);
    }
    let pay = format!("/api/v1/rewards/{reward}/pay");
    shop.manager.post(&pay, &json!({"reference": "IBAN of olga"})).await.expect(200);
    shop.decide("deny").await.expect(200);
    assert_eq!(shop.test.number("select count(*) from decisions").await, 3);
    assert_eq!(shop.test.number("select count(*) from decisions where note is not null").await, 0);
}
