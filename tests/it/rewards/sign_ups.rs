//! Sign-ups: what a referral brings when it counts.

use serde_json::{Value, json};

use super::helpers::{EVENTS, RULES, Shop, release};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::servers::Smtp;

fn hello() -> Value {
    json!({"key": "hello", "on": "signup", "to": "referee", "fixed": 100, "unit": "POINTS", "hold_days": 0})
}

fn thanks() -> Value {
    json!({"key": "thanks", "on": "signup", "to": "referrer", "fixed": 20, "unit": "POINTS", "hold_days": 0})
}

on_every_setup!(a_referral_that_counts_brings_what_rules_about_sign_ups_give);
async fn a_referral_that_counts_brings_what_rules_about_sign_ups_give(setup: Setup) {
    // Olga and ivan are there before any rule hears of sign-ups.
    let shop = Shop::open(setup, &[]).await;
    let told = shop.manager.post(RULES, &json!({"rules": [hello(), thanks()]})).await.expect(201).json();
    assert_eq!(told["rules"][0]["times"], "first");
    let code = shop.host.tell("olga", json!({})).await.json()["code"].as_str().expect("a code").to_owned();
    // By a host, and by registering, which is one statement on PostgreSQL.
    shop.host.tell("petr", json!({"code": code})).await.expect(201);
    let vera = shop.test.client().register("vera", Some(&code)).await.expect(201).json();
    shop.test.client().register("nobodys", None).await.expect(201);
    assert_eq!(shop.test.number("select count(*) from jobs where kind = 'signup_event' and done_at is null").await, 2);
    shop.test.drain().await;
    assert_eq!(shop.test.number("select count(*) from events").await, 2);
    let listed = shop.host.get(&format!("{EVENTS}?type=signup")).await.expect(200).json();
    assert_eq!(listed["items"][0]["external_id"], vera["id"]);
    assert_eq!(listed["items"][0]["amount"], Value::Null);
    assert_eq!(shop.balance(&shop.referrer, "POINTS").await, (40, 0, 0));
    assert_eq!(shop.balance(vera["id"].as_str().expect("an id"), "POINTS").await, (100, 0, 0));
    // It counts once, whatever becomes of the job.
    let again = "update jobs set done_at = null, lease_until = null where kind = 'signup_event'";
    shop.test.sql(again).await;
    shop.test.drain().await;
    assert_eq!(shop.test.number("select count(*) from rewards").await, 4);
    assert_eq!(release(&shop).await, 4);
    // No rule hears of them any more.
    shop.manager.post(RULES, &json!({"rules": []})).await.expect(201);
    shop.host.tell("last", json!({"code": code})).await.expect(201);
    assert_eq!(shop.test.drain().await, 0);
    shop.adds_up().await;
}

on_every_setup!(a_sign_up_waits_until_the_referral_counts);
async fn a_sign_up_waits_until_the_referral_counts(setup: Setup) {
    let smtp = Smtp::start().await;
    let settings = Smtp::settings(smtp.port);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let shop = Shop::of(setup.start_with(&settings).await, &[hello()]).await;
    shop.test.drain().await;
    let before = shop.test.number("select count(*) from events").await;
    let code = shop.host.tell("olga", json!({})).await.json()["code"].as_str().expect("a code").to_owned();
    shop.test.client().register("vera", Some(&code)).await.expect(201);
    shop.test.drain().await;
    assert_eq!(shop.test.number("select count(*) from events").await, before);
    let token = smtp.mails_to("vera@example.com").last().expect("a mail").token();
    let body = json!({"token": token});
    shop.test.client().post("/api/v1/auth/confirm", &body).await.expect(204);
    shop.test.drain().await;
    assert_eq!(shop.test.number("select count(*) from events").await, before + 1);
    // What happens while the program is paused is not taken.
    shop.manager.post("/api/v1/programs/default/pause", &json!({})).await.expect(200);
    shop.host.tell("petr", json!({"code": code})).await.expect(201);
    shop.test.drain().await;
    assert_eq!(shop.test.number("select count(*) from events").await, before + 1);
    shop.adds_up().await;
}
