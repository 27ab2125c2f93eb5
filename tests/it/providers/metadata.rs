//! Metadata and keys: where they may lead, how often they are asked for, and providers that are broken.

use std::time::Duration;

use futures_util::future::join_all;
use referral::outbound::identity_provider::PATIENCE;
use referral::outbound::identity_provider::model::SignInError;
use serde_json::json;

use super::helpers::{FLOW, Lie, NONCE, STATE, VERIFIER, nobody_gets_in, providers, providers_with, sign_in};
use crate::support::app::eventually;
use crate::support::log;
use crate::support::process::Operator;
use crate::support::provider::{Fault, Provider, SECRET};

#[tokio::test]
async fn metadata_that_is_not_the_configured_issuers_lets_nobody_in() {
    use SignInError::*;
    nobody_gets_in(&[
        ("another issuer", MetadataIssuer, |play| play.metadata = json!({"issuer": "https://accounts.google.com"})),
        ("the issuer with a slash", MetadataIssuer, |play| {
            let issuer = format!("{}/", play.iss.clone().expect("an issuer"));
            play.metadata = json!({"issuer": issuer});
        }),
        ("no issuer", MetadataIssuer, |play| play.metadata = json!({"issuer": null})),
        ("no keys", MetadataAddress, |play| play.metadata = json!({"jwks_uri": null})),
        ("no token endpoint", MetadataAddress, |play| play.metadata = json!({"token_endpoint": null})),
        ("no authorization endpoint", MetadataAddress, |play| play.metadata = json!({"authorization_endpoint": null})),
        ("a list of token endpoints", MetadataAddress, |play| play.metadata = json!({"token_endpoint": ["/token"]})),
        ("keys at no address", MetadataAddress, |play| play.metadata = json!({"jwks_uri": "keys"})),
    ])
    .await;
}

#[tokio::test]
async fn nothing_is_sent_where_no_metadata_may_lead() {
    let provider = Provider::start().await;
    let elsewhere = "http://169.254.169.254/latest/meta-data";
    for (member, address) in [
        ("jwks_uri", elsewhere),
        ("token_endpoint", elsewhere),
        ("userinfo_endpoint", elsewhere),
        ("authorization_endpoint", elsewhere),
        ("authorization_endpoint", "javascript:alert(1)"),
        ("token_endpoint", "file:///etc/passwd"),
        ("jwks_uri", "http://10.0.0.1/keys"),
        ("jwks_uri", "ftp://127.0.0.1/keys"),
        ("jwks_uri", "http://127.0.0.1.example.com/keys"),
    ] {
        let all = providers(&[("corp", &provider)], &[]);
        provider.plays(|play| {
            play.all_in_the_token = false;
            play.metadata = json!({member: address});
        });
        let outcome = sign_in(&all, "corp", provider.clock.now()).await;
        assert_eq!(outcome.err(), Some(SignInError::MetadataAddress), "{member}: {address}");
    }
}

#[tokio::test]
async fn metadata_are_asked_for_once_an_hour() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    let now = provider.clock.now();
    let times = |provider: &Provider| (provider.asked("/.well-known/openid-configuration"), provider.asked("/keys"));
    join_all((0..10).map(|_| sign_in(&all, "corp", now))).await;
    assert_eq!(times(&provider), (1, 1));
    let later = |minutes: u64| now.plus(Duration::from_secs(minutes * 60));
    all.begin("corp", &FLOW, STATE, later(59)).await.expect("an address");
    assert_eq!(times(&provider), (1, 1));
    all.begin("corp", &FLOW, STATE, later(61)).await.expect("an address");
    assert_eq!(times(&provider), (2, 2));
    // A clock that steps back does not make them last for ever.
    all.begin("corp", &FLOW, STATE, now).await.expect("an address");
    assert_eq!(times(&provider), (3, 3));
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_signs_and_not_more_often_than_every_ten_seconds() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    let now = provider.clock.now();
    let at = |seconds: u64| now.plus(Duration::from_secs(seconds));
    sign_in(&all, "corp", now).await.expect("an identity");
    assert_eq!(provider.asked("/keys"), 1);

    provider.plays(|play| (play.keys, play.published) = (1, vec![0, 1]));
    sign_in(&all, "corp", at(0)).await.expect("an identity");
    sign_in(&all, "corp", at(1)).await.expect("an identity");
    assert_eq!(provider.asked("/keys"), 2);

    // Somebody else's key makes us look no more often.
    provider.plays(|play| play.keys = 2);
    for (seconds, asked) in [(2, 2), (9, 2), (10, 3), (11, 3), (19, 3), (20, 4)] {
        assert_eq!(sign_in(&all, "corp", at(seconds)).await.err(), Some(SignInError::TokenKey));
        assert_eq!(provider.asked("/keys"), asked, "{seconds}");
    }
    provider.plays(|play| play.keys = 1);
    sign_in(&all, "corp", at(21)).await.expect("an identity");

    // The old key is out; a new one comes under its name.
    provider.plays(|play| (play.keys, play.published, play.header) = (2, vec![2], json!({"kid": null})));
    sign_in(&all, "corp", at(31)).await.expect("an identity");
    provider.plays(|play| (play.keys, play.header) = (1, json!({"kid": "rsa-1"})));
    assert_eq!(sign_in(&all, "corp", at(41)).await.err(), Some(SignInError::TokenKey));
}

const PATHS: [&str; 4] = ["/.well-known/openid-configuration", "/keys", "/token", "/userinfo"];
/// Patience enough for an answer of this machine's.
const LITTLE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_broken_provider_lets_nobody_in_and_is_back_when_it_is_back() {
    let (provider, private) = (Provider::start().await, Provider::start().await);
    let elsewhere = format!("{}/keys", private.url);
    for path in PATHS {
        for (fault, expected) in [
            (Fault::Broken, SignInError::BrokenAnswer),
            (Fault::Garbage, SignInError::BrokenAnswer),
            (Fault::Huge, SignInError::BrokenAnswer),
            (Fault::Redirect(302, elsewhere.clone()), SignInError::BrokenAnswer),
            (Fault::Redirect(307, elsewhere.clone()), SignInError::BrokenAnswer),
            (Fault::Silence, SignInError::Unreachable),
        ] {
            let patience = if matches!(fault, Fault::Silence) { LITTLE } else { PATIENCE };
            let all = providers_with(&[("corp", &provider)], &[], patience);
            provider.plays(|play| {
                play.all_in_the_token = false;
                play.faults.insert(path, fault.clone());
            });
            let outcome = sign_in(&all, "corp", provider.clock.now()).await;
            assert_eq!(outcome.err(), Some(expected), "{path}: {fault:?}");
            provider.is_honest();
            // The same ones: failures are not remembered.
            sign_in(&all, "corp", provider.clock.now()).await.unwrap_or_else(|e| panic!("{path} {fault:?}: {e:?}"));
        }
    }
    assert_eq!(private.asked("/keys"), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_unreachable() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    let now = provider.clock.now();
    drop(provider);
    eventually("it is gone", || async {
        matches!(all.begin("corp", &FLOW, STATE, now).await, Err(SignInError::Unreachable))
    })
    .await;
}

#[tokio::test]
async fn discovery_is_tried_twice_and_those_who_wait_share_its_failure() {
    let provider = Provider::start().await;
    let now = provider.clock.now();
    let all = providers_with(&[("corp", &provider)], &[], LITTLE);
    let path = "/.well-known/openid-configuration";
    provider.plays(|play| drop(play.faults.insert(path, Fault::Silence)));
    let began = std::time::Instant::now();
    for outcome in join_all((0..20).map(|_| all.begin("corp", &FLOW, STATE, now))).await {
        assert_eq!(outcome.err(), Some(SignInError::Unreachable));
    }
    assert_eq!(provider.asked(path), 2);
    assert!(began.elapsed() < LITTLE * 10, "they wait together, not one after the other");
    // Who comes later has it tried again.
    assert_eq!(all.begin("corp", &FLOW, STATE, now).await.err(), Some(SignInError::Unreachable));
    assert_eq!(provider.asked(path), 4);
    // What is wrong is wrong the second time.
    provider.is_honest();
    provider.plays(|play| play.metadata = json!({"issuer": "https://accounts.google.com"}));
    assert_eq!(all.begin("corp", &FLOW, STATE, now).await.err(), Some(SignInError::MetadataIssuer));
    assert_eq!(provider.asked(path), 5);
}

/// One thread, so that the log of this thread is that of this test.
#[tokio::test(flavor = "current_thread")]
async fn the_log_says_why_and_nothing_that_is_secret_or_personal() {
    log::listen();
    let provider = Provider::start().await;
    let now = provider.clock.now();
    let lies: &[Lie] = &[
        |_| {},
        |play| play.claims = json!({"nonce": "other"}),
        |play| play.claims = json!({"sub": "olga@example.com\u{0}"}),
        |play| play.claims = json!({"exp": "olga@example.com"}),
        |play| play.answer = json!({"access_token": ["at-secret"]}),
        |play| play.secret = Some("changed".into()),
        |play| play.userinfo = json!({"sub": "olga@example.com"}),
        |play| play.metadata = json!({"issuer": "https://id.example.com/\u{1b}[31m"}),
        |play| drop(play.faults.insert("/token", Fault::Broken)),
    ];
    for lie in lies {
        let all = providers(&[("corp", &provider)], &[]);
        provider.plays(|play| play.all_in_the_token = false);
        provider.plays(lie);
        let _ = sign_in(&all, "corp", now).await;
        provider.is_honest();
    }
    let text = log::heard();
    for word in ["token_nonce", "token_subject", "client_refused", "userinfo_subject", "metadata_issuer", "corp"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    for secret in [SECRET, "s3cr3t", "olga", "code-", "at-", NONCE, VERIFIER, STATE, "eyJ", "\u{1b}[31m\""] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_reaches_for_each_provider() {
    let (good, bad) = (Provider::start().await, Provider::start().await);
    let mut operator = Operator::on_a_free_port();
    for (name, value) in good.settings("good") {
        operator.set(&name, &value);
    }
    let ended = operator.run(&["check"]).well();
    assert!(ended.stdout.contains(&format!("ok    providers.good: reached, {}", good.url)), "{ended:?}");
    for (name, value) in bad.settings("bad") {
        operator.set(&name, &value);
    }
    bad.plays(|play| play.metadata = json!({"issuer": "https://id.example.com"}));
    let ended = operator.run(&["check"]);
    assert!(ended.stdout.contains("WRONG providers.bad:"), "{ended:?}");
    assert!(ended.stdout.contains("metadata_issuer") && ended.stdout.contains("https://id.example.com"), "{ended:?}");
    assert!(ended.stdout.contains("ok    providers.good:"), "{ended:?}");
    assert!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET), "{ended:?}");
}
