//! The life of signing keys: they follow each other unnoticed, are replaced at once in an emergency, and lie sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use referral::app::App;
use referral::features::tokens::actions::keys::{self, AFTERLIFE, LEAD, State};
use referral::kernel::caller::IdTokenAlgorithm;
use referral::kernel::time::Clock;
use referral::worker;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::on_both_engines;
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::process::{Ended, Operator};
use crate::support::servers::Postgres;
use crate::tokens::{bytes, opened};

const ME: &str = "/api/v1/me";
const KEYS: &str = "/.well-known/jwks.json";
const MASTER_KEY: &str = "REFERRAL_MASTER_KEY";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// By which a key's time may still be off: longer than a busy machine takes for a few requests, shorter than the leeway.
const MOMENT: Duration = Duration::from_secs(40);

fn master_key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

/// The names of the keys that a node publishes.
async fn published(client: &Client) -> BTreeSet<String> {
    let set = client.anonymous().get(KEYS).await.expect(200).json();
    set["keys"].as_array().expect("keys").iter().map(|key| key["kid"].as_str().expect("a name").to_owned()).collect()
}

fn kid(token: &str) -> String {
    opened(token).0["kid"].as_str().expect("a name").to_owned()
}

/// The name of the key that a node signs access tokens with.
async fn signs_with(client: &Client, name: &str) -> String {
    kid(client.log_in(name, PASSWORD).await.expect(200).json()["access_token"].as_str().expect("a token"))
}

fn id_token(app: &App, algorithm: IdTokenAlgorithm) -> Option<String> {
    app.keyring.sign_id_token(algorithm, &json!({"sub": "somebody"}), app.clock.now()).expect("it signs")
}

async fn states(app: &App) -> BTreeMap<String, State> {
    keys::list(app).await.expect("a list").into_iter().map(|key| (key.kid, key.state)).collect()
}

/// Rotates as the command line does.
async fn rotate(app: &App, emergency: bool) -> Vec<String> {
    let rotated = keys::rotate(app, emergency).await.expect("no fault").expect("no refusal");
    rotated.made.into_iter().map(|(kid, _)| kid).collect()
}

on_every_setup! {
    async fn a_successor_is_published_first_signs_when_its_time_has_come_and_the_former_key_is_retired_last(setup: Setup) {
        let test = setup.start_two().await;
        let command = test.command(&[]).await;
        keys::rs256_ready(test.app()).await.expect("the RSA key");
        let nodes = [test.client_of(0), test.client_of(1)];
        let user = test.user("user").await;
        let former = published(&nodes[0]).await;
        assert_eq!(former.len(), 2);
        eventually("the other node has the RSA key", || async { published(&nodes[1]).await == former }).await;
        let first = signs_with(&nodes[0], "user").await;
        let first_rsa = kid(&id_token(test.app(), IdTokenAlgorithm::Rs256).expect("a key"));
        assert_eq!(former, BTreeSet::from([first.clone(), first_rsa.clone()]));

        let made = rotate(&command, false).await;
        let all: BTreeSet<String> = former.iter().chain(&made).cloned().collect();
        assert_eq!(all.len(), 4);
        for node in &nodes {
            eventually("it is published", || async { published(node).await == all }).await;
            assert_eq!(signs_with(node, "user").await, first);
        }
        let refusal = keys::rotate(&command, false).await.expect("no fault").err().expect("one rotation at a time");
        assert!(refusal.contains("published already"), "{refusal}");
        let refusal = keys::retire(&command, &first).await.expect("no fault").expect_err("it signs");
        assert!(refusal.contains("signs until") && refusal.contains("may be retired from"), "{refusal}");

        test.move_clock(LEAD - MOMENT);
        assert_eq!(signs_with(&nodes[1], "user").await, first);
        assert_eq!(states(&command).await[&first], State::Signing);
        let refusal = keys::retire(&command, &made[0]).await.expect("no fault").expect_err("it is about to sign");
        assert!(refusal.contains("called off"), "{refusal}");
        test.move_clock(MOMENT);
        for node in &nodes {
            assert_eq!(signs_with(node, "user").await, made[0]);
        }
        for node in &test.nodes {
            let token = id_token(&node.app, IdTokenAlgorithm::Rs256).expect("a key");
            assert_eq!(kid(&token), made[1]);
            let token = id_token(&node.app, IdTokenAlgorithm::EdDsa).expect("a key");
            assert_eq!(kid(&token), made[0]);
            // What the former has signed goes on.
            user.at(&node.url).get(ME).await.expect(200);
        }
        assert_eq!(states(&command).await, BTreeMap::from([
            (first.clone(), State::Verifying), (first_rsa.clone(), State::Verifying),
            (made[0].clone(), State::Signing), (made[1].clone(), State::Signing),
        ]));

        for kid in [&first, &first_rsa] {
            let refusal = keys::retire(&command, kid).await.expect("no fault").expect_err("its tokens live");
            assert!(refusal.contains("may be retired from"), "{refusal}");
        }
        test.move_clock(AFTERLIFE - MOMENT);
        keys::retire(&command, &first).await.expect("no fault").expect_err("its tokens live");
        test.move_clock(MOMENT);
        for kid in [&first, &first_rsa] {
            keys::retire(&command, kid).await.expect("no fault").expect("nothing lives that it has signed");
        }
        let left: BTreeSet<String> = made.iter().cloned().collect();
        for node in &nodes {
            eventually("they are gone", || async { published(node).await == left }).await;
            assert_eq!(signs_with(node, "user").await, made[0]);
        }
        let refusal = keys::retire(&command, &first).await.expect("no fault").expect_err("once is enough");
        assert!(refusal.contains("is retired"), "{refusal}");
        let refusal = keys::retire(&command, &made[0]).await.expect("no fault").expect_err("it signs");
        assert!(refusal.contains("referral keys rotate"), "{refusal}");
        let refusal = keys::retire(&command, "unknown").await.expect("no fault").expect_err("there is none");
        assert!(refusal.contains("no signing key unknown"), "{refusal}");
        // Nothing is left to sign with.
        let sql = "select count(*) from signing_keys where retired_at is not null and length(private_half) = 0";
        assert_eq!(test.number(sql).await, 2);
        assert_eq!(test.number("select count(*) from signing_keys where length(private_half) > 0").await, 2);
    }

    async fn a_successor_can_be_called_off_before_it_signs(setup: Setup) {
        let test = setup.start_two().await;
        test.user("user").await;
        let node = test.client_of(1);
        let first = signs_with(&node, "user").await;
        let made = rotate(test.app(), false).await;
        eventually("it is published", || async { published(&node).await.contains(&made[0]) }).await;
        keys::retire(test.app(), &made[0]).await.expect("no fault").expect("nobody signs with it yet");
        eventually("it is gone", || async { !published(&node).await.contains(&made[0]) }).await;
        test.move_clock(LEAD);
        assert_eq!(signs_with(&node, "user").await, first);
        assert_eq!(states(test.app()).await[&first], State::Signing);
        assert_ne!(rotate(test.app(), false).await, made);
    }

    /// Log-ins, refreshes and calls on both nodes, without a pause, while keys are replaced and retired.
    async fn a_rotation_under_load_fails_no_request(setup: Setup) {
        let test = Arc::new(setup.start_two().await);
        keys::rs256_ready(test.app()).await.expect("the RSA key");
        let load = Load::default();
        let mut running = Vec::new();
        for number in 0..CLIENTS {
            let name = format!("user{number}");
            test.client().register(&name, None).await.expect(201);
            running.push(tokio::spawn(load.clone().run(test.clone(), name, number)));
        }
        load.goes_on().await;
        let command = test.command(&[]).await;
        let first = load.seen.lock().expect("no panic").clone();
        assert_eq!(first.len(), 1);
        let made = rotate(&command, false).await;
        load.goes_on().await;
        test.move_clock(LEAD - 2 * MINUTE);
        load.goes_on().await;
        assert_eq!(*load.seen.lock().expect("no panic"), first);
        test.move_clock(2 * MINUTE);
        load.goes_on().await;
        assert!(load.seen.lock().expect("no panic").contains(&made[0]), "the new key signs");
        test.move_clock(AFTERLIFE);
        for kid in &first {
            keys::retire(&command, kid).await.expect("no fault").expect("its tokens are dead");
        }
        load.goes_on().await;
        load.stop.store(true, Ordering::Relaxed);
        for client in running {
            client.await.expect("no request failed");
        }
        assert_eq!(load.seen.lock().expect("no panic").len(), 2);
        assert!(!published(&test.client()).await.contains(first.first().expect("a key")));
    }

    /// Told by one command, which is no node.
    async fn in_an_emergency_no_former_token_is_believed_and_everybody_refreshes(setup: Setup) {
        let test = setup.start_two().await;
        keys::rs256_ready(test.app()).await.expect("the RSA key");
        let user = test.user("user").await;
        let nodes: Vec<Client> = test.nodes.iter().map(|node| user.at(&node.url)).collect();
        for node in &nodes {
            // Verified, and remembered to be.
            node.get(ME).await.expect(200);
        }
        let former = published(&nodes[0]).await;
        // One that is on its way is as known as the others.
        let next = rotate(test.app(), false).await;
        let command = test.command(&[]).await;
        let made = rotate(&command, true).await;
        let began = Instant::now();
        for node in &nodes {
            eventually("the former token is refused", || async { node.get(ME).await.status == 401 }).await;
        }
        assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
        let left: BTreeSet<String> = made.iter().cloned().collect();
        for node in &nodes {
            node.get(ME).await.expect_problem(401, "invalid_token");
            assert_eq!(published(node).await, left);
            assert_eq!(signs_with(node, "user").await, made[0]);
        }
        let mut again = user.clone();
        again.take_tokens(&nodes[1].refresh(user.refresh_token.as_ref().expect("a token")).await.expect(200));
        for node in &nodes {
            again.at(&node.base).get(ME).await.expect(200);
        }
        for node in &test.nodes {
            assert_eq!(kid(&id_token(&node.app, IdTokenAlgorithm::Rs256).expect("a key")), made[1]);
        }
        let states = states(test.app()).await;
        assert!(former.iter().chain(&next).all(|kid| states[kid] == State::Retired), "{states:?}");
        assert_eq!(test.number("select count(*) from signing_keys where length(private_half) > 0").await, 2);
        // Housekeeping, which reads the keys as well, brings nothing back.
        for node in &test.nodes {
            worker::clean(&node.app).await.expect("it cleans");
            assert_eq!(published(&test.client()).await, left);
        }
        user.get(ME).await.expect_problem(401, "invalid_token");
    }

    /// The machine of the command may be ahead of a node.
    async fn a_node_whose_clock_is_behind_signs_all_the_same(setup: Setup) {
        let test = setup.start().await;
        let (behind, command) = (test.open(&[]).await.expect("a node"), test.command(&[]).await);
        let made = rotate(&command, true).await;
        referral::features::tokens::actions::keys::read(&behind.keyring, &behind.db).await.expect("the keys");
        let clock = Clock::default();
        clock.shift(-50_000_000);
        let token = behind.keyring.sign_id_token(IdTokenAlgorithm::EdDsa, &json!({}), clock.now()).expect("it signs");
        assert_eq!(kid(&token.expect("a key")), made[0]);
    }

    async fn the_rsa_key_is_made_once_however_many_need_it(setup: Setup) {
        let mut test = setup.start_two().await;
        test.add_node().await;
        assert!(id_token(test.app(), IdTokenAlgorithm::Rs256).is_none());
        assert_eq!(published(&test.client()).await.len(), 1);
        let needed = (0..12).map(|number| {
            let app = test.nodes[number % 3].app.clone();
            tokio::spawn(async move { keys::rs256_ready(&app).await.map(|()| id_token(&app, IdTokenAlgorithm::Rs256)) })
        });
        let mut kids = BTreeSet::new();
        for token in futures_util::future::join_all(needed).await {
            // It signs at once.
            kids.insert(kid(&token.expect("no panic").expect("no fault").expect("a key")));
        }
        assert_eq!(kids.len(), 1);
        assert_eq!(test.number("select count(*) from signing_keys where algorithm = 'RS256'").await, 1);
        for node in &test.nodes {
            assert!(published(&test.client().at(&node.url)).await.is_superset(&kids));
        }
    }

    async fn a_node_makes_the_rsa_key_in_the_background(setup: Setup) {
        let test = setup.start_two().await;
        let (stop, stopped) = watch::channel(false);
        let working = tokio::spawn(worker::work(test.app().clone(), stopped));
        for node in &test.nodes {
            eventually("it is published", || async { published(&test.client().at(&node.url)).await.len() == 2 }).await;
        }
        stop.send(true).expect("it works");
        working.await.expect("no panic");
    }

    async fn of_many_who_rotate_at_once_one_does(setup: Setup) {
        let test = setup.start_two().await;
        let rotations = (0..6).map(|number| {
            let app = test.nodes[number % 2].app.clone();
            tokio::spawn(async move { keys::rotate(&app, false).await })
        });
        let mut done = 0;
        for rotated in futures_util::future::join_all(rotations).await {
            match rotated.expect("no panic").expect("no fault") {
                Ok(_) => done += 1,
                Err(refusal) => assert!(refusal.contains("published already"), "{refusal}"),
            }
        }
        assert_eq!(done, 1);
        assert_eq!(test.number("select count(*) from signing_keys").await, 2);
        // Emergencies do not stand back for each other: the last of them holds.
        let emergencies = (0..4).map(|number| {
            let app = test.nodes[number % 2].app.clone();
            tokio::spawn(async move { rotate(&app, true).await })
        });
        futures_util::future::join_all(emergencies).await.into_iter().for_each(|made| drop(made.expect("no panic")));
        assert_eq!(test.number("select count(*) from signing_keys where retired_at is null").await, 1);
        assert_eq!(test.number("select count(*) from signing_keys").await, 6);
    }

    /// Verified as any other program would: by the keys that are published.
    async fn id_tokens_are_verified_by_the_published_keys(setup: Setup) {
        let test = setup.start().await;
        keys::rs256_ready(test.app()).await.expect("the RSA key");
        let set = test.client().get(KEYS).await.expect(200).json();
        let keys: JwkSet = serde_json::from_value(set.clone()).expect("a key set");
        let now = test.app().clock.now();
        for (algorithm, alg) in [(IdTokenAlgorithm::Rs256, Algorithm::RS256), (IdTokenAlgorithm::EdDsa, Algorithm::EdDSA)] {
            assert_eq!(IdTokenAlgorithm::parse(algorithm.word()), Some(algorithm));
            let claims = json!({"iss": "http://referral.test", "aud": "client", "exp": now.seconds() + 60, "nonce": "ü"});
            let token = test.app().keyring.sign_id_token(algorithm, &claims, now).expect("it signs").expect("a key");
            let header = opened(&token).0;
            assert_eq!(header, json!({"alg": algorithm.word(), "typ": "JWT", "kid": header["kid"]}));
            let key = keys.find(header["kid"].as_str().expect("a name")).expect("the key that the token names");
            let mut rules = Validation::new(alg);
            rules.set_audience(&["client"]);
            let read = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(key).expect("a key"), &rules);
            assert_eq!(read.expect("a good token").claims, claims);
        }
        assert_eq!(IdTokenAlgorithm::parse("HS256"), None);
        let key = &set["keys"][1];
        let mut names: Vec<&str> = key.as_object().expect("an object").keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!((&key["alg"], &key["kty"], &key["use"]), (&json!("RS256"), &json!("RSA"), &json!("sig")));
        assert_eq!(key["e"], json!("AQAB"));
        assert_eq!(URL_SAFE_NO_PAD.decode(key["n"].as_str().expect("a text")).expect("base64url").len(), 256);
        for (at, row) in test.query("select kid, public_key from signing_keys order by generation").await.iter().enumerate() {
            let hash = digest(&SHA256, &bytes(&row[1]));
            assert_eq!(row[0].as_deref(), Some(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..12]).as_str()));
            assert_eq!(set["keys"][at]["kid"], json!(row[0]));
        }
    }

    async fn with_a_master_key_private_keys_lie_sealed_and_open_under_no_other(setup: Setup) {
        let mut test = setup.start().await;
        keys::rs256_ready(test.app()).await.expect("the RSA key");
        let user = test.user("user").await;
        let open: Vec<Vec<u8>> = private_keys(&test).await;
        Ed25519KeyPair::from_pkcs8(&open[0]).expect("it lies open");
        RsaKeyPair::from_pkcs8(&open[1]).expect("it lies open");
        let before = published(&user).await;

        let (ours, other) = (master_key(7), master_key(8));
        test.add_node_with(&[(MASTER_KEY, &ours)]).await;
        assert_eq!(test.number("select count(*) from signing_keys where sealed").await, 2);
        for (open, sealed) in open.iter().zip(private_keys(&test).await) {
            assert!(sealed.len() > open.len() && !sealed.windows(16).any(|part| open.windows(16).any(|was| was == part)));
        }
        // Nobody notices: the new node believes what there is, and the old one has its keys in memory.
        let sealing = user.at(&test.nodes[1].url);
        sealing.get(ME).await.expect(200);
        assert_eq!(published(&sealing).await, before);
        referral::features::tokens::actions::keys::read(&test.app().keyring, &test.app().db).await.expect("the keys");
        assert_eq!(signs_with(&user, "user").await, signs_with(&sealing, "user").await);
        // What is made is sealed, by nodes and by commands.
        let command = test.command(&[(MASTER_KEY, &ours)]).await;
        let made = rotate(&command, false).await;
        assert_eq!(test.number("select count(*) from signing_keys where sealed").await, 4);
        test.move_clock(LEAD);
        eventually("the new key signs", || async { signs_with(&sealing, "user").await == made[0] }).await;

        let refused = async |settings: &[(&str, &str)], part: &str| {
            let Err(sentence) = test.open(settings).await else { panic!("it starts without the master key") };
            assert!(sentence.contains(MASTER_KEY) && sentence.contains(part), "{sentence}");
            let command = test.command(settings).await;
            assert_eq!(keys::rotate(&command, false).await.expect("no fault").err(), Some(sentence));
        };
        refused(&[], "is sealed").await;
        refused(&[(MASTER_KEY, &other)], "does not open").await;
        test.open(&[(MASTER_KEY, &ours)]).await.expect("a node starts with the master key");

        // Sealed for its own name: another row's does not open.
        test.sql("update signing_keys set private_half = (select private_half from signing_keys where generation = 1) \
                  where generation = 3").await;
        let Err(sentence) = test.open(&[(MASTER_KEY, &ours)]).await else { panic!("it takes one key for another") };
        assert!(sentence.contains("does not open"), "{sentence}");
    }

    async fn an_emergency_is_over_though_the_master_key_is_lost(setup: Setup) {
        let (lost, new) = (master_key(7), master_key(8));
        let mut test = setup.start_with(&[(MASTER_KEY, &lost)]).await;
        keys::rs256_ready(test.app()).await.expect("the RSA key");
        let user = test.user("user").await;
        assert_eq!(test.number("select count(*) from signing_keys where sealed").await, 2);
        let command = test.command(&[(MASTER_KEY, &new)]).await;
        let rotated = keys::rotate(&command, true).await.expect("no fault").expect("no refusal");
        assert!(rotated.locked.is_some());
        // The node that still has the lost one believes what it cannot sign.
        eventually("the former token is refused", || async { user.get(ME).await.status == 401 }).await;
        // It signs nothing, says so, and does nothing by halves.
        let sessions = test.number("select count(*) from token_families").await;
        for answer in [
            user.log_in("user", PASSWORD).await,
            user.refresh(user.refresh_token.as_ref().expect("a token")).await,
        ] {
            assert_eq!(answer.expect(503).json()["code"], "overloaded");
        }
        assert_eq!(test.number("select count(*) from token_families").await, sessions);
        assert_eq!(user.get("/readyz").await.expect(503).json()["reason"], "keys");
        user.get("/readyz?reads").await.expect(200);
        test.add_node_with(&[(MASTER_KEY, &new)]).await;
        let mut again = user.at(&test.nodes[1].url);
        again.take_tokens(&again.refresh(user.refresh_token.as_ref().expect("a token")).await.expect(200));
        again.get(ME).await.expect(200);
        again.at(&test.nodes[0].url).get(ME).await.expect(200);
        assert_eq!(kid(again.token.as_ref().expect("a token")), rotated.made[0].0);
        assert!(test.open(&[(MASTER_KEY, &lost)]).await.is_err());
    }
}

async fn private_keys(test: &TestApp) -> Vec<Vec<u8>> {
    let rows = test.query("select private_half from signing_keys order by generation").await;
    rows.iter().map(|row| bytes(&row[0])).collect()
}

const CLIENTS: usize = 4;

/// Clients that do not pause.
#[derive(Clone, Default)]
struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<[AtomicUsize; CLIENTS]>,
    /// The keys that have signed.
    seen: Arc<std::sync::Mutex<BTreeSet<String>>>,
}

impl Load {
    /// Waits until every client has gone around twice more, once of it wholly from now on.
    async fn goes_on(&self) {
        let so_far: Vec<usize> = self.rounds.iter().map(|rounds| rounds.load(Ordering::Relaxed)).collect();
        let further = || async {
            self.rounds.iter().zip(&so_far).all(|(rounds, so_far)| rounds.load(Ordering::Relaxed) >= so_far + 2)
                // One that failed goes around no more.
                || self.stop.load(Ordering::Relaxed)
        };
        eventually("the load goes on", further).await;
    }

    async fn run(self, test: Arc<TestApp>, name: String, number: usize) {
        let failed = StopsWhenDropped(self.stop.clone());
        let nodes = [test.client_of(number % 2), test.client_of((number + 1) % 2)];
        while !self.stop.load(Ordering::Relaxed) {
            let mut grant = nodes[0].log_in(&name, PASSWORD).await.expect(200);
            for _ in 0..3 {
                let mut client = test.client();
                client.take_tokens(&grant);
                let token = client.token.clone().expect("a token");
                self.seen.lock().expect("no panic").insert(kid(&token));
                for node in &nodes {
                    let answer = client.at(&node.base).get(ME).await;
                    // Dead, not refused: the clock was moved past its life.
                    let dead = || opened(&token).1["exp"].as_i64().expect("a time") <= test.app().clock.now().seconds();
                    assert!(answer.status == 200 || answer.status == 401 && dead(), "{answer:?}");
                    let published = published(node).await;
                    assert!(published.contains(&kid(&token)) || dead(), "{published:?}");
                }
                grant = nodes[1].refresh(client.refresh_token.as_ref().expect("a token")).await.expect(200);
            }
            self.rounds[number].fetch_add(1, Ordering::Relaxed);
        }
        std::mem::forget(failed);
    }
}

/// Ends the load when one of its clients has panicked.
struct StopsWhenDropped(Arc<AtomicBool>);

impl Drop for StopsWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// ---------------------------------------------------------------------------------------------- the command line

/// An operator with the engine of a set-up.
async fn operator(setup: Setup) -> Operator {
    let mut operator = Operator::on_a_free_port();
    if setup != Setup::Sqlite {
        operator.set("DATABASE_URL", Postgres::shared().await.database().await);
    }
    operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
    operator
}

/// The lines of `keys list`, without the heading: name, algorithm, state.
fn listed(operator: &Operator) -> Vec<[String; 3]> {
    let told = operator.run(&["keys", "list"]).well().stdout;
    let lines = told.lines().skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.last().expect("a time").ends_with('Z'), "{line}");
        [words[0], words[1], words[2]].map(str::to_owned)
    });
    lines.collect()
}

fn told(ended: &Ended, parts: &[&str]) {
    for part in parts {
        assert!(ended.stdout.contains(part), "no {part:?}: {ended:?}");
    }
}

on_both_engines! {
    async fn keys_are_managed_from_the_command_line_beside_the_running_service(setup: Setup) {
        let operator = operator(setup).await;
        operator.run(&["keys", "list"]).refused(&["there is no database of Referral's"]);
        operator.run(&["migrate"]).well();
        told(&operator.run(&["keys", "list"]).well(), &["there are no keys yet"]);
        let serving = operator.serve();
        let user = serving.client().signed_up("user").await;
        eventually("the RSA key is made", || async { published(&user).await.len() == 2 }).await;
        let first = listed(&operator);
        let words = |key: &[String; 3]| (key[1].clone(), key[2].clone());
        assert_eq!(first.iter().map(words).collect::<Vec<_>>(), [
            ("EdDSA".to_owned(), "signing".to_owned()), ("RS256".to_owned(), "signing".to_owned()),
        ]);
        assert_eq!(first[0][0], kid(user.token.as_ref().expect("a token")));

        let rotated = operator.run(&["keys", "rotate"]).well();
        told(&rotated, &["(EdDSA) is published and signs from 20", "(RS256)", "may be retired from 20"]);
        operator.run(&["keys", "rotate"]).refused(&["published already and signs from"]);
        operator.run(&["keys", "retire", &first[0][0]]).refused(&["signs until", "may be retired from"]);
        operator.run(&["keys", "retire", "-nothing"]).refused(&["no signing key -nothing", "keys list"]);
        let states: Vec<String> = listed(&operator).into_iter().map(|[_, _, state]| state).collect();
        assert_eq!(states, ["signing", "signing", "next", "next"]);
        eventually("the running node has heard", || async { published(&user).await.len() == 4 }).await;
        let next = listed(&operator)[2][0].clone();
        told(&operator.run(&["keys", "retire", &next]).well(), &["is retired"]);
        eventually("the running node has heard", || async { published(&user).await.len() == 3 }).await;

        user.get(ME).await.expect(200);
        told(&operator.run(&["keys", "rotate", "--emergency"]).well(), &["signs now", "all former keys are retired"]);
        eventually("the former token is refused", || async { user.get(ME).await.status == 401 }).await;
        let mut again = user.clone();
        again.take_tokens(&user.refresh(user.refresh_token.as_ref().expect("a token")).await.expect(200));
        again.get(ME).await.expect(200);
        let states: Vec<String> = listed(&operator).into_iter().map(|[_, _, state]| state).collect();
        assert_eq!(states, ["retired", "retired", "retired", "retired", "signing", "signing"]);
    }

    async fn without_its_master_key_the_service_says_what_to_do_and_does_not_start(setup: Setup) {
        let mut operator = operator(setup).await;
        operator.serve().client().signed_up("user").await;
        operator.set("REFERRAL_LOG", "info");
        operator.write("master.key", format!("{}\n", master_key(9)));
        operator.set("REFERRAL_MASTER_KEY_FILE", "master.key");
        told(&operator.run(&["check"]).well(), &["ok    signing keys"]);
        let serving = operator.serve();
        serving.client().log_in("user", PASSWORD).await.expect(200);
        let ended = serving.stop().well();
        assert!(ended.stderr.contains("are sealed now"), "{ended:?}");
        assert!(!ended.stderr.contains(&master_key(9)), "{ended:?}");
        told(&operator.run(&["check"]).well(), &["ok    signing keys"]);
        let again = operator.serve().stop().well();
        assert!(!again.stderr.contains("are sealed now"), "{again:?}");

        operator.write("master.key", master_key(10));
        operator.run(&["serve"]).refused(&["REFERRAL_MASTER_KEY", "does not open", "--emergency"]);
        let checked = operator.run(&["check"]);
        assert_eq!(checked.code, Some(1));
        told(&checked, &["WRONG signing keys", "does not open"]);
        operator.write("master.key", "not 32 bytes");
        operator.run(&["serve"]).refused(&["REFERRAL_MASTER_KEY", "openssl rand -base64 32"]);
        operator.unset("REFERRAL_MASTER_KEY_FILE");
        operator.run(&["serve"]).refused(&["REFERRAL_MASTER_KEY_FILE", "is sealed", "--emergency"]);
        told(&operator.run(&["check"]), &["WRONG signing keys", "is sealed"]);
        // People are managed without it: nothing is signed.
        operator.run(&["admin", "promote", "user"]).well();
        told(&operator.run(&["keys", "list"]).well(), &["signing"]);
        operator.run(&["keys", "rotate"]).refused(&["is sealed"]);

        told(&operator.run(&["keys", "rotate", "--emergency"]).well(), &["could not be opened", "signs now"]);
        operator.serve().client().log_in("user", PASSWORD).await.expect(200);
    }
}
