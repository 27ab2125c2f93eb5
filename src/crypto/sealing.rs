//! Private keys under the operator's master key: AES-256-GCM, bound to the name of the key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use crate::kernel::error::{Error, Result};

/// A secret as it lies in the database, and as it is to.
pub struct Resealed {
    pub kid: String,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

/// Why secrets are not sealed anew.
#[derive(Debug)]
pub enum ResealError {
    NoMasterKey,
    /// Neither master key opens the one of this name.
    Locked(String),
    Failed(Error),
}

impl From<Error> for ResealError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    pub fn new(master_key: &[u8; 32]) -> Result<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, master_key)
            .map(Self)
            .map_err(|_| Error::Internal("cannot use the master key".into()))
    }

    /// A random nonce, then what it gives: so each sealing of the same key is another text.
    pub fn seal(&self, kid: &str, private_key: &[u8]) -> Result<Vec<u8>> {
        let mut text = private_key.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(kid), &mut text)
            .map_err(|_| Error::Internal("cannot seal a signing key".into()))?;
        Ok([&nonce.as_ref()[..], &text].concat())
    }

    /// Nothing when it was sealed under another master key or for another name, or was changed.
    pub fn open(&self, kid: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let opened = self.0.open_in_place(Nonce::from(nonce), Aad::from(kid), &mut text).ok()?;
        Some(opened.to_vec())
    }
}

/// The operator's master keys.
pub struct MasterKeys {
    /// Keys are sealed under it.
    pub today: Option<Sealer>,
    /// Opens what was sealed under the one of before, while the master key changes.
    former: Option<Sealer>,
}

impl MasterKeys {
    pub fn new(today: Option<[u8; 32]>, former: Option<[u8; 32]>) -> Result<Self> {
        let sealer = |key: Option<[u8; 32]>| key.map(|key| Sealer::new(&key)).transpose();
        Ok(Self { today: sealer(today)?, former: sealer(former)? })
    }

    /// A secret as it was before it was sealed; nothing when it was sealed under another master key.
    pub fn opened(&self, kid: &str, secret: &[u8], sealed: bool) -> Option<Vec<u8>> {
        if !sealed {
            return Some(secret.to_vec());
        }
        [&self.today, &self.former].into_iter().flatten().find_map(|sealer| sealer.open(kid, secret))
    }

    /// A secret as it is to lie in the database, if it lies there otherwise: open, or under the former master key.
    pub fn resealed(&self, kid: &str, secret: &[u8], sealed: bool) -> Result<Option<Resealed>, ResealError> {
        let sealer = self.today.as_ref().ok_or(ResealError::NoMasterKey)?;
        if sealed && sealer.open(kid, secret).is_some() {
            return Ok(None);
        }
        let plain = self.opened(kid, secret, sealed).ok_or_else(|| ResealError::Locked(kid.to_owned()))?;
        let after = sealer.seal(kid, &plain).map_err(ResealError::Failed)?;
        Ok(Some(Resealed { kid: kid.to_owned(), before: secret.to_vec(), after }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_the_same_key_and_name_only() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        let sealed = sealer.seal("kid", b"private").unwrap();
        assert_eq!(sealer.open("kid", &sealed).as_deref(), Some(&b"private"[..]));
        assert!(!sealed.windows(7).any(|part| part == b"private"));
        assert_ne!(sealer.seal("kid", b"private").unwrap(), sealed);
        assert!(sealer.open("dik", &sealed).is_none());
        assert!(Sealer::new(&[2; 32]).unwrap().open("kid", &sealed).is_none());
        for length in 0..sealed.len() {
            assert!(sealer.open("kid", &sealed[..length]).is_none());
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("kid", &changed).is_none());
        }
    }
}
