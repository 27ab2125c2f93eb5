//! The service is killed at each step of an event, a refund, a payment and a payout.

use std::time::Duration;

use serde_json::{Value, json};

use super::helpers::{EVENTS, RULES, purchase, share, welcome};
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::host::host_of;
use crate::support::process::Operator;
use crate::support::witness;

/// Rows that have no other side, or a reward that says something else than its rows.
const WRONG: [&str; 3] = [
    "select count(*) from rewards r where r.amount <> coalesce((select sum(l.amount) from ledger l
         where l.reward_id = r.id and l.kind = 'grant'), 0) or r.reversed <> coalesce((select sum(l.amount)
         from ledger l where l.reward_id = r.id and l.kind in ('deny', 'reverse')), 0)",
    "select count(*) from events e where (select count(*) from rewards r where r.event_id = e.id) <> 2",
    "select count(*) from refunds f where (select count(*) from ledger l where l.cause_id = f.id) <> 1",
];

async fn killed_at_each_step(setup: Setup) {
    let mut operator = Operator::on_a_free_port();
    let url = match setup {
        Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
        _ => setup.prepare(&[]).await.database_url,
    };
    operator.set("DATABASE_URL", &url);
    operator.set("FAULT_CRASH_FILE", operator.path("crash"));
    // Tokens are good for the next process, too.
    operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
    operator.run(&["migrate"]).well();
    operator.run_with(&["admin", "create", "boss", "boss@example.com"], &format!("{PASSWORD}\n")).well();
    let mut serving = operator.serve();
    let boss = serving.client().logged_in("boss").await;
    let mut host = host_of(&boss).await;
    let mut every = welcome();
    every["times"] = json!("every");
    boss.post(RULES, &json!({"rules": [share(), every]})).await.expect(201);
    let olga = host.tell("olga", json!({})).await.expect(201).json();
    let refund = json!({"external_id": "r", "amount": 500, "reason": "refund"});
    for (first, least) in [("EVENT_BY_KEY", 12), ("EVENT_ID", 9)] {
        for step in 1.. {
            // Somebody new each time, so that their account is opened as well.
            let person = format!("{}{step}", first.to_lowercase());
            host.tell(&person, json!({"code": olga["code"]})).await.expect(201);
            let event = purchase(&person, &person, 1000);
            let refunds = format!("{EVENTS}/refunds?external_id={person}&type=purchase");
            let (path, body): (&str, &Value) = if first == "EVENT_ID" {
                host.post(EVENTS, &event).await.expect(201);
                (&refunds, &refund)
            } else {
                (EVENTS, &event)
            };
            arm(&operator, &format!("{first} {step}"));
            let request = host.request(reqwest::Method::POST, path).body(body.to_string());
            let answered = tokio::time::timeout(Duration::from_secs(20), request.send()).await;
            let answered = answered.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().as_u16() == 201));
            let armed = std::fs::read_to_string(operator.path("crash")).expect("it was armed");
            std::fs::remove_file(operator.path("crash")).expect("it was armed");
            if armed == format!("{first} {step}") {
                assert!(answered && step > least, "{first} has {} steps", step - 1);
                // A process counts the steps of one write.
                serving.stop();
                serving = operator.serve();
                host = host.at(&serving.client().base);
                break;
            }
            assert!(!answered, "{armed}");
            assert_eq!(serving.wait().code, None, "{armed}: it was ended by a signal");
            for wrong in WRONG {
                assert_eq!(witness::number(&url, wrong).await, 0, "{armed}: whole, or not there");
            }
            serving = operator.serve();
            host = host.at(&serving.client().base);
            let again = host.post(path, body).await;
            let expected = if armed.starts_with("after the commit") { 200 } else { 201 };
            assert_eq!(again.status, expected, "{armed}: {again:?}");
            for wrong in WRONG {
                assert_eq!(witness::number(&url, wrong).await, 0, "{armed}");
            }
        }
    }
}

/// Arms the crash at a step of the write that begins with this statement.
fn arm(operator: &Operator, armed: &str) {
    operator.write("crash.new", armed);
    std::fs::rename(operator.path("crash.new"), operator.path("crash")).expect("it is armed");
}

async fn killed_at_each_step_of_a_payment(setup: Setup) {
    let mut operator = Operator::on_a_free_port();
    let url = match setup {
        Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
        _ => setup.prepare(&[]).await.database_url,
    };
    operator.set("DATABASE_URL", &url);
    operator.set("FAULT_CRASH_FILE", operator.path("crash"));
    operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
    operator.set("REFERRAL_LIMITS", "off");
    operator.run(&["migrate"]).well();
    operator.run_with(&["admin", "create", "boss", "boss@example.com"], &format!("{PASSWORD}\n")).well();
    let mut serving = operator.serve();
    let mut boss = serving.client().logged_in("boss").await;
    let mut host = host_of(&boss).await;
    boss.post(RULES, &json!({"rules": [share()]})).await.expect(201);
    let olga = host.tell("olga", json!({})).await.expect(201).json();
    host.tell("ivan", json!({"code": olga["code"]})).await.expect(201);
    for (first, word, least) in [("WHOSE", "reward_state", 8), ("LOCK_PAYOUT", "payout_state", 8)] {
        for step in 1.. {
            let event = purchase("ivan", &format!("{first}{step}"), 1000);
            let told = host.post(EVENTS, &event).await.expect(201).json();
            let reward = told["rewards"][0]["id"].as_str().expect("an id").to_owned();
            boss.post(&format!("/api/v1/rewards/{reward}/approve"), &json!({})).await.expect(200);
            let path = if first == "WHOSE" {
                format!("/api/v1/rewards/{reward}/pay")
            } else {
                let made = boss.post("/api/v1/payouts", &json!({"unit": "EUR"})).await.expect(202).json();
                let payout = format!("/api/v1/payouts/{}", made["id"].as_str().expect("an id"));
                eventually("it is prepared", || async {
                    boss.get(&payout).await.expect(200).json()["state"] == "open"
                })
                .await;
                format!("{payout}/paid")
            };
            arm(&operator, &format!("{first} {step}"));
            let request = boss.request(reqwest::Method::POST, &path).body("{}");
            let answered = tokio::time::timeout(Duration::from_secs(20), request.send()).await;
            let answered = answered.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().as_u16() == 200));
            let armed = std::fs::read_to_string(operator.path("crash")).expect("it was armed");
            std::fs::remove_file(operator.path("crash")).expect("it was armed");
            if armed == format!("{first} {step}") {
                assert!(answered && step > least, "{first} has {} steps", step - 1);
                // A process counts the steps of one write.
                serving.stop();
                serving = operator.serve();
                (host, boss) = (host.at(&serving.client().base), boss.at(&serving.client().base));
                break;
            }
            assert!(!answered, "{armed}");
            assert_eq!(serving.wait().code, None, "{armed}: it was ended by a signal");
            operator.run(&["admin", "ledger", "check"]).well();
            serving = operator.serve();
            (host, boss) = (host.at(&serving.client().base), boss.at(&serving.client().base));
            let again = boss.post(&path, &json!({})).await;
            match armed.starts_with("after the commit") {
                true => drop(again.expect_problem(409, word)),
                false => drop(again.expect(200)),
            }
        }
        let paid = "select count(*) from ledger where kind = 'pay'";
        let grants = "select count(*) from ledger where kind = 'grant'";
        assert_eq!(witness::number(&url, paid).await, witness::number(&url, grants).await, "each once");
    }
    operator.run(&["admin", "ledger", "check"]).well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_a_payment_and_a_payout_are_whole_or_not_there() {
    killed_at_each_step_of_a_payment(Setup::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_a_payment_and_a_payout_are_whole_or_not_there_on_postgres() {
    killed_at_each_step_of_a_payment(Setup::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_an_event_and_a_refund_are_whole_or_not_there() {
    killed_at_each_step(Setup::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_an_event_and_a_refund_are_whole_or_not_there_on_postgres() {
    killed_at_each_step(Setup::Postgres).await;
}
