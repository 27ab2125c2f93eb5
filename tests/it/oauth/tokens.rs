//! The token endpoint, introspection and revocation.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::Client;
use crate::support::oauth::{CALLBACK, EVERYTHING, ISSUER, Registered, VERIFIER, bearer, register, text, wrong};
use crate::support::visit::Visit;

on_every_setup!(a_code_is_good_once_for_its_client_address_and_verifier);
async fn a_code_is_good_once_for_its_client_address_and_verifier(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let (shop, other) = (register(&manager, json!({})).await, register(&manager, json!({"name": "Other"})).await);
    let public = register(&manager, json!({"name": "App", "confidential": false})).await;
    test.user("olga").await;
    let mut visit = Visit::new(&shop.base);
    let code = shop.code(&mut visit, "olga", &[]).await;
    let exchange = |change: &[(&str, &str)]| {
        let usual = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        let kept = usual.into_iter().filter(|(name, _)| !change.iter().any(|(other, _)| other == name));
        let fields: Vec<(String, String)> = kept
            .chain(change.iter().copied())
            .filter(|(_, value)| !value.is_empty())
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        fields
    };
    for (change, expected) in [
        ([("code_verifier", "another-verifier-of-43-characters-or-more-0123")], "invalid_grant"),
        ([("code_verifier", "")], "invalid_request"),
        ([("redirect_uri", "https://shop.example.com/other")], "invalid_grant"),
        ([("redirect_uri", "")], "invalid_request"),
        ([("code", "")], "invalid_request"),
        ([("code", "ac_nonsense")], "invalid_grant"),
        ([("grant_type", "")], "invalid_request"),
        ([("grant_type", "password")], "unsupported_grant_type"),
        ([("grant_type", "implicit")], "unsupported_grant_type"),
    ] {
        let fields = exchange(&change);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(wrong(&shop.call("/oauth/token", &fields).await), (400, expected.to_owned()), "{change:?}");
    }
    assert_eq!(wrong(&other.exchange(&code).await), (400, "invalid_grant".to_owned()));
    assert_eq!(wrong(&public.exchange(&code).await), (400, "invalid_grant".to_owned()));
    // None of them has used it up.
    let tokens = shop.exchange(&code).await.expect(200).json();
    let program = bearer(&shop.base, &tokens);
    program.get("/api/v1/me").await.expect(200);
    // Who uses it a second time had all that the first one had.
    assert_eq!(wrong(&shop.exchange(&code).await), (400, "invalid_grant".to_owned()));
    program.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    assert_eq!(wrong(&shop.refresh(text(&tokens, "refresh_token")).await), (400, "invalid_grant".to_owned()));

    let late = shop.code(&mut visit, "olga", &[]).await;
    test.move_clock(Duration::from_secs(61));
    assert_eq!(wrong(&shop.exchange(&late).await), (400, "invalid_grant".to_owned()));
}

on_every_setup!(of_many_who_use_one_code_at_once_nobody_keeps_more_than_one_session);
async fn of_many_who_use_one_code_at_once_nobody_keeps_more_than_one_session(setup: Setup) {
    let test = setup.start_two().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    test.user("olga").await;
    let code = shop.code(&mut Visit::new(&shop.base), "olga", &[]).await;
    let uses = (0..16).map(|number| {
        let shop = Registered { base: test.nodes[number % 2].url.clone(), ..shop.clone() };
        let code = code.clone();
        tokio::spawn(async move { shop.exchange(&code).await })
    });
    let answers = futures_util::future::join_all(uses).await;
    let good: Vec<Value> =
        answers.into_iter().map(|a| a.expect("no panic")).filter(|a| a.status == 200).map(|a| a.json()).collect();
    assert_eq!(good.len(), 1);
    let rows = test.number("select count(*) from token_families where client_id <> 'referral'").await;
    assert_eq!(rows, 1);
    // The others have ended it.
    eventually("it is ended", || async { bearer(&shop.base, &good[0]).get("/api/v1/me").await.status == 401 }).await;
}

on_every_setup!(a_refresh_token_is_its_clients_alone_and_may_be_asked_for_less);
async fn a_refresh_token_is_its_clients_alone_and_may_be_asked_for_less(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let (shop, other) = (register(&manager, json!({})).await, register(&manager, json!({"name": "Other"})).await);
    let olga = test.user("olga").await;
    let tokens = shop.tokens("olga", &[]).await;
    let first = text(&tokens, "refresh_token");
    assert_eq!(wrong(&other.refresh(first).await), (400, "invalid_grant".to_owned()));
    olga.refresh(first).await.expect_problem(401, "invalid_refresh_token");
    assert_eq!(
        wrong(&shop.refresh(olga.refresh_token.as_deref().expect("one")).await),
        (400, "invalid_grant".to_owned())
    );
    let ask = async |token: &str, scope: &str| {
        shop.call("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)]).await
    };
    assert_eq!(wrong(&ask(first, "openid admin").await), (400, "invalid_scope".to_owned()));
    let less = ask(first, "codes:read").await.expect(200).json();
    assert_eq!(text(&less, "scope"), "codes:read");
    let program = bearer(&shop.base, &less);
    program.get("/api/v1/codes").await.expect(200);
    let refused = program.get("/api/v1/me").await.expect_problem(403, "insufficient_scope");
    assert_eq!(refused.header("www-authenticate"), "Bearer error=\"insufficient_scope\", scope=\"profile\"");
    // The session itself has lost nothing.
    let second = text(&less, "refresh_token").to_owned();
    let again = shop.refresh(&second).await.expect(200).json();
    assert_eq!(text(&again, "scope"), EVERYTHING);
    // The first one, two rotations later: the family is dead.
    assert_eq!(wrong(&shop.refresh(first).await), (400, "invalid_grant".to_owned()));
    assert_eq!(wrong(&shop.refresh(text(&again, "refresh_token")).await), (400, "invalid_grant".to_owned()));
    bearer(&shop.base, &again).get("/api/v1/codes").await.expect(401);
}

on_every_setup!(fifty_refreshes_at_once_are_one_lineage);
async fn fifty_refreshes_at_once_are_one_lineage(setup: Setup) {
    let test = setup.start_two().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    test.user("olga").await;
    let tokens = shop.tokens("olga", &[]).await;
    let token = text(&tokens, "refresh_token").to_owned();
    let refreshes = (0..50).map(|number| {
        let shop = Registered { base: test.nodes[number % 2].url.clone(), ..shop.clone() };
        let token = token.clone();
        tokio::spawn(async move { shop.refresh(&token).await })
    });
    let mut successors = std::collections::BTreeSet::new();
    for answer in futures_util::future::join_all(refreshes).await {
        let answer = answer.expect("no panic").expect(200).json();
        successors.insert(text(&answer, "refresh_token").to_owned());
    }
    assert_eq!(successors.len(), 1, "{successors:?}");
    let counter = "select counter from token_families where client_id <> 'referral'";
    assert_eq!(test.number(counter).await, 1);
    // Two more within the second are told apart: the predecessor's grace ends with its successor's use.
    let next = shop.refresh(successors.first().expect("one")).await.expect(200).json();
    assert_eq!(wrong(&shop.refresh(&token).await), (400, "invalid_grant".to_owned()));
    assert_eq!(wrong(&shop.refresh(text(&next, "refresh_token")).await), (400, "invalid_grant".to_owned()));
}

on_every_setup!(a_program_acts_alone_with_scopes_for_programs_and_is_no_person);
async fn a_program_acts_alone_with_scopes_for_programs_and_is_no_person(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let machine = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let machine = register(&manager, machine).await;
    let shop = register(&manager, json!({})).await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2030CODE").await.expect(201);
    olga.anonymous().register("ivan", Some("OLGA2030CODE")).await.expect(201);
    let alone = [("grant_type", "client_credentials")];
    let tokens = machine.call("/oauth/token", &alone).await.expect(200).json();
    assert_eq!((text(&tokens, "scope"), &tokens["refresh_token"]), ("program:read", &Value::Null));
    assert_eq!(wrong(&shop.call("/oauth/token", &alone).await), (400, "unauthorized_client".to_owned()));
    for scope in ["codes:read", "program:read admin", "nonsense"] {
        let asked = machine.call("/oauth/token", &[alone[0], ("scope", scope)]).await;
        assert_eq!(wrong(&asked), (400, "invalid_scope".to_owned()), "{scope}");
    }
    let program = bearer(&machine.base, &tokens);
    // It reads what the program knows, in full.
    let list = program.get(&format!("/api/v1/users/{}", olga.id)).await.expect(200).json();
    assert_eq!(list["items"][0]["email"], json!("ivan@example.com"));
    program.get("/api/v1/codes/olga@example.com").await.expect(200);
    // It is nobody.
    program.get("/api/v1/me").await.expect_problem(403, "person_required");
    program.create_code("PROGRAM2030A").await.expect_problem(403, "person_required");
    program.get("/api/v1/clients").await.expect_problem(403, "person_required");
    program.get("/oauth/userinfo").await.expect_problem(403, "person_required");
    // Who wants not to be found is not.
    olga.patch("/api/v1/me", &json!({"discoverable": false})).await.expect(200);
    program.get("/api/v1/codes/olga@example.com").await.expect_problem(404, "no_active_code");
    // Put out, it is put out at once.
    manager.delete(&format!("/api/v1/clients/{}", machine.id)).await.expect(204);
    program.get("/api/v1/codes/olga@example.com").await.expect_problem(401, "invalid_token");
    assert_eq!(wrong(&machine.call("/oauth/token", &alone).await), (401, "invalid_client".to_owned()));
}

on_every_setup!(a_client_is_believed_by_its_secret_only);
async fn a_client_is_believed_by_its_secret_only(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let machine = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let machine = register(&manager, machine).await;
    let public = register(&manager, json!({"confidential": false})).await;
    let secret = machine.secret.clone().expect("a secret");
    let client = Client::new(&machine.base);
    let grant = "grant_type=client_credentials";
    let post = async |body: String| client.post_form("/oauth/token", &body).await;
    post(format!("{grant}&client_id={}&client_secret={secret}", machine.id)).await.expect(200);
    for body in [
        grant.to_owned(),
        format!("{grant}&client_id={}", machine.id),
        format!("{grant}&client_id={}&client_secret=", machine.id),
        format!("{grant}&client_id={}&client_secret=cs_wrong", machine.id),
        format!("{grant}&client_id={}&client_secret={secret}x", machine.id),
        format!("{grant}&client_id=nobody&client_secret={secret}"),
        format!("{grant}&client_id={}&client_secret={secret}", public.id),
        format!("{grant}&client_id=referral"),
    ] {
        let answer = post(body.clone()).await;
        assert_eq!(wrong(&answer), (401, "invalid_client".to_owned()), "{body}");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"referral\"");
    }
    for body in [
        format!("{grant}&client_id={0}&client_id={0}&client_secret={secret}", machine.id),
        format!("{grant}&{grant}&client_id={}&client_secret={secret}", machine.id),
    ] {
        assert_eq!(wrong(&post(body).await), (400, "invalid_request".to_owned()));
    }
    // Basic credentials are decoded once, and as a whole.
    let basic = async |credentials: &str| {
        let value = format!("Basic {}", STANDARD.encode(credentials));
        let request = client.request(reqwest::Method::POST, "/oauth/token").header(AUTHORIZATION, value);
        client.send(request.header("content-type", "application/x-www-form-urlencoded").body(grant)).await
    };
    let id = &machine.id;
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    basic(&format!("{id}:{secret}")).await.expect(200);
    basic(&format!("{}:{}", encoded(id), encoded(&secret))).await.expect(200);
    for credentials in [
        format!("{id}&x:{secret}"),
        format!("{id}:{secret}&x"),
        format!("{id}:{secret}&"),
        format!("{id}:{secret}&client_secret=x"),
        format!("{id}:&{secret}"),
        format!("{id}:{secret}+"),
        format!("{id}:{}", encoded(&encoded(&secret))),
        format!("{id}:{secret}%FF"),
        format!("{id}:{secret}%00"),
    ] {
        assert_eq!(wrong(&basic(&credentials).await), (401, "invalid_client".to_owned()), "{credentials}");
    }
    let header = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let twice = client.request(reqwest::Method::POST, "/oauth/token").header(AUTHORIZATION, &header);
    let twice = twice.header(AUTHORIZATION, "Basic eDp5").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(wrong(&client.send(twice.body(grant)).await), (401, "invalid_client".to_owned()));
    // Once is enough.
    let both = machine.call("/oauth/token", &[("grant_type", "client_credentials"), ("client_secret", &secret)]).await;
    assert_eq!(wrong(&both), (400, "invalid_request".to_owned()));
    let json = client.post("/oauth/token", &json!({"grant_type": "client_credentials"})).await;
    assert_eq!(wrong(&json), (400, "invalid_request".to_owned()));
    // A new secret ends the old one.
    let path = format!("/api/v1/clients/{}/secret", machine.id);
    let new = manager.post(&path, &json!({})).await.expect(200).json();
    let new = Registered { secret: Some(text(&new, "client_secret").to_owned()), ..machine.clone() };
    let alone = [("grant_type", "client_credentials")];
    new.call("/oauth/token", &alone).await.expect(200);
    assert_eq!(wrong(&machine.call("/oauth/token", &alone).await), (401, "invalid_client".to_owned()));
    manager
        .post(&format!("/api/v1/clients/{}/secret", public.id), &json!({}))
        .await
        .expect_problem(409, "client_public");
    // The secret is nowhere but with the client.
    let stored = test.query("select secret_hash, name from clients").await;
    assert!(!format!("{stored:?}").contains(&secret));
    assert!(!manager.get("/api/v1/clients").await.expect(200).text.contains("secret"));
}

on_every_setup!(introspection_and_revocation_tell_a_client_about_its_own_tokens_only);
async fn introspection_and_revocation_tell_a_client_about_its_own_tokens_only(setup: Setup) {
    let test = setup.start_two().await;
    let manager = test.manager("manager").await;
    let (shop, other) = (register(&manager, json!({})).await, register(&manager, json!({"name": "Other"})).await);
    let public = register(&manager, json!({"confidential": false})).await;
    let olga = test.user("olga").await;
    let tokens = shop.tokens("olga", &[]).await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let known = shop.introspect(access).await;
    assert_eq!((&known["active"], text(&known, "sub")), (&json!(true), olga.id.as_str()));
    assert_eq!((text(&known, "client_id"), text(&known, "scope")), (shop.id.as_str(), EVERYTHING));
    assert_eq!((text(&known, "token_type"), text(&known, "iss")), ("Bearer", ISSUER));
    let known = shop.introspect(refresh).await;
    assert_eq!((&known["active"], &known["token_type"]), (&json!(true), &Value::Null));
    let nothing = json!({"active": false});
    let own = olga.token.clone().expect("a token");
    for token in [access, refresh, own.as_str(), "rt_nonsense", "nonsense", "a.b.c"] {
        assert_eq!(other.introspect(token).await, nothing, "{token}");
        other.call("/oauth/revoke", &[("token", token)]).await.expect(200);
    }
    bearer(&shop.base, &tokens).get("/api/v1/me").await.expect(200);
    olga.get("/api/v1/me").await.expect(200);
    assert_eq!(
        wrong(&public.call("/oauth/introspect", &[("token", access)]).await),
        (401, "invalid_client".to_owned())
    );
    assert_eq!(wrong(&shop.call("/oauth/introspect", &[]).await), (400, "invalid_request".to_owned()));
    assert_eq!(wrong(&shop.call("/oauth/revoke", &[]).await), (400, "invalid_request".to_owned()));

    // Either token ends the session, everywhere.
    for which in ["refresh_token", "access_token"] {
        let tokens = shop.tokens("olga", &[]).await;
        let there = bearer(&test.nodes[1].url, &tokens);
        there.get("/api/v1/me").await.expect(200);
        shop.call("/oauth/revoke", &[("token", text(&tokens, which))]).await.expect(200);
        bearer(&shop.base, &tokens).get("/api/v1/me").await.expect_problem(401, "invalid_token");
        assert_eq!(shop.introspect(text(&tokens, "access_token")).await, nothing);
        assert_eq!(shop.introspect(text(&tokens, "refresh_token")).await, nothing);
        let began = std::time::Instant::now();
        eventually("the other node knows", || async { there.get("/api/v1/me").await.status == 401 }).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
