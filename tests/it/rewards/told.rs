//! What others are told of rewards and of decisions.

use serde_json::{Value, json};

use super::helpers::{Shop, release, share, welcome};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::receiver::{HERE, Receiver};

/// The data of messages about a reward, in the order of their versions, each with its type.
fn about(receiver: &Receiver, reward: &str) -> Vec<(String, Value)> {
    let bodies = receiver.received().into_iter().map(|one| (one.kind(), one.body()["data"].clone()));
    let mut found: Vec<(String, Value)> = bodies.filter(|(_, data)| data["reward_id"] == reward).collect();
    found.sort_by_key(|(_, data)| data["version"].as_i64());
    found
}

fn id(value: &Value) -> String {
    value.as_str().expect("an id").to_owned()
}

on_every_setup!(whatever_becomes_of_a_reward_is_told_with_its_cause);
async fn whatever_becomes_of_a_reward_is_told_with_its_cause(setup: Setup) {
    let receiver = Receiver::start().await;
    let mut at_once = share();
    at_once["hold_days"] = json!(0);
    let shop = Shop::of(setup.start_with(&[HERE]).await, &[at_once, welcome()]).await;
    shop.manager.endpoint(&receiver.url).await;
    // Nobody was told before; what is believed of that is believed for a second.
    shop.test.app().heard.forget();
    let event = shop.purchase("inv_1", 12_345).await.expect(201).json();
    let rewards = event["rewards"].as_array().expect("rewards");
    let of = |side: &str| rewards.iter().find(|reward| reward["side"] == side).expect("a reward");
    let (share, welcome) = (id(&of("referrer")["id"]), id(&of("referee")["id"]));
    shop.purchase("inv_1", 12_345).await.expect(200);
    let refund = shop.refund("inv_1", "re_1", Some(2345)).await.expect(201).json();
    assert_eq!(release(&shop).await, 1);
    let act = async |act: &str| {
        shop.manager.post(&format!("/api/v1/rewards/{share}/{act}"), &json!({})).await.expect(200);
    };
    act("pay").await;
    act("return").await;
    let payout = shop.manager.post("/api/v1/payouts", &json!({"unit": "EUR"})).await.expect(202).json();
    let payout = id(&payout["id"]);
    shop.test.drain().await;
    let settle = async |path: &str| {
        shop.manager.post(&format!("/api/v1/payouts/{payout}/{path}"), &json!({})).await.expect(200);
    };
    settle("paid").await;
    settle(&format!("lines/{}/return", shop.referrer)).await;
    let deny = format!("/api/v1/referrals/{}/deny", shop.referee);
    let decision = shop.manager.post(&deny, &json!({})).await.expect(200).json();
    shop.test.drain().await;
    shop.adds_up().await;

    let told = about(&receiver, &share);
    let brief: Vec<String> = told
        .iter()
        .map(|(kind, data)| {
            let cause = data["cause"]["kind"].as_str().unwrap_or_default();
            format!("{kind} {} {} {} {cause}", data["amount"], data["reversed_total"], data["state"])
        })
        .collect();
    let expected = [
        r#"reward.created 1234 0 "pending" event"#,
        r#"reward.reversed 234 234 "pending" refund"#,
        r#"reward.available 1000 234 "available" hold"#,
        r#"reward.paid 1000 234 "paid" decision"#,
        r#"reward.available 1000 234 "available" decision"#,
        r#"reward.paid 1000 234 "paid" payout"#,
        r#"reward.available 1000 234 "available" payout"#,
        r#"reward.reversed 1000 1234 "reversed" decision"#,
    ];
    assert_eq!(brief, expected);
    let versions: Vec<i64> = told.iter().filter_map(|(_, data)| data["version"].as_i64()).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7, 8]);
    let holder = json!({"id": shop.referrer, "external_id": "olga"});
    let data = json!({
        "reward_id": share, "event_id": event["id"], "holder": holder, "rule": "share", "amount": 234, "unit": "EUR",
        "reversed_total": 234, "state": "pending",
        "cause": {"kind": "refund", "id": refund["id"], "external_id": "re_1"}, "version": 2,
    });
    assert_eq!(told[1].1, data);
    assert_eq!(told[0].1["cause"], json!({"kind": "event", "id": event["id"], "external_id": "inv_1"}));
    assert_eq!(told[2].1["cause"], json!({"kind": "hold", "id": event["id"], "external_id": null}));
    assert_eq!(told[5].1["cause"], json!({"kind": "payout", "id": payout, "external_id": null}));
    assert_eq!(told[7].1["cause"], json!({"kind": "decision", "id": decision["id"], "external_id": null}));
    let kinds: Vec<String> = about(&receiver, &welcome).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["reward.created", "reward.reversed", "reward.reversed"][..kinds.len()]);
    let moderated = receiver.received().into_iter().find(|one| one.kind() == "referral.moderated").expect("a message");
    let people = |name: &str, external: &str| json!({"id": name, "external_id": external});
    let expected = json!({
        "id": shop.referee, "referrer": people(&shop.referrer, "olga"), "referee": people(&shop.referee, "ivan"),
        "state": "confirmed", "decision": "deny", "version": 3,
    });
    assert_eq!(moderated.body()["data"], expected);
    for one in receiver.received() {
        assert!(!one.text.contains("example.com") && one.text.len() < 20_000, "{one:?}");
    }
}

on_every_setup!(what_a_sign_up_and_a_batch_bring_is_told_and_names_nobody_who_was_erased);
async fn what_a_sign_up_and_a_batch_bring_is_told_and_names_nobody_who_was_erased(setup: Setup) {
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[HERE]).await;
    let hello = json!({"key": "hello", "on": "signup", "to": "referee", "fixed": 5, "unit": "POINTS"});
    let shop = Shop::of(test, &[share(), hello]).await;
    shop.manager.endpoint(&receiver.url).await;
    shop.test.app().heard.forget();
    let olga = shop.host.get("/api/v1/participants/olga").await.expect(200).json();
    shop.host.tell("anna", json!({"code": olga["code"]})).await.expect(201);
    let events: Vec<Value> =
        (0..3).map(|number| super::helpers::purchase("ivan", &format!("inv_{number}"), 1000)).collect();
    shop.host.post("/api/v1/events/batch", &json!({"events": events})).await.expect(200);
    shop.host.delete("/api/v1/participants/olga").await.expect(204);
    shop.test.drain().await;
    let created: Vec<Value> = receiver
        .received()
        .into_iter()
        .filter(|one| one.kind() == "reward.created")
        .map(|one| one.body()["data"].clone())
        .collect();
    let of = |rule: &str| created.iter().filter(|data| data["rule"] == rule).collect::<Vec<_>>();
    assert_eq!(of("share").len(), 3);
    assert!(of("share").iter().all(|data| data["holder"] == json!({"id": shop.referrer, "external_id": null})));
    let mut hello: Vec<&str> = of("hello").iter().filter_map(|data| data["holder"]["external_id"].as_str()).collect();
    hello.sort_unstable();
    assert_eq!(hello, ["anna", "ivan"]);
    for one in receiver.received().iter().filter(|one| one.kind().starts_with("reward.")) {
        assert!(!one.text.contains("olga"), "{one:?}");
    }
    shop.adds_up().await;
}

on_every_setup!(of_two_messages_about_a_referral_the_later_has_the_greater_version);
async fn of_two_messages_about_a_referral_the_later_has_the_greater_version(setup: Setup) {
    let receiver = Receiver::start().await;
    let hunter = crate::support::hunter::Hunter::saying(|_| crate::support::hunter::Reply::verdict("valid")).await;
    let settings = [&hunter.settings("block")[..], &[HERE]].concat();
    let mut test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    manager.endpoint(&receiver.url).await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2030CODE").await.expect(201);
    // The first node has nothing that would check an address, nor do its jobs.
    test.add_node_with(&settings).await;
    let ivan = test.client_of(1).register("ivan", Some("OLGA2030CODE")).await.expect(201).json();
    let decide = async |act: &str| {
        manager.post(&format!("/api/v1/referrals/{}/{act}", id(&ivan["id"])), &json!({})).await.expect(200);
    };
    decide("hold").await;
    referral::worker::drain(&test.nodes[1].app).await.expect("the jobs run");
    decide("approve").await;
    test.drain().await;
    let mut told: Vec<(i64, String, String)> = receiver
        .received()
        .into_iter()
        .filter(|one| one.kind().starts_with("referral."))
        .map(|one| {
            let data = &one.body()["data"];
            (
                data["version"].as_i64().expect("a version"),
                one.kind(),
                data["state"].as_str().expect("a word").to_owned(),
            )
        })
        .collect();
    told.sort();
    let word = |at: i64, kind: &str, state: &str| (at, kind.to_owned(), state.to_owned());
    let expected = [
        word(1, "referral.created", "pending"),
        word(3, "referral.moderated", "pending"),
        word(4, "referral.confirmed", "confirmed"),
        word(5, "referral.moderated", "confirmed"),
    ];
    assert_eq!(told, expected);
}
