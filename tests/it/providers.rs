//! Signing in with identity providers, honest ones and others: who is let in, and every way in which nobody is.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future::join_all;
use referral::config;
use referral::db::{Db, Work};
use referral::features::accounts::actions::administration;
use referral::features::identities::model::{PendingSignIn, UnclaimedIdentity};
use referral::features::identities::store;
use referral::kernel::actor::Actor;
use referral::kernel::ids::UserId;
use referral::kernel::time::{Clock, Time};
use referral::outbound::identity_provider::model::{Identity, SignInError};
use referral::outbound::identity_provider::{Flow, PATIENCE, Providers};
use referral::worker;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::PASSWORD;
use crate::support::log;
use crate::support::process::Operator;
use crate::support::provider::{CLIENT, Fault, Play, Provider, SECRET, Signing};
use crate::support::visit::Visit;

const REDIRECT: &str = "https://referral.test/oauth/callback/corp";
const NONCE: &str = "n-0S6_WzA2Mj";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const STATE: &str = "af0ifjsldkj";
const FLOW: Flow<'_> = Flow { redirect_uri: REDIRECT, nonce: NONCE, verifier: VERIFIER };

/// Providers as the service has them, by name.
fn providers(of: &[(&str, &Provider)], more: &[(&str, &str)]) -> Providers {
    providers_with(of, more, PATIENCE)
}

fn providers_with(of: &[(&str, &Provider)], more: &[(&str, &str)], patience: Duration) -> Providers {
    let mut environment: BTreeMap<String, String> =
        of.iter().flat_map(|(name, provider)| provider.settings(name)).collect();
    environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let config = config::load(None, &environment.into_iter().collect()).expect("the settings of the test");
    Providers::open(&config.providers, patience).expect("a client")
}

/// What stands behind the question mark.
fn query(url: &str) -> HashMap<String, String> {
    let (_, query) = url.split_once('?').expect("a query");
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// What the browser brings back.
struct Returned {
    code: String,
    iss: Option<String>,
}

/// Goes to the provider and back, as a browser would.
async fn visit(url: &str) -> Returned {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
    let answer = http.expect("a client").get(url).send().await.expect("an answer");
    assert_eq!(answer.status(), 303, "{}", answer.text().await.expect("a text"));
    let location = answer.headers()["location"].to_str().expect("a text").to_owned();
    assert!(location.starts_with(&format!("{REDIRECT}?")), "{location}");
    let mut back = query(&location);
    assert_eq!(back.remove("state").as_deref(), Some(STATE));
    Returned { code: back.remove("code").expect("a code"), iss: back.remove("iss") }
}

/// A whole sign-in.
async fn sign_in(all: &Providers, name: &str, now: Time) -> Result<Identity, SignInError> {
    let url = all.begin(name, &FLOW, STATE, now).await?;
    let back = visit(&url).await;
    all.finish(name, &FLOW, &back.code, back.iss.as_deref(), now).await
}

fn olga(provider: &Provider) -> Identity {
    Identity {
        issuer: provider.url.clone(),
        subject: "olga-7".into(),
        email: Some("olga@example.com".into()),
        email_verified: true,
        name: Some("Olga".into()),
    }
}

/// With what is not printed otherwise.
fn assert_is(identity: &Identity, expected: &Identity) {
    let all = |i: &Identity| (i.issuer.clone(), i.subject.clone(), i.email.clone(), i.email_verified, i.name.clone());
    assert_eq!(all(identity), all(expected));
}

type Lie = fn(&mut Play);

/// One provider; nobody is let in while it lies, and Olga is before and after.
async fn nobody_gets_in(lies: &[(&str, SignInError, Lie)]) {
    let provider = Provider::start().await;
    for (what, expected, lie) in lies {
        // Known to nobody yet, so that lies about the metadata are heard.
        let all = providers(&[("corp", &provider)], &[]);
        provider.plays(*lie);
        let outcome = sign_in(&all, "corp", provider.clock.now()).await;
        assert_eq!(outcome.err(), Some(*expected), "{what}");
        provider.is_honest();
        let all = providers(&[("corp", &provider)], &[]);
        let identity = sign_in(&all, "corp", provider.clock.now()).await;
        assert_is(&identity.unwrap_or_else(|error| panic!("honest again after {what}: {error:?}")), &olga(&provider));
    }
}

// ------------------------------------------------------------------------------------------------- honest providers

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

// ------------------------------------------------------------------------------------------------------ odd answers

/// As providers write them, and worse: nothing of this is about who somebody is, so it keeps nobody out.
const ODDITIES: &[(&str, Lie)] = &[
    ("seconds as a text", |play| play.answer = json!({"expires_in": "3599", "ext_expires_in": "3599"})),
    ("seconds that are none", |play| play.answer = json!({"expires_in": [-1e300]})),
    ("scopes as a list", |play| play.answer = json!({"scope": ["openid", "email"]})),
    ("a scope that is a number", |play| play.answer = json!({"scope": 5})),
    ("no type of token", |play| play.answer = json!({"token_type": null})),
    ("an unknown type of token", |play| play.answer = json!({"token_type": {"mac": true}})),
    ("an odd refresh token", |play| play.answer = json!({"refresh_token": 5, "refresh_expires_in": "never"})),
    ("an access token that nobody needs", |play| play.answer = json!({"access_token": null})),
    ("an empty error", |play| play.answer = json!({"error": null})),
    ("more of an answer", |play| play.answer = json!({"user": {"id": [1, {"a": null}]}, "not_before": "0", "": 1})),
    ("acr as a number", |play| play.claims = json!({"acr": 1})),
    ("amr as a text, a time as another", |play| play.claims = json!({"amr": "pwd", "auth_time": "yesterday"})),
    ("an audience as a list", |play| play.claims = json!({"aud": [CLIENT]})),
    ("verified as a text", |play| play.claims = json!({"email_verified": "true"})),
    ("times with fractions", |play| play.claims = json!({"exp": 4102444800.5, "iat": 1.5})),
    ("no time of issue", |play| play.claims = json!({"iat": null})),
    ("a time of issue as a text", |play| play.claims = json!({"iat": "now", "nbf": "now"})),
    ("claims of other types", |play| {
        play.claims = json!({
            "address": "Main Street 1", "phone_number": 5, "phone_number_verified": "maybe", "updated_at": [],
            "birthdate": {}, "zoneinfo": 0, "locale": ["de"], "picture": false, "given_name": 1, "family_name": null,
            "gender": 2, "at_hash": 3, "c_hash": {}, "sid": 9, "groups": {"a": ["b"]}, "name#de": 5,
        });
    }),
    ("a header of other types", |play| play.header = json!({"x5t": 5, "x5c": "AAAA", "typ": null, "jku": []})),
    ("a type in small letters", |play| play.header = json!({"typ": "jwt"})),
    ("a name of the key that is a number", |play| play.header = json!({"kid": 5})),
    ("no name and two keys", |play| {
        play.header = json!({"kid": null});
        play.published = vec![1, 0];
    }),
    ("keys without names", |play| play.jwk = json!({"kid": null, "alg": null, "use": null})),
    ("keys with odd members", |play| {
        play.jwk = json!({"use": 5, "key_ops": "verify", "x5c": {}, "x5t": 1, "exp": "never", "ext": "true"});
    }),
    ("padding behind a number", |play| play.jwk = json!({"e": "AQAB===="})),
    ("a sign's byte before a number", |play| play.jwk = json!({"e": "AAEAAQ"})),
    ("keys that are none of ours", |play| {
        play.more_keys = vec![
            json!("a key"),
            json!(null),
            json!([]),
            json!({}),
            json!({"kty": 5, "kid": "rsa-0"}),
            json!({"kty": "XX", "alg": "XX999", "use": "all", "kid": "rsa-0"}),
            json!({"kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "rsa-0", "n": "AAAA", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "rsa-0", "n": 5, "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "rsa-0", "n": "!", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "rsa-0", "n": "", "e": ""}),
            json!({"kty": "RSA", "kid": "rsa-0", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "alg": "PS256", "kid": "rsa-0", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-521", "kid": "rsa-0", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "P-256", "kid": "ec-0", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "kid": "rsa-0", "x": "AA"}),
            json!({"kty": "oct", "kid": "rsa-0", "k": "AAAA", "alg": "HS256"}),
        ];
    }),
    ("metadata of other types", |play| {
        play.metadata = json!({
            "claims_supported": "all", "scopes_supported": {"openid": true}, "response_types_supported": 5,
            "response_modes_supported": [1, null], "grant_types_supported": "code", "acr_values_supported": [0, 1],
            "subject_types_supported": null, "id_token_signing_alg_values_supported": [256], "ui_locales_supported": {},
            "claims_parameter_supported": "true", "request_uri_parameter_supported": 1, "op_policy_uri": ["x"],
            "registration_endpoint": 5, "mtls_endpoint_aliases": [], "service_documentation": "no address", "": "",
        });
    }),
    ("a promise as a text", |play| play.metadata = json!({"authorization_response_iss_parameter_supported": "true"})),
    ("ways to show the secret as a text", |play| {
        play.metadata = json!({"token_endpoint_auth_methods_supported": "client_secret_basic"});
    }),
    ("ways to show the secret of other types", |play| {
        play.metadata = json!({"token_endpoint_auth_methods_supported": [1, null, "client_secret_post"]});
        play.secret_in_the_body = true;
    }),
    ("user information nowhere", |play| play.metadata = json!({"userinfo_endpoint": 5})),
    ("user information of other types", |play| {
        play.all_in_the_token = false;
        play.userinfo = json!({
            "email_verified": "true", "address": "Main Street 1", "updated_at": "2030-01-01T00:00:00.123Z", "acr": 1,
            "phone_number_verified": 0, "picture": {}, "groups": {"a": 1}, "locale": 7, "aud": 5, "exp": "no",
        });
    }),
];

#[tokio::test]
async fn whoever_a_provider_vouches_for_is_let_in_however_it_writes() {
    let provider = Provider::start().await;
    for (what, lie) in ODDITIES {
        let all = providers(&[("corp", &provider)], &[]);
        provider.is_honest();
        provider.plays(*lie);
        let identity = sign_in(&all, "corp", provider.clock.now()).await;
        assert_is(&identity.unwrap_or_else(|error| panic!("{what}: {error:?}")), &olga(&provider));
    }
}

#[tokio::test]
async fn a_name_or_an_address_of_another_type_is_none() {
    let provider = Provider::start().await;
    let all = providers(&[("corp", &provider)], &[]);
    for odd in [json!(5), json!(["olga@example.com"]), json!({"value": "olga@example.com"}), json!(true)] {
        provider.plays(|play| {
            play.all_in_the_token = false;
            play.userinfo = json!({"email": odd, "name": odd, "email_verified": odd});
        });
        let identity = sign_in(&all, "corp", provider.clock.now()).await.expect("an identity");
        let verified = odd == json!(true);
        assert_eq!((identity.email, identity.email_verified, identity.name), (None, verified, None), "{odd}");
    }
    // Only what says yes is one.
    for odd in [json!(1), json!("yes"), json!("TRUE"), json!(["true"]), json!({}), json!("")] {
        provider.is_honest();
        provider.plays(|play| play.claims = json!({"email_verified": odd}));
        let identity = sign_in(&all, "corp", provider.clock.now()).await.expect("an identity");
        assert!(!identity.email_verified, "{odd}");
    }
}

// ---------------------------------------------------------------------------------------------------------- errors

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

// --------------------------------------------------------------------------------------------------- forged tokens

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

// -------------------------------------------------------------------------------------------- the way there and back

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

// -------------------------------------------------------------------------------------------------- two providers

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

// --------------------------------------------------------------------------------------------------------- metadata

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

// ------------------------------------------------------------------------------------------------- broken providers

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

// -------------------------------------------------------------------------------------------------------------- log

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

// ------------------------------------------------------------------------------------------------- the command line

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

// ------------------------------------------------------------------------------------------------- what is kept

const MINE: [u8; 32] = [1; 32];
const OTHERS: [u8; 32] = [2; 32];
const STATE_HASH: [u8; 32] = [3; 32];
const TICKET_HASH: [u8; 32] = [4; 32];

fn departure(expires_at: Time) -> PendingSignIn {
    PendingSignIn {
        provider: "corp".into(),
        visitor_hash: MINE,
        next: "/oauth/apps".into(),
        code: Some("SPRING2030AB".into()),
        nonce: NONCE.into(),
        verifier: VERIFIER.into(),
        expires_at,
    }
}

fn arrival(expires_at: Time) -> UnclaimedIdentity {
    let identity = Identity {
        issuer: "https://id.example.com".into(),
        subject: "olga-7".into(),
        email: Some("olga@example.com".into()),
        email_verified: true,
        name: None,
    };
    let PendingSignIn { provider, visitor_hash, next, code, .. } = departure(expires_at);
    UnclaimedIdentity { provider, visitor_hash, next, code, identity, expires_at }
}

async fn leave(db: &Db, new: PendingSignIn) {
    let insert: Work<PendingSignIn, ()> = |tx, new| Box::pin(store::insert_departure(tx, &STATE_HASH, new));
    db.write(Actor::SERVICE, new, insert).await.expect("a departure");
}

async fn arrive(db: &Db, new: UnclaimedIdentity) {
    let insert: Work<UnclaimedIdentity, ()> = |tx, new| Box::pin(store::insert_arrival(tx, &TICKET_HASH, new));
    db.write(Actor::SERVICE, new, insert).await.expect("an arrival");
}

async fn take_departure(db: &Db, hash: [u8; 32], visitor: [u8; 32], now: Time) -> Option<PendingSignIn> {
    let take: Work<([u8; 32], [u8; 32], Time), Option<PendingSignIn>> =
        |tx, (hash, visitor, now)| Box::pin(store::take_departure(tx, hash, visitor, *now));
    db.write(Actor::SERVICE, (hash, visitor, now), take).await.expect("an answer")
}

async fn take_arrival(db: &Db, hash: [u8; 32], visitor: [u8; 32], now: Time) -> Option<UnclaimedIdentity> {
    let take: Work<([u8; 32], [u8; 32], Time), Option<UnclaimedIdentity>> =
        |tx, (hash, visitor, now)| Box::pin(store::take_arrival(tx, hash, visitor, *now));
    db.write(Actor::SERVICE, (hash, visitor, now), take).await.expect("an answer")
}

async fn link(test: &TestApp, subject: &str, user: UserId) -> bool {
    let link: Work<(String, UserId, Time), bool> =
        |tx, (subject, user, now)| Box::pin(store::link(tx, "https://id.example.com", subject, *user, *now));
    let input = (subject.to_owned(), user, test.app().clock.now());
    test.app().db.write(Actor::SERVICE, input, link).await.expect("an answer")
}

async fn owner(test: &TestApp, issuer: &str, subject: &str) -> Option<UserId> {
    store::owner(&test.app().db, issuer, subject).await.expect("an answer")
}

on_both_engines! {
    async fn who_left_comes_back_once_in_the_same_browser_and_in_time(setup: Setup) {
        let test = setup.start().await;
        let db = &test.app().db;
        let now = Clock::default().now();
        let end = now.plus(Duration::from_secs(600));
        leave(db, departure(end)).await;
        assert!(take_departure(db, [9; 32], MINE, now).await.is_none(), "another state");
        assert!(take_departure(db, STATE_HASH, OTHERS, now).await.is_none(), "another browser");
        assert!(take_arrival(db, STATE_HASH, MINE, now).await.is_none(), "a state is no ticket");
        assert!(take_departure(db, STATE_HASH, MINE, end).await.is_none(), "too late");
        let takers = join_all((0..20).map(|_| take_departure(db, STATE_HASH, MINE, now))).await;
        let mut taken: Vec<PendingSignIn> = takers.into_iter().flatten().collect();
        assert_eq!(taken.len(), 1, "of many callers one gets it");
        let back = taken.remove(0);
        assert_eq!((back.provider.as_str(), back.next.as_str()), ("corp", "/oauth/apps"));
        assert_eq!(back.code.as_deref(), Some("SPRING2030AB"));
        assert_eq!((back.nonce.as_str(), back.verifier.as_str()), (NONCE, VERIFIER));
        assert_eq!((back.visitor_hash, back.expires_at), (MINE, end));
        assert_eq!(test.number("select count(*) from sign_ins").await, 0);
    }

    async fn who_arrived_is_kept_under_a_new_ticket_until_it_is_used(setup: Setup) {
        let test = setup.start().await;
        let db = &test.app().db;
        let now = Clock::default().now();
        let end = now.plus(Duration::from_secs(600));
        arrive(db, arrival(end)).await;
        assert!(take_departure(db, TICKET_HASH, MINE, now).await.is_none(), "a ticket is no state");
        assert!(take_arrival(db, TICKET_HASH, OTHERS, now).await.is_none(), "another browser");
        assert!(take_arrival(db, TICKET_HASH, MINE, end).await.is_none(), "too late");
        for visitor in [OTHERS, MINE] {
            let seen = store::arrival(db, &TICKET_HASH, &visitor, now).await.expect("an answer");
            assert_eq!(seen.is_some(), visitor == MINE);
        }
        let takers = join_all((0..20).map(|_| take_arrival(db, TICKET_HASH, MINE, now))).await;
        let mut taken: Vec<UnclaimedIdentity> = takers.into_iter().flatten().collect();
        assert_eq!(taken.len(), 1, "of many callers one gets it");
        let (got, sent) = (taken.remove(0), arrival(end));
        assert_is(&got.identity, &sent.identity);
        assert_eq!((got.provider, got.next, got.code), (sent.provider, sent.next, sent.code));
        assert_eq!((got.visitor_hash, got.expires_at), (MINE, end));
    }

    async fn housekeeping_removes_those_who_did_not_come_back(setup: Setup) {
        let test = setup.start().await;
        let db = &test.app().db;
        let now = test.app().clock.now();
        leave(db, departure(now.plus(Duration::from_secs(300)))).await;
        arrive(db, arrival(now.plus(Duration::from_secs(600)))).await;
        worker::clean(test.app()).await.expect("a clean house");
        assert_eq!(test.number("select count(*) from sign_ins").await, 2);
        test.move_clock(Duration::from_secs(400));
        worker::clean(test.app()).await.expect("a clean house");
        assert_eq!(test.number("select count(*) from sign_ins").await, 1);
        test.move_clock(Duration::from_secs(400));
        worker::clean(test.app()).await.expect("a clean house");
        assert_eq!(test.number("select count(*) from sign_ins").await, 0);
    }

    async fn an_identity_is_one_users_and_a_user_may_have_several(setup: Setup) {
        let test = setup.start().await;
        let id = |text: &str| UserId::parse(text).expect("an id");
        let (olga, boris) = (id(&test.user("olga").await.id), id(&test.user("boris").await.id));
        let issuer = "https://id.example.com";
        // Of many callers one gets it.
        let callers = join_all((0..20).map(|n| link(&test, "olga-7", if n % 2 == 0 { olga } else { boris }))).await;
        assert_eq!(callers.iter().filter(|linked| **linked).count(), 1);
        let first = owner(&test, issuer, "olga-7").await.expect("an owner");
        let second = if first == olga { boris } else { olga };
        assert!(!link(&test, "olga-7", second).await);
        assert_eq!(owner(&test, issuer, "olga-7").await, Some(first));
        // Subjects are compared character by character, and belong to their issuer.
        for (issuer, subject) in [(issuer, "OLGA-7"), (issuer, "olga-7 "), ("https://id.example.com/", "olga-7")] {
            assert_eq!(owner(&test, issuer, subject).await, None, "{issuer} {subject}");
        }
        assert!(link(&test, "OLGA-7", first).await);
        for subject in ["olga-7", "OLGA-7"] {
            assert_eq!(owner(&test, issuer, subject).await, Some(first), "{subject}");
        }
    }

    /// Whoever was in may have linked a way back.
    async fn a_password_set_by_the_operator_unlinks_every_identity(setup: Setup) {
        let test = setup.start().await;
        let (olga, boris) = (test.user("olga").await, test.user("boris").await);
        for (subject, user) in [("olga-7", &olga), ("olga-8", &olga), ("boris-1", &boris)] {
            assert!(link(&test, subject, UserId::parse(&user.id).expect("an id")).await);
        }
        let found = administration::find(test.app(), "olga").await.expect("a look").expect("an account");
        let reset = administration::reset_password(test.app(), &found, "quite another one").await;
        assert_eq!(reset.expect("an answer"), Ok(()));
        assert_eq!(test.query("select subject from identities").await, [[Some("boris-1".to_owned())]]);
        olga.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    }

    async fn an_erased_user_has_no_identities_and_gets_none(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("olga").await;
        let id = UserId::parse(&user.id).expect("an id");
        assert!(link(&test, "olga-7", id).await);
        assert!(link(&test, "olga-8", id).await);
        user.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
        assert_eq!(test.number("select count(*) from identities").await, 0);
        assert!(!link(&test, "olga-7", id).await);
        assert!(!link(&test, "olga-9", UserId::new()).await, "nobody");
        assert_eq!(test.number("select count(*) from identities").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_not_set_up_is_told_so_on_the_way_there_and_back() {
    let test = Setup::Sqlite.start().await;
    let mut visit = Visit::new(&test.nodes[0].url);
    for path in ["/oauth/login/corp?next=/oauth/apps", "/oauth/callback/corp", "/oauth/callback/corp?state=a&code=b"] {
        let page = visit.get(path).await.expect(404);
        assert!(page.header("content-type").starts_with("text/html"), "{path}: {page:?}");
        assert!(page.text.contains("There is no such way to log in"), "{path}: {page:?}");
    }
}
