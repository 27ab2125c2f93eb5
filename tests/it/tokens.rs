//! Access tokens and what is not taken for one; refresh tokens, their rotation and its end.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use referral::features::tokens::actions::keys;
use referral::kernel::caller::IdTokenAlgorithm;
use referral::kernel::time::Clock;
use referral::{config, start};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::on_every_setup;
use crate::support::app::{TestApp, eventually};
use crate::support::client::{Answer, Client, PASSWORD};

const ME: &str = "/api/v1/me";
const TOKEN: &str = "/api/v1/auth/token";
const KEYS: &str = "/.well-known/jwks.json";
const LOG_OUT: &str = "/api/v1/auth/logout";
/// As `REFERRAL_PUBLIC_URL` is in the tests.
const ISSUER: &str = "http://referral.test";

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// For which the token replaced last gets its successor once more.
const GRACE: Duration = Duration::from_secs(10);

on_every_setup! {
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
                serde_json::to_string(&node.expect("no panic").expect("a node starts").keyring.published())
                    .expect("JSON")
            })
            .collect();
        assert_eq!(test.number("select count(*) from signing_keys").await, 1);
        assert!(
            published[0].contains("Ed25519") && published.iter().all(|keys| *keys == published[0]),
            "{published:?}"
        );
    }

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
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (401, Some("invalid_token")),
                "{name}: {answer:?}"
            );
            assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{name}");
        }
        // Whatever a header says about where keys are: nobody went there.
        let came = listener.accept().expect_err("no request goes out for a token");
        assert_eq!(came.kind(), std::io::ErrorKind::WouldBlock);
        user.get(ME).await.expect(200);
    }

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
        for bad in [
            format!("Bearer {token}, Bearer {token}"),
            format!("Bearer {token} {token}"),
            format!("Bearer \"{token}\""),
        ] {
            with(&[bad]).await.expect_problem(401, "invalid_token");
        }
        let good = format!("Bearer {token}");
        for two in [
            [good.clone(), good.clone()],
            [good.clone(), "Basic eDp5".to_owned()],
            ["Basic eDp5".to_owned(), good.clone()],
        ] {
            with(&two).await.expect_problem(401, "not_authenticated");
        }
        stranger.get(&format!("{ME}?access_token={token}")).await.expect_problem(401, "not_authenticated");
        let request = stranger.request(Method::GET, ME).header("cookie", format!("access_token={token}"));
        stranger.send(request).await.expect_problem(401, "not_authenticated");
        let request = stranger.request(Method::GET, ME).header("proxy-authorization", &good);
        stranger.send(request).await.expect_problem(401, "not_authenticated");
        stranger.post_form(LOG_OUT, &format!("access_token={token}")).await.expect_problem(401, "not_authenticated");
    }

    /// An answer can get lost: who asks again at once gets the same successor, and no second lineage.
    async fn a_refresh_token_is_replaced_and_for_a_moment_gives_the_same_successor_again(setup: Setup) {
        let test = setup.start_two().await;
        let user = test.user("user").await;
        let afar = user.at(&test.nodes[1].url);
        let (first, answers) = in_time(async || {
            let first = refresh_token(&user.log_in("user", PASSWORD).await.expect(200));
            let form = format!("grant_type=refresh_token&refresh_token={first}");
            let answers = [
                user.refresh(&first).await,
                afar.refresh(&first).await,
                user.anonymous().post_form(TOKEN, &form).await,
            ];
            (first, answers)
        })
        .await;
        let answers = answers.map(|answer| answer.expect(200));
        let second = refresh_token(&answers[0]);
        assert_ne!(second, first);
        let mut ids = Vec::new();
        for answer in &answers {
            assert_eq!(refresh_token(answer), second);
            assert_eq!(answer.header("cache-control"), "no-store");
            let mut holder = test.client();
            holder.take_tokens(answer);
            holder.get(ME).await.expect(200);
            ids.push(opened(holder.token.as_deref().expect("a token")).1["jti"].clone());
        }
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "each access token is its own");
        let third = refresh_token(&user.refresh(&second).await.expect(200));
        assert!(third != second && third != first);
        user.refresh(&third).await.expect(200);
    }

    async fn once_its_successor_is_used_a_replaced_token_ends_the_family(setup: Setup) {
        let test = setup.start_two().await;
        let user = test.user("user").await;
        let session = user.logged_in("user").await;
        let first = session.refresh_token.clone().expect("a refresh token");
        let (mut second, mut third) = (session.clone(), session.clone());
        second.take_tokens(&user.refresh(&first).await.expect(200));
        third.take_tokens(&user.refresh(second.refresh_token.as_ref().expect("a token")).await.expect(200));
        for holder in [&session, &second, &third] {
            holder.get(ME).await.expect(200);
        }

        // At another node than it was replaced at.
        user.at(&test.nodes[1].url).refresh(&first).await.expect_problem(401, "invalid_refresh_token");
        for holder in [&session, &second, &third] {
            let token = holder.refresh_token.as_ref().expect("a token");
            user.refresh(token).await.expect_problem(401, "invalid_refresh_token");
            for node in &test.nodes {
                let holder = holder.at(&node.url);
                eventually("the session has ended here", || async { holder.get(ME).await.status == 401 }).await;
            }
        }
        user.get(ME).await.expect(200);
        user.refresh(user.refresh_token.as_ref().expect("a token")).await.expect(200);
    }

    async fn ten_seconds_after_it_was_replaced_a_token_ends_the_family(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        let session = user.logged_in("user").await;
        let first = session.refresh_token.clone().expect("a refresh token");
        let mut second = session.clone();
        second.take_tokens(&user.refresh(&first).await.expect(200));
        test.move_clock(GRACE + Duration::from_secs(1));
        user.refresh(&first).await.expect_problem(401, "invalid_refresh_token");
        user.refresh(second.refresh_token.as_ref().expect("a token"))
            .await
            .expect_problem(401, "invalid_refresh_token");
        session.get(ME).await.expect_problem(401, "invalid_token");
        second.get(ME).await.expect_problem(401, "invalid_token");
        user.get(ME).await.expect(200);
    }

    async fn fifty_refreshes_at_once_with_one_token_make_one_lineage(setup: Setup) {
        let test = setup.start_two().await;
        let user = test.user("user").await;
        let clients = [test.client(), test.client_of(1)];
        let answers = in_time(async || {
            test.sql("delete from token_families").await;
            let first = refresh_token(&user.log_in("user", PASSWORD).await.expect(200));
            let body = json!({"grant_type": "refresh_token", "refresh_token": first});
            let asked = (0..50).map(|number: usize| clients[number % 2].post(TOKEN, &body));
            futures_util::future::join_all(asked).await
        })
        .await;
        let answers: Vec<Answer> = answers.into_iter().map(|answer| answer.expect(200)).collect();
        let second = refresh_token(&answers[0]);
        assert!(answers.iter().all(|answer| refresh_token(answer) == second));
        assert_eq!(test.query("select counter from token_families").await, [[Some("1".to_owned())]]);
        for answer in [&answers[0], &answers[49]] {
            let mut holder = test.client();
            holder.take_tokens(answer);
            holder.get(ME).await.expect(200);
        }
        user.refresh(&second).await.expect(200);
    }

    async fn a_log_in_ends_after_fourteen_idle_days(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        let first = user.refresh_token.clone().expect("a refresh token");
        test.move_clock(14 * DAY - MINUTE);
        let second = refresh_token(&user.refresh(&first).await.expect(200));
        test.move_clock(14 * DAY + MINUTE);
        user.refresh(&second).await.expect_problem(401, "invalid_refresh_token");
        user.log_in("user", PASSWORD).await.expect(200);
    }

    async fn a_log_in_ends_after_thirty_days_however_busy(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        let mut token = user.refresh_token.clone().expect("a refresh token");
        for pause in [13 * DAY, 13 * DAY, 4 * DAY - MINUTE] {
            test.move_clock(pause);
            token = refresh_token(&user.refresh(&token).await.expect(200));
        }
        test.move_clock(2 * MINUTE);
        user.refresh(&token).await.expect_problem(401, "invalid_refresh_token");
        user.log_in("user", PASSWORD).await.expect(200);
    }

    async fn what_is_no_refresh_token_is_refused_and_disturbs_nobody(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        let good = user.refresh_token.clone().expect("a refresh token");
        let unknown = format!("rt_{}", URL_SAFE_NO_PAD.encode([7; 48]));
        let spaced = format!(" {good} ");
        for garbage in [
            "",
            "rt_",
            "rt_nonsense",
            "nonsense",
            good.get(..good.len() - 1).expect("a shorter one"),
            good.trim_start_matches("rt_"),
            &good.replacen("rt_", "RT_", 1),
            &format!("{good}="),
            &format!("{good}A"),
            &format!("{good}\u{0}"),
            &spaced,
            &unknown,
            &format!("rt_{}", "A".repeat(60_000)),
            "rt_\u{0}",
            "rt_' or '1'='1",
            "rt_ИванИванИван",
            user.token.as_deref().expect("a token"),
        ] {
            let answer = user.refresh(garbage).await;
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (401, Some("invalid_refresh_token")),
                "{garbage:.80}"
            );
            assert_eq!(answer.json()["detail"], "The refresh token is not valid any more");
        }
        user.get(ME).await.expect(200);
        user.refresh(&good).await.expect(200);
    }

    async fn the_database_holds_no_refresh_token(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        let token = user.refresh_token.clone().expect("a refresh token");
        let secret = URL_SAFE_NO_PAD.decode(token.trim_start_matches("rt_")).expect("base64url").split_off(16);
        let columns = "handle, user_id, client_id, scope, current_hash, previous_hash, salt";
        let select = format!("select {columns} from token_families");
        let mut rows = test.query(&select).await;
        // Once more when it has become the token before the last.
        user.refresh(&token).await.expect(200);
        rows.extend(test.query(&select).await);
        let kept: Vec<Vec<u8>> = rows.iter().flatten().map(bytes).collect();
        let hashes = kept.iter().filter(|value| *value == digest(&SHA256, &secret).as_ref()).count();
        assert_eq!(hashes, 2, "the hash is what is kept, as the current one and then as the previous one");
        assert!(kept.iter().all(|value| !value.windows(32).any(|part| part == secret)), "the token itself is not");
    }

    async fn log_out_ends_the_session_everywhere_and_no_other(setup: Setup) {
        let test = setup.start_two().await;
        let user = test.user("user").await;
        let other = user.logged_in("user").await;
        let afar = user.at(&test.nodes[1].url);
        afar.get(ME).await.expect(200);
        user.delete(LOG_OUT).await.expect_problem(405, "method_not_allowed");
        user.get(ME).await.expect(200);

        assert_eq!(user.post(LOG_OUT, &json!({})).await.expect(204).text, "");
        user.get(ME).await.expect_problem(401, "invalid_token");
        eventually("the other node follows", || async { afar.get(ME).await.status == 401 }).await;
        for client in [&user, &afar] {
            client
                .refresh(user.refresh_token.as_ref().expect("a token"))
                .await
                .expect_problem(401, "invalid_refresh_token");
        }
        user.post(LOG_OUT, &json!({})).await.expect_problem(401, "invalid_token");
        for client in [&other, &other.at(&test.nodes[1].url)] {
            client.get(ME).await.expect(200);
        }
        other.refresh(other.refresh_token.as_ref().expect("a token")).await.expect(200);
    }
}

/// The node's own keys, taken from its database, with a token to deviate from.
struct Forge {
    key: Ed25519KeyPair,
    /// The one for ID tokens.
    rsa: RsaKeyPair,
    header: Value,
    claims: Value,
    /// As the node has signed it.
    token: String,
    published: Value,
}

impl Forge {
    async fn of(test: &TestApp, user: &Client) -> Self {
        keys::rs256_ready(test.app()).await.expect("the RSA key");
        let stored = test.query("select private_half from signing_keys order by generation").await;
        let token = user.token.clone().expect("a token");
        let (header, claims) = opened(&token);
        Self {
            key: Ed25519KeyPair::from_pkcs8(&bytes(&stored[0][0])).expect("a key"),
            rsa: RsaKeyPair::from_pkcs8(&bytes(&stored[1][0])).expect("a key"),
            header,
            claims,
            token,
            published: test.client().get(KEYS).await.expect(200).json(),
        }
    }

    /// A token of these parts, signed with the node's key.
    fn signed(&self, header: &[u8], claims: &[u8]) -> String {
        jws(header, claims, |input| self.key.sign(input).as_ref().to_vec())
    }

    fn with_header(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = self.header.clone();
        change(&mut header);
        self.signed(header.to_string().as_bytes(), self.claims.to_string().as_bytes())
    }

    fn with_claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        self.signed(self.header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// Tokens of our own making that differ from the node's in nothing that counts.
    fn controls(&self) -> Vec<(&'static str, String)> {
        let soon = self.claims["iat"].as_i64().expect("seconds") + 300;
        vec![
            ("the node's own", self.token.clone()),
            ("signed again", self.with_header(|_| ())),
            ("another id", self.with_claims(|claims| claims["jti"] = json!("another"))),
            ("an unknown claim", self.with_claims(|claims| claims["nonce"] = json!({"a": [1]}))),
            ("a shorter life", self.with_claims(|claims| claims["exp"] = json!(soon))),
        ]
    }

    async fn forgeries(&self, test: &TestApp, user: &Client, trap: &str) -> Vec<(String, Vec<u8>)> {
        let mut made: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |name: &str, token: String| made.push((name.to_owned(), token.into_bytes()));
        self.algorithms(&mut add);
        self.keys(&mut add, trap);
        self.headers(&mut add, trap);
        self.claims(&mut add);
        self.structures(&mut add);
        self.id_tokens(&mut add, test);
        add("a refresh token", user.refresh_token.clone().expect("a refresh token"));
        add("a session's id", self.claims["sid"].as_str().expect("a text").to_owned());
        add("a user's id", user.id.clone());
        let expired = self.claims["iat"].as_i64().expect("seconds") - 1;
        assert!(expired < test.app().clock.now().seconds());
        let later = test.app().clock.now().seconds() + 3600;
        add(
            "issued in an hour",
            self.with_claims(|claims| {
                claims["iat"] = json!(later);
                claims["exp"] = json!(later + 600);
            }),
        );
        add(
            "expired a second ago",
            self.with_claims(|claims| {
                claims["exp"] = json!(expired);
                claims["iat"] = json!(expired - 600);
            }),
        );
        let (start, end) = self.token.split_at(20);
        made.push(("bytes beyond ASCII".to_owned(), [start.as_bytes(), b"\xff\xfe", end.as_bytes()].concat()));
        made.push(("letters beyond ASCII".to_owned(), [self.token.as_bytes(), "é".as_bytes()].concat()));
        made
    }

    /// Another algorithm than the key's, with whatever an attacker could have signed by it.
    fn algorithms(&self, add: &mut impl FnMut(&str, String)) {
        let claims = self.claims.to_string();
        let (input, signature) = self.token.rsplit_once('.').expect("a signature");
        for alg in
            ["none", "None", "NONE", "nOnE", "", "eddsa", "EDDSA", "Ed25519", "Ed448", "ES256", "RS256", "PS512", "dir"]
        {
            let mut header = self.header.clone();
            header["alg"] = json!(alg);
            let header = header.to_string();
            let (encoded, _) = jws(header.as_bytes(), claims.as_bytes(), |_| Vec::new())
                .rsplit_once('.')
                .map(|(input, _)| (input.to_owned(), ()))
                .expect("parts");
            add(&format!("alg {alg:?}, no signature"), format!("{encoded}."));
            add(&format!("alg {alg:?}, two parts"), encoded.clone());
            add(&format!("alg {alg:?}, the old signature"), format!("{encoded}.{signature}"));
            add(&format!("alg {alg:?}, signed all the same"), self.signed(header.as_bytes(), claims.as_bytes()));
        }
        for alg in [Value::Null, json!(1), json!(["EdDSA"]), json!({"EdDSA": 1})] {
            add(&format!("alg {alg}"), self.with_header(|header| header["alg"] = alg.clone()));
        }
        add("no alg", self.with_header(|header| drop(header.as_object_mut().expect("an object").remove("alg"))));
        add("the signature stripped", format!("{input}."));
        add("no third part", input.to_owned());

        // The public key is known to everybody: it must be no secret of anything, in none of its forms.
        let published = &self.published["keys"][0];
        let x = published["x"].as_str().expect("a text");
        let raw = URL_SAFE_NO_PAD.decode(x).expect("base64url");
        let info = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &raw].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(&info));
        let own = &self.published["keys"][1];
        let modulus = own["n"].as_str().expect("a text");
        let rsa = self.rsa.public_key();
        let spki: PublicKeyX509Der<'_> = rsa.as_der().expect("DER");
        let wrapped = |label: &str, der: &[u8]| {
            let text = STANDARD.encode(der);
            let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", lines.join("\n"))
        };
        let rsa_pem = wrapped("PUBLIC KEY", spki.as_ref());
        let secrets = [
            ("the RSA key in DER", spki.as_ref().to_vec()),
            ("the RSA key in DER of PKCS#1", rsa.as_ref().to_vec()),
            ("the RSA key in PEM", rsa_pem.clone().into_bytes()),
            ("the RSA key in PEM with a line's end", format!("{rsa_pem}\n").into_bytes()),
            ("the RSA key in PEM of PKCS#1", wrapped("RSA PUBLIC KEY", rsa.as_ref()).into_bytes()),
            ("the RSA key as JWK", own.to_string().into_bytes()),
            ("the modulus as bytes", URL_SAFE_NO_PAD.decode(modulus).expect("base64url")),
            ("the modulus as text", modulus.as_bytes().to_vec()),
            ("nothing", Vec::new()),
            ("x as bytes", raw.clone()),
            ("x as text", x.as_bytes().to_vec()),
            ("x in plain base64", STANDARD.encode(&raw).into_bytes()),
            ("the JWK", published.to_string().into_bytes()),
            ("the key set", self.published.to_string().into_bytes()),
            ("DER", info),
            ("PEM", pem.clone().into_bytes()),
            ("PEM with a line's end", format!("{pem}\n").into_bytes()),
        ];
        for (alg, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            for (form, secret) in &secrets {
                let key = hmac::Key::new(algorithm, secret);
                for kid in [&self.header["kid"], &own["kid"]] {
                    let mut header = self.header.clone();
                    header["alg"] = json!(alg);
                    header["kid"] = kid.clone();
                    let token = jws(header.to_string().as_bytes(), claims.as_bytes(), |input| {
                        hmac::sign(&key, input).as_ref().to_vec()
                    });
                    add(&format!("{alg} under {kid} keyed with {form}"), token);
                }
            }
        }
    }

    /// Other keys than ours, and other names for ours.
    fn keys(&self, add: &mut impl FnMut(&str, String), trap: &str) {
        let claims = self.claims.to_string();
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let theirs = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
        let sign = |header: &Value| {
            jws(header.to_string().as_bytes(), claims.as_bytes(), |input| theirs.sign(input).as_ref().to_vec())
        };
        let x = URL_SAFE_NO_PAD.encode(theirs.public_key().as_ref());
        let jwk =
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.header["kid"], "alg": "EdDSA", "use": "sig"});
        add("a foreign key under a known name", sign(&self.header));
        let mut header = self.header.clone();
        header["jwk"] = jwk.clone();
        add("a foreign key that the header brings", sign(&header));
        let mut header = self.header.clone();
        header["jku"] = json!(trap);
        add("a foreign key that the header points to", sign(&header));
        let mut header = self.header.clone();
        header["kid"] = json!(trap);
        add("a foreign key at the address that is its name", sign(&header));
        let kid = self.header["kid"].as_str().expect("a text");
        for name in [
            json!("unknown"),
            json!(""),
            json!("\u{0}"),
            json!(format!("{kid}\u{0}")),
            json!(format!(" {kid}")),
            json!(kid.to_uppercase() + "x"),
            json!("../../../../../../dev/null"),
            json!("..\\..\\..\\nul"),
            json!("' or '1'='1"),
            json!("x' union select public_key from signing_keys --"),
            json!("1"),
            json!(1),
            json!(true),
            json!([kid]),
            json!({"kid": kid}),
            json!("k".repeat(5000)),
            Value::Null,
        ] {
            add(&format!("kid {name:.40}"), self.with_header(|header| header["kid"] = name.clone()));
        }
        add("no kid", self.with_header(|header| drop(header.as_object_mut().expect("an object").remove("kid"))));
    }

    /// The key of ID tokens signs no access token, whatever its header says, and an ID token is none.
    fn id_tokens(&self, add: &mut impl FnMut(&str, String), test: &TestApp) {
        let claims = self.claims.to_string();
        let rsa_kid = &self.published["keys"][1]["kid"];
        for (name, encoding) in [
            ("RS256", &signature::RSA_PKCS1_SHA256),
            ("RS512", &signature::RSA_PKCS1_SHA512),
            ("PS256", &signature::RSA_PSS_SHA256),
        ] as [(&str, &'static dyn signature::RsaEncoding); 3]
        {
            for alg in [name, "EdDSA"] {
                for kid in [rsa_kid, &self.header["kid"]] {
                    for typ in ["at+jwt", "JWT"] {
                        let header = json!({"alg": alg, "typ": typ, "kid": kid}).to_string();
                        let token = jws(header.as_bytes(), claims.as_bytes(), |input| {
                            let mut signature = vec![0; self.rsa.public_modulus_len()];
                            self.rsa.sign(encoding, &SystemRandom::new(), input, &mut signature).expect("a signature");
                            signature
                        });
                        add(&format!("{name} by the RSA key as {alg}, {typ}, {kid}"), token);
                    }
                }
            }
        }
        let kid = |header: &mut Value| header["kid"] = rsa_kid.clone();
        add("EdDSA under the name of the RSA key", self.with_header(kid));
        let (keyring, now) = (&test.app().keyring, test.app().clock.now());
        for algorithm in [IdTokenAlgorithm::EdDsa, IdTokenAlgorithm::Rs256] {
            let token = keyring.sign_id_token(algorithm, &self.claims, now).expect("it signs").expect("there is a key");
            add(&format!("an ID token by {algorithm:?} with the claims of an access token"), token);
        }
    }

    /// Members of a header that would have us look elsewhere or read otherwise, and other kinds of token.
    fn headers(&self, add: &mut impl FnMut(&str, String), trap: &str) {
        let own = &self.published["keys"][0];
        for (name, value) in [
            ("jwk", own.clone()),
            ("jku", json!(trap)),
            ("x5u", json!(trap)),
            ("x5c", json!(["MIIB"])),
            ("x5t", json!("abc")),
            ("x5t#S256", json!("abc")),
            ("crit", json!([])),
            ("crit", json!(["exp"])),
            ("b64", json!(false)),
            ("b64", json!(true)),
            ("zip", json!("DEF")),
            ("enc", json!("A256GCM")),
            ("cty", json!("JWT")),
            ("url", json!(trap)),
            ("unknown", json!(1)),
        ] {
            add(&format!("header {name} {value:.20}"), self.with_header(|header| header[name] = value.clone()));
        }
        add(
            "header crit with b64",
            self.with_header(|header| {
                header["crit"] = json!(["b64"]);
                header["b64"] = json!(false);
            }),
        );
        for kind in [
            json!("JWT"),
            json!("jwt"),
            json!(""),
            json!("at+jwt+x"),
            json!("rt+jwt"),
            json!("logout+jwt"),
            json!("id+jwt"),
            json!(["at+jwt"]),
            Value::Null,
        ] {
            add(&format!("typ {kind}"), self.with_header(|header| header["typ"] = kind.clone()));
        }
        add("no typ", self.with_header(|header| drop(header.as_object_mut().expect("an object").remove("typ"))));
        let header = self.header.to_string();
        let twice = header.replacen('{', r#"{"alg":"none","#, 1);
        let claims = self.claims.to_string();
        for (name, header) in [
            ("said twice", twice.as_bytes()),
            ("empty", b"".as_slice()),
            ("null", b"null"),
            ("an array", b"[]"),
            ("a text", b"\"EdDSA\""),
            ("cut off", &header.as_bytes()[..header.len() - 1]),
            ("followed by more", format!("{header}{{}}").as_bytes()),
            ("no UTF-8", b"{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"\xff\"}"),
            ("too deep", "[".repeat(3000).as_bytes()),
        ] {
            add(&format!("a header that is {name}"), self.signed(header, claims.as_bytes()));
        }
    }

    /// What is claimed: each claim missing, of another kind, of somebody else.
    fn claims(&self, add: &mut impl FnMut(&str, String)) {
        for name in ["iss", "aud", "sub", "client_id", "iat", "exp", "jti", "scope", "sid"] {
            let token = self.with_claims(|claims| drop(claims.as_object_mut().expect("an object").remove(name)));
            add(&format!("no {name}"), token);
            for value in [Value::Null, json!({}), json!(true)] {
                add(&format!("{name} {value}"), self.with_claims(|claims| claims[name] = value.clone()));
            }
        }
        let sub = self.claims["sub"].as_str().expect("a text");
        let sid = self.claims["sid"].as_str().expect("a text");
        for (name, value) in [
            ("iss", json!("http://other.test")),
            ("iss", json!(format!("{ISSUER}/"))),
            ("iss", json!("HTTP://REFERRAL.TEST")),
            ("iss", json!("")),
            ("aud", json!("http://other.test")),
            ("aud", json!("referral")),
            ("aud", json!(["http://other.test"])),
            ("aud", json!([])),
            ("aud", json!("")),
            ("sub", json!("")),
            ("sub", json!("user")),
            ("sub", json!("1")),
            ("sub", json!(1)),
            ("sub", json!(format!("{{{sub}}}"))),
            ("sub", json!(format!("{sub}\u{0}"))),
            ("sub", json!("zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz")),
            ("sub", json!([sub])),
            ("sid", json!("")),
            ("sid", json!("1")),
            ("sid", json!(1)),
            ("sid", json!(format!("urn:uuid:{sid}"))),
            ("sid", json!(format!("{sid} "))),
            ("sid", json!("' or '1'='1' or '1'='1' or '1'='1'or'")),
            ("exp", json!(0)),
            ("exp", json!(-1)),
            ("exp", json!(i64::MIN)),
            ("exp", json!(i64::MAX)),
            ("exp", json!(u64::MAX)),
            ("exp", json!(1e300)),
            ("exp", json!("4102444800")),
            ("exp", json!([4_102_444_800_i64])),
            ("iat", json!("now")),
            // Issued after it expires.
            ("iat", json!(4_102_444_800_i64)),
            ("scope", json!(["profile"])),
        ] {
            add(&format!("{name} {value:.60}"), self.with_claims(|claims| claims[name] = value.clone()));
        }
        let header = self.header.to_string();
        let claims = self.claims.to_string();
        for (name, claims) in [
            ("empty", b"".as_slice()),
            ("null", b"null"),
            ("an array", b"[]"),
            ("a text", b"\"claims\""),
            ("cut off", &claims.as_bytes()[..claims.len() - 1]),
            ("followed by more", format!("{claims}{{}}").as_bytes()),
            ("said twice", claims.replacen('{', r#"{"sub":"01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11","#, 1).as_bytes()),
            ("no UTF-8", &[claims.as_bytes(), b"\xff"].concat()),
            ("too deep", "[".repeat(6000).as_bytes()),
        ] {
            add(&format!("claims that are {name}"), self.signed(header.as_bytes(), claims));
        }
    }

    /// What has not the form of a signed token, or a signature that is nearly one.
    fn structures(&self, add: &mut impl FnMut(&str, String)) {
        let parts: Vec<&str> = self.token.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("{parts:?}") };
        let input = format!("{header}.{claims}");
        let proof = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let encrypted = URL_SAFE_NO_PAD.encode(json!({"alg": "dir", "enc": "A256GCM", "typ": "at+jwt"}).to_string());
        for (name, token) in [
            ("encrypted, five parts", format!("{encrypted}..{signature}.{claims}.{signature}")),
            ("five parts", format!("{}.{signature}.{signature}", self.token)),
            ("four parts", format!("{}.{signature}", self.token)),
            ("four parts, the last empty", format!("{}.", self.token)),
            ("four parts, the first empty", format!(".{}", self.token)),
            ("two parts", format!("{claims}.{signature}")),
            ("one part", header.to_owned()),
            ("no claims", format!("{header}..{signature}")),
            ("no header", format!(".{claims}.{signature}")),
            ("a dot", ".".to_owned()),
            ("two dots", "..".to_owned()),
            ("many dots", ".".repeat(15_000)),
            ("15 KB of one letter", "A".repeat(15_000)),
            ("15 KB in three parts", format!("{0}.{0}.{0}", "A".repeat(5000))),
            ("a long tail", format!("{}{}", self.token, "A".repeat(12_000))),
            ("a padded signature", format!("{input}.{}", URL_SAFE.encode(&proof))),
            ("a header with padding", format!("{header}=.{claims}.{signature}")),
            ("a space inside", format!("{header}. {claims}.{signature}")),
            ("quoted", format!("\"{}\"", self.token)),
            ("a comma behind", format!("{},", self.token)),
            ("percent-encoded", self.token.replace('.', "%2E")),
            ("parts in another order", format!("{claims}.{header}.{signature}")),
            ("JSON", json!({"protected": header, "payload": claims, "signature": signature}).to_string()),
            ("null", "null".to_owned()),
            ("zeros for a signature", format!("{input}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
            ("half a signature", format!("{input}.{}", URL_SAFE_NO_PAD.encode(&proof[..32]))),
            ("one byte too few", format!("{input}.{}", URL_SAFE_NO_PAD.encode(&proof[..63]))),
            ("one byte too many", format!("{input}.{}", URL_SAFE_NO_PAD.encode([&proof[..], b"\0"].concat()))),
            ("a signature in another form", format!("{input}.{}", URL_SAFE_NO_PAD.encode(malleated(&proof)))),
            ("the signature of something else", {
                let other = self.with_claims(|claims| claims["jti"] = json!("another"));
                format!("{input}.{}", other.rsplit('.').next().expect("a signature"))
            }),
        ] {
            add(name, token);
        }
    }
}

fn jws(header: &[u8], claims: &[u8], sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The same point with the group's order added to the scalar: equal in the mathematics, refused by RFC 8032.
fn malleated(signature: &[u8]) -> Vec<u8> {
    let order = b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10";
    let (point, scalar) = signature.split_at(32);
    let mut out = point.to_vec();
    let mut carry = 0;
    for (a, b) in scalar.iter().zip(order) {
        let sum = u16::from(*a) + u16::from(*b) + carry;
        out.push((sum & 0xff) as u8);
        carry = sum >> 8;
    }
    out
}

/// Header and claims of a token, unverified.
pub fn opened(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    let mut next = || serde_json::from_slice(&parts.next().expect("a part")).expect("JSON");
    (next(), next())
}

/// The token with another character at this place.
fn flipped(token: &str, at: usize) -> String {
    let mut bytes = token.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).expect("ASCII")
}

/// Bytes that a query has given as hexadecimal digits.
pub fn bytes(column: &Option<String>) -> Vec<u8> {
    let text = column.as_deref().unwrap_or_default();
    let digits: Vec<u8> = text
        .trim_start_matches("\\x")
        .chars()
        .map_while(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Asks who one is with this for a token.
async fn present(client: &Client, token: &[u8]) -> Answer {
    let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).expect("a header's value");
    let mut stranger = client.clone();
    stranger.token = None;
    stranger.send(stranger.request(Method::GET, ME).header(AUTHORIZATION, value)).await
}

fn refresh_token(answer: &Answer) -> String {
    answer.json()["refresh_token"].as_str().expect("a refresh token").to_owned()
}

/// What came of a round that took less than the grace. It is time on a clock that nobody can stop: a round that a busy
/// machine drew out longer proves nothing, and is played again.
pub async fn in_time<T>(round: impl AsyncFn() -> T) -> T {
    loop {
        let began = Instant::now();
        let outcome = round().await;
        if began.elapsed() < GRACE {
            return outcome;
        }
    }
}
