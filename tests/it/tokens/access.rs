//! Access tokens, and what is not taken for one.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use referral::kernel::time::Clock;
use referral::{config, start};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Value, json};
use uuid::Uuid;

use super::forge::Forge;
use super::helpers::{ISSUER, MINUTE};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::paths::{KEYS, LOG_OUT, ME};
use crate::support::tokens::{bytes, opened};

on_every_setup!(an_access_token_is_what_the_standard_says_and_the_published_key_verifies_it);
/// RFC 9068, verified as any other program would: by the keys that are published.
async fn an_access_token_is_what_the_standard_says_and_the_published_key_verifies_it(setup: Setup) {
    let test = setup.start().await;
    let before = test.app().clock.now().seconds();
    let user = test.user("user").await;
    let answer = user.log_in("user", PASSWORD).await.expect(200);
    let after = test.app().clock.now().seconds();
    let grant = answer.json();
    assert_eq!((&grant["token_type"], &grant["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(answer.header("cache-control"), "no-store");
    let token = grant["access_token"].as_str().expect("a token");

    let (header, claims) = opened(token);
    let set = user.anonymous().get(KEYS).await.expect(200).json();
    let kid = &set["keys"][0]["kid"];
    assert_eq!(header, json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid}));
    let mut names: Vec<&str> = claims.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sid", "sub"]);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!(ISSUER)));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(user.id), &json!("referral")));
    assert!(!claims["scope"].as_str().expect("a text").is_empty());
    let (issued, expires) = (claims["iat"].as_i64().expect("seconds"), claims["exp"].as_i64().expect("seconds"));
    assert!((before..=after).contains(&issued), "{before} {issued} {after}");
    assert_eq!(expires - issued, 600);
    for name in ["jti", "sid", "sub"] {
        Uuid::try_parse(claims[name].as_str().expect("a text")).unwrap_or_else(|_| panic!("{name}: {claims}"));
    }

    // The next token of the session is another one, of the same session; another log-in is another session.
    let refresh_token = grant["refresh_token"].as_str().expect("a refresh token");
    let next = user.refresh(refresh_token).await.expect(200).json();
    let (_, next) = opened(next["access_token"].as_str().expect("a token"));
    assert_eq!((&next["sid"], &next["sub"]), (&claims["sid"], &claims["sub"]));
    assert_ne!(next["jti"], claims["jti"]);
    let (_, other) = opened(user.token.as_deref().expect("a token"));
    assert_ne!(other["sid"], claims["sid"]);

    let keys: JwkSet = serde_json::from_value(set.clone()).expect("a key set");
    let key = keys.find(kid.as_str().expect("a text")).expect("the key that the token names");
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[ISSUER]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let verify =
        |token: &str| jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).expect("a key"), &rules);
    assert_eq!(verify(token).expect("a good token").claims, claims);
    assert!(verify(&flipped(token, token.len() - 20)).is_err());
}

on_every_setup!(the_published_keys_hold_what_verifies_and_nothing_that_signs);
async fn the_published_keys_hold_what_verifies_and_nothing_that_signs(setup: Setup) {
    let mut test = setup.start().await;
    let answer = test.client().get(KEYS).await.expect(200);
    assert_eq!(
        (answer.header("content-type"), answer.header("cache-control")),
        ("application/json", "public, max-age=60")
    );
    let keys = answer.json()["keys"].as_array().expect("keys").clone();
    assert_eq!(keys.len(), 1);
    let key = &keys[0];
    let mut names: Vec<&str> = key.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"]);
    assert_eq!(
        (&key["alg"], &key["crv"], &key["kty"], &key["use"]),
        (&json!("EdDSA"), &json!("Ed25519"), &json!("OKP"), &json!("sig"))
    );
    let x = URL_SAFE_NO_PAD.decode(key["x"].as_str().expect("a text")).expect("base64url");
    assert_eq!(x.len(), 32);
    let stored = test.query("select public_key, private_half from signing_keys").await;
    assert_eq!(bytes(&stored[0][0]), x);

    // A node that comes later publishes and believes the same.
    let user = test.user("user").await;
    test.add_node().await;
    assert_eq!(test.client_of(1).get(KEYS).await.expect(200).text, answer.text);
    user.at(&test.nodes[1].url).get(ME).await.expect(200);
}

on_every_setup!(of_nodes_that_start_at_once_on_an_empty_database_one_makes_the_key);
async fn of_nodes_that_start_at_once_on_an_empty_database_one_makes_the_key(setup: Setup) {
    let test = setup.prepare(&[]).await;
    let environment = vec![("DATABASE_URL".to_owned(), test.database_url.clone())];
    let nodes = (0..3).map(|_| {
        let config = config::load(None, &environment).expect("settings");
        tokio::spawn(start::open(config, Clock::default()))
    });
    let nodes = futures_util::future::join_all(nodes).await;
    let published: Vec<String> = nodes
        .into_iter()
        .map(|node| {
            serde_json::to_string(&node.expect("no panic").expect("a node starts").keyring.published()).expect("JSON")
        })
        .collect();
    assert_eq!(test.number("select count(*) from signing_keys").await, 1);
    assert!(published[0].contains("Ed25519") && published.iter().all(|keys| *keys == published[0]), "{published:?}");
}

on_every_setup!(no_forged_token_is_believed);
/// Each forgery has one fault, and what it is made from is good: the fault is the reason it is refused.
async fn no_forged_token_is_believed(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let forge = Forge::of(&test, &user).await;
    for (name, good) in forge.controls() {
        let answer = present(&user, good.as_bytes()).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.json()["id"], json!(user.id), "{name}");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener that can be asked");
    let trap = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));

    let forgeries = forge.forgeries(&test, &user, &trap).await;
    assert!(forgeries.len() > 250, "{}", forgeries.len());
    for (name, token) in forgeries {
        let answer = present(&user, &token).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("invalid_token")), "{name}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{name}");
    }
    // Whatever a header says about where keys are: nobody went there.
    let came = listener.accept().expect_err("no request goes out for a token");
    assert_eq!(came.kind(), std::io::ErrorKind::WouldBlock);
    user.get(ME).await.expect(200);
}

on_every_setup!(a_token_with_one_other_character_is_refused);
/// A signature is good as a whole or not at all.
async fn a_token_with_one_other_character_is_refused(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let token = user.token.clone().expect("a token");
    let signature = token.rfind('.').expect("a signature") + 1;
    let mut changed: Vec<String> = (0..token.len())
        .filter(|at| token.as_bytes()[*at] != b'.')
        // Each of the signature, and every seventh of what is signed.
        .filter(|at| *at >= signature || at % 7 == 0)
        .map(|at| flipped(&token, at))
        .collect();
    // The last character has bits that stand for nothing: only one way to write them is taken.
    let (rest, last) = token.split_at(token.len() - 1);
    let others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars().map(String::from);
    changed.extend(others.filter(|other| other != last).map(|other| format!("{rest}{other}")));
    assert!(changed.len() > 86 + 63);
    for token in changed {
        let answer = present(&user, token.as_bytes()).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("invalid_token")), "{token}");
    }
    present(&user, token.as_bytes()).await.expect(200);
}

on_every_setup!(a_token_of_another_instance_is_refused);
async fn a_token_of_another_instance_is_refused(setup: Setup) {
    let (ours, theirs) = (setup.start().await, setup.start().await);
    let (here, there) = (ours.user("user").await, theirs.user("user").await);
    let foreign = here.at(&theirs.nodes[0].url);
    foreign.get(ME).await.expect_problem(401, "invalid_token");
    foreign
        .refresh(here.refresh_token.as_ref().expect("a refresh token"))
        .await
        .expect_problem(401, "invalid_refresh_token");
    here.get(ME).await.expect(200);
    there.get(ME).await.expect(200);
}

on_every_setup!(an_access_token_lives_ten_minutes);
async fn an_access_token_lives_ten_minutes(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    test.move_clock(9 * MINUTE);
    user.get(ME).await.expect(200);
    test.move_clock(MINUTE);
    user.get(ME).await.expect_problem(401, "invalid_token");
    user.refresh(user.refresh_token.as_ref().expect("a refresh token")).await.expect(200);
    user.get(ME).await.expect_problem(401, "invalid_token");
}

on_every_setup!(a_token_is_taken_from_one_bearer_header_and_from_nowhere_else);
async fn a_token_is_taken_from_one_bearer_header_and_from_nowhere_else(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let token = user.token.clone().expect("a token");
    let stranger = test.client();
    let with = async |values: &[String]| {
        let mut request = stranger.request(Method::GET, ME);
        for value in values {
            request = request.header(AUTHORIZATION, value);
        }
        stranger.send(request).await
    };
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        with(&[format!("{scheme} {token}")]).await.expect(200);
    }
    for other in [
        format!("Basic {}", STANDARD.encode(format!("user:{PASSWORD}"))),
        format!("Basic {token}"),
        format!("Token {token}"),
        format!("DPoP {token}"),
        format!("Bearer{token}"),
        format!("Bearer\t{token}"),
        format!("Bearer={token}"),
        format!("X Bearer {token}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
        token.clone(),
    ] {
        let answer = with(std::slice::from_ref(&other)).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("not_authenticated")), "{other}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{other}");
    }
    for bad in
        [format!("Bearer {token}, Bearer {token}"), format!("Bearer {token} {token}"), format!("Bearer \"{token}\"")]
    {
        with(&[bad]).await.expect_problem(401, "invalid_token");
    }
    let good = format!("Bearer {token}");
    for two in
        [[good.clone(), good.clone()], [good.clone(), "Basic eDp5".to_owned()], ["Basic eDp5".to_owned(), good.clone()]]
    {
        with(&two).await.expect_problem(401, "not_authenticated");
    }
    stranger.get(&format!("{ME}?access_token={token}")).await.expect_problem(401, "not_authenticated");
    let request = stranger.request(Method::GET, ME).header("cookie", format!("access_token={token}"));
    stranger.send(request).await.expect_problem(401, "not_authenticated");
    let request = stranger.request(Method::GET, ME).header("proxy-authorization", &good);
    stranger.send(request).await.expect_problem(401, "not_authenticated");
    stranger.post_form(LOG_OUT, &format!("access_token={token}")).await.expect_problem(401, "not_authenticated");
}

/// The token with another character at this place.
fn flipped(token: &str, at: usize) -> String {
    let mut bytes = token.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).expect("ASCII")
}

/// Asks who one is with this for a token.
async fn present(client: &Client, token: &[u8]) -> Answer {
    let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).expect("a header's value");
    let mut stranger = client.clone();
    stranger.token = None;
    stranger.send(stranger.request(Method::GET, ME).header(AUTHORIZATION, value)).await
}

on_every_setup!(every_refusal_of_a_caller_names_its_reason_as_the_standard_has_it);
/// RFC 6750: whoever sends no token is asked for one, whoever sends a bad one is told so.
async fn every_refusal_of_a_caller_names_its_reason_as_the_standard_has_it(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let mut forger = test.client();
    forger.token = Some("e30.e30.e30".to_owned());
    let document = serde_json::to_value(referral::site::router::document()).expect("JSON");
    let mut guarded = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            // What asks for a client instead has answers of its own.
            let security = operation["security"].as_array().expect("each operation says what it asks for");
            if security.iter().any(|one| one.get("bearer").is_some()) {
                let path = path.replace("{referrer_id}", &user.id).replace("{code}", "owner@example.com");
                let path = path.replace("{client_id}", "nobody");
                guarded.push((method.to_uppercase().parse::<Method>().expect("a method"), path));
            }
        }
    }
    assert!(guarded.len() >= 12, "{guarded:?}");
    for (method, path) in guarded {
        let none = test.client().send(test.client().request(method.clone(), &path)).await;
        let none = none.expect_problem(401, "not_authenticated");
        assert_eq!(none.header("www-authenticate"), "Bearer", "{method} {path}");
        assert_eq!(none.json()["detail"], "Not authenticated");
        let bad = forger.send(forger.request(method.clone(), &path)).await.expect_problem(401, "invalid_token");
        assert_eq!(bad.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{method} {path}");
        assert_eq!(bad.json()["detail"], "Could not validate credentials");
    }
    let answer = user.log_in("user", "not the password").await.expect_problem(401, "bad_credentials");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let answer = user.refresh("rt_nonsense").await.expect_problem(401, "invalid_refresh_token");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    // Who is known and not allowed is not asked to authenticate again.
    let answer = user.delete_with(ME, &json!({"password": "no"})).await.expect_problem(403, "wrong_password");
    assert_eq!(answer.header("www-authenticate"), "");
}
