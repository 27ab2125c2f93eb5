//! Providers that write in odd ways, and let people in all the same.

use serde_json::json;

use super::helpers::{Lie, assert_is, olga, providers, sign_in};
use crate::support::provider::{CLIENT, Provider};

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
