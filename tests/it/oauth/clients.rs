//! Clients and their registration, the metadata that they read, and what programs may not do.

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::oauth::{CALLBACK, ISSUER, bearer, register, text, wrong};
use crate::support::visit::Visit;

on_every_setup!(clients_are_the_managers_business);
async fn clients_are_the_managers_business(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let olga = test.user("olga").await;
    let shop = register(&manager, json!({})).await;
    let path = format!("/api/v1/clients/{}", shop.id);
    for client in [&olga, &bearer(&shop.base, &shop.tokens("olga", &[]).await)] {
        client.get("/api/v1/clients").await.expect_problem(403, "managers_only");
        client.get(&path).await.expect_problem(403, "managers_only");
        client.delete(&path).await.expect_problem(403, "managers_only");
        client.patch(&path, &json!({"name": "Mine"})).await.expect_problem(403, "managers_only");
    }
    // A manager's token needs the scope, too.
    let narrow = shop.tokens("manager", &[]).await;
    bearer(&shop.base, &narrow).get("/api/v1/clients").await.expect_problem(403, "insufficient_scope");
    let listed = manager.get("/api/v1/clients").await.expect(200).json();
    assert_eq!(listed["items"][0]["client_id"], json!(shop.id));
    let changed = manager.patch(&path, &json!({"name": "New", "scope": "openid"})).await.expect(200).json();
    assert_eq!((&changed["name"], &changed["scope"]), (&json!("New"), &json!("openid")));
    assert_eq!(changed, manager.get(&path).await.expect(200).json());
    // What it lost is gone from its next token on.
    let tokens = shop.refresh(text(&narrow, "refresh_token")).await.expect(200).json();
    assert_eq!(text(&tokens, "scope"), "openid");
    for (change, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "a\u{202e}b"}), "name"),
        (json!({"scope": "nonsense"}), "scope"),
        (json!({"scope": ""}), "scope"),
        (json!({"scope": "program:read"}), "scope"),
        (json!({"redirect_uris": []}), "redirect_uris"),
        (json!({"redirect_uris": ["http://shop.example.com/"]}), "redirect_uris"),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "redirect_uris"),
        (json!({"redirect_uris": "https://shop.example.com/"}), "redirect_uris"),
        (json!({"grants": ["password"]}), "grants"),
        (json!({"grants": []}), "grants"),
        (json!({"grants": ["refresh_token"]}), "grants"),
        (json!({"grants": ["client_credentials"], "confidential": false}), "grants"),
        (json!({"id_token_algorithm": "none"}), "id_token_algorithm"),
        (json!({"confidential": "yes"}), "confidential"),
    ] {
        let mut body = json!({"name": "Shop", "redirect_uris": [CALLBACK], "scope": "openid"});
        for (name, value) in change.as_object().expect("changes") {
            body[name] = value.clone();
        }
        let answer = manager.post("/api/v1/clients", &body).await.expect_problem(422, "invalid").json();
        let fields: Vec<&Value> =
            answer["errors"].as_array().expect("errors").iter().map(|error| &error["loc"][1]).collect();
        assert!(fields.contains(&&json!(field)), "{change}: {answer}");
    }
    manager.delete(&path).await.expect(204);
    manager.delete(&path).await.expect_problem(404, "client_not_found");
    manager.get(&path).await.expect_problem(404, "client_not_found");
    manager.get("/api/v1/clients/docs").await.expect_problem(404, "client_not_found");
    // Who was a manager is none any more, whatever the token says.
    test.sql("update users set is_manager = false").await;
    manager.get("/api/v1/clients").await.expect_problem(403, "managers_only");
}

on_every_setup!(steps_without_a_secret_are_counted_by_address);
/// Who could be anybody may only do so much; who has shown a secret is held to none of it.
async fn steps_without_a_secret_are_counted_by_address(setup: Setup) {
    let limits = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_TOKENS_PER_ADDRESS", "3")];
    let test = setup.start_with(&limits).await;
    let manager = test.manager("manager").await;
    let machine = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let machine = register(&manager, machine).await;
    let public = register(&manager, json!({"confidential": false})).await;
    for _ in 0..3 {
        assert_eq!(wrong(&public.refresh("rt_nonsense").await), (400, "invalid_grant".to_owned()));
    }
    let limited = public.refresh("rt_nonsense").await.expect_problem(429, "rate_limited");
    assert!(limited.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    public.call("/oauth/revoke", &[("token", "rt_nonsense")]).await.expect_problem(429, "rate_limited");
    let mut visit = Visit::new(&public.base);
    for path in [public.request(&[]), "/oauth/callback/nobody?state=x".to_owned()] {
        let page = visit.get(&path).await.expect(429);
        assert!(!page.header("retry-after").is_empty() && page.text.contains("<h1>"), "{page:?}");
    }
    for _ in 0..5 {
        machine.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200);
    }
}

on_every_setup!(a_program_sets_no_first_password_and_erases_nobody);
/// A password opens everything, and nothing comes back from an erasure: a program that may change the account may do
/// neither where nobody can be asked for a password.
async fn a_program_sets_no_first_password_and_erases_nobody(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    test.user("olga").await;
    let tokens = shop.tokens("olga", &[]).await;
    // As for who came by another provider.
    test.sql("update users set password_hash = null where username = 'olga'").await;
    let program = bearer(&shop.base, &tokens);
    let new = json!({"new_password": "Another-Pass-77"});
    program.post("/api/v1/me/password", &new).await.expect_problem(403, "log_in_again");
    for proof in [json!({}), json!({"password": null}), json!({"password": ""})] {
        program.delete_with("/api/v1/me", &proof).await.expect_problem(403, "log_in_again");
    }
    program.get("/api/v1/me").await.expect(200);
    assert_eq!(test.number("select count(*) from users where erased_at is not null").await, 0);
}

on_every_setup!(the_metadata_names_this_server_and_all_it_names_is_there);
async fn the_metadata_names_this_server_and_all_it_names_is_there(setup: Setup) {
    let test = setup.start().await;
    let client = test.client();
    let metadata = client.get("/.well-known/openid-configuration").await.expect(200).json();
    assert_eq!(metadata, client.get("/.well-known/oauth-authorization-server").await.expect(200).json());
    assert_eq!(metadata["issuer"], json!(ISSUER));
    for (name, value) in metadata.as_object().expect("an object") {
        let Some(path) = value.as_str().and_then(|url| url.strip_prefix(ISSUER)).filter(|path| !path.is_empty()) else {
            continue;
        };
        let status = Visit::new(&client.base).get(path).await.status;
        assert!(status != 404, "{name}: {path} is {status}");
    }
}

/// A program that was made from the document would send the word "null", and with it a secret of that name.
#[test]
fn no_form_of_a_client_has_fields_that_may_be_null() {
    let document = serde_json::to_value(referral::site::router::document()).expect("the document is JSON");
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        let content = &document["paths"][path]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"];
        let name = content["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next()).expect("a schema");
        let fields = document["components"]["schemas"][name]["properties"].as_object().expect("fields");
        // A text, one of a list of words, or either.
        let text = |schema: &Value| schema["type"] == "string" || schema["$ref"].is_string();
        for (field, schema) in fields {
            let either = schema["anyOf"].as_array().is_some_and(|ways| ways.iter().all(text));
            assert!(text(schema) || either, "{path}: {field}");
        }
    }
}
