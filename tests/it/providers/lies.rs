//! Errors, forged tokens, codes and answers that are somebody else's.

use std::time::Duration;

use referral::outbound::identity_provider::model::SignInError;
use referral::outbound::identity_provider::{Flow, Providers};
use serde_json::json;

use super::helpers::{FLOW, NONCE, Returned, STATE, assert_is, nobody_gets_in, olga, providers, sign_in, visit};
use crate::support::log;
use crate::support::provider::{CLIENT, Provider, SECRET, Signing};

/// One thread, so that the log of this thread is that of this test.
#[tokio::test(flavor = "current_thread")]
async fn an_error_of_the_token_endpoint_is_told_by_its_word() {
    log::listen();
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    for (status, word, expected) in [
        (400, "invalid_grant", SignInError::CodeRefused),
        (200, "invalid_grant", SignInError::CodeRefused),
        (401, "invalid_client", SignInError::ClientRefused),
        (400, "unauthorized_client", SignInError::ClientRefused),
        (400, "invalid_scope", SignInError::RequestRefused),
        (400, "unsupported_grant_type", SignInError::RequestRefused),
        (503, "temporarily_unavailable", SignInError::Unavailable),
        (500, "server_error", SignInError::Unavailable),
        (403, "access_denied", SignInError::Denied),
        (400, "AADSTS70000", SignInError::BrokenAnswer),
        (400, "un\u{1b}[31mknown\r\nWARN referral: olga@example.com", SignInError::BrokenAnswer),
    ] {
        provider.plays(|play| play.refuses = Some((status, word)));
        assert_eq!(sign_in(&all, "corp", provider.clock.now()).await.err(), Some(expected), "{status} {word}");
        let text = log::heard();
        log::listen();
        let kept: String = word.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
        let kept = kept.replace("examplecom", "example.com");
        assert!(text.contains(&kept) && text.contains(expected.word()), "{word}: {text}");
        for never in [SECRET, "s3cr3t", "olga@", "\u{1b}[31mknown", "code-"] {
            assert!(!text.contains(never), "{never}: {text}");
        }
    }
}

#[tokio::test]
async fn an_id_token_that_is_not_for_this_sign_in_lets_nobody_in() {
    use SignInError::*;
    nobody_gets_in(&[
        ("another nonce", TokenNonce, |play| play.claims = json!({"nonce": "other"})),
        ("no nonce", TokenNonce, |play| play.claims = json!({"nonce": null})),
        ("an empty nonce", TokenNonce, |play| play.claims = json!({"nonce": ""})),
        ("another audience", TokenAudience, |play| play.claims = json!({"aud": "other"})),
        ("other audiences", TokenAudience, |play| play.claims = json!({"aud": ["other", "third"], "azp": CLIENT})),
        ("no audience", TokenAudience, |play| play.claims = json!({"aud": []})),
        ("audience left out", TokenAudience, |play| play.claims = json!({"aud": null})),
        ("our name in another case", TokenAudience, |play| play.claims = json!({"aud": CLIENT.to_uppercase()})),
        ("two audiences, no party", TokenParty, |play| play.claims = json!({"aud": [CLIENT, "other"]})),
        ("us twice, no party", TokenParty, |play| play.claims = json!({"aud": [CLIENT, CLIENT]})),
        ("another party", TokenParty, |play| play.claims = json!({"azp": "other"})),
        ("another party of two", TokenParty, |play| play.claims = json!({"aud": [CLIENT, "other"], "azp": "other"})),
        ("another issuer", TokenIssuer, |play| play.claims = json!({"iss": "https://accounts.google.com"})),
        ("the issuer with a slash", TokenIssuer, |play| {
            let issuer = format!("{}/", play.iss.clone().expect("an issuer"));
            play.claims = json!({"iss": issuer});
        }),
        ("no issuer", TokenIssuer, |play| play.claims = json!({"iss": null})),
        ("no subject", TokenSubject, |play| play.claims = json!({"sub": null})),
        ("an empty subject", TokenSubject, |play| play.claims = json!({"sub": ""})),
        ("an endless subject", TokenSubject, |play| play.claims = json!({"sub": "x".repeat(256)})),
        ("a subject with NUL", TokenSubject, |play| play.claims = json!({"sub": "a\u{0}b"})),
        ("no end", TokenExpired, |play| play.claims = json!({"exp": null})),
        ("an end beyond all times", TokenExpired, |play| play.claims = json!({"exp": 1e300})),
        ("an end that is a text", TokenExpired, |play| play.claims = json!({"exp": "4102444800"})),
        ("an end before all times", TokenExpired, |play| play.claims = json!({"exp": -4102444800_i64})),
        ("a list of issuers", TokenIssuer, |play| play.claims = json!({"iss": [play.iss]})),
        ("a subject that is a number", TokenSubject, |play| play.claims = json!({"sub": 7})),
        ("a list of nonces", TokenNonce, |play| play.claims = json!({"nonce": [NONCE]})),
        ("an audience that is an object", TokenAudience, |play| play.claims = json!({"aud": {CLIENT: CLIENT}})),
        ("us and a number, no party", TokenParty, |play| play.claims = json!({"aud": [CLIENT, 7]})),
        ("a party that is a list", TokenParty, |play| play.claims = json!({"azp": [CLIENT]})),
        ("no ID token", NoIdToken, |play| play.answer = json!({"id_token": null})),
        ("an ID token that is none", BrokenAnswer, |play| play.answer = json!({"id_token": "a.b.c"})),
        ("an ID token of a megabyte", BrokenAnswer, |play| play.answer = json!({"id_token": "a".repeat(1 << 20)})),
    ])
    .await;
}

#[tokio::test]
async fn an_id_token_that_the_provider_has_not_signed_lets_nobody_in() {
    use SignInError::*;
    nobody_gets_in(&[
        ("alg none", TokenAlgorithm, |play| play.signing = Signing::Unsigned),
        ("alg None", TokenAlgorithm, |play| {
            play.signing = Signing::Unsigned;
            play.header = json!({"alg": "None"});
        }),
        ("a stripped signature", TokenSignature, |play| play.signing = Signing::Stripped),
        ("HS256 with the public key", TokenAlgorithm, |play| play.signing = Signing::WithThePublicKey),
        ("HS256 with our secret", TokenAlgorithm, |play| play.signing = Signing::WithTheSecret),
        ("RS256 with what is HS256", TokenSignature, |play| {
            play.signing = Signing::WithThePublicKey;
            play.header = json!({"alg": "RS256"});
        }),
        ("PS256", TokenAlgorithm, |play| play.header = json!({"alg": "PS256"})),
        ("an unknown algorithm", TokenAlgorithm, |play| play.header = json!({"alg": "XX999"})),
        ("EdDSA with an RSA key", TokenKey, |play| play.header = json!({"alg": "EdDSA"})),
        ("ES256 that is RS256", TokenSignature, |play| play.header = json!({"alg": "ES256", "kid": "ec-0"})),
        ("an unknown key", TokenKey, |play| play.keys = 2),
        ("a foreign key under a known name", TokenSignature, |play| {
            play.keys = 2;
            play.header = json!({"kid": "rsa-0"});
        }),
        ("a foreign EdDSA key under a known name", TokenSignature, |play| {
            play.keys = 2;
            play.signing = Signing::EdDsa;
            play.header = json!({"kid": "ed-0"});
        }),
        ("no algorithm", TokenAlgorithm, |play| play.header = json!({"alg": null})),
        ("a list of algorithms", TokenAlgorithm, |play| play.header = json!({"alg": ["RS256"]})),
        ("no name and two foreign keys", TokenSignature, |play| {
            play.keys = 2;
            play.header = json!({"kid": null});
            play.published = vec![0, 1];
        }),
        ("a key to encrypt with", TokenKey, |play| play.jwk = json!({"use": "enc"})),
        ("a key for another algorithm", TokenKey, |play| play.jwk = json!({"alg": "RS512"})),
        ("no keys at all", TokenKey, |play| play.published.clear()),
        ("a key of its own in the header", TokenKey, |play| {
            play.keys = 2;
            play.header = json!({"jwk": {"kty": "oct", "k": "AAAA"}, "jku": "http://127.0.0.1:1/"});
        }),
        ("critical parts", TokenHeader, |play| play.header = json!({"crit": ["b64"], "b64": false})),
        ("critical parts that are no list", TokenHeader, |play| play.header = json!({"crit": "b64"})),
        ("a type that is no text", TokenHeader, |play| play.header = json!({"typ": 5})),
        ("an access token", TokenHeader, |play| play.header = json!({"typ": "at+jwt"})),
        ("a nested token", TokenHeader, |play| play.header = json!({"cty": "JWT"})),
        ("an encrypted token", TokenAlgorithm, |play| play.header = json!({"alg": "A256GCM"})),
    ])
    .await;
}

#[tokio::test]
async fn tokens_are_judged_by_our_clock() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    // The provider's clock, then ours, so that a second more or less does not decide.
    for (theirs, ours, expected) in [
        (0, 0, None),
        // Its tokens live for ten minutes.
        (0, 595, None),
        (0, 605, Some(SignInError::TokenExpired)),
        (55, 0, None),
        (65, 0, Some(SignInError::TokenTooEarly)),
        (3600, 0, Some(SignInError::TokenTooEarly)),
        (3600, 3600, None),
        (0, 366 * 24 * 3600, Some(SignInError::TokenExpired)),
    ] {
        let now = provider.clock.now().plus(Duration::from_secs(ours));
        provider.clock.shift(theirs * 1_000_000);
        let outcome = sign_in(&all, "corp", now).await;
        provider.clock.shift(-theirs * 1_000_000);
        assert_eq!(outcome.err(), expected, "{theirs} {ours}");
    }
}

#[tokio::test]
async fn an_answer_of_another_issuer_never_reaches_the_token_endpoint() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    let now = provider.clock.now();
    for (iss, expected) in [
        (Some("https://evil.example.com".to_owned()), SignInError::ResponseIssuer),
        (Some(format!("{}/", provider.url)), SignInError::ResponseIssuer),
        (Some(String::new()), SignInError::ResponseIssuer),
        (None, SignInError::ResponseIssuerMissing),
    ] {
        provider.plays(|play| play.iss = iss.clone());
        assert_eq!(sign_in(&all, "corp", now).await.err(), Some(expected), "{iss:?}");
    }
    assert_eq!(provider.asked("/token"), 0);
    provider.is_honest();
    sign_in(&all, "corp", now).await.expect("an identity");
    // Who does not promise the parameter may leave it out, but may not lie.
    for unannounced in [json!(null), json!(false)] {
        let all = providers(&[("corp", &provider)], &[]);
        provider.plays(|play| {
            play.metadata = json!({"authorization_response_iss_parameter_supported": unannounced});
            play.iss = None;
        });
        sign_in(&all, "corp", now).await.expect("an identity");
        provider.plays(|play| play.iss = Some("https://evil.example.com".into()));
        assert_eq!(sign_in(&all, "corp", now).await.err(), Some(SignInError::ResponseIssuer));
    }
}

#[tokio::test]
async fn a_code_is_good_once_for_who_has_asked_for_it() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    let now = provider.clock.now();
    let leave = async |flow: &Flow<'_>| visit(&all.begin("corp", flow, STATE, now).await.expect("an address")).await;

    let back = leave(&FLOW).await;
    let come = async |flow: &Flow<'_>, back: &Returned| {
        all.finish("corp", flow, &back.code, back.iss.as_deref(), now).await.err()
    };
    assert_eq!(come(&FLOW, &back).await, None);
    assert_eq!(come(&FLOW, &back).await, Some(SignInError::CodeRefused), "a second time");
    let other = "another-verifier-of-more-than-43-characters-0";
    for (what, flow, expected) in [
        ("another verifier", Flow { verifier: other, ..FLOW }, SignInError::CodeRefused),
        ("another redirect URI", Flow { redirect_uri: "https://referral.test/x", ..FLOW }, SignInError::CodeRefused),
        ("another nonce", Flow { nonce: "other", ..FLOW }, SignInError::TokenNonce),
    ] {
        let back = leave(&FLOW).await;
        assert_eq!(come(&flow, &back).await, Some(expected), "{what}");
    }
    for nonsense in ["", "nonsense", "code with spaces & more=x"] {
        let back = Returned { code: nonsense.to_owned(), iss: Some(provider.url.clone()) };
        assert_eq!(come(&FLOW, &back).await, Some(SignInError::CodeRefused), "{nonsense}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_from_a_wrong_code() {
    let provider = Provider::start().await;
    for secret in ["", "wrong"] {
        let all = providers(&[("corp", &provider)], &[("REFERRAL_PROVIDERS_CORP_CLIENT_SECRET", secret)]);
        let outcome = sign_in(&all, "corp", provider.clock.now()).await;
        assert_eq!(outcome.err(), Some(SignInError::ClientRefused), "{secret}");
    }
}

#[tokio::test]
async fn a_name_that_no_provider_has_is_refused_without_asking_anybody() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    let now = provider.clock.now();
    for name in ["", "other", "CORP", "../corp"] {
        assert_eq!(all.begin(name, &FLOW, STATE, now).await.err(), Some(SignInError::UnknownProvider));
        assert_eq!(all.finish(name, &FLOW, "code", None, now).await.err(), Some(SignInError::UnknownProvider));
    }
    assert_eq!(provider.asked("/.well-known/openid-configuration"), 0);
}

#[tokio::test]
async fn user_information_about_somebody_else_lets_nobody_in() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    for (userinfo, answer, expected) in [
        (json!({}), json!({}), None),
        (json!({"sub": "boss-1"}), json!({}), Some(SignInError::UserInfoSubject)),
        (json!({"sub": "OLGA-7"}), json!({}), Some(SignInError::UserInfoSubject)),
        (json!({"sub": null}), json!({}), Some(SignInError::UserInfoSubject)),
        (json!({"sub": ["olga-7"]}), json!({}), Some(SignInError::UserInfoSubject)),
        // No header can hold it.
        (json!({}), json!({"access_token": "a\r\nb"}), Some(SignInError::BrokenAnswer)),
        (json!({}), json!({"access_token": "other"}), Some(SignInError::BrokenAnswer)),
        (json!({}), json!({"access_token": 5}), Some(SignInError::BrokenAnswer)),
    ] {
        provider.plays(|play| {
            play.all_in_the_token = false;
            play.userinfo = userinfo.clone();
            play.answer = answer.clone();
        });
        assert_eq!(sign_in(&all, "corp", provider.clock.now()).await.err(), expected, "{userinfo} {answer}");
    }
}

#[tokio::test]
async fn two_providers_are_two_worlds() {
    let (a, b) = (Provider::start().await, Provider::start().await);
    let all = providers(&[("corp", &a), ("other", &b)], &[("REFERRAL_PROVIDERS_OTHER_LABEL", "The other")]);
    let now = a.clock.now();
    assert_eq!(all.list().collect::<Vec<_>>(), [("corp", "corp"), ("other", "The other")]);
    assert_eq!((all.of_issuer(&a.url), all.of_issuer(&b.url)), (Some("corp"), Some("other")));
    assert_eq!(all.of_issuer("https://id.example.com"), None);
    // The same subject at both is two people.
    let (one, two) = tokio::join!(sign_in(&all, "corp", now), sign_in(&all, "other", now));
    assert_is(&one.expect("an identity"), &olga(&a));
    assert_is(&two.expect("an identity"), &olga(&b));
}

#[tokio::test]
async fn a_code_of_one_provider_is_worth_nothing_at_another() {
    let (a, b) = (Provider::start().await, Provider::start().await);
    let now = a.clock.now();
    let all = providers(&[("corp", &a), ("other", &b)], &[]);
    let leave = async |all: &Providers| visit(&all.begin("corp", &FLOW, STATE, now).await.expect("an address")).await;

    // The issuer beside the code tells; the code does not even leave.
    let back = leave(&all).await;
    let brought = all.finish("other", &FLOW, &back.code, back.iss.as_deref(), now).await;
    assert_eq!(brought.err(), Some(SignInError::ResponseIssuer));
    assert_eq!(b.asked("/token"), 0);
    // Somebody has changed that as well: the other one knows nothing of the code.
    let back = leave(&all).await;
    let brought = all.finish("other", &FLOW, &back.code, Some(&b.url), now).await;
    assert_eq!(brought.err(), Some(SignInError::CodeRefused));
    // It is good at home only.
    let back = leave(&all).await;
    all.finish("corp", &FLOW, &back.code, back.iss.as_deref(), now).await.expect("an identity");

    // The other one vouches in the name of the first, with its own keys: nothing but its own issuer is taken.
    b.plays(|play| play.claims = json!({"iss": a.url}));
    assert_eq!(sign_in(&all, "other", now).await.err(), Some(SignInError::TokenIssuer));
    // Its metadata send people to the first one, so that their codes come to it: the issuer beside the code tells.
    b.is_honest();
    let all = providers(&[("corp", &a), ("other", &b)], &[]);
    b.plays(|play| play.metadata = json!({"authorization_endpoint": format!("{}/authorize?tenant=7", a.url)}));
    let asked = b.asked("/token");
    assert_eq!(sign_in(&all, "other", now).await.err(), Some(SignInError::ResponseIssuer));
    assert_eq!(b.asked("/token"), asked);
    // Or its metadata are the first one's, name and all.
    b.is_honest();
    let all = providers(&[("corp", &a), ("other", &b)], &[]);
    b.plays(|play| play.metadata = json!({"issuer": a.url}));
    assert_eq!(sign_in(&all, "other", now).await.err(), Some(SignInError::MetadataIssuer));
}
