//! Whom an honest provider vouches for.

use serde_json::{Value, json};

use super::helpers::{FLOW, NONCE, REDIRECT, STATE, assert_is, olga, providers, query, sign_in};
use crate::support::provider::{CLIENT, Provider, Signing};

#[tokio::test]
async fn the_authorization_request_has_what_protects_it_and_nothing_else() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[("REFERRAL_PROVIDERS_CORP_SCOPES", "profile openid  email")]);
    assert_eq!(provider.asked("/.well-known/openid-configuration"), 0, "nobody is asked at the start");
    let url = all.begin("corp", &FLOW, STATE, provider.clock.now()).await.expect("an address");
    assert!(url.starts_with(&format!("{}/authorize?tenant=7&", provider.url)), "{url}");
    let expected = [
        ("tenant", "7"),
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", REDIRECT),
        ("scope", "openid profile email"),
        ("state", STATE),
        ("nonce", NONCE),
        // RFC 7636, appendix B, has this verifier.
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    assert_eq!(query(&url), expected);
}

#[tokio::test]
async fn whoever_an_honest_provider_vouches_for_is_let_in() {
    let provider = Provider::start().await;
    for signing in [Signing::Rs256, Signing::Es256, Signing::EdDsa] {
        for secret_in_the_body in [false, true] {
            let all = providers(&[("corp", &provider)], &[]);
            provider.plays(|play| {
                play.signing = signing;
                play.secret_in_the_body = secret_in_the_body;
            });
            let identity = sign_in(&all, "corp", provider.clock.now()).await.expect("an identity");
            assert_is(&identity, &olga(&provider));
        }
    }
    assert_eq!(provider.asked("/userinfo"), 0, "the ID token says it all");
    provider.is_honest();
    // A public client.
    provider.plays(|play| play.secret = None);
    let all = providers(&[("corp", &provider)], &[("REFERRAL_PROVIDERS_CORP_CLIENT_SECRET", "")]);
    assert_is(&sign_in(&all, "corp", provider.clock.now()).await.expect("an identity"), &olga(&provider));
}

#[tokio::test]
async fn what_the_id_token_does_not_say_user_information_does() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    provider.plays(|play| play.all_in_the_token = false);
    let identity = sign_in(&all, "corp", provider.clock.now()).await.expect("an identity");
    assert_is(&identity, &olga(&provider));
    assert_eq!(provider.asked("/userinfo"), 1);
    // Somebody without an address is somebody all the same.
    provider.plays(|play| play.person = json!({"sub": "olga-7"}));
    let identity = sign_in(&all, "corp", provider.clock.now()).await.expect("an identity");
    assert_eq!((identity.email, identity.email_verified, identity.name), (None, false, None));
}

#[tokio::test]
async fn an_address_is_verified_only_if_its_own_source_says_so() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    for (claims, userinfo, expected) in [
        (json!({}), json!({}), ("olga@example.com", true)),
        (json!({"email_verified": null}), json!({}), ("olga@example.com", false)),
        (json!({"email_verified": false}), json!({}), ("olga@example.com", false)),
        // As some write it.
        (
            json!({"email_verified": "true", "updated_at": "2030-01-01T00:00:00.123Z"}),
            json!({}),
            ("olga@example.com", true),
        ),
        (json!({"email_verified": "false"}), json!({}), ("olga@example.com", false)),
        // "Verified" of the ID token is not about the address of the user information.
        (json!({"email": null}), json!({"email": "b@example.com", "email_verified": false}), ("b@example.com", false)),
        (json!({"email": null}), json!({"email": "b@example.com", "email_verified": null}), ("b@example.com", false)),
        (json!({"email": "no\u{0}body@example.com"}), json!({"email_verified": false}), ("olga@example.com", false)),
    ] {
        provider.plays(|play| {
            play.claims = claims.clone();
            play.userinfo = userinfo;
        });
        let identity = sign_in(&all, "corp", provider.clock.now()).await.expect("an identity");
        assert_eq!((identity.email.as_deref(), identity.email_verified), (Some(expected.0), expected.1), "{claims}");
    }
}

#[tokio::test]
async fn names_are_made_harmless() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    for (name, expected) in [
        (json!("  O\u{0}l\u{1b}ga\n "), Some("Olga".to_owned())),
        (json!("\u{0} "), None),
        (json!("Ы".repeat(5000)), Some("Ы".repeat(200))),
        (Value::Null, None),
    ] {
        provider.plays(|play| play.claims = json!({"name": name}));
        let identity = sign_in(&all, "corp", provider.clock.now()).await.expect("an identity");
        assert_eq!(identity.name, expected);
    }
}

#[tokio::test]
async fn several_audiences_are_fine_if_the_token_was_given_to_us() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    for claims in [
        json!({"aud": [CLIENT]}),
        json!({"aud": [CLIENT], "azp": CLIENT}),
        json!({"aud": ["other", CLIENT], "azp": CLIENT}),
    ] {
        provider.plays(|play| play.claims = claims.clone());
        let identity = sign_in(&all, "corp", provider.clock.now()).await;
        assert!(identity.is_ok(), "{claims}: {identity:?}");
    }
}
