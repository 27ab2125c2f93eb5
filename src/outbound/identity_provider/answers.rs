//! What is read of a provider's answers: the members that are used and no others. A member of another type than it should
//! have counts as one that is left out, so that nobody is kept out by what nobody asks for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

/// OpenID Connect Discovery, 3.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    #[serde(deserialize_with = "if_fit")]
    pub issuer: Option<String>,
    #[serde(deserialize_with = "if_address")]
    pub authorization_endpoint: Option<Url>,
    #[serde(deserialize_with = "if_address")]
    pub token_endpoint: Option<Url>,
    #[serde(deserialize_with = "if_address")]
    pub userinfo_endpoint: Option<Url>,
    #[serde(deserialize_with = "if_address")]
    pub jwks_uri: Option<Url>,
    #[serde(deserialize_with = "texts")]
    pub token_endpoint_auth_methods_supported: Vec<Option<String>>,
    /// RFC 9207, 3.
    #[serde(deserialize_with = "is_true")]
    pub authorization_response_iss_parameter_supported: bool,
}

/// RFC 6749, 5.1 and 5.2; OpenID Connect Core, 3.1.3.3.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct TokenAnswer {
    #[serde(deserialize_with = "if_fit")]
    pub id_token: Option<String>,
    #[serde(deserialize_with = "if_fit")]
    pub access_token: Option<String>,
    #[serde(deserialize_with = "if_fit")]
    pub error: Option<String>,
}

/// The header of a JWT.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Header {
    #[serde(deserialize_with = "if_fit")]
    pub alg: Option<String>,
    #[serde(deserialize_with = "if_fit")]
    pub kid: Option<String>,
    // Of whatever type: what is there has to be understood.
    pub typ: Option<Value>,
    pub cty: Option<Value>,
    pub crit: Option<Value>,
}

/// The claims of an ID token, or user information.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Claims {
    #[serde(deserialize_with = "if_fit")]
    pub iss: Option<String>,
    #[serde(deserialize_with = "if_fit")]
    pub sub: Option<String>,
    #[serde(deserialize_with = "texts")]
    pub aud: Vec<Option<String>>,
    // Of whatever type: what is there has to be us.
    pub azp: Option<Value>,
    #[serde(deserialize_with = "seconds")]
    pub exp: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub iat: Option<i64>,
    #[serde(deserialize_with = "if_fit")]
    pub nonce: Option<String>,
    #[serde(deserialize_with = "if_fit")]
    pub email: Option<String>,
    #[serde(deserialize_with = "is_true")]
    pub email_verified: bool,
    #[serde(deserialize_with = "if_fit")]
    pub name: Option<String>,
}

/// A key that can have signed an ID token.
pub struct Key {
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    pub public: DecodingKey,
}

/// The keys of a set (RFC 7517) that we can use; nothing where there is no set.
pub fn keys(body: &[u8]) -> Option<Vec<Key>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(body).ok()?;
    Some(set.keys.iter().filter_map(key).collect())
}

fn key(jwk: &Value) -> Option<Key> {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(member(name)?.trim_end_matches('=')).ok();
    let (algorithm, public) = match (member("kty")?, member("crv")) {
        ("RSA", _) => {
            let [n, e] = [bytes("n")?, bytes("e")?];
            (Algorithm::RS256, DecodingKey::from_rsa_raw_components(without_zeros(&n), without_zeros(&e)))
        }
        ("EC", Some("P-256")) => {
            // RFC 5480, 2.2: 4, x, y.
            let point = [vec![4], bytes("x")?, bytes("y")?].concat();
            (Algorithm::ES256, DecodingKey::from_ec_der(&point))
        }
        ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_der(&bytes("x")?)),
        _ => return None,
    };
    let for_this = member("alg").is_none_or(|alg| alg == word(algorithm));
    let to_sign = member("use").is_none_or(|usage| usage == "sig");
    (for_this && to_sign).then(|| Key { kid: member("kid").map(str::to_owned), algorithm, public })
}

/// Some write a sign's byte before the number, which RFC 7518 does not have.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// What a header calls an algorithm that we believe.
pub fn algorithm(alg: &str) -> Option<Algorithm> {
    [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].into_iter().find(|known| word(*known) == alg)
}

fn word(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        _ => "",
    }
}

fn if_fit<'de, D: Deserializer<'de>, T: DeserializeOwned>(member: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(member)?).ok())
}

fn if_address<'de, D: Deserializer<'de>>(member: D) -> Result<Option<Url>, D::Error> {
    Ok(Value::deserialize(member)?.as_str().and_then(|text| Url::parse(text).ok()))
}

/// Some write "true" for true.
fn is_true<'de, D: Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(member)?;
    Ok(value == true || value == "true")
}

/// One text, or a list; what is none in it still counts as one of them.
fn texts<'de, D: Deserializer<'de>>(member: D) -> Result<Vec<Option<String>>, D::Error> {
    Ok(match Value::deserialize(member)? {
        Value::String(text) => vec![Some(text)],
        Value::Array(list) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    })
}

/// A date as RFC 7519 has it, in whole seconds.
fn seconds<'de, D: Deserializer<'de>>(member: D) -> Result<Option<i64>, D::Error> {
    let value = Value::deserialize(member)?;
    let possible = |seconds: &f64| (0.0..1e12).contains(seconds);
    #[expect(clippy::cast_possible_truncation, reason = "it is below 10^12")]
    Ok(value.as_f64().filter(possible).map(|seconds| seconds as i64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;
    use crate::outbound::identity_provider::id_token;

    /// Any JSON.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let map = prop::collection::btree_map(any::<String>(), inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                map.prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_type_a_member_has_the_rest_is_read(odd in value()) {
            for name in [
                "issuer", "token_endpoint", "token_endpoint_auth_methods_supported", "id_token", "access_token", "alg",
                "error", "kid", "typ", "crit", "iss", "sub", "aud", "azp", "exp", "iat", "nonce", "email",
                "email_verified", "name", "authorization_response_iss_parameter_supported", "anything",
            ] {
                let answer = json!({name: odd.clone()}).to_string();
                prop_assert!(serde_json::from_str::<Metadata>(&answer).is_ok(), "{}", answer);
                prop_assert!(serde_json::from_str::<TokenAnswer>(&answer).is_ok(), "{}", answer);
                prop_assert!(serde_json::from_str::<Header>(&answer).is_ok(), "{}", answer);
                prop_assert!(serde_json::from_str::<Claims>(&answer).is_ok(), "{}", answer);
            }
        }

        #[test]
        fn whatever_a_key_is_made_of_it_verifies_nothing(odd in value(), name in "kty|crv|n|e|x|y|kid|alg|use") {
            for mut key in [
                json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
                json!({"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB"}),
                json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAB"}),
            ] {
                key[&name] = odd.clone();
                let set = json!({"keys": [key]}).to_string();
                let keys = keys(set.as_bytes()).expect("a set");
                for alg in ["RS256", "ES256", "EdDSA"] {
                    let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg}).to_string());
                    let token = format!("{header}.e30.AAAA");
                    prop_assert!(id_token::signed(&token, &keys).is_err());
                }
            }
        }

        #[test]
        fn nothing_that_comes_from_outside_makes_a_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let _ = keys(&bytes);
            let _ = serde_json::from_slice::<Claims>(&bytes);
            prop_assert!(id_token::signed(&text, &[]).is_err());
            let token = format!("{}.{text}.{text}", URL_SAFE_NO_PAD.encode(&text));
            prop_assert!(id_token::signed(&token, &[]).is_err());
        }
    }

    #[test]
    fn a_list_and_what_is_no_json_are_no_key_set() {
        for text in ["", "{}", "[]", r#"{"keys": {}}"#, r#"{"keys": null}"#, "\"keys\""] {
            assert!(keys(text.as_bytes()).is_none(), "{text}");
        }
        assert!(keys(br#"{"keys": [], "more": 1e999}"#).is_some_and(|keys| keys.is_empty()));
    }
}
