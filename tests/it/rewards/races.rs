//! Many who tell of the same at once, and of much for one holder.

use serde_json::{Value, json};

use super::helpers::{EVENTS, Shop, at_once, at_once_by, purchase, release, share, welcome};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::Answer;

on_every_setup!(of_many_who_tell_of_one_event_one_is_counted_and_all_get_one_answer);
/// Law 9.
async fn of_many_who_tell_of_one_event_one_is_counted_and_all_get_one_answer(setup: Setup) {
    let shop = Shop::of(setup.start_two().await, &[share(), welcome()]).await;
    for round in 0..4 {
        let event = format!("e{round}");
        let answers = at_once(&shop, vec![(EVENTS.to_owned(), purchase("ivan", &event, 1000)); 64]).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        let first = answers[0].json();
        for answer in &answers {
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            assert_eq!(answer.json(), first);
        }
        let path = format!("{EVENTS}/refunds?external_id={event}&type=purchase");
        let refund = json!({"external_id": "r", "amount": 500, "reason": "refund"});
        let answers = at_once(&shop, vec![(path, refund); 64]).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        let first = answers[0].json();
        for answer in &answers {
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            assert_eq!(answer.json(), first);
        }
    }
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (4 * 50, 0, 0));
    assert_eq!(shop.test.number("select count(*) from refunds").await, 4);
    shop.adds_up().await;
}

on_every_setup!(of_many_purchases_at_once_one_is_the_first_and_no_limit_is_passed);
async fn of_many_purchases_at_once_one_is_the_first_and_no_limit_is_passed(setup: Setup) {
    let mut few = share();
    few["limit"] = json!({"count": 5, "per": "ever"});
    let shop = Shop::of(setup.start_two().await, &[few, welcome()]).await;
    let calls = (0..16).map(|place| (EVENTS.to_owned(), purchase("ivan", &format!("e{place}"), 1000))).collect();
    for answer in at_once(&shop, calls).await {
        answer.expect(201);
    }
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (500, 0, 0));
    assert_eq!(shop.balance(&shop.referee, "POINTS").await, (500, 0, 0));
    shop.adds_up().await;
}

on_every_setup!(refunds_events_and_releases_at_once_leave_everything_adding_up);
async fn refunds_events_and_releases_at_once_leave_everything_adding_up(setup: Setup) {
    let mut now = share();
    now["hold_days"] = json!(0);
    let shop = Shop::of(setup.start_two().await, &[now, welcome()]).await;
    for place in 0..4 {
        shop.purchase(&format!("e{place}"), 1000).await.expect(201);
    }
    let mut calls = Vec::new();
    for event in 0..4 {
        for part in 0..6 {
            let path = format!("{EVENTS}/refunds?external_id=e{event}&type=purchase");
            calls.push((path, json!({"external_id": format!("r{part}"), "amount": 300, "reason": "refund"})));
        }
        calls.push((EVENTS.to_owned(), purchase("ivan", &format!("n{event}"), 1000)));
    }
    let (answers, one, other) = tokio::join!(at_once(&shop, calls), release(&shop), release(&shop));
    // Of 1,000 three parts of 300 fit.
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(taken, 4 * 3 + 4, "{one} {other}");
    let refused = answers.into_iter().filter(|answer| answer.status != 201);
    for answer in refused {
        answer.expect_problem(409, "refund_exceeds");
    }
    release(&shop).await;
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 4 * 10 + 4 * 100, 0));
    shop.adds_up().await;
}

on_every_setup!(two_nodes_that_pay_one_holder_pay_no_more_than_there_is);
/// Law 11.
async fn two_nodes_that_pay_one_holder_pay_no_more_than_there_is(setup: Setup) {
    let mut now = share();
    now["hold_days"] = json!(0);
    let shop = Shop::of(setup.start_two().await, &[now]).await;
    let mut rewards = Vec::new();
    for place in 0..12 {
        let told = shop.purchase(&format!("e{place}"), 1000).await.expect(201).json();
        rewards.push(told["rewards"][0]["id"].as_str().expect("an id").to_owned());
    }
    release(&shop).await;
    let path = "/api/v1/ledger/adjustments";
    let holder = &shop.referrer;
    let debit =
        |amount: i64| json!({"holder": holder, "kind": "debit", "unit": "EUR", "amount": amount, "reason": "why"});
    // 750 of 1,200 are left for twelve rewards of 100, each paid by four callers, and for as many debits of 100.
    shop.manager.post(path, &debit(450)).await.expect(201);
    let pays = rewards.iter().cycle().take(48).map(|reward| (format!("/api/v1/rewards/{reward}/pay"), json!({})));
    let debits = vec![(path.to_owned(), debit(100)); 16];
    let (paid, taken) = tokio::join!(at_once(&shop, pays.collect()), at_once_by(&shop, &shop.manager, debits));
    let done = |answers: &[Answer], status: u16| answers.iter().filter(|answer| answer.status == status).count() as i64;
    let (paid, taken) = (done(&paid, 200), done(&taken, 201));
    assert_eq!(paid + taken, 7, "{paid} and {taken}");
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 50, 100 * paid));
    // Nor do payouts that are made beside one another have more than there is.
    for _ in 0..3 {
        shop.manager.post("/api/v1/payouts", &json!({"unit": "EUR"})).await.expect(202);
    }
    let (one, other) = (shop.test.drain(), referral::worker::drain(&shop.test.nodes[1].app));
    let (_, other) = tokio::join!(one, other);
    other.expect("the jobs run");
    assert_eq!(shop.test.number("select count(*) from payout_lines").await, 1);
    let payout = "select count(*) from payouts where state <> 'open'";
    assert_eq!(shop.test.number(payout).await, 0);
    let list = shop.manager.get("/api/v1/payouts").await.expect(200).json();
    let settle =
        |payout: &Value| (format!("/api/v1/payouts/{}/paid", payout["id"].as_str().expect("an id")), json!({}));
    let calls = list["items"].as_array().expect("items").iter().cycle().take(24).map(settle).collect();
    let settled = at_once_by(&shop, &shop.manager, calls).await;
    assert_eq!(done(&settled, 200), 3, "each once");
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 0, 100 * paid + 50));
    shop.adds_up().await;
}
