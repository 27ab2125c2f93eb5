//! Endpoints as managers have them.

use std::time::Duration;

use serde_json::json;

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::hunter::Reply;
use crate::support::receiver::{ENDPOINTS, HERE, Receiver};

const DAY: Duration = Duration::from_secs(24 * 3600);

on_every_setup!(an_endpoint_is_made_listed_changed_and_removed);
async fn an_endpoint_is_made_listed_changed_and_removed(setup: Setup) {
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    let endpoint = manager.endpoint_for(&receiver.url, &["referral.created"]).await;
    assert!(endpoint.secret.starts_with("whsec_"), "{endpoint:?}");
    let listed = manager.get(ENDPOINTS).await.expect(200);
    assert!(!listed.text.contains("whsec_") && !listed.text.contains("secret"), "{listed:?}");
    let one = manager.get(&endpoint.path()).await.expect(200).json();
    assert_eq!(listed.json()["items"], json!([one]));
    assert_eq!((&one["state"], &one["types"]), (&json!("enabled"), &json!(["referral.created"])));
    let change = json!({"types": ["*"], "description": "The shop"});
    let changed = manager.patch(&endpoint.path(), &change).await.expect(200).json();
    assert_eq!((&changed["types"], &changed["description"]), (&json!(["*"]), &json!("The shop")));
    assert_eq!(changed["url"], one["url"]);

    manager.delete(&endpoint.path()).await.expect(204);
    manager.delete(&endpoint.path()).await.expect_problem(404, "endpoint_not_found");
    manager.get(&endpoint.path()).await.expect_problem(404, "endpoint_not_found");
    manager.patch(&endpoint.path(), &change).await.expect_problem(404, "endpoint_not_found");
    assert_eq!(manager.get(ENDPOINTS).await.expect(200).json()["items"], json!([]));
    test.client().register("ivan", None).await.expect(201);
    test.drain().await;
    assert_eq!(receiver.received().len(), 0);
    assert_eq!(test.number("select count(*) from webhook_secrets").await, 0);
    let noted = "select action from audit where subject_kind = 'endpoint' order by id";
    let noted: Vec<_> = test.query(noted).await.into_iter().flatten().flatten().collect();
    assert_eq!(noted, ["endpoint_made", "endpoint_changed", "endpoint_removed"]);
}

on_every_setup!(what_leads_to_ourselves_or_to_private_addresses_is_refused);
async fn what_leads_to_ourselves_or_to_private_addresses_is_refused(setup: Setup) {
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    let ours = format!("{}/api/v1/auth/user", test.nodes[0].url);
    let endpoint = manager.endpoint("http://127.0.0.1:9/").await;
    for url in [
        ours.as_str(),
        "https://10.0.0.1/",
        "https://0x0a000001/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/",
        "http://8.8.8.8/",
        "https://8.8.8.8:22/",
        "https://nobody.invalid/",
    ] {
        let body = json!({"url": url, "types": ["*"]});
        manager.post(ENDPOINTS, &body).await.expect_problem(422, "endpoint_blocked");
        manager.patch(&endpoint.path(), &body).await.expect_problem(422, "endpoint_blocked");
    }
    for (url, types) in
        [("shop.example.com", json!(["*"])), ("https://8.8.8.8/", json!([])), ("https://8.8.8.8/", json!(["ping"]))]
    {
        manager.post(ENDPOINTS, &json!({"url": url, "types": types})).await.expect_problem(422, "invalid");
    }
    manager.post(ENDPOINTS, &json!({"url": "https://8.8.8.8/"})).await.expect_problem(422, "invalid");
    assert_eq!(test.number("select count(*) from webhook_endpoints").await, 1);
    // What was allowed once, and is not any more, is not connected to.
    let stricter = test.open(&[("REFERRAL_WEBHOOKS_ALLOW_NETWORKS", "")]).await.expect("a node starts");
    test.client().register("ivan", None).await.expect(201);
    referral::worker::drain(&stricter).await.expect("the jobs run");
    let blocked = "select count(*) from attempts where error = 'blocked' and status is null";
    assert_eq!(test.number(blocked).await, 1);
}

on_every_setup!(a_test_says_how_the_endpoint_answers_and_leaves_nothing);
async fn a_test_says_how_the_endpoint_answers_and_leaves_nothing(setup: Setup) {
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    let endpoint = manager.endpoint(&receiver.url).await;
    let path = format!("{}/test", endpoint.path());
    let tested = manager.post(&path, &json!({})).await.expect(200).json();
    assert_eq!((&tested["delivered"], &tested["status"], &tested["error"]), (&json!(true), &json!(204), &json!(null)));
    let ping = receiver.received().remove(0);
    assert!(ping.verifies_with(&endpoint.secret), "{ping:?}");
    assert_eq!((ping.kind().as_str(), &ping.body()["data"]), ("ping", &json!({"endpoint_id": endpoint.id})));
    receiver.says(|_| Reply::new(302, &[("location", "http://169.254.169.254/")], "what nobody reads"));
    let tested = manager.post(&path, &json!({})).await.expect(200);
    assert_eq!((&tested.json()["delivered"], &tested.json()["status"]), (&json!(false), &json!(302)));
    assert!(!tested.text.contains("nobody"), "{tested:?}");
    drop(receiver);
    let tested = manager.post(&path, &json!({})).await.expect(200).json();
    assert_eq!((&tested["delivered"], &tested["error"]), (&json!(false), &json!("unreachable")));
    assert_eq!(test.number("select count(*) from outbox").await, 0);
    assert_eq!(test.number("select count(*) from attempts").await, 0);
}

on_every_setup!(a_replaced_secret_signs_beside_the_new_one_for_a_day);
async fn a_replaced_secret_signs_beside_the_new_one_for_a_day(setup: Setup) {
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[HERE]).await;
    let manager = test.manager("manager").await;
    let endpoint = manager.endpoint(&receiver.url).await;
    let replaced = manager.post(&format!("{}/secret", endpoint.path()), &json!({})).await.expect(200).json();
    let new = replaced["secret"].as_str().expect("a secret").to_owned();
    assert_ne!(new, endpoint.secret);
    for (after, both) in
        [(Duration::ZERO, true), (DAY - Duration::from_secs(60), true), (Duration::from_secs(120), false)]
    {
        test.move_clock(after);
        receiver.forget();
        test.client().register(&format!("ivan{}", after.as_secs()), None).await.expect(201);
        test.drain().await;
        let received = receiver.received();
        assert_eq!(received.len(), 1);
        assert!(received[0].is_signed_with(&new), "{received:?}");
        assert_eq!(received[0].is_signed_with(&endpoint.secret), both, "{after:?}");
    }
    referral::worker::clean(test.app()).await.expect("housekeeping");
    assert_eq!(test.number("select count(*) from webhook_secrets").await, 1);
}

on_every_setup!(secrets_lie_sealed_and_are_sealed_anew_with_the_other_keys);
async fn secrets_lie_sealed_and_are_sealed_anew_with_the_other_keys(setup: Setup) {
    const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const OTHER: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let receiver = Receiver::start().await;
    let test = setup.start_with(&[HERE, ("REFERRAL_MASTER_KEY", ONE)]).await;
    let endpoint = test.manager("manager").await.endpoint(&receiver.url).await;
    let sealed = "select count(*) from webhook_secrets where sealed and length(secret) = 32 + 12 + 16";
    assert_eq!(test.number(sealed).await, 1);
    let keys = [("REFERRAL_MASTER_KEY", OTHER), ("REFERRAL_FORMER_MASTER_KEY", ONE)];
    let command = test.command(&keys).await;
    referral::features::managers::actions::reseal::run(&command).await.expect("all are sealed anew");
    test.client().register("ivan", None).await.expect(201);
    // This node opens it no more, and that is no reason to give up.
    test.drain().await;
    assert_eq!(test.number("select count(*) from attempts where error = 'unsigned'").await, 1);
    test.move_clock(Duration::from_secs(10));
    let node = test.open(&[("REFERRAL_MASTER_KEY", OTHER)]).await.expect("a node starts");
    referral::worker::drain(&node).await.expect("the jobs run");
    assert!(receiver.received()[0].is_signed_with(&endpoint.secret));
}
