//! Which messages there are, and what stands in them.

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::host::host_of;
use crate::support::receiver::{HERE, Receiver};

const FAR: &str = "2099-01-01";

/// The data of the messages of a type that were received.
fn data(receiver: &Receiver, kind: &str) -> Vec<Value> {
    let of_kind = receiver.received().into_iter().filter(|one| one.kind() == kind);
    of_kind.map(|one| one.body()["data"].clone()).collect()
}

async fn id_of(test: &TestApp, external: &str) -> String {
    let manager = test.client().logged_in("manager").await;
    let found = manager.get(&format!("/api/v1/participants/{external}")).await.expect(200).json();
    found["id"].as_str().expect("an id").to_owned()
}

on_every_setup!(a_registration_with_a_code_is_told_with_its_referral);
async fn a_registration_with_a_code_is_told_with_its_referral(setup: Setup) {
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    let endpoint = manager.endpoint(&receiver.url).await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2030CODE").await.expect(201);
    let ivan = test.client().register("ivan", Some("OLGA2030CODE")).await.expect(201).json();
    test.drain().await;
    let expected = ["participant.created", "participant.created", "referral.confirmed", "referral.created"];
    assert_eq!(receiver.kinds(), expected);
    let ivan = ivan["id"].as_str().expect("an id");
    let created: Vec<Value> = data(&receiver, "participant.created").iter().map(|data| data["id"].clone()).collect();
    assert!(created.contains(&json!(olga.id)) && created.contains(&json!(ivan)), "{created:?}");
    let people = |version: i64| {
        json!([{
            "id": ivan, "referrer": {"id": olga.id, "external_id": null}, "referee": {"id": ivan, "external_id": null},
            "state": "confirmed", "version": version,
        }])
    };
    assert_eq!(json!(data(&receiver, "referral.created")), people(1));
    assert_eq!(json!(data(&receiver, "referral.confirmed")), people(2));
    for one in receiver.received() {
        assert!(one.verifies_with(&endpoint.secret), "{one:?}");
        assert_eq!(one.headers["content-type"], "application/json");
        assert!(one.body()["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{one:?}");
        for word in ["ivan", "olga", "example.com", "OLGA2030CODE"] {
            assert!(!one.text.contains(word), "{one:?}");
        }
    }
    // Each is told once, whoever looks again.
    test.drain().await;
    assert_eq!(receiver.received().len(), 4);
    assert_eq!(test.number("select count(*) from outbox").await, 4);
}

on_every_setup!(what_a_hosts_app_does_is_told_with_how_it_calls_people);
async fn what_a_hosts_app_does_is_told_with_how_it_calls_people(setup: Setup) {
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    manager.endpoint(&receiver.url).await;
    let host = host_of(&manager).await;
    let code = host.tell("olga-1", json!({})).await.expect(201).json()["code"].clone();
    host.tell("ivan-1", json!({"code": code})).await.expect(201);
    // What is told again changes nothing.
    host.tell("ivan-1", json!({"code": code})).await.expect(200);
    test.drain().await;
    assert_eq!(receiver.kinds(), ["referral.confirmed", "referral.created"]);
    let (olga, ivan) = (id_of(&test, "olga-1").await, id_of(&test, "ivan-1").await);
    let expected = json!([{
        "id": ivan, "referrer": {"id": olga, "external_id": "olga-1"}, "referee": {"id": ivan, "external_id": "ivan-1"},
        "state": "confirmed", "version": 1,
    }]);
    assert_eq!(json!(data(&receiver, "referral.created")), expected);

    receiver.forget();
    host.delete("/api/v1/participants/ivan-1").await.expect(204);
    test.drain().await;
    assert_eq!(receiver.kinds(), ["participant.erased"]);
    assert_eq!(data(&receiver, "participant.erased"), [json!({"id": ivan, "version": 2})]);
}

on_every_setup!(a_referral_that_waits_is_told_when_it_counts);
async fn a_referral_that_waits_is_told_when_it_counts(setup: Setup) {
    let receiver = Receiver::start().await;
    let hunter = crate::support::hunter::Hunter::saying(|_| crate::support::hunter::Reply::verdict("valid")).await;
    let settings = [&hunter.settings("block")[..], &[HERE]].concat();
    let mut test = setup.start_with(&[HERE]).await;
    test.manager("manager").await.endpoint(&receiver.url).await;
    let olga = test.user("olga").await;
    olga.post("/api/v1/codes", &json!({"code": "OLGA2030CODE", "expires_at": FAR})).await.expect(201);
    test.add_node_with(&settings).await;
    test.client_of(1).register("ivan", Some("OLGA2030CODE")).await.expect(201);
    referral::features::webhooks::actions::fan_out::run(test.app()).await.expect("numbers");
    let created = "select count(*) from outbox where type = 'referral.created' and data like '%pending%'";
    assert_eq!(test.number(created).await, 1);
    let confirmed = "select count(*) from outbox where type = 'referral.confirmed'";
    assert_eq!(test.number(confirmed).await, 0);
    referral::worker::drain(&test.nodes[1].app).await.expect("the jobs run");
    assert_eq!(test.number(confirmed).await, 1);
    assert!(receiver.kinds().contains(&"referral.confirmed".to_owned()), "{:?}", receiver.kinds());
}

on_every_setup!(nothing_is_written_where_nobody_is_told);
async fn nothing_is_written_where_nobody_is_told(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2030CODE").await.expect(201);
    test.client().register("ivan", Some("OLGA2030CODE")).await.expect(201);
    let host = host_of(&manager).await;
    host.tell("1", json!({})).await.expect(201);
    host.delete("/api/v1/participants/1").await.expect(204);
    assert_eq!(test.number("select count(*) from outbox").await, 0);
}

on_every_setup!(only_what_an_endpoint_asked_for_is_sent_to_it);
async fn only_what_an_endpoint_asked_for_is_sent_to_it(setup: Setup) {
    let (all, erased) = (Receiver::start().await, Receiver::start().await);
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    manager.endpoint(&all.url).await;
    manager.endpoint_for(&erased.url, &["participant.erased", "referral.created"]).await;
    let olga = test.user("olga").await;
    let password = json!({"password": crate::support::client::PASSWORD});
    olga.delete_with("/api/v1/me", &password).await.expect(204);
    test.drain().await;
    assert_eq!(all.kinds(), ["participant.created", "participant.erased"]);
    assert_eq!(erased.kinds(), ["participant.erased"]);
    let ids: Vec<String> = all.received().iter().map(|one| one.id().to_owned()).collect();
    assert!(ids.contains(&erased.received()[0].id().to_owned()), "one message has one id for all");
}
