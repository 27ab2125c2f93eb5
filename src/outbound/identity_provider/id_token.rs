//! Whether a provider has made an ID token for us, in this sign-in, and whether it is good now (OpenID Connect Core,
//! 3.1.3.7). The only thing that proves who somebody is: all of it is strict.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto;
use serde_json::Value;

use super::answers::{Claims, Header, Key, algorithm};
use super::model::SignInError;
use crate::kernel::time::Time;

/// By how many seconds a provider's clock may be ahead of ours.
const LEEWAY: i64 = 60;

/// Whom a token must be from and for.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
}

/// The claims of an ID token that is good, with a subject.
pub fn verified(token: &str, keys: &[Key], expected: &Expected<'_>, now: Time) -> Result<Claims, SignInError> {
    let claims = signed(token, keys)?;
    if claims.iss.as_deref() != Some(expected.issuer) {
        return Err(SignInError::TokenIssuer);
    }
    if !is_for(&claims, expected.client_id) {
        return Err(SignInError::TokenAudience);
    }
    // Who is one of several must be the one that the token was given to.
    let ours = claims.azp.as_ref().map_or(claims.aud.len() == 1, |party| party == expected.client_id);
    if !ours {
        return Err(SignInError::TokenParty);
    }
    if claims.exp.is_none_or(|end| end <= now.seconds()) {
        return Err(SignInError::TokenExpired);
    }
    if claims.iat.is_some_and(|at| at > now.seconds() + LEEWAY) {
        return Err(SignInError::TokenTooEarly);
    }
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err(SignInError::TokenNonce);
    }
    let is_subject = |sub: &String| (1..=255).contains(&sub.len()) && !sub.chars().any(char::is_control);
    if !claims.sub.as_ref().is_some_and(is_subject) {
        return Err(SignInError::TokenSubject);
    }
    Ok(claims)
}

/// Whether somebody is among those that a token is for.
pub fn is_for(claims: &Claims, client_id: &str) -> bool {
    claims.aud.iter().flatten().any(|audience| audience == client_id)
}

/// The claims of a token that one of these keys has signed.
pub fn signed(token: &str, keys: &[Key]) -> Result<Claims, SignInError> {
    let (message, signature) = token.rsplit_once('.').ok_or(SignInError::BrokenAnswer)?;
    let (header, claims) = message.split_once('.').ok_or(SignInError::BrokenAnswer)?;
    let header: Header = part(header)?;
    let algorithm = header.alg.as_deref().and_then(algorithm).ok_or(SignInError::TokenAlgorithm)?;
    if header.crit.is_some() || header.cty.is_some() || header.typ.as_ref().is_some_and(|typ| !is_jwt(typ)) {
        return Err(SignInError::TokenHeader);
    }
    // A key without a name can have made a token with one; the other way round any key can.
    let named = |key: &&Key| header.kid.is_none() || key.kid.is_none() || key.kid == header.kid;
    let mut possible = keys.iter().filter(|key| key.algorithm == algorithm).filter(named).peekable();
    if possible.peek().is_none() {
        return Err(SignInError::TokenKey);
    }
    let by = |key: &Key| crypto::verify(signature, message.as_bytes(), &key.public, algorithm).unwrap_or(false);
    if possible.any(by) { part(claims) } else { Err(SignInError::TokenSignature) }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SignInError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SignInError::BrokenAnswer)?;
    serde_json::from_slice(&bytes).map_err(|_| SignInError::BrokenAnswer)
}

/// RFC 7519, 5.1. An access token says `at+jwt`.
fn is_jwt(typ: &Value) -> bool {
    typ.as_str().is_some_and(|text| ["JWT", "application/jwt"].iter().any(|known| text.eq_ignore_ascii_case(known)))
}
