//! The service is killed at each step of whatever moves money: it is whole, or not there.

use std::time::Duration;

use serde_json::{Value, json};

use super::helpers::{EVENTS, purchase, share, welcome};
use super::mortal::{Came, Mortal};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually, eventually_within};
use crate::support::oauth::text;
use crate::support::witness;

/// Rows that have no other side, or a reward that says something else than its rows.
const WRONG: [&str; 3] = [
    "select count(*) from rewards r where r.amount <> coalesce((select sum(l.amount) from ledger l
         where l.reward_id = r.id and l.kind = 'grant'), 0) or r.reversed <> coalesce((select sum(l.amount)
         from ledger l where l.reward_id = r.id and l.kind in ('deny', 'reverse')), 0)",
    "select count(*) from events e where (select count(*) from rewards r where r.event_id = e.id) <> 2",
    "select count(*) from refunds f where (select count(*) from ledger l where l.cause_id = f.id) <> 1",
];

on_both_engines!(killed_at_any_step_an_event_and_a_refund_are_whole_or_not_there);
async fn killed_at_any_step_an_event_and_a_refund_are_whole_or_not_there(setup: Setup) {
    let mut every = welcome();
    every["times"] = json!("every");
    let (mut mortal, olga) = Mortal::with(setup, json!([share(), every])).await;
    let refund = json!({"external_id": "r", "amount": 500, "reason": "refund"});
    for (first, least) in [("EVENT_BY_KEY", 12), ("EVENT_ID", 9)] {
        for step in 1.. {
            // Somebody new each time, so that their account is opened as well.
            let person = format!("{}{step}", first.to_lowercase());
            mortal.host.tell(&person, json!({"code": olga["code"]})).await.expect(201);
            let event = purchase(&person, &person, 1000);
            let refunds = format!("{EVENTS}/refunds?external_id={person}&type=purchase");
            let (path, body): (&str, &Value) = if first == "EVENT_ID" {
                mortal.host.post(EVENTS, &event).await.expect(201);
                (&refunds, &refund)
            } else {
                (EVENTS, &event)
            };
            mortal.arm(first, step);
            let came = mortal.post(&mortal.host.clone(), path, body, 201).await;
            for wrong in WRONG {
                assert_eq!(mortal.number(wrong).await, 0, "{first} {step}: whole, or not there");
            }
            let Came::Ended(ended) = came else {
                assert!(step > least, "{first} has {} steps", step - 1);
                break;
            };
            let again = mortal.host.post(path, body).await;
            let expected = if ended.starts_with("after the commit") { 200 } else { 201 };
            assert_eq!(again.status, expected, "{ended}: {again:?}");
            for wrong in WRONG {
                assert_eq!(mortal.number(wrong).await, 0, "{ended}");
            }
        }
    }
}

const CAUSES: &str = "select count(distinct cause_id) from ledger where kind = ";

/// A new purchase of ivan's, and the id of its one reward.
async fn reward(mortal: &Mortal, event: &str) -> String {
    let told = mortal.host.post(EVENTS, &purchase("ivan", event, 1000)).await.expect(201).json();
    text(&told["rewards"][0], "id").to_owned()
}

/// A payout that is open.
async fn payout(mortal: &Mortal) -> String {
    let made = mortal.boss.post("/api/v1/payouts", &json!({"unit": "EUR"})).await.expect(202).json();
    let payout = format!("/api/v1/payouts/{}", text(&made, "id"));
    eventually("it is prepared", || async { mortal.boss.get(&payout).await.expect(200).json()["state"] == "open" })
        .await;
    payout
}

on_both_engines!(killed_at_any_step_a_payment_a_payout_and_its_return_are_whole_or_not_there);
async fn killed_at_any_step_a_payment_a_payout_and_its_return_are_whole_or_not_there(setup: Setup) {
    let (mut mortal, olga) = Mortal::with(setup, json!([share()])).await;
    mortal.host.tell("ivan", json!({"code": olga["code"]})).await.expect(201);
    for (what, first, word) in [
        ("pay", "WHOSE", "reward_state"),
        ("return", "WHOSE", "reward_state"),
        ("payout", "LOCK_PAYOUT", "payout_state"),
        ("line", "LOCK_PAYOUT", "payout_state"),
    ] {
        let mut done = 0;
        for step in 1.. {
            let reward = reward(&mortal, &format!("{what}{step}")).await;
            let reward = format!("/api/v1/rewards/{reward}");
            mortal.boss.post(&format!("{reward}/approve"), &json!({})).await.expect(200);
            let path = match what {
                "pay" => format!("{reward}/pay"),
                "return" => {
                    mortal.boss.post(&format!("{reward}/pay"), &json!({})).await.expect(200);
                    format!("{reward}/return")
                }
                "payout" => format!("{}/paid", payout(&mortal).await),
                _ => {
                    let payout = payout(&mortal).await;
                    mortal.boss.post(&format!("{payout}/paid"), &json!({})).await.expect(200);
                    format!("{payout}/lines/{}/return", text(&olga, "id"))
                }
            };
            let kind = if matches!(what, "pay" | "payout") { "'pay'" } else { "'return'" };
            let before = mortal.number(&format!("{CAUSES}{kind}")).await;
            mortal.arm(first, step);
            let came = mortal.post(&mortal.boss.clone(), &path, &json!({}), 200).await;
            done = mortal.number(&format!("{CAUSES}{kind}")).await - before;
            let Came::Ended(ended) = came else {
                assert!(step > 8, "{what} has {} steps", step - 1);
                break;
            };
            assert_eq!(done, i64::from(ended.starts_with("after the commit")), "{ended}");
            let again = mortal.boss.post(&path, &json!({})).await;
            match ended.starts_with("after the commit") {
                true => drop(again.expect_problem(409, word)),
                false => drop(again.expect(200)),
            }
            assert_eq!(mortal.number(&format!("{CAUSES}{kind}")).await, before + 1, "{ended}: once");
        }
        assert_eq!(done, 1, "{what}");
    }
}

on_both_engines!(killed_at_any_step_an_adjustment_is_whole_or_not_there);
async fn killed_at_any_step_an_adjustment_is_whole_or_not_there(setup: Setup) {
    let (mut mortal, olga) = Mortal::with(setup, json!([share()])).await;
    // What is decided, and what is noted of it, are one with the movement.
    let noted = "select (select count(*) from decisions) * 1000000 + (select count(*) from ledger) * 1000 + \
                 (select count(*) from audit where action in ('balance_credited', 'balance_debited'))";
    let mut all = 0;
    for kind in ["credit", "debit"] {
        let amount = if kind == "credit" { 9 } else { 1 };
        let body = json!({"holder": olga["id"], "kind": kind, "unit": "EUR", "amount": amount, "reason": "why"});
        for step in 1.. {
            mortal.arm("HOLD_HOLDER", step);
            let came = mortal.post(&mortal.boss.clone(), "/api/v1/ledger/adjustments", &body, 201).await;
            let is_done = match &came {
                Came::Through => true,
                Came::Ended(ended) => ended.starts_with("after the commit"),
            };
            all += i64::from(is_done);
            assert_eq!(mortal.number(noted).await, all * 1_001_001, "{kind} {step}");
            if matches!(came, Came::Through) {
                assert!(step > 7, "{kind} has {} steps", step - 1);
                break;
            }
        }
    }
}

on_both_engines!(killed_at_any_step_a_release_is_whole_or_not_there);
/// The next process releases what this one has not.
async fn killed_at_any_step_a_release_is_whole_or_not_there(setup: Setup) {
    let mut now = share();
    now["hold_days"] = json!(0);
    let (mut mortal, olga) = Mortal::with(setup, json!([now])).await;
    mortal.host.tell("ivan", json!({"code": olga["code"]})).await.expect(201);
    for step in 1.. {
        mortal.arm("DUE", step);
        let reward = reward(&mortal, &format!("e{step}")).await;
        let released = "select count(*) from ledger where kind = 'release'";
        let all = format!("select case when ({released}) = {step} then 1 else 0 end");
        match mortal.waits_for(&all).await {
            Came::Through => {
                assert!(step > 6, "a release has {} steps", step - 1);
                break;
            }
            Came::Ended(ended) => {
                let path = format!("/api/v1/rewards?holder={}&state=available", text(&olga, "id"));
                eventually("it is released", || async {
                    let list = mortal.host.get(&path).await.expect(200).json();
                    list["items"].as_array().expect("items").iter().any(|one| one["id"] == json!(reward))
                })
                .await;
                assert_eq!(mortal.number(released).await, i64::try_from(step).expect("few"), "{ended}: once");
            }
        }
    }
}

/// A referral that says something else than the last decision about it, a reward that waits though nothing is held or
/// does not though it is, and a decision that nobody has noted.
const UNDECIDED: [&str; 3] = [
    "select count(*) from referrals r where coalesce(r.decision, '') <> coalesce((select d.decision from decisions d
         where d.about = 'referral' and d.about_id = r.referee_id order by d.id desc limit 1), '')",
    "select count(*) from rewards w join referrals r on r.referee_id = w.referee_id
         where w.state = 'pending' and w.waits <> (coalesce(r.decision, '') in ('hold', 'deny'))",
    "select abs((select count(*) from decisions) - (select count(*) from audit where action in
         ('referral_approved', 'referral_denied', 'referral_held', 'reward_approved', 'reward_denied')))",
];

on_both_engines!(killed_at_any_step_a_decision_is_whole_or_not_there);
async fn killed_at_any_step_a_decision_is_whole_or_not_there(setup: Setup) {
    let (mut mortal, olga) = Mortal::with(setup, json!([share()])).await;
    for (what, first, least) in [
        ("hold", "LOCK", 6),
        ("approve", "LOCK", 6),
        ("deny", "LOCK", 7),
        ("rewards/approve", "WHOSE", 8),
        ("rewards/deny", "WHOSE", 8),
    ] {
        for step in 1.. {
            let person = format!("{}{step}", what.replace('/', ""));
            let ivan = mortal.host.tell(&person, json!({"code": olga["code"]})).await.expect(201).json();
            let told = mortal.host.post(EVENTS, &purchase(&person, &person, 1000)).await.expect(201).json();
            let referral = format!("/api/v1/referrals/{}", text(&ivan, "id"));
            if what == "approve" {
                mortal.boss.post(&format!("{referral}/hold"), &json!({})).await.expect(200);
            }
            let path = match what.split_once('/') {
                None => format!("{referral}/{what}"),
                Some((_, act)) => format!("/api/v1/rewards/{}/{act}", text(&told["rewards"][0], "id")),
            };
            let before = mortal.number("select count(*) from decisions").await;
            let body = json!({"note": "why"});
            let body = if what == "rewards/deny" { json!({"reason": "why"}) } else { body };
            mortal.arm(first, step);
            let came = mortal.post(&mortal.boss.clone(), &path, &body, 200).await;
            for wrong in UNDECIDED {
                assert_eq!(mortal.number(wrong).await, 0, "{what} {step}");
            }
            let is_done = match &came {
                Came::Through => true,
                Came::Ended(ended) => ended.starts_with("after the commit"),
            };
            let decided = mortal.number("select count(*) from decisions").await - before;
            assert_eq!(decided, i64::from(is_done), "{what} {step}");
            if what == "deny" && is_done {
                taken_back(&mortal).await;
            }
            if matches!(came, Came::Through) {
                assert!(step > least, "{what} has {} steps", step - 1);
                break;
            }
        }
    }
}

/// Of what is denied nothing is left, once the job has come by.
async fn taken_back(mortal: &Mortal) {
    let left = "select count(*) from rewards w join referrals r on r.referee_id = w.referee_id
                where r.decision = 'deny' and w.reversed < w.amount";
    // A job whose process was ended is done by the next one when its lease is over.
    eventually_within("all is taken back", Duration::from_secs(300), || async { mortal.number(left).await == 0 }).await;
}

on_both_engines!(killed_at_any_step_what_is_taken_back_of_a_denied_referral_is_taken_back_once);
async fn killed_at_any_step_what_is_taken_back_of_a_denied_referral_is_taken_back_once(setup: Setup) {
    let (mut mortal, olga) = Mortal::with(setup, json!([share(), welcome()])).await;
    for step in 1.. {
        let person = format!("p{step}");
        let ivan = mortal.host.tell(&person, json!({"code": olga["code"]})).await.expect(201).json();
        mortal.host.post(EVENTS, &purchase(&person, &person, 1000)).await.expect(201);
        mortal.arm("DECIDED_OF", step);
        let deny = format!("/api/v1/referrals/{}/deny", text(&ivan, "id"));
        // It may end before it answers.
        let _ = mortal.boss.request(reqwest::Method::POST, &deny).body("{}").send().await;
        let left = "select case when count(*) = 0 then 1 else 0 end from rewards where reversed < amount";
        let came = mortal.waits_for(left).await;
        // The lease of whoever was killed is over.
        witness::query(&mortal.url, "update jobs set lease_until = 1 where lease_until is not null").await;
        taken_back(&mortal).await;
        let taken = mortal.number("select count(*) from ledger where kind = 'deny'").await;
        assert_eq!(taken, 2 * i64::try_from(step).expect("few"), "{step}: once each");
        if matches!(came, Came::Through) {
            assert!(step > 9, "it has {} steps", step - 1);
            break;
        }
    }
}
