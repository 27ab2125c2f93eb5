//! The authorization endpoint: log-in, consent, and the way back to the client.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::{Client, PASSWORD};
use crate::support::oauth::{CALLBACK, EVERYTHING, ISSUER, VERIFIER, allow, bearer, form, register, text, wrong};
use crate::support::visit::Visit;

on_every_setup!(a_person_lets_a_program_in_and_it_acts_for_them);
async fn a_person_lets_a_program_in_and_it_acts_for_them(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    let olga = test.user("olga").await;
    let mut visit = Visit::new(&shop.base);

    let page = visit.get(&shop.request(&[])).await.expect(200);
    assert!(page.text.contains("Shop"));
    assert_eq!(page.header("cache-control"), "no-store");
    let refused = visit.log_in(&page, "olga", "not the password").await.expect(422);
    let page = visit.log_in(&refused, "olga", PASSWORD).await.leaves();
    let page = visit.follow(page).await.expect(200);
    assert!(page.text.contains("shop.example.com") && page.text.contains("olga"), "{}", page.text);
    let sent = allow(&mut visit, &page).await;
    assert!(sent.text.contains("<bdi>shop.example.com</bdi>"), "{}", sent.text);
    assert!(sent.location().expect("an address").starts_with(&format!("{CALLBACK}?code=ac_")));

    let answer = shop.exchange(&sent.sent("code").expect("a code")).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let tokens = answer.json();
    assert_eq!((text(&tokens, "token_type"), &tokens["expires_in"]), ("Bearer", &json!(600)));
    assert_eq!(text(&tokens, "scope"), EVERYTHING);
    let program = bearer(&shop.base, &tokens);
    assert_eq!(program.get("/api/v1/me").await.expect(200).json()["username"], json!("olga"));
    program.create_code("SHOP2030CODE").await.expect(201);
    let who = program.get("/oauth/userinfo").await.expect(200).json();
    let expected = json!({
        "sub": olga.id, "preferred_username": "olga", "email": "olga@example.com", "email_verified": false,
    });
    assert_eq!(who, expected);
    assert_eq!(program.post_form("/oauth/userinfo", "").await.expect(200).json(), expected);

    // Next time nobody is asked.
    let sent = visit.get(&shop.request(&[("prompt", "none")])).await.expect(303);
    shop.exchange(&sent.sent("code").expect("a code")).await.expect(200);
    // Unless the client wants it so, or asks for more.
    visit.get(&shop.request(&[("prompt", "consent")])).await.expect(200).form("/oauth/consent");
}

on_every_setup!(an_id_token_says_who_logged_in_and_when);
async fn an_id_token_says_who_logged_in_and_when(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let olga = test.user("olga").await;
    for algorithm in [Algorithm::RS256, Algorithm::EdDSA] {
        let word = if algorithm == Algorithm::RS256 { "RS256" } else { "EdDSA" };
        let shop = register(&manager, json!({"id_token_algorithm": word})).await;
        let began = test.app().clock.now().seconds();
        let tokens = shop.tokens("olga", &[]).await;
        let set = olga.anonymous().get("/.well-known/jwks.json").await.expect(200).json();
        let keys: JwkSet = serde_json::from_value(set).expect("a key set");
        let token = text(&tokens, "id_token");
        let header = jsonwebtoken::decode_header(token).expect("a header");
        assert_eq!((header.alg, header.typ.as_deref()), (algorithm, Some("JWT")));
        let key = keys.find(&header.kid.expect("a kid")).expect("a published key");
        let mut rules = Validation::new(algorithm);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[&shop.id]);
        let key = DecodingKey::from_jwk(key).expect("a key");
        let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).expect("a good token").claims;
        assert_eq!((text(&claims, "sub"), text(&claims, "nonce")), (olga.id.as_str(), "n-0"));
        let told = ["preferred_username", "email", "email_verified"].map(|name| claims[name].clone());
        assert_eq!(told, [json!("olga"), json!("olga@example.com"), json!(false)]);
        let at = claims["auth_time"].as_i64().expect("seconds");
        assert!((began..=began + 60).contains(&at), "{claims}");
        if algorithm == Algorithm::RS256 {
            let hash = digest(&SHA256, text(&tokens, "access_token").as_bytes());
            assert_eq!(text(&claims, "at_hash"), URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
        }
        // It is no access token.
        let client = Client::new(&shop.base).with_token(token);
        client.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    }
    // Without openid nobody is told.
    let shop = register(&manager, json!({"scope": "profile"})).await;
    assert_eq!(shop.tokens("olga", &[("scope", "profile")]).await["id_token"], Value::Null);
}

on_every_setup!(an_id_token_tells_what_was_allowed_and_unknown_scopes_are_left_out);
async fn an_id_token_tells_what_was_allowed_and_unknown_scopes_are_left_out(setup: Setup) {
    let test = setup.start().await;
    test.user("olga").await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    for (asked, given, told) in [
        ("openid", "openid", [false, false, false]),
        ("openid profile offline_access", "openid profile", [true, false, false]),
        ("openid address email phone", "openid email", [false, true, true]),
    ] {
        let tokens = shop.tokens("olga", &[("scope", asked)]).await;
        assert_eq!(text(&tokens, "scope"), given);
        let claims = text(&tokens, "id_token").split('.').nth(1).expect("claims");
        let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        let has = ["preferred_username", "email", "email_verified"].map(|name| claims.get(name).is_some());
        assert_eq!(has, told, "{claims}");
        // Clients repeat at refreshing what they asked for.
        let again =
            [("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token")), ("scope", asked)];
        assert_eq!(text(&shop.call("/oauth/token", &again).await.expect(200).json(), "scope"), given);
    }
    let metadata = Client::new(&shop.base).get("/.well-known/openid-configuration").await.expect(200).json();
    assert!(metadata["scopes_supported"].as_array().expect("words").contains(&json!("offline_access")));
}

on_every_setup!(an_app_on_the_persons_machine_is_sent_back_to_on_any_port);
async fn an_app_on_the_persons_machine_is_sent_back_to_on_any_port(setup: Setup) {
    let test = setup.start().await;
    test.user("olga").await;
    let native = json!({"confidential": false, "redirect_uris": ["http://127.0.0.1/cb", "http://[::1]:1/cb"]});
    let app = register(&test.manager("manager").await, native).await;
    for at in ["http://127.0.0.1:49152/cb", "http://[::1]:49153/cb"] {
        let mut visit = Visit::new(&app.base);
        let code = app.code(&mut visit, "olga", &[("redirect_uri", at)]).await;
        let exchange = async |redirect_uri: &str| {
            let fields = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", redirect_uri),
                ("code_verifier", VERIFIER),
            ];
            app.call("/oauth/token", &fields).await
        };
        // A code belongs to the very address that it was sent to.
        assert_eq!(wrong(&exchange("http://127.0.0.1:49154/cb").await), (400, "invalid_grant".to_owned()));
        exchange(at).await.expect(200);
    }
    let visit = &mut Visit::new(&app.base);
    visit.get(&app.request(&[("redirect_uri", "http://localhost:49152/cb")])).await.expect(400);
}

on_every_setup!(a_client_without_pkce_is_let_in_one_by_one_and_needs_a_nonce);
async fn a_client_without_pkce_is_let_in_one_by_one_and_needs_a_nonce(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    test.user("olga").await;
    for bad in
        [json!({"require_pkce": false, "confidential": false}), json!({"require_pkce": false, "scope": "profile"})]
    {
        let mut body = json!({"name": "Old", "confidential": true, "redirect_uris": [CALLBACK], "scope": "openid"});
        for (name, value) in bad.as_object().expect("changes") {
            body[name] = value.clone();
        }
        manager.post("/api/v1/clients", &body).await.expect_problem(422, "invalid");
    }
    let old = register(&manager, json!({"require_pkce": false})).await;
    let shown = manager.get(&format!("/api/v1/clients/{}", old.id)).await.expect(200).json();
    assert_eq!(shown["require_pkce"], json!(false));
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    let mut visit = Visit::new(&old.base);
    let no_nonce = visit.get(&old.request(&[without[0], without[1], ("nonce", "")])).await.expect(303);
    assert_eq!(no_nonce.sent("error").as_deref(), Some("invalid_request"));

    let exchange = async |code: &str, verifier: &str| {
        let fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        let verifier = [("code_verifier", verifier)];
        let sent = [&fields[..], if verifier[0].1.is_empty() { &[] } else { &verifier }].concat();
        old.call("/oauth/token", &sent).await
    };
    let code = old.code(&mut visit, "olga", &without).await;
    // A verifier for a request without a challenge: somebody has taken the challenge out.
    assert_eq!(wrong(&exchange(&code, VERIFIER).await), (400, "invalid_grant".to_owned()));
    let tokens = exchange(&code, "").await.expect(200).json();
    assert!(text(&tokens, "id_token").len() > 100);
    // Who sends a challenge is held to it.
    let code = old.code(&mut visit, "olga", &[]).await;
    assert_eq!(wrong(&exchange(&code, "").await), (400, "invalid_grant".to_owned()));
    exchange(&code, VERIFIER).await.expect(200);
    // All others need one.
    let shop = register(&manager, json!({})).await;
    let refused = visit.get(&shop.request(&without)).await.expect(303);
    assert_eq!(refused.sent("error").as_deref(), Some("invalid_request"));
}

on_every_setup!(what_is_wrong_with_a_request_is_told_to_the_client);
async fn what_is_wrong_with_a_request_is_told_to_the_client(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let shop = register(&manager, json!({"scope": "openid profile"})).await;
    let mut visit = Visit::new(&shop.base);
    let good = [("scope", "openid")];
    for (name, value, expected) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scope", "openid codes:write", "invalid_scope"),
        ("scope", "openid program:read", "invalid_scope"),
        ("scope", "nonsense", "invalid_scope"),
        ("scope", "offline_access", "invalid_scope"),
        ("prompt", "none", "login_required"),
        ("prompt", "none login", "invalid_request"),
        ("max_age", "soon", "invalid_request"),
        ("request", "eyJ", "request_not_supported"),
        ("request_uri", "https://shop.example.com/r", "request_uri_not_supported"),
    ] {
        let change: Vec<_> = good.iter().copied().filter(|(n, _)| *n != name).chain([(name, value)]).collect();
        let page = visit.get(&shop.request(&change)).await.expect(303);
        assert_eq!(page.sent("error").as_deref(), Some(expected), "{name}={value}");
        assert_eq!(page.sent("state").as_deref(), Some("s/1&2"), "{name}={value}");
        assert_eq!(page.sent("iss").as_deref(), Some(ISSUER), "{name}={value}");
    }
    let twice = format!("{}&nonce=again", shop.request(&good));
    assert_eq!(visit.get(&twice).await.expect(303).sent("error").as_deref(), Some("invalid_request"));

    // A machine's client sends nobody.
    let machine = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let machine = register(&manager, machine).await;
    visit.get(&machine.request(&good)).await.expect(400);
    // The person says no.
    let page = visit.get(&shop.request(&good)).await.expect(200);
    test.user("olga").await;
    let page = visit.log_in(&page, "olga", PASSWORD).await;
    let page = visit.follow(page).await.expect(200);
    let page = visit.submit(&page.form("/oauth/consent"), &[("decision", "deny")]).await.leaves();
    assert_eq!(page.sent("error").as_deref(), Some("access_denied"));
    // And is asked anew.
    let page = visit.get(&shop.request(&[("scope", "openid"), ("prompt", "none")])).await.expect(303);
    assert_eq!(page.sent("error").as_deref(), Some("consent_required"));
}

on_every_setup!(a_redirect_uri_that_is_not_the_registered_one_leads_nowhere);
/// BCP 9700, 4.1: nothing but the very characters, and nobody is sent anywhere else.
async fn a_redirect_uri_that_is_not_the_registered_one_leads_nowhere(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    let mut visit = Visit::new(&shop.base);
    let others = [
        "https://shop.example.com/callback/",
        "https://shop.example.com/Callback",
        "https://shop.example.com",
        "https://shop.example.com/",
        "https://shop.example.com/callback?x=1",
        "https://shop.example.com/callback#x",
        "https://shop.example.com/callback#",
        "https://shop.example.com/callback?",
        "http://shop.example.com/callback",
        "https://SHOP.example.com/callback",
        "HTTPS://shop.example.com/callback",
        "https://shop.example.com:443/callback",
        "https://shop.example.com:8443/callback",
        "https://shop.example.com./callback",
        "https://evil.shop.example.com/callback",
        "https://shop.example.com.evil.example/callback",
        "https://shop.example.com@evil.example/callback",
        "https://user@shop.example.com/callback",
        "https://shop.example.com/x/../callback",
        "https://shop.example.com/./callback",
        "https://shop.example.com//callback",
        "https://shop.example.com/callback/..",
        "https://shop.example.com/%63allback",
        "https://shop.example.com/callback%00",
        "https://shop.example.com/callback%0d%0aX: y",
        "https://shop.example.com/callback\r\nX: y",
        " https://shop.example.com/callback",
        "https://shop.example.com/callback ",
        "https://shop.example.com\\callback",
        "//shop.example.com/callback",
        "/callback",
        "javascript:alert(1)",
        "https://shop\u{3002}example.com/callback",
        "https://evil.example/callback",
        "",
    ];
    for other in others {
        let page = visit.get(&shop.request(&[("redirect_uri", other)])).await.expect(400);
        assert_eq!(page.location(), None, "{other}");
        assert!(page.header("content-type").starts_with("text/html"), "{other}");
    }
    let twice = format!("{}&{}", shop.request(&[]), form(&[("redirect_uri", CALLBACK)]));
    assert_eq!(visit.get(&twice).await.expect(400).location(), None);
    for unknown in ["nobody", "", "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11", "referral", &shop.id.to_uppercase()] {
        assert_eq!(visit.get(&shop.request(&[("client_id", unknown)])).await.expect(400).location(), None);
    }
}

on_every_setup!(a_log_in_is_asked_for_when_the_client_wants_a_fresh_one);
async fn a_log_in_is_asked_for_when_the_client_wants_a_fresh_one(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    test.user("olga").await;
    let mut visit = Visit::new(&shop.base);
    shop.code(&mut visit, "olga", &[]).await;
    test.move_clock(Duration::from_secs(120));
    for change in [("prompt", "login"), ("max_age", "60"), ("max_age", "0"), ("prompt", "select_account")] {
        let page = visit.get(&shop.request(&[change])).await.expect(200);
        let page = visit.log_in(&page, "olga", PASSWORD).await.leaves();
        let page = visit.follow(page).await.expect(303);
        assert!(page.sent("code").is_some(), "{change:?}");
        test.move_clock(Duration::from_secs(120));
    }
    visit.get(&shop.request(&[("max_age", "600")])).await.expect(303).sent("code").expect("a code");
    let silent = [("max_age", "60"), ("prompt", "none")];
    let page = visit.get(&shop.request(&silent)).await.expect(303);
    assert_eq!(page.sent("error").as_deref(), Some("login_required"));
    // A session of the browser ends by itself.
    test.move_clock(Duration::from_secs(15 * 24 * 3600));
    visit.get(&shop.request(&[])).await.expect(200).form("/oauth/login");
}

on_every_setup!(whoever_loses_access_loses_the_browser_session_too);
async fn whoever_loses_access_loses_the_browser_session_too(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    let olga = test.user("olga").await;
    let mut visit = Visit::new(&shop.base);
    let code = shop.code(&mut visit, "olga", &[]).await;
    let change = json!({"current_password": PASSWORD, "new_password": "Another-Pass-77"});
    olga.post("/api/v1/me/password", &change).await.expect(204);
    assert_eq!(wrong(&shop.exchange(&code).await), (400, "invalid_grant".to_owned()));
    visit.get(&shop.request(&[])).await.expect(200).form("/oauth/login");

    test.user("ivan").await;
    let mut visit = Visit::new(&shop.base);
    let code = shop.code(&mut visit, "ivan", &[]).await;
    let found = referral::features::accounts::actions::administration::find(test.app(), "ivan")
        .await
        .expect("a look")
        .expect("ivan");
    referral::features::accounts::actions::administration::disable(test.app(), found.id).await.expect("disabled");
    assert_eq!(wrong(&shop.exchange(&code).await), (400, "invalid_grant".to_owned()));
    let page = visit.get(&shop.request(&[])).await.expect(200);
    visit.log_in(&page, "ivan", PASSWORD).await.expect(422);
}
