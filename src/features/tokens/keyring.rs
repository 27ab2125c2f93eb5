//! The keys that sign access tokens, and the only way to make or believe one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::Claims;
use crate::kernel::error::{Error, Result};
use crate::kernel::time::Time;

/// A key as the database has it.
#[derive(Clone)]
pub struct StoredKey {
    pub generation: i64,
    pub kid: String,
    /// PKCS#8
    pub private_key: Vec<u8>,
    /// The 32 bytes of RFC 8032
    pub public_key: Vec<u8>,
}

impl StoredKey {
    pub fn generate(generation: i64) -> Result<Self> {
        let broken = |_| Error::Internal("cannot make an Ed25519 key".into());
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).map_err(broken)?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref())
            .map_err(|_| Error::Internal("cannot read the Ed25519 key just made".into()))?;
        let public_key = pair.public_key().as_ref().to_vec();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &public_key);
        let kid = URL_SAFE_NO_PAD.encode(digest.as_ref().get(..12).unwrap_or_default());
        Ok(Self { generation, kid, private_key: document.as_ref().to_vec(), public_key })
    }
}

/// A public key as other programs read it (RFC 8037).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Jwk {
    #[schema(example = "OKP")]
    pub kty: &'static str,
    #[schema(example = "Ed25519")]
    pub crv: &'static str,
    /// The 32 bytes of the key in base64url.
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    pub x: String,
    /// Which key a token names in its header.
    #[schema(example = "kPrK_qmxVWaYVA9w")]
    pub kid: String,
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    pub usage: &'static str,
    #[schema(example = "EdDSA")]
    pub alg: &'static str,
}

/// Signs with the newest key, believes all.
#[derive(Default)]
pub struct Keyring {
    keys: RwLock<Arc<Keys>>,
}

#[derive(Default)]
struct Keys {
    signing: Option<(String, EncodingKey)>,
    believed: HashMap<String, DecodingKey>,
    published: Vec<Jwk>,
}

/// The header of our tokens, whole: any other member (`jwk`, `jku`, `x5u`, `crit`, `b64`, `zip`, …) is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OurHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// Seconds by which the clocks of nodes may differ.
const LEEWAY: i64 = 60;

const TYPE: &str = "at+jwt";

impl Keyring {
    /// Takes over the keys that the database has, oldest first.
    pub fn set(&self, stored: &[StoredKey]) -> Result<()> {
        let mut keys = Keys::default();
        for key in stored {
            let x = URL_SAFE_NO_PAD.encode(&key.public_key);
            let decoding = DecodingKey::from_ed_components(&x)
                .map_err(|_| Error::inconsistent("signing_keys", "public_key", key.generation))?;
            keys.believed.insert(key.kid.clone(), decoding);
            keys.published.push(Jwk {
                kty: "OKP",
                crv: "Ed25519",
                x,
                kid: key.kid.clone(),
                usage: "sig",
                alg: "EdDSA",
            });
            keys.signing = Some((key.kid.clone(), EncodingKey::from_ed_der(&key.private_key)));
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    pub fn published(&self) -> Vec<Jwk> {
        self.current().published.clone()
    }

    pub fn sign(&self, claims: &Claims) -> Result<String> {
        let keys = self.current();
        let Some((kid, key)) = &keys.signing else { return Err(Error::Internal("there is no signing key".into())) };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(kid.clone());
        jsonwebtoken::encode(&header, claims, key)
            .map_err(|error| Error::Internal(format!("cannot sign a token: {error}")))
    }

    /// What an access token of ours that is good now says; nothing for anything else.
    pub fn read(&self, token: &str, issuer: &str, now: Time) -> Option<Claims> {
        let header = token.split('.').next()?;
        let header: OurHeader = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.alg != "EdDSA" || !header.typ.eq_ignore_ascii_case(TYPE) {
            return None;
        }
        let keys = self.current();
        let key = keys.believed.get(&header.kid)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The clock is ours to judge by, and it can be moved by tests.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation).ok()?.claims;
        // Ends of sessions are remembered for longer than tokens live, by a clock that only goes on: a token from the
        // future (the clock has stepped back) could outlive that.
        (claims.exp > now.seconds() && claims.iat <= now.seconds() + LEEWAY).then_some(claims)
    }

    fn current(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
