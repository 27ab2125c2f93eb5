//! What managers do to accounts.

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Client, PASSWORD};

async fn profile(manager: &Client, user: &str) -> Value {
    manager.get(&format!("/api/v1/users/{user}/profile")).await.expect(200).json()
}

on_every_setup!(a_manager_sees_somebody_keeps_them_out_and_lets_them_in_again);
async fn a_manager_sees_somebody_keeps_them_out_and_lets_them_in_again(setup: Setup) {
    let test = setup.start_two().await;
    let manager = test.manager("manager").await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    test.client().register("olga", Some("AMSEL2030XYZ")).await.expect(201);
    let olga = test.client().logged_in("olga").await;
    olga.create_code("BUSSARD2030X").await.expect(201);
    test.client().register("friend", Some("BUSSARD2030X")).await.expect(201);

    let seen = profile(&manager, &olga.id).await;
    let shown = ["username", "email", "state", "referral_count", "code_count", "has_password"].map(|n| seen[n].clone());
    assert_eq!(shown, [json!("olga"), json!("olga@example.com"), json!("active"), json!(1), json!(1), json!(true)]);
    assert_eq!(seen["referred_by"], json!({"id": owner.id, "username": "owner", "status": "confirmed"}));
    assert_eq!(seen["active_code"]["code"], "BUSSARD2030X");
    assert_eq!(seen["codes"], json!([seen["active_code"]]));
    assert_eq!(seen["sessions"].as_array().map(Vec::len), Some(1));
    olga.patch("/api/v1/me", &json!({"handle": "olga7"})).await.expect(200);
    test.sql("insert into clicks_daily (owner_id, day, clicks, visitors) select id, 1, 5, 2 from users where handle = 'olga7'").await;
    test.sql("insert into clicks_daily (owner_id, day, clicks, visitors) select owner_id, 2, 7, 1 from clicks_daily")
        .await;
    test.sql(
        "insert into mails (id, user_id, kind, language, address_key, created_at, expires_at, attempts) \
         select id, id, 'reset', 'en', email_key, 2, 3, 0 from users where handle = 'olga7'",
    )
    .await;
    let seen = profile(&manager, &olga.id).await;
    let shown = ["handle", "clicks", "visitors", "external_id", "name", "language"].map(|name| seen[name].clone());
    assert_eq!(shown, [json!("olga7"), json!(12), json!(3), Value::Null, Value::Null, Value::Null]);
    let mail = json!({"kind": "reset", "language": "en", "created_at": "1970-01-01T00:00:00.000002Z", "sent_at": null,
        "used_at": null});
    assert_eq!(seen["mails"], json!([mail]));
    for nobody in ["nonsense", "0190aaaa-0000-7000-8000-000000000000"] {
        for path in ["profile", "export"] {
            let path = format!("/api/v1/users/{nobody}/{path}");
            manager.get(&path).await.expect_problem(404, "user_not_found");
        }
        for act in ["disable", "enable"] {
            let path = format!("/api/v1/users/{nobody}/{act}");
            manager.post(&path, &json!({"reason": "fraud"})).await.expect_problem(404, "user_not_found");
        }
        let path = format!("/api/v1/users/{nobody}");
        manager.delete_with(&path, &json!({"reason": "fraud"})).await.expect_problem(404, "user_not_found");
        let path = format!("/api/v1/users/{nobody}/code");
        manager.delete_with(&path, &json!({"reason": "fraud"})).await.expect_problem(404, "user_not_found");
    }

    let act = async |what: &str, reason: Value| {
        let path = format!("/api/v1/users/{}/{what}", olga.id);
        manager.post(&path, &json!({"reason": reason})).await
    };
    for wrong in [Value::Null, json!("because"), json!(""), json!(3), json!("olga@example.com")] {
        act("disable", wrong).await.expect_problem(422, "invalid");
    }
    act("disable", json!("fraud")).await.expect(204);
    act("disable", json!("abuse")).await.expect(204);
    olga.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    let elsewhere = olga.at(&test.nodes[1].url);
    eventually("the other node knows", || async { elsewhere.get("/api/v1/me").await.status == 401 }).await;
    olga.log_in("olga", PASSWORD).await.expect_problem(401, "bad_credentials");
    let late = test.client_of(1).register("late", Some("BUSSARD2030X")).await;
    late.expect_problem(404, "code_not_usable");
    let seen = profile(&manager, &olga.id).await;
    assert_eq!((&seen["state"], &seen["active_code"]), (&json!("disabled"), &Value::Null));
    assert!(seen["disabled_at"].is_string() && seen["sessions"] == json!([]));
    act("enable", json!("mistake")).await.expect(204);
    act("enable", json!("mistake")).await.expect(204);
    olga.log_in("olga", PASSWORD).await.expect(200);

    // A code alone.
    let olga = test.client().logged_in("olga").await;
    let path = format!("/api/v1/users/{}/code", olga.id);
    let why = json!({"reason": "security"});
    manager.delete_with(&path, &why).await.expect_problem(404, "no_active_code");
    olga.create_code("HABICHT2030X").await.expect(201);
    manager.delete_with(&path, &json!({})).await.expect_problem(422, "invalid");
    manager.delete_with(&path, &why).await.expect(204);
    manager.delete_with(&path, &why).await.expect_problem(404, "no_active_code");
    test.client().register("late", Some("HABICHT2030X")).await.expect_problem(404, "code_not_usable");
    assert_eq!(olga.get("/api/v1/me").await.expect(200).json()["active_code"], Value::Null);
    olga.create_code("HABICHT2030Y").await.expect(201);

    // What was done once is noted once, with who and why.
    let noted = manager.get(&format!("/api/v1/audit?subject={}", olga.id)).await.expect(200).json();
    let line = |entry: &Value| {
        assert_eq!(entry["actor"], json!({"kind": "manager", "id": manager.id}));
        assert!(entry["request_id"].is_string());
        (entry["action"].clone(), entry["detail"]["reason"].clone())
    };
    let lines: Vec<_> = noted["items"].as_array().expect("a list").iter().map(line).collect();
    let expected = [("code_revoked", "security"), ("user_enabled", "mistake"), ("user_disabled", "fraud")];
    assert_eq!(lines, expected.map(|(action, reason)| (json!(action), json!(reason))));
    assert!(noted["items"][0]["detail"]["code_id"].is_i64());
}

on_every_setup!(a_manager_erases_somebody_and_nobodys_numbers_move);
async fn a_manager_erases_somebody_and_nobodys_numbers_move(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    test.client().register("olga", Some("AMSEL2030XYZ")).await.expect(201);
    let olga = test.client().logged_in("olga").await;
    let path = format!("/api/v1/users/{}", olga.id);
    manager.delete_with(&path, &json!({"reason": "request"})).await.expect(204);
    manager.delete_with(&path, &json!({"reason": "request"})).await.expect_problem(404, "user_not_found");
    olga.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    olga.log_in("olga", PASSWORD).await.expect_problem(401, "bad_credentials");
    let seen = profile(&manager, &olga.id).await;
    assert_eq!(
        (&seen["state"], &seen["username"], &seen["has_password"]),
        (&json!("erased"), &json!("erased"), &json!(false))
    );
    assert_eq!(seen["referred_by"]["username"], "owner");
    let list = owner.get("/api/v1/me/referrals").await.expect(200).json();
    assert_eq!((&list["total"], &list["items"][0]["username"]), (&json!(1), &json!("erased")));
    for (act, method) in [("disable", "POST"), ("enable", "POST"), ("code", "DELETE"), ("manager", "POST")] {
        let path = format!("{path}/{act}");
        let body = json!({"reason": "fraud", "password": PASSWORD});
        let answer =
            if method == "POST" { manager.post(&path, &body).await } else { manager.delete_with(&path, &body).await };
        answer.expect_problem(404, "user_not_found");
    }
    assert_eq!(test.number("select count(*) from erased").await, 1);
    test.user("olga").await;
}
