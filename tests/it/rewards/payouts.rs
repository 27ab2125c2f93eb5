//! Payouts: what each has, once, as it was taken out.

use serde_json::{Value, json};

use super::helpers::{EVENTS, Shop, purchase, release, share};
use crate::on_every_setup;
use crate::support::app::Setup;

const PAYOUTS: &str = "/api/v1/payouts";

fn at_once() -> Value {
    let mut rule = share();
    rule["hold_days"] = json!(0);
    rule
}

impl Shop {
    /// A payout that is prepared, by its id.
    async fn payout(&self, body: Value) -> String {
        let made = self.manager.post(PAYOUTS, &body).await.expect(202).json();
        assert_eq!((&made["state"], &made["lines"]), (&json!("preparing"), &json!(0)));
        self.test.drain().await;
        made["id"].as_str().expect("an id").to_owned()
    }

    async fn see(&self, payout: &str) -> Value {
        self.manager.get(&format!("{PAYOUTS}/{payout}")).await.expect(200).json()
    }

    async fn settle(&self, payout: &str, act: &str) -> crate::support::client::Answer {
        self.manager.post(&format!("{PAYOUTS}/{payout}/{act}"), &json!({})).await
    }

    /// Holder, external id, amount, of each line.
    async fn lines(&self, payout: &str) -> Vec<(String, String, i64)> {
        let text = self.manager.get(&format!("{PAYOUTS}/{payout}/lines.csv")).await.expect(200).text;
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("holder,external_id,address,amount,unit,reference"));
        lines
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                (cells[0].to_owned(), cells[1].to_owned(), cells[3].parse().expect("a number"))
            })
            .collect()
    }

    /// The states of all rewards, the oldest first.
    async fn states(&self) -> Vec<String> {
        let rows = self.test.query("select state from rewards order by id").await;
        rows.into_iter().map(|row| row[0].clone().expect("a word")).collect()
    }
}

on_every_setup!(the_example_of_the_documents_comes_out);
async fn the_example_of_the_documents_comes_out(setup: Setup) {
    let shop = Shop::open(setup, &[at_once()]).await;
    let balance = async || shop.balance(&shop.referrer, "EUR").await;
    let first = shop.purchase("a", 12_345).await.expect(201).json()["rewards"][0]["id"].clone();
    shop.refund("a", "r1", Some(2345)).await.expect(201);
    release(&shop).await;
    let pay = |reward: &Value| format!("/api/v1/rewards/{}/pay", reward.as_str().expect("an id"));
    shop.manager.post(&pay(&first), &json!({})).await.expect(200);
    shop.refund("a", "r2", Some(4006)).await.expect(201);
    let second = shop.purchase("b", 9000).await.expect(201).json()["rewards"][0]["id"].clone();
    release(&shop).await;
    assert_eq!(balance().await, (0, 499, 1000));
    shop.manager.post(&pay(&second), &json!({})).await.expect_problem(409, "insufficient_balance");
    let payout = shop.payout(json!({"unit": "EUR"})).await;
    assert_eq!(shop.lines(&payout).await, [(shop.referrer.clone(), "olga".to_owned(), 499)]);
    // What is reserved is neither paid by itself nor in another payout.
    shop.manager.post(&pay(&second), &json!({})).await.expect_problem(409, "reward_state");
    let other = shop.payout(json!({"unit": "EUR"})).await;
    assert_eq!(shop.lines(&other).await, []);
    let paid = shop.settle(&payout, "paid").await.expect(200).json();
    assert_eq!((&paid["state"], &paid["lines"], &paid["total"]), (&json!("paid"), &json!(1), &json!(499)));
    assert_eq!(balance().await, (0, 0, 1499));
    let reward = shop.manager.get("/api/v1/rewards?state=paid").await.expect(200).json()["items"][0].clone();
    assert_eq!((&reward["id"], &reward["paid_amount"]), (&second, &json!(900)));
    // It goes back with its line alone.
    let back = format!("/api/v1/rewards/{}/return", second.as_str().expect("an id"));
    shop.manager.post(&back, &json!({})).await.expect_problem(409, "reward_state");
    let line = format!("lines/{}/return", shop.referrer);
    assert_eq!(shop.settle(&payout, &line).await.expect(200).json()["returned"], 1);
    shop.settle(&payout, &line).await.expect_problem(409, "payout_state");
    assert_eq!(balance().await, (0, 499, 1000));
    assert_eq!(shop.states().await, ["paid", "available"]);
    shop.adds_up().await;
    let again = shop.payout(json!({"unit": "EUR", "min_amount": 499})).await;
    shop.settle(&again, "paid").await.expect(200);
    assert_eq!(balance().await, (0, 0, 1499));
    shop.adds_up().await;
}

on_every_setup!(what_was_settled_is_settled);
async fn what_was_settled_is_settled(setup: Setup) {
    let shop = Shop::open(setup, &[at_once()]).await;
    shop.purchase("a", 1000).await.expect(201);
    shop.purchase("b", 2000).await.expect(201);
    release(&shop).await;
    let made = shop.manager.post(PAYOUTS, &json!({"unit": "EUR"})).await.expect(202).json();
    let payout = made["id"].as_str().expect("an id").to_owned();
    let csv = format!("{PAYOUTS}/{payout}/lines.csv");
    shop.manager.get(&csv).await.expect_problem(409, "payout_state");
    shop.settle(&payout, "paid").await.expect_problem(409, "payout_state");
    shop.test.drain().await;
    assert_eq!(shop.see(&payout).await["state"], "open");
    let line = format!("lines/{}/return", shop.referrer);
    shop.settle(&payout, &line).await.expect_problem(409, "payout_state");
    // All of one reward is taken back while it is reserved: it is free when the payout is cancelled, with nothing left.
    shop.refund("a", "r", None).await.expect(201);
    assert_eq!(shop.states().await, ["available", "available"]);
    assert_eq!(shop.settle(&payout, "cancel").await.expect(200).json()["state"], "cancelled");
    assert_eq!(shop.states().await, ["reversed", "available"]);
    let last = "select data from outbox where type = 'reward.reversed' order by id desc limit 1";
    let told: Value =
        serde_json::from_str(shop.test.query(last).await[0][0].as_deref().expect("a message")).expect("JSON");
    assert_eq!((&told["amount"], &told["state"], &told["version"]), (&json!(0), &json!("reversed"), &json!(4)));
    assert_eq!(told["cause"]["kind"], "payout");
    for act in ["cancel", "paid", &line] {
        shop.settle(&payout, act).await.expect_problem(409, "payout_state");
    }
    shop.adds_up().await;
    let next = shop.payout(json!({"unit": "EUR"})).await;
    assert_eq!(shop.lines(&next).await[0].2, 200);
    shop.settle(&next, "paid").await.expect(200);
    for act in ["cancel", "paid"] {
        shop.settle(&next, act).await.expect_problem(409, "payout_state");
    }
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 0, 200));
    let listed = shop.manager.get(&format!("{PAYOUTS}?size=1")).await.expect(200).json();
    assert_eq!((&listed["items"][0]["id"], listed["next_cursor"].is_string()), (&json!(next), true));
    for unknown in [&shop.referee, "nonsense"] {
        shop.settle(unknown, "paid").await.expect_problem(404, "payout_not_found");
        shop.manager.get(&format!("{PAYOUTS}/{unknown}")).await.expect_problem(404, "payout_not_found");
    }
    shop.settle(&next, &format!("lines/{}/return", shop.referee)).await.expect_problem(404, "payout_not_found");
    for wrong in [json!({}), json!({"unit": "eur"}), json!({"unit": "EUR", "min_amount": 0})] {
        shop.manager.post(PAYOUTS, &wrong).await.expect_problem(422, "invalid");
    }
    for holders in [json!(["x"]), json!([7]), json!(vec![shop.referrer.clone(); 501])] {
        let body = json!({"unit": "EUR", "holders": holders});
        shop.manager.post(PAYOUTS, &body).await.expect_problem(422, "invalid");
    }
    // One whose preparation never came is cancelled as well.
    let stuck = shop.manager.post(PAYOUTS, &json!({"unit": "EUR"})).await.expect(202).json();
    shop.settle(stuck["id"].as_str().expect("an id"), "cancel").await.expect(200);
    shop.test.drain().await;
    assert_eq!(shop.see(stuck["id"].as_str().expect("an id")).await["state"], "cancelled");
    shop.adds_up().await;
}

on_every_setup!(a_payout_pays_what_each_has_and_leaves_out_whom_it_must);
async fn a_payout_pays_what_each_has_and_leaves_out_whom_it_must(setup: Setup) {
    let mut rule = at_once();
    rule["to"] = json!("referee");
    let shop = Shop::open(setup, &[rule]).await;
    // More than one unit of work prepares.
    let code = shop.host.tell("olga", json!({})).await.json()["code"].clone();
    let people: Vec<Value> = (0..40)
        .map(|place| {
            json!({"external_id": format!("p{place:02}"), "code": code, "email": format!("p{place}@x.example")})
        })
        .collect();
    shop.host.tell_all(json!(people)).await;
    let events: Vec<Value> =
        (0..40).map(|place| purchase(&format!("p{place:02}"), &format!("e{place}"), 1000 + 10 * place)).collect();
    shop.host.post(&format!("{EVENTS}/batch"), &json!({"events": events})).await.expect(200);
    release(&shop).await;
    let id = async |external: &str| {
        let told = shop.host.get(&format!("/api/v1/participants/{external}")).await.expect(200).json();
        told["id"].as_str().expect("an id").to_owned()
    };
    shop.host.delete("/api/v1/participants/p00").await.expect(204);
    let some =
        shop.payout(json!({"unit": "EUR", "min_amount": 102, "holders": [id("p01").await, id("p02").await]})).await;
    assert_eq!(shop.lines(&some).await, [(id("p02").await, "p02".to_owned(), 102)]);
    let all = shop.payout(json!({"unit": "EUR"})).await;
    let mut lines = shop.lines(&all).await;
    lines.sort_by(|one, other| one.1.cmp(&other.1));
    let expected: Vec<(String, i64)> =
        (1..40).filter(|place| *place != 2).map(|place| (format!("p{place:02}"), 100 + place)).collect();
    assert_eq!(lines.into_iter().map(|(_, who, amount)| (who, amount)).collect::<Vec<_>>(), expected);
    // Whoever has a line in it does not say that it was paid.
    let credit = json!({"holder": "", "kind": "credit", "unit": "GIFTS", "amount": 5, "reason": "why"});
    let (one, other) = (&shop.manager, shop.test.manager("other").await);
    let me = async |manager: &crate::support::client::Client| {
        manager.get("/api/v1/me").await.expect(200).json()["id"].clone()
    };
    for (giver, taker) in [(one, &other), (&other, one)] {
        let mut credit = credit.clone();
        credit["holder"] = me(taker).await;
        giver.post("/api/v1/ledger/adjustments", &credit).await.expect(201);
    }
    let gifts = shop.payout(json!({"unit": "GIFTS"})).await;
    let theirs: Vec<String> = shop.lines(&gifts).await.into_iter().map(|line| line.0).collect();
    assert_eq!(json!(theirs), json!([me(&other).await]), "nobody pays themselves");
    let paid = format!("{PAYOUTS}/{gifts}/paid");
    other.post(&paid, &json!({})).await.expect_problem(403, "conflict_of_interest");
    one.post(&paid, &json!({})).await.expect(200);
    let back = format!("{PAYOUTS}/{gifts}/lines/{}/return", theirs[0]);
    other.post(&back, &json!({})).await.expect_problem(403, "conflict_of_interest");
    one.post(&back, &json!({})).await.expect(200);
    shop.host.delete("/api/v1/participants/p03").await.expect(204);
    let lines = shop.manager.get(&format!("{PAYOUTS}/{all}/lines.csv")).await.expect(200).text;
    assert!(!lines.contains("erased"), "nothing looks like an address of theirs: {lines}");
    shop.settle(&all, "paid").await.expect(200);
    assert_eq!(shop.balance(&id("p04").await, "EUR").await, (0, 0, 104));
    // Whoever was erased meanwhile is paid as it was taken out.
    let erased = "select count(*) from payout_lines l join users u on u.id = l.holder_id
                  where l.state = 'paid' and u.erased_at is not null";
    assert_eq!(shop.test.number(erased).await, 1);
    shop.settle(&some, "paid").await.expect(200);
    let none = shop.payout(json!({"unit": "EUR"})).await;
    assert_eq!(shop.lines(&none).await, []);
    shop.adds_up().await;
}

on_every_setup!(what_is_denied_is_in_no_payout);
async fn what_is_denied_is_in_no_payout(setup: Setup) {
    let shop = Shop::open(setup, &[at_once()]).await;
    shop.purchase("a", 1000).await.expect(201);
    let code = shop.host.tell("olga", json!({})).await.json()["code"].clone();
    shop.host.tell("petr", json!({"code": code})).await.expect(201);
    shop.host.post(EVENTS, &purchase("petr", "b", 3000)).await.expect(201);
    release(&shop).await;
    let denial = format!("/api/v1/referrals/{}/deny", shop.referee);
    shop.manager.post(&denial, &json!({})).await.expect(200);
    // The payout is prepared before the job of the denial takes anything back.
    let made = shop.manager.post(PAYOUTS, &json!({"unit": "EUR"})).await.expect(202).json();
    let payout = made["id"].as_str().expect("an id").to_owned();
    referral::features::rewards::actions::payouts::prepare(shop.test.app(), &payout).await.expect("lines");
    assert_eq!(shop.lines(&payout).await, [(shop.referrer.clone(), "olga".to_owned(), 300)]);
    shop.test.drain().await;
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 300, 0));
    shop.settle(&payout, "paid").await.expect(200);
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 0, 300));
    assert_eq!(shop.states().await, ["reversed", "paid"]);
    shop.adds_up().await;
}
