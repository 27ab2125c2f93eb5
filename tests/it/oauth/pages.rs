//! Pages of the authorization server: consents, registration, forms and the cookie.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::oauth::{EVERYTHING, allow, bearer, register, text, wrong};
use crate::support::visit::Visit;

on_every_setup!(consents_are_seen_and_withdrawn_over_the_api_and_on_the_page);
async fn consents_are_seen_and_withdrawn_over_the_api_and_on_the_page(setup: Setup) {
    let test = setup.start_two().await;
    let manager = test.manager("manager").await;
    let shop = register(&manager, json!({})).await;
    let olga = test.user("olga").await;
    let tokens = shop.tokens("olga", &[]).await;
    let there = bearer(&test.nodes[1].url, &tokens);
    there.get("/api/v1/me").await.expect(200);
    let given = olga.get("/api/v1/me/consents").await.expect(200).json();
    assert_eq!(given["items"].as_array().map(Vec::len), Some(1));
    assert_eq!((&given["items"][0]["name"], &given["items"][0]["scope"]), (&json!("Shop"), &json!(EVERYTHING)));
    let path = format!("/api/v1/me/consents/{}", shop.id);
    // A code that was given meanwhile is worth nothing any more.
    let mut visit = Visit::new(&shop.base);
    let code = shop.code(&mut visit, "olga", &[]).await;
    olga.delete(&path).await.expect(204);
    olga.delete(&path).await.expect_problem(404, "consent_not_found");
    assert_eq!(wrong(&shop.exchange(&code).await), (400, "invalid_grant".to_owned()));
    eventually("the other node knows", || async { there.get("/api/v1/me").await.status == 401 }).await;
    assert_eq!(wrong(&shop.refresh(text(&tokens, "refresh_token")).await), (400, "invalid_grant".to_owned()));
    assert_eq!(olga.get("/api/v1/me/consents").await.expect(200).json(), json!({"items": []}));

    // The same on the page, where one is asked again first.
    let code = shop.code(&mut visit, "olga", &[]).await;
    let tokens = shop.exchange(&code).await.expect(200).json();
    let page = visit.get("/oauth/apps").await.expect(200);
    assert!(page.text.contains("Shop"));
    let page = visit.submit(&page.form("/oauth/apps"), &[]).await.expect(200);
    assert!(!page.text.contains("action=\"/oauth/apps\""), "{}", page.text);
    bearer(&shop.base, &tokens).get("/api/v1/me").await.expect_problem(401, "invalid_token");
}

on_every_setup!(forms_of_others_do_nothing);
async fn forms_of_others_do_nothing(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    test.user("olga").await;
    let mut visit = Visit::new(&shop.base);
    let page = visit.get(&shop.request(&[])).await.expect(200);
    // Of another browser, of none, and with a token that was made up.
    let mut other = Visit::new(&shop.base);
    other.get(&shop.request(&[])).await.expect(200);
    other.log_in(&page, "olga", PASSWORD).await.expect(403);
    Visit::new(&shop.base).log_in(&page, "olga", PASSWORD).await.expect(403);
    let form = page.form("/oauth/login");
    let made_up = [("username", "olga"), ("password", PASSWORD), ("csrf", "AAAA")];
    visit.submit(&form, &made_up).await.expect(403);
    let before = visit.cookies.clone();
    let page = visit.log_in(&page, "olga", PASSWORD).await.leaves();
    // A cookie that was known before is worth nothing after.
    assert_ne!(visit.cookies, before);
    let page = visit.follow(page).await.expect(200);
    let consent = page.form("/oauth/consent");
    let mut old = visit.clone();
    old.cookies = before;
    old.submit(&consent, &[("decision", "allow")]).await.expect(403);
    visit.submit(&consent, &[("decision", "allow"), ("csrf", "AAAA")]).await.expect(403);
    visit.submit(&consent, &[("decision", "allow")]).await.leaves();
    let apps = visit.get("/oauth/apps").await.expect(200);
    visit.submit(&apps.form("/oauth/apps"), &[("csrf", "")]).await.expect(403);
    visit.submit(&apps.form("/oauth/logout"), &[("csrf", "AAAA")]).await.expect(403);
    assert!(visit.get("/oauth/apps").await.expect(200).text.contains("Shop"));
    // Logged out is logged out.
    let kept = visit.clone();
    visit.submit(&apps.form("/oauth/logout"), &[]).await.expect(200);
    for visit in [&mut visit, &mut kept.clone()] {
        visit.get("/oauth/apps").await.expect(200).form("/oauth/login");
    }
    // Nobody is led away by a form.
    for next in ["https://evil.example/", "//evil.example/", "/docs", "/oauth/authorize", "javascript:alert(1)"] {
        let mut visit = Visit::new(&shop.base);
        let page = visit.get("/oauth/apps").await.expect(200);
        let typed = [("username", "olga"), ("password", PASSWORD), ("next", next)];
        let page = visit.submit(&page.form("/oauth/login"), &typed).await.expect(303);
        assert_eq!(page.location(), Some("/share"), "{next}");
    }
}

on_every_setup!(an_account_is_made_on_the_page_with_a_referral_code);
async fn an_account_is_made_on_the_page_with_a_referral_code(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2030CODE").await.expect(201);
    let mut visit = Visit::new(&shop.base);
    let page = visit.get(&shop.request(&[("prompt", "create"), ("referral_code", "OLGA2030CODE")])).await.expect(303);
    let page = visit.follow(page).await.expect(200);
    let form = page.form("/oauth/register");
    assert!(form.fields.contains(&("code".to_owned(), "OLGA2030CODE".to_owned())), "{form:?}");
    let page = visit.submit(&form, &[("username", "olga"), ("email", "nonsense"), ("password", "short")]).await;
    assert_eq!(page.status, 422);
    let typed = [("username", "olga"), ("email", "ivan@example.com"), ("password", PASSWORD)];
    let page = visit.submit(&page.form("/oauth/register"), &typed).await.expect(409);
    let typed = [("username", "ivan"), ("email", "ivan@example.com"), ("password", PASSWORD)];
    let page = visit.submit(&page.form("/oauth/register"), &typed).await.leaves();
    let page = visit.follow(page).await.expect(200);
    let sent = allow(&mut visit, &page).await;
    let tokens = shop.exchange(&sent.sent("code").expect("a code")).await.expect(200).json();
    let me = bearer(&shop.base, &tokens).get("/api/v1/me").await.expect(200).json();
    assert_eq!((&me["username"], &me["referred_by"]["username"]), (&json!("ivan"), &json!("olga")));
}

/// Behind TLS the cookie is bound to the host; without, it has a plain name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cookie_is_as_safe_as_the_connection_allows() {
    for (url, expected) in [
        ("https://referral.test", "__Host-referral=; Path=/; HttpOnly; SameSite=Lax; Secure"),
        ("http://127.0.0.1:8000", "referral=; Path=/; HttpOnly; SameSite=Lax"),
    ] {
        let setup = crate::support::app::Setup::Sqlite;
        let test = setup.start_with(&[("REFERRAL_PUBLIC_URL", url)]).await;
        let page = Visit::new(&test.nodes[0].url).get("/oauth/apps").await.expect(200);
        let cookie = page.header("set-cookie");
        let (name, rest) = cookie.split_once('=').expect("a pair");
        let (value, rest) = rest.split_once(';').expect("attributes");
        assert_eq!(URL_SAFE_NO_PAD.decode(value).expect("base64url").len(), 32);
        assert_eq!(format!("{name}=;{rest}"), expected);
    }
}
