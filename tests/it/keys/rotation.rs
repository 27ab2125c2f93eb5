//! How keys are made and replaced, on schedule and in an emergency.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use referral::app::App;
use referral::features::tokens::actions::keys::{self, AFTERLIFE, LEAD, State};
use referral::kernel::caller::IdTokenAlgorithm;
use referral::kernel::time::Clock;
use referral::worker;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::helpers::{kid, published, refused, rotate, signs_with};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::paths::{KEYS, ME};
use crate::support::tokens::{bytes, opened};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// By which a key's time may still be off: longer than a busy machine takes for a few requests, shorter than the
/// leeway.
const MOMENT: Duration = Duration::from_secs(40);

fn id_token(app: &App, algorithm: IdTokenAlgorithm) -> Option<String> {
    app.keyring.sign_id_token(algorithm, &json!({"sub": "somebody"}), app.clock.now()).expect("it signs")
}

async fn states(app: &App) -> BTreeMap<String, State> {
    keys::list(app).await.expect("a list").into_iter().map(|key| (key.kid, key.state)).collect()
}

on_every_setup!(a_successor_is_published_first_signs_when_its_time_has_come_and_the_former_key_is_retired_last);
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
    let refusal = refused(keys::rotate(&command, false).await);
    assert!(refusal.contains("published already"), "{refusal}");
    let refusal = refused(keys::retire(&command, &first).await);
    assert!(refusal.contains("signs until") && refusal.contains("may be retired from"), "{refusal}");

    test.move_clock(LEAD - MOMENT);
    assert_eq!(signs_with(&nodes[1], "user").await, first);
    assert_eq!(states(&command).await[&first], State::Signing);
    let refusal = refused(keys::retire(&command, &made[0]).await);
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
    assert_eq!(
        states(&command).await,
        BTreeMap::from([
            (first.clone(), State::Verifying),
            (first_rsa.clone(), State::Verifying),
            (made[0].clone(), State::Signing),
            (made[1].clone(), State::Signing),
        ])
    );

    for kid in [&first, &first_rsa] {
        let refusal = refused(keys::retire(&command, kid).await);
        assert!(refusal.contains("may be retired from"), "{refusal}");
    }
    test.move_clock(AFTERLIFE - MOMENT);
    refused(keys::retire(&command, &first).await);
    test.move_clock(MOMENT);
    for kid in [&first, &first_rsa] {
        keys::retire(&command, kid).await.expect("nothing lives that it has signed");
    }
    let left: BTreeSet<String> = made.iter().cloned().collect();
    for node in &nodes {
        eventually("they are gone", || async { published(node).await == left }).await;
        assert_eq!(signs_with(node, "user").await, made[0]);
    }
    let refusal = refused(keys::retire(&command, &first).await);
    assert!(refusal.contains("is retired"), "{refusal}");
    let refusal = refused(keys::retire(&command, &made[0]).await);
    assert!(refusal.contains("referral keys rotate"), "{refusal}");
    let refusal = refused(keys::retire(&command, "unknown").await);
    assert!(refusal.contains("no signing key unknown"), "{refusal}");
    // Nothing is left to sign with.
    let sql = "select count(*) from signing_keys where retired_at is not null and length(private_half) = 0";
    assert_eq!(test.number(sql).await, 2);
    assert_eq!(test.number("select count(*) from signing_keys where length(private_half) > 0").await, 2);
}

on_every_setup!(a_successor_can_be_called_off_before_it_signs);
async fn a_successor_can_be_called_off_before_it_signs(setup: Setup) {
    let test = setup.start_two().await;
    test.user("user").await;
    let node = test.client_of(1);
    let first = signs_with(&node, "user").await;
    let made = rotate(test.app(), false).await;
    eventually("it is published", || async { published(&node).await.contains(&made[0]) }).await;
    keys::retire(test.app(), &made[0]).await.expect("nobody signs with it yet");
    eventually("it is gone", || async { !published(&node).await.contains(&made[0]) }).await;
    test.move_clock(LEAD);
    assert_eq!(signs_with(&node, "user").await, first);
    assert_eq!(states(test.app()).await[&first], State::Signing);
    assert_ne!(rotate(test.app(), false).await, made);
}

on_every_setup!(a_rotation_under_load_fails_no_request);
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
        keys::retire(&command, kid).await.expect("its tokens are dead");
    }
    load.goes_on().await;
    load.stop.store(true, Ordering::Relaxed);
    for client in running {
        client.await.expect("no request failed");
    }
    assert_eq!(load.seen.lock().expect("no panic").len(), 2);
    assert!(!published(&test.client()).await.contains(first.first().expect("a key")));
}

on_every_setup!(in_an_emergency_no_former_token_is_believed_and_everybody_refreshes);
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

on_every_setup!(a_node_whose_clock_is_behind_signs_all_the_same);
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

on_every_setup!(the_rsa_key_is_made_once_however_many_need_it);
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

on_every_setup!(a_node_makes_the_rsa_key_in_the_background);
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

on_every_setup!(of_many_who_rotate_at_once_one_does);
async fn of_many_who_rotate_at_once_one_does(setup: Setup) {
    let test = setup.start_two().await;
    let rotations = (0..6).map(|number| {
        let app = test.nodes[number % 2].app.clone();
        tokio::spawn(async move { keys::rotate(&app, false).await })
    });
    let mut done = 0;
    for rotated in futures_util::future::join_all(rotations).await {
        match rotated.expect("no panic") {
            Ok(_) => done += 1,
            refusal => assert!(refused(refusal).contains("published already")),
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

on_every_setup!(id_tokens_are_verified_by_the_published_keys);
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
    for (at, row) in test.query("select kid, public_key from signing_keys order by generation").await.iter().enumerate()
    {
        let hash = digest(&SHA256, &bytes(&row[1]));
        assert_eq!(row[0].as_deref(), Some(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..12]).as_str()));
        assert_eq!(set["keys"][at]["kid"], json!(row[0]));
    }
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
