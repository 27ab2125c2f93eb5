//! Figures: clicks and registrations by day, and who brought how many.

use serde_json::{Value, json};

use super::helpers::{counted, handle_of, lead};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;
use crate::support::oauth::{register, text};

/// A token of a program's own, with these scopes.
async fn program(test: &TestApp, scope: &str) -> Client {
    let manager = test.manager("registrar").await;
    let change = json!({"redirect_uris": [], "grants": ["client_credentials"], "scope": scope});
    let shop = register(&manager, change).await;
    let given = shop.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200).json();
    test.client().with_token(text(&given, "access_token"))
}

on_every_setup!(clicks_and_registrations_are_told_by_day);
async fn clicks_and_registrations_are_told_by_day(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    lead(&test.client(), &format!("/r/{}", handle_of(&owner).await)).await;
    test.client().register("friend", Some("SPRING2030AB")).await.expect(201);
    assert_eq!(counted(&test).await, (1, 1));
    let today: String = test.app().clock.now().to_string().chars().take(10).collect();
    let told = owner.get("/api/v1/me/clicks").await.expect(200).json();
    let days = told["days"].as_array().expect("days");
    let one = json!({"clicks": 1, "visitors": 1, "registrations": 1});
    assert_eq!((days.len(), &told["to"], &told["total"]), (30, &json!(today), &one));
    let mut last = one.clone();
    last["day"] = json!(today);
    assert_eq!(days.last(), Some(&last));
    assert_eq!(days[0]["day"], told["from"]);
    assert!(days[..29].iter().all(|day| day["clicks"] == 0 && day["registrations"] == 0));
    // Written before and after, they do not count on other days.
    let other = owner.get("/api/v1/me/clicks?from=2026-01-01&to=2026-01-01").await.expect(200).json();
    assert_eq!(other["total"], json!({"clicks": 0, "visitors": 0, "registrations": 0}));
    let whole = owner.get(&format!("/api/v1/me/clicks?from={today}&to={today}")).await.expect(200).json();
    assert_eq!((whole["days"].as_array().map(Vec::len), &whole["total"]), (Some(1), &one));
    for bad in [
        "from=yesterday",
        "to=2026-13-01",
        "from=2026-01-02&to=2026-01-01",
        "from=2020-01-01&to=2026-01-01",
        "from=1969-12-31&to=1970-01-01",
        "from=2026-01-01T00:00",
    ] {
        owner.get(&format!("/api/v1/me/clicks?{bad}")).await.expect_problem(422, "invalid");
    }
    // The same for whoever may read of others.
    let path = format!("/api/v1/users/{}/clicks", owner.id);
    for reader in [test.manager("manager").await, program(&test, "program:read").await] {
        assert_eq!(reader.get(&path).await.expect(200).json(), told);
        reader.get("/api/v1/users/nobody/clicks").await.expect_problem(422, "invalid");
    }
    test.user("other").await.get(&path).await.expect_problem(403, "managers_only");
    owner.get(&path).await.expect_problem(403, "managers_only");
}

on_every_setup!(referrers_are_listed_by_the_number_they_brought);
async fn referrers_are_listed_by_the_number_they_brought(setup: Setup) {
    let test = setup.start().await;
    let mut expected: Vec<(i64, String)> = Vec::new();
    for (number, brought) in [(1, 3), (2, 1), (3, 1), (4, 2), (5, 0)] {
        let referrer = test.user(&format!("referrer{number}")).await;
        let code = format!("CODE2030ABC{number}");
        referrer.create_code(&code).await.expect(201);
        for guest in 0..brought {
            test.client().register(&format!("guest{number}x{guest}"), Some(&code)).await.expect(201);
        }
        if brought > 0 {
            expected.push((-brought, referrer.id.clone()));
        }
    }
    expected.sort();
    let reader = program(&test, "program:read").await;
    let whole = reader.get("/api/v1/referrers").await.expect(200).json();
    let rows = |list: &Value| -> Vec<(i64, String)> {
        let items = list["items"].as_array().expect("items").iter();
        items
            .map(|row| (-row["referral_count"].as_i64().expect("a number"), row["id"].as_str().expect("an id").into()))
            .collect()
    };
    assert_eq!(rows(&whole), expected);
    assert_eq!((&whole["total"], &whole["next_cursor"], &whole["size"]), (&Value::Null, &Value::Null, &json!(50)));
    assert_eq!(whole["items"][0]["username"], "referrer1");
    assert_eq!(whole["items"][0]["handle"], Value::Null);
    // In parts, each row once.
    let (mut walked, mut path) = (Vec::new(), "/api/v1/referrers?size=1".to_owned());
    loop {
        let part = reader.get(&path).await.expect(200).json();
        walked.extend(rows(&part));
        let Some(cursor) = part["next_cursor"].as_str() else { break };
        path = format!("/api/v1/referrers?size=1&cursor={cursor}");
    }
    assert_eq!(walked, expected);
    for bad in ["size=0", "size=101", "size=x", "cursor=AAAA", "cursor=!", "size=0&cursor=!"] {
        reader.get(&format!("/api/v1/referrers?{bad}")).await.expect_problem(422, "invalid");
    }
}
