//! Managers read what is noted.

use referral::features::audit::actions::chain;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::Client;

async fn items(manager: &Client, query: &str) -> Vec<Value> {
    let list = manager.get(&format!("/api/v1/audit{query}")).await.expect(200).json();
    assert_eq!(list["total"], Value::Null);
    list["items"].as_array().expect("a list").clone()
}

on_every_setup!(managers_read_what_is_noted_and_whether_it_is_whole);
async fn managers_read_what_is_noted_and_whether_it_is_whole(setup: Setup) {
    let test = setup.start().await;
    let (boss, other) = (test.manager("boss").await, test.manager("other").await);
    let olga = test.user("olga").await;
    let act = async |manager: &Client, what: &str| {
        let path = format!("/api/v1/users/{}/{what}", olga.id);
        manager.post(&path, &json!({"reason": "other"})).await.expect(204);
    };
    act(&boss, "disable").await;
    act(&other, "enable").await;
    act(&boss, "disable").await;
    let all = items(&boss, "").await;
    let actions = |items: &[Value]| items.iter().map(|item| item["action"].clone()).collect::<Vec<_>>();
    let words = ["user_disabled", "user_enabled", "user_disabled", "manager_logged_in", "manager_logged_in"];
    assert_eq!(actions(&all), words.map(Value::from), "the newest first");
    assert!(all.iter().all(|item| item["seq"].is_null()));
    chain::run(test.app()).await.expect("a chain");
    let numbers: Vec<i64> = items(&boss, "").await.iter().map(|item| item["seq"].as_i64().expect("a place")).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);

    let olgas = olga.id.replace('-', "").to_uppercase();
    for (query, expected) in [
        (format!("?actor={}", boss.id), vec![words[0], words[2], words[4]]),
        (format!("?subject={olgas}"), vec![words[0], words[1], words[2]]),
        (format!("?subject={olgas}&actor={}", other.id), vec![words[1]]),
        ("?action=user_enabled".into(), vec![words[1]]),
        (format!("?action=user_disabled&subject={}", olga.id), vec![words[0], words[2]]),
        ("?from=2001-01-01".into(), words.to_vec()),
        ("?from=2099-01-01T00:00:00Z".into(), vec![]),
        (format!("?actor={}", olga.id), vec![]),
        ("?subject=users".into(), vec![]),
    ] {
        assert_eq!(
            actions(&items(&boss, &query).await),
            expected.into_iter().map(Value::from).collect::<Vec<_>>(),
            "{query}"
        );
    }
    let (mut walked, mut query) = (Vec::new(), "?size=2".to_owned());
    loop {
        let part = boss.get(&format!("/api/v1/audit{query}")).await.expect(200).json();
        walked.extend(part["items"].as_array().expect("a list").iter().map(|item| item["id"].clone()));
        let Some(next) = part["next_cursor"].as_str() else { break };
        query = format!("?size=2&cursor={next}");
    }
    assert_eq!(walked, all.iter().map(|item| item["id"].clone()).collect::<Vec<_>>());
    for wrong in
        ["actor=olga", "action=whatever", "from=yesterday", "size=0", "size=101", "size=x", "cursor=x", "subject=%00"]
    {
        boss.get(&format!("/api/v1/audit?{wrong}")).await.expect_problem(422, "invalid");
    }

    let head = boss.get("/api/v1/audit/head").await.expect(200).json();
    assert_eq!((&head["seq"], head["hash"].as_str().map(str::len)), (&json!(5), Some(64)));
    let verify = async |query: &str| boss.get(&format!("/api/v1/audit/verify{query}")).await.expect(200).json();
    let whole = json!({"rows": 5, "seq": 5, "hash": head["hash"], "fault": null, "unproven": 0, "next_from": null});
    assert_eq!(verify("").await, whole);
    assert_eq!(verify("?from=4").await["rows"], 2);
    for wrong in ["0", "-1", "x", ""] {
        boss.get(&format!("/api/v1/audit/verify?from={wrong}")).await.expect_problem(422, "invalid");
    }
    test.sql("update audit set detail = '{\"reason\":\"fraud\"}' where seq = 3").await;
    assert_eq!(verify("").await["fault"], json!({"seq": 3, "kind": "changed"}));
    // What no version of ours has written is shown as what it is not.
    test.sql("update audit set action = 'made_up', actor_kind = 'x', subject_kind = 'y', detail = 'z' where seq = 3")
        .await;
    let strange = &items(&boss, "").await[2];
    assert_eq!((&strange["action"], &strange["detail"]["reason"]), (&Value::Null, &Value::Null));
}
