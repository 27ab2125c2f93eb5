//! The authorization server, as browsers and other programs meet it.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::eventually;
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::visit::{Page, Visit};

pub const ISSUER: &str = "http://referral.test";
pub const CALLBACK: &str = "https://shop.example.com/callback";
pub const VERIFIER: &str = "a-verifier-of-43-characters-or-more-0123456789";
pub const EVERYTHING: &str = "openid email profile account codes:read codes:write referrals:read";

/// A client as a manager has registered it.
#[derive(Clone)]
pub struct Registered {
    pub id: String,
    pub secret: Option<String>,
    pub base: String,
}

pub async fn register(manager: &Client, change: Value) -> Registered {
    let mut body = json!({
        "name": "Shop", "confidential": true, "redirect_uris": [CALLBACK],
        "grants": ["authorization_code", "refresh_token"], "scope": EVERYTHING,
    });
    for (name, value) in change.as_object().expect("changes") {
        body[name] = value.clone();
    }
    let made = manager.post("/api/v1/clients", &body).await.expect(201).json();
    Registered {
        id: made["client_id"].as_str().expect("an id").to_owned(),
        secret: made["client_secret"].as_str().map(str::to_owned),
        base: manager.base.clone(),
    }
}

pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

pub fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl Registered {
    /// The way to the authorization endpoint, with parameters changed, added or (empty) left out.
    pub fn request(&self, change: &[(&str, &str)]) -> String {
        let challenge = challenge(VERIFIER);
        let usual = [
            ("client_id", self.id.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", EVERYTHING),
            ("state", "s/1&2"),
            ("nonce", "n-0"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let kept = usual.into_iter().filter(|(name, _)| !change.iter().any(|(other, _)| other == name));
        let changed = change.iter().copied().filter(|(_, value)| !value.is_empty());
        format!("/oauth/authorize?{}", form(&kept.chain(changed).collect::<Vec<_>>()))
    }

    /// Through log-in and consent to a code.
    pub async fn code(&self, visit: &mut Visit, name: &str, change: &[(&str, &str)]) -> String {
        let page = visit.get(&self.request(change)).await;
        let page = if page.text.contains("action=\"/oauth/login\"") {
            let sent = visit.log_in(&page, name, PASSWORD).await.leaves();
            visit.follow(sent).await
        } else {
            page
        };
        let page = if page.status == 200 { allow(visit, &page).await } else { page };
        assert_eq!(page.sent("state").as_deref(), Some("s/1&2"));
        assert_eq!(page.sent("iss").as_deref(), Some(ISSUER));
        page.sent("code").expect("a code")
    }

    pub async fn call(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let client = Client::new(&self.base);
        let request = client.request(reqwest::Method::POST, path);
        let (request, fields) = match &self.secret {
            Some(secret) => {
                let basic = STANDARD.encode(format!("{}:{secret}", self.id));
                (request.header(AUTHORIZATION, format!("Basic {basic}")), fields.to_vec())
            }
            None => (request, [fields, &[("client_id", self.id.as_str())]].concat()),
        };
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form(&fields));
        client.send(request).await
    }

    pub async fn exchange(&self, code: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.call("/oauth/token", &fields).await
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.call("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn introspect(&self, token: &str) -> Value {
        self.call("/oauth/introspect", &[("token", token)]).await.expect(200).json()
    }

    /// A person's tokens, by way of the browser.
    pub async fn tokens(&self, name: &str, change: &[(&str, &str)]) -> Value {
        let code = self.code(&mut Visit::new(&self.base), name, change).await;
        self.exchange(&code).await.expect(200).json()
    }
}

pub async fn allow(visit: &mut Visit, page: &Page) -> Page {
    visit.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await.leaves()
}

fn wrong(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

pub fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}"))
}

pub fn bearer(base: &str, tokens: &Value) -> Client {
    Client::new(base).with_token(text(tokens, "access_token"))
}

on_every_setup! {
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
            let again = [("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token")), ("scope", asked)];
            assert_eq!(text(&shop.call("/oauth/token", &again).await.expect(200).json(), "scope"), given);
        }
        let metadata = Client::new(&shop.base).get("/.well-known/openid-configuration").await.expect(200).json();
        assert!(metadata["scopes_supported"].as_array().expect("words").contains(&json!("offline_access")));
    }

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

    async fn a_client_without_pkce_is_let_in_one_by_one_and_needs_a_nonce(setup: Setup) {
        let test = setup.start().await;
        let manager = test.manager("manager").await;
        test.user("olga").await;
        for bad in [
            json!({"require_pkce": false, "confidential": false}),
            json!({"require_pkce": false, "scope": "profile"}),
        ] {
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

    /// BCP 9700, 4.1: nothing but the very characters, and nobody is sent anywhere else.
    async fn a_redirect_uri_that_is_not_the_registered_one_leads_nowhere(setup: Setup) {
        let test = setup.start().await;
        let shop = register(&test.manager("manager").await, json!({})).await;
        let mut visit = Visit::new(&shop.base);
        let others = [
            "https://shop.example.com/callback/", "https://shop.example.com/Callback", "https://shop.example.com",
            "https://shop.example.com/", "https://shop.example.com/callback?x=1", "https://shop.example.com/callback#x",
            "https://shop.example.com/callback#", "https://shop.example.com/callback?", "http://shop.example.com/callback",
            "https://SHOP.example.com/callback", "HTTPS://shop.example.com/callback", "https://shop.example.com:443/callback",
            "https://shop.example.com:8443/callback", "https://shop.example.com./callback",
            "https://evil.shop.example.com/callback", "https://shop.example.com.evil.example/callback",
            "https://shop.example.com@evil.example/callback", "https://user@shop.example.com/callback",
            "https://shop.example.com/x/../callback", "https://shop.example.com/./callback",
            "https://shop.example.com//callback", "https://shop.example.com/callback/..", "https://shop.example.com/%63allback",
            "https://shop.example.com/callback%00", "https://shop.example.com/callback%0d%0aX: y",
            "https://shop.example.com/callback\r\nX: y", " https://shop.example.com/callback",
            "https://shop.example.com/callback ", "https://shop.example.com\\callback", "//shop.example.com/callback",
            "/callback", "javascript:alert(1)", "https://shop\u{3002}example.com/callback", "https://evil.example/callback",
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
                ("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK),
                ("code_verifier", VERIFIER),
            ];
            let kept = usual.into_iter().filter(|(name, _)| !change.iter().any(|(other, _)| other == name));
            let fields: Vec<(String, String)> = kept.chain(change.iter().copied())
                .filter(|(_, value)| !value.is_empty()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
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
        eventually("it is ended", || async {
            bearer(&shop.base, &good[0]).get("/api/v1/me").await.status == 401
        })
        .await;
    }

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
        manager.post(&format!("/api/v1/clients/{}/secret", public.id), &json!({})).await
            .expect_problem(409, "client_public");
        // The secret is nowhere but with the client.
        let stored = test.query("select secret_hash, name from clients").await;
        assert!(!format!("{stored:?}").contains(&secret));
        assert!(!manager.get("/api/v1/clients").await.expect(200).text.contains("secret"));
    }

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
            assert_eq!(page.location(), Some("/oauth/apps"), "{next}");
        }
    }

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

    async fn whoever_is_out_is_out_of_the_browser_too(setup: Setup) {
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
        let found = referral::features::accounts::actions::administration::find(test.app(), "ivan").await.expect("a look").expect("ivan");
        referral::features::accounts::actions::administration::disable(test.app(), found.id).await.expect("disabled");
        assert_eq!(wrong(&shop.exchange(&code).await), (400, "invalid_grant".to_owned()));
        let page = visit.get(&shop.request(&[])).await.expect(200);
        visit.log_in(&page, "ivan", PASSWORD).await.expect(422);
    }

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

    async fn the_metadata_names_this_server_and_all_it_names_is_there(setup: Setup) {
        let test = setup.start().await;
        let client = test.client();
        let metadata = client.get("/.well-known/openid-configuration").await.expect(200).json();
        assert_eq!(metadata, client.get("/.well-known/oauth-authorization-server").await.expect(200).json());
        assert_eq!(metadata["issuer"], json!(ISSUER));
        for (name, value) in metadata.as_object().expect("an object") {
            let Some(path) = value.as_str().and_then(|url| url.strip_prefix(ISSUER)).filter(|path| !path.is_empty())
            else { continue };
            let status = Visit::new(&client.base).get(path).await.status;
            assert!(status != 404, "{name}: {path} is {status}");
        }
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

/// Behind TLS the cookie is bound to the host; without, it has a plain name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cookie_is_as_safe_as_the_way_lets_it_be() {
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
