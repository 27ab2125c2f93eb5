//! What a host's app calls its people.

use std::fmt;

use super::digest::ExternalIdHash;

/// What a host's app calls one of its people: opaque, and kept as it was given.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExternalId(String);

/// Bytes of an external id.
const MOST_ID: usize = 128;

impl ExternalId {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > MOST_ID {
            return Err("An external id has 1 to 128 bytes");
        }
        if text.contains('\0') {
            return Err("An external id has no NUL character");
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is found by, also once it is erased.
    pub fn hash(&self) -> ExternalIdHash {
        ExternalIdHash::of(&self.0)
    }
}

/// Hosts are told not to use addresses; some will.
impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalId(…)")
    }
}
