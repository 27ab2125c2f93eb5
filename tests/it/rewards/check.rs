//! Whether everything adds up: marks, the balance sheet, and the check.

use serde_json::{Value, json};

use super::helpers::{Shop, release, share, welcome};
use crate::on_every_setup;
use crate::support::app::Setup;

const CHECK: &str = "/api/v1/ledger/check";

/// What the check finds wrong.
async fn faults(shop: &Shop) -> Vec<(String, String)> {
    let found = referral::features::rewards::actions::check::run(shop.test.app()).await.expect("a check");
    found.faults.into_iter().map(|fault| (fault.kind.word().to_owned(), fault.id)).collect()
}

async fn busy_shop(setup: Setup) -> (Shop, String) {
    let mut now = share();
    now["hold_days"] = json!(0);
    let shop = Shop::open(setup, &[now, welcome()]).await;
    let first = shop.purchase("a", 1000).await.expect(201).json();
    shop.purchase("b", 2000).await.expect(201);
    release(&shop).await;
    let reward = first["rewards"][0]["id"].as_str().expect("an id").to_owned();
    shop.host.post(&format!("/api/v1/rewards/{reward}/pay"), &json!({})).await.expect(200);
    shop.refund("a", "r", Some(500)).await.expect(201);
    let credit = json!({"holder": shop.referee, "kind": "credit", "unit": "EUR", "amount": 5, "reason": "why"});
    shop.manager.post("/api/v1/ledger/adjustments", &credit).await.expect(201);
    (shop, reward)
}

/// The balance of olga by the service, which begins at a mark.
async fn sums(shop: &Shop) -> Vec<(String, i128, i128, i128)> {
    let holder = referral::kernel::ids::UserId::parse(&shop.referrer).expect("an id");
    let balances = referral::features::rewards::actions::lists::balances(shop.test.app(), holder).await;
    let of = |balance: referral::features::rewards::model::event::Balance| {
        (balance.unit.as_str().to_owned(), balance.pending, balance.available, balance.paid)
    };
    balances.expect("balances").into_iter().map(of).collect()
}

on_every_setup!(a_check_finds_what_was_removed_doubled_and_marked_too_early);
async fn a_check_finds_what_was_removed_doubled_and_marked_too_early(setup: Setup) {
    let (shop, reward) = busy_shop(setup).await;
    referral::features::rewards::actions::check::fold(shop.test.app(), &shop.referrer).await.expect("a mark");
    assert_eq!(faults(&shop).await, []);
    assert_eq!(shop.manager.get(CHECK).await.expect(200).json(), json!({"last": null}));
    let asked = shop.manager.post(CHECK, &json!({})).await.expect(202).json();
    assert_eq!(asked["state"], "waiting");
    assert_eq!(shop.host.get(CHECK).await.expect(200).json()["last"], asked);
    shop.test.drain().await;
    let last = shop.host.get(CHECK).await.expect(200).json()["last"].clone();
    assert_eq!((&last["id"], &last["state"], &last["faults"]), (&asked["id"], &json!("whole"), &json!([])));
    // a grant and a release of two rewards, a grant of the third, pay, reverse, credit
    assert_eq!((&last["rewards"], &last["movements"]), (&json!(3), &json!(8)));

    // A payment that was booked twice.
    let paid = format!("kind = 'pay' and amount = {}", 100);
    let another = if setup == Setup::Sqlite { "randomblob(16)" } else { "gen_random_uuid()" };
    let copy = format!(
        "insert into ledger (holder_id, program_id, unit, kind, amount, reward_id, cause_id, at)
         select holder_id, program_id, unit, kind, amount, reward_id, {another}, at from ledger where {paid}"
    );
    shop.test.sql(&copy).await;
    assert_eq!(faults(&shop).await, [("reward".to_owned(), reward.clone())]);
    let last_row = "id = (select max(id) from ledger)";
    shop.test.sql(&format!("delete from ledger where {last_row}")).await;
    assert_eq!(faults(&shop).await, []);

    // A row that was removed: its reward says something else, and so does the mark.
    shop.test.sql(&format!("delete from ledger where {paid}")).await;
    let found = faults(&shop).await;
    assert!(found.contains(&("reward".to_owned(), reward)), "{found:?}");
    assert!(found.contains(&("mark".to_owned(), shop.referrer.clone())), "{found:?}");
    shop.manager.post(CHECK, &json!({})).await.expect(202);
    shop.test.move_clock(std::time::Duration::from_secs(1));
    shop.test.drain().await;
    let last = shop.host.get(CHECK).await.expect(200).json()["last"].clone();
    assert_eq!((&last["state"], last["faults"].as_array().map(Vec::len)), (&json!("faulty"), Some(found.len())));
}

on_every_setup!(a_check_finds_a_mark_that_was_set_without_the_lock_and_a_credit_of_nobodys);
async fn a_check_finds_a_mark_that_was_set_without_the_lock_and_a_credit_of_nobodys(setup: Setup) {
    let (shop, _) = busy_shop(setup).await;
    let before = sums(&shop).await;
    // As if a row had been under way with a lower number than the mark.
    let mark = "insert into ledger_marks (holder_id, upto, unit, pending, available, paid)
                select holder_id, max(id), 'EUR', '0', '1', '0' from ledger
                where holder_id = (select id from users where external_id = 'olga') group by holder_id";
    shop.test.sql(mark).await;
    assert_eq!(faults(&shop).await, [("mark".to_owned(), shop.referrer.clone())]);
    assert_ne!(sums(&shop).await, before);
    shop.test.sql("delete from ledger_marks").await;
    assert_eq!(faults(&shop).await, []);
    shop.test.sql("update decisions set amount = 6 where about = 'balance'").await;
    assert_eq!(faults(&shop).await[0].0, "adjustment");
    shop.test.sql("update decisions set amount = 5 where about = 'balance'").await;
    shop.test.sql("delete from decisions where about = 'balance'").await;
    assert_eq!(faults(&shop).await[0].0, "adjustment");
    shop.test.sql("update ledger set kind = 'debit' where kind = 'credit'").await;
    let kinds: Vec<String> = faults(&shop).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["balance", "adjustment"], "less than nothing that was not taken back");
}

on_every_setup!(a_balance_with_marks_is_the_balance_without);
async fn a_balance_with_marks_is_the_balance_without(setup: Setup) {
    let (shop, reward) = busy_shop(setup).await;
    let fold = async || {
        referral::features::rewards::actions::check::fold(shop.test.app(), &shop.referrer).await.expect("a mark");
    };
    for round in 0..4 {
        let before = sums(&shop).await;
        fold().await;
        fold().await;
        assert_eq!(sums(&shop).await, before);
        let act = if round % 2 == 0 { "return" } else { "pay" };
        shop.host.post(&format!("/api/v1/rewards/{reward}/{act}"), &json!({})).await.expect(200);
        shop.purchase(&format!("n{round}"), 1000 + round).await.expect(201);
    }
    let marked = sums(&shop).await;
    assert_eq!(shop.test.number("select count(*) from ledger_marks").await, 4);
    shop.test.sql("delete from ledger_marks").await;
    assert_eq!(sums(&shop).await, marked);
    assert_eq!(faults(&shop).await, []);
    let sheet = shop.host.get("/api/v1/ledger/sheet").await.expect(200).json();
    let units: Vec<&Value> = sheet["items"].as_array().expect("it is there").iter().map(|item| &item["unit"]).collect();
    assert_eq!(units, ["EUR", "POINTS"]);
    for item in sheet["items"].as_array().expect("it is there") {
        let [issued, pending, available, paid] =
            ["issued", "pending", "available", "paid"].map(|field| item[field].as_i64().expect("a number"));
        assert_eq!(issued, pending + available + paid);
    }
    shop.host.get("/api/v1/ledger/sheet?unit=eur").await.expect_problem(422, "invalid");
}
