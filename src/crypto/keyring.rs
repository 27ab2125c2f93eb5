//! The keys that sign tokens, and the only way to make or believe one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
use utoipa::ToSchema;

use super::sealing::{MasterKeys, ResealError, Resealed};
use crate::kernel::caller::{Claims, IdTokenAlgorithm};
use crate::kernel::digest::sha256;
use crate::kernel::error::{Error, Result};
use crate::kernel::time::Time;
use crate::words;

/// A key with its private half.
#[derive(Clone)]
pub struct Key {
    pub kid: String,
    pub algorithm: IdTokenAlgorithm,
    /// The 32 bytes of RFC 8032, or the `RSAPublicKey` of RFC 8017.
    pub public_key: Vec<u8>,
    /// PKCS#8, sealed if `sealed`; empty once the key is retired.
    pub private_key: Vec<u8>,
    pub sealed: bool,
}

/// A key as the database has it.
pub struct StoredKey {
    /// Later ones are higher.
    pub generation: i64,
    pub key: Key,
    pub created_at: Time,
    /// From when on it signs; published before.
    pub active_from: Time,
    pub retired_at: Option<Time>,
}

/// A key that nobody has the public half of, for it has none: 32 bytes, sealed if `sealed`.
#[derive(Clone)]
pub struct StoredSecret {
    pub kid: String,
    pub secret: Vec<u8>,
    pub sealed: bool,
}

impl StoredSecret {
    /// A new key, unsealed.
    pub fn generate() -> Result<Self> {
        let mut bytes = [0; 48];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Internal("the system has no random numbers".into()))?;
        let (secret, name) = bytes.split_at(32);
        Ok(Self { kid: URL_SAFE_NO_PAD.encode(name), secret: secret.to_vec(), sealed: false })
    }
}

impl Key {
    /// A new key, unsealed. RSA takes its time: 50 ms usually, five times that now and then.
    pub fn generate(algorithm: IdTokenAlgorithm) -> Result<Self> {
        let broken = |_| Error::Internal(format!("cannot make a key for {}", algorithm.word()));
        let (private_key, public_key) = match algorithm {
            IdTokenAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().map_err(broken)?;
                let document = pair.to_pkcs8().map_err(broken)?;
                (document.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
            }
            IdTokenAlgorithm::Rs256 => {
                let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(broken)?;
                let document: Pkcs8V1Der<'_> = pair.as_der().map_err(broken)?;
                (document.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
            }
        };
        let digest = sha256(&public_key);
        let kid = URL_SAFE_NO_PAD.encode(digest.get(..12).unwrap_or_default());
        Ok(Self { kid, algorithm, public_key, private_key, sealed: false })
    }
}

/// A public key as other programs read it (RFC 7517).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Jwk {
    Ed25519(Ed25519Jwk),
    Rsa(RsaJwk),
}

words! {
    /// An octet key pair (RFC 8037).
    pub enum OctetKeyPair as "OctetKeyPair" {
        Okp = "OKP",
    }
}

words! {
    /// The curve of a key (RFC 8037).
    pub enum Curve as "Curve" {
        Ed25519 = "Ed25519",
    }
}

words! {
    /// A key of RSA (RFC 7518).
    pub enum RsaKey as "RsaKey" {
        Rsa = "RSA",
    }
}

words! {
    /// What a key is for: signatures.
    pub enum KeyUse as "KeyUse" {
        Signature = "sig",
    }
}

/// A key that signs access tokens, and ID tokens for clients that ask for EdDSA (RFC 8037).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ed25519Jwk {
    pub kty: OctetKeyPair,
    pub crv: Curve,
    /// The 32 bytes of the key in base64url.
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    pub x: String,
    /// Which key a token names in its header.
    #[schema(example = "kPrK_qmxVWaYVA9w")]
    pub kid: String,
    #[serde(rename = "use")]
    pub usage: KeyUse,
    pub alg: IdTokenAlgorithm,
}

/// A key that signs ID tokens, never access tokens (RFC 7518).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RsaJwk {
    pub kty: RsaKey,
    /// The modulus in base64url, 2048 bits.
    #[schema(
        example = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )]
    pub n: String,
    /// The exponent in base64url.
    #[schema(example = "AQAB")]
    pub e: String,
    /// Which key a token names in its header.
    #[schema(example = "Vt3mD0zq1uYc7p2k")]
    pub kid: String,
    #[serde(rename = "use")]
    pub usage: KeyUse,
    pub alg: IdTokenAlgorithm,
}

impl Jwk {
    fn of(key: &Key) -> Option<Self> {
        let (kid, alg, usage) = (key.kid.clone(), key.algorithm, KeyUse::Signature);
        Some(match key.algorithm {
            IdTokenAlgorithm::EdDsa => Self::Ed25519(Ed25519Jwk {
                kty: OctetKeyPair::Okp,
                crv: Curve::Ed25519,
                x: URL_SAFE_NO_PAD.encode(&key.public_key),
                kid,
                usage,
                alg,
            }),
            IdTokenAlgorithm::Rs256 => {
                let public = rsa::PublicKey::from_der(&key.public_key).ok()?;
                Self::Rsa(RsaJwk {
                    kty: RsaKey::Rsa,
                    n: URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
                    e: URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
                    kid,
                    usage,
                    alg,
                })
            }
        })
    }
}

/// What the MAC of refresh tokens is made with.
pub type RefreshKey = hmac::Key;

/// Of each algorithm the newest key whose time has come signs; all that are not retired are published, and for access
/// tokens those of Ed25519 are believed.
pub struct Keyring {
    master: MasterKeys,
    keys: RwLock<Arc<Keys>>,
    /// Held while the database is read, so that what was read first is never taken over last.
    reading: Mutex<()>,
    making: Mutex<()>,
}

#[derive(Default)]
struct Keys {
    /// Newest first.
    signers: Vec<Signer>,
    believed: HashMap<String, DecodingKey>,
    published: Vec<Jwk>,
    has_rs256: bool,
    /// For refresh tokens, newest first, each with its name; and whether there is any, opened or not.
    refresh: Vec<(String, RefreshKey)>,
    has_refresh: bool,
    /// One that the master key does not open.
    locked: Option<String>,
    era: u64,
}

#[derive(Clone)]
struct Signer {
    kid: String,
    algorithm: IdTokenAlgorithm,
    active_from: Time,
    pair: Arc<Pair>,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Rsa(rsa::KeyPair),
}

/// The header of our tokens, whole: any other member (`jwk`, `jku`, `x5u`, `crit`, `b64`, `zip`, …) is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OurHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// Seconds by which the clocks of nodes may differ.
pub const LEEWAY: i64 = 60;

const TYPE: &str = "at+jwt";
/// Never taken for an access token.
const ID_TYPE: &str = "JWT";

impl Keyring {
    /// An empty one, for keys sealed under these master keys if there are any.
    pub fn new(master: MasterKeys) -> Self {
        Self { master, keys: RwLock::default(), reading: Mutex::default(), making: Mutex::default() }
    }

    /// As [`MasterKeys::resealed`].
    pub fn resealed(&self, kid: &str, secret: &[u8], sealed: bool) -> Result<Option<Resealed>, ResealError> {
        self.master.resealed(kid, secret, sealed)
    }

    /// Takes over the keys that are read from the database.
    pub async fn take_over(
        &self,
        reading: impl Future<Output = Result<(Vec<StoredKey>, Vec<StoredSecret>)>>,
    ) -> Result<()> {
        let _one = self.reading.lock().await;
        let (keys, refresh_keys) = reading.await?;
        self.set(&keys, &refresh_keys)
    }

    /// As [`take_over`](Self::take_over), of keys that were read before anybody else could read them.
    pub fn set(&self, stored: &[StoredKey], refresh: &[StoredSecret]) -> Result<()> {
        let before = self.current();
        let mut keys = Keys::default();
        for StoredKey { generation, key, active_from, .. } in stored.iter().filter(|key| key.retired_at.is_none()) {
            let inconsistent = || Error::inconsistent("signing_keys", "public_key", generation);
            let jwk = Jwk::of(key).ok_or_else(inconsistent)?;
            if let Jwk::Ed25519(jwk) = &jwk {
                let decoding = DecodingKey::from_ed_components(&jwk.x).map_err(|_| inconsistent())?;
                keys.believed.insert(key.kid.clone(), decoding);
            }
            keys.published.push(jwk);
            keys.has_rs256 |= key.algorithm == IdTokenAlgorithm::Rs256;
            // What was opened once stays so, whatever became of the row or the master key meanwhile.
            let opened = before.signers.iter().find(|signer| signer.kid == key.kid).map(|signer| signer.pair.clone());
            match opened.or_else(|| self.open(key).map(Arc::new)) {
                Some(pair) => keys.signers.push(Signer {
                    kid: key.kid.clone(),
                    algorithm: key.algorithm,
                    active_from: *active_from,
                    pair,
                }),
                None => keys.locked = Some(key.kid.clone()),
            }
        }
        keys.signers.reverse();
        keys.has_refresh = !refresh.is_empty();
        for StoredSecret { kid, secret, sealed } in refresh {
            let opened = before.refresh.iter().find(|(known, _)| known == kid).map(|(_, key)| key.clone());
            match opened.or_else(|| self.unsealed(kid, secret, *sealed).map(|secret| refresh_key(&secret))) {
                Some(key) => keys.refresh.push((kid.clone(), key)),
                None => drop(keys.locked.get_or_insert_with(|| kid.clone())),
            }
        }
        let retired = before.believed.keys().any(|kid| !keys.believed.contains_key(kid));
        keys.era = before.era + u64::from(retired);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    fn open(&self, key: &Key) -> Option<Pair> {
        let document = self.unsealed(&key.kid, &key.private_key, key.sealed)?;
        Some(match key.algorithm {
            IdTokenAlgorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(&document).ok()?),
            IdTokenAlgorithm::Rs256 => Pair::Rsa(rsa::KeyPair::from_pkcs8(&document).ok()?),
        })
    }

    /// Nothing when it is sealed under a master key that this is not.
    pub fn unsealed(&self, kid: &str, secret: &[u8], sealed: bool) -> Option<Vec<u8>> {
        self.master.opened(kid, secret, sealed)
    }

    /// The key as the database should have it: sealed, if there is a master key.
    pub fn sealed(&self, key: Key) -> Result<Key> {
        match &self.master.today {
            Some(sealer) if !key.sealed => {
                let private_key = sealer.seal(&key.kid, &key.private_key)?;
                Ok(Key { private_key, sealed: true, ..key })
            }
            _ => Ok(key),
        }
    }

    /// As [`sealed`](Self::sealed).
    pub fn sealed_secret(&self, key: StoredSecret) -> Result<StoredSecret> {
        match &self.master.today {
            Some(sealer) if !key.sealed => {
                let secret = sealer.seal(&key.kid, &key.secret)?;
                Ok(StoredSecret { secret, sealed: true, ..key })
            }
            _ => Ok(key),
        }
    }

    /// The keys by which refresh tokens are known, the one that they are given by first.
    pub fn refresh_keys(&self) -> Vec<RefreshKey> {
        self.current().refresh.iter().map(|(_, key)| key.clone()).collect()
    }

    /// A secret that all nodes have and nobody else, another for each purpose: made of the key for refresh tokens, by a
    /// message that is none of theirs. Nothing while that key is not opened.
    pub fn secret_for(&self, purpose: &str) -> Option<[u8; 32]> {
        let key = self.current().refresh.first().map(|(_, key)| key.clone())?;
        hmac::sign(&key, format!("secret for {purpose}").as_bytes()).as_ref().first_chunk().copied()
    }

    /// Whether there is a key for refresh tokens, opened or not.
    pub fn has_refresh_key(&self) -> bool {
        self.current().has_refresh
    }

    pub fn seals(&self) -> bool {
        self.master.today.is_some()
    }

    /// The name of a key that cannot be opened, if there is one.
    pub fn locked(&self) -> Option<String> {
        self.current().locked.clone()
    }

    /// Whether a key is needed here that the master key does not open: another node has made it under its own.
    pub fn is_locked_out(&self) -> bool {
        let keys = self.current();
        let signs = |algorithm| keys.signers.iter().any(|signer| signer.algorithm == algorithm);
        keys.locked.is_some()
            && (!signs(IdTokenAlgorithm::EdDsa)
                || keys.has_rs256 && !signs(IdTokenAlgorithm::Rs256)
                || keys.has_refresh && keys.refresh.is_empty())
    }

    /// Whether there is a key of this algorithm, opened or not.
    pub fn has(&self, algorithm: IdTokenAlgorithm) -> bool {
        let keys = self.current();
        match algorithm {
            IdTokenAlgorithm::EdDsa => !keys.believed.is_empty(),
            IdTokenAlgorithm::Rs256 => keys.has_rs256,
        }
    }

    /// Of many who need a key that is not there, one makes it while the others wait here.
    pub async fn making(&self) -> MutexGuard<'_, ()> {
        self.making.lock().await
    }

    pub fn published(&self) -> Vec<Jwk> {
        self.current().published.clone()
    }

    /// Another number whenever a key has stopped being believed: what was verified before counts no longer.
    pub fn era(&self) -> u64 {
        self.current().era
    }

    /// An access token.
    pub fn sign(&self, claims: &Claims, now: Time) -> Result<String> {
        let token = self.encode(IdTokenAlgorithm::EdDsa, TYPE, claims, now)?;
        token.ok_or_else(|| Error::Internal("there is no signing key".into()))
    }

    /// An ID token; nothing when there is no key of this algorithm, which is made a while after the first start.
    pub fn sign_id_token(
        &self,
        algorithm: IdTokenAlgorithm,
        claims: &impl Serialize,
        now: Time,
    ) -> Result<Option<String>> {
        self.encode(algorithm, ID_TYPE, claims, now)
    }

    fn encode(
        &self,
        algorithm: IdTokenAlgorithm,
        typ: &str,
        claims: &impl Serialize,
        now: Time,
    ) -> Result<Option<String>> {
        let keys = self.current();
        let of_algorithm = || keys.signers.iter().filter(|signer| signer.algorithm == algorithm);
        // Before the time of the first (this node's clock is behind the one that it was made by), the first.
        let signer = of_algorithm()
            .find(|signer| signer.active_from <= now)
            .or_else(|| of_algorithm().min_by_key(|signer| signer.active_from));
        let Some(signer) = signer else { return Ok(None) };
        let broken = |error| Error::Internal(format!("cannot write a token: {error}"));
        let header = OurHeader { alg: algorithm.word().to_owned(), typ: typ.to_owned(), kid: signer.kid.clone() };
        let header = serde_json::to_vec(&header).map_err(broken)?;
        let claims = serde_json::to_vec(claims).map_err(broken)?;
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = signer.pair.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Some(token))
    }

    /// What an access token of ours that is good now says; nothing for anything else.
    pub fn claims(&self, token: &str, issuer: &str, now: Time) -> Option<Claims> {
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

fn refresh_key(secret: &[u8]) -> RefreshKey {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

impl Pair {
    fn sign(&self, input: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Ed25519(pair) => Ok(pair.sign(input).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut signature)
                    .map_err(|_| Error::Internal("cannot sign a token".into()))?;
                Ok(signature)
            }
        }
    }
}
