//! SHA-256 digests, each a type by what it is a digest of: one cannot be taken for another.

use std::fmt;
use std::hash::{Hash, Hasher};

use aws_lc_rs::digest;
use subtle::ConstantTimeEq;

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// A digest as a database keeps it.
pub trait Digest: Sized {
    fn bytes(&self) -> &[u8; 32];

    /// One that was stored.
    fn stored(bytes: [u8; 32]) -> Self;
}

macro_rules! digests {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy)]
            pub struct $name([u8; 32]);

            impl $name {
                pub fn of(what: impl AsRef<[u8]>) -> Self {
                    Self(sha256(what.as_ref()))
                }
            }

            impl Digest for $name {
                fn bytes(&self) -> &[u8; 32] {
                    &self.0
                }

                fn stored(bytes: [u8; 32]) -> Self {
                    Self(bytes)
                }
            }

            /// In the same time whatever differs: nobody learns how much of a guess is right.
            impl PartialEq for $name {
                fn eq(&self, other: &Self) -> bool {
                    self.0.ct_eq(&other.0).into()
                }
            }

            impl Eq for $name {}

            impl Hash for $name {
                fn hash<H: Hasher>(&self, state: &mut H) {
                    self.0.hash(state);
                }
            }

            /// Of a short secret the digest would tell enough.
            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(stringify!($name))
                }
            }
        )*
    };
}

digests! {
    /// Of the secret in a browser's cookie.
    VisitorHash
    /// Of the `state` that goes to an identity provider and comes back.
    StateHash
    /// Of the ticket in the form of somebody who has come from an identity provider.
    TicketHash
    /// Of an authorization code.
    AuthorizationCodeHash
    /// Of the secret of a refresh token.
    RefreshTokenHash
    /// Of a client's secret.
    ClientSecretHash
    /// Of an access token.
    AccessTokenHash
    /// Of what a host's app calls somebody.
    ExternalIdHash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha_256_and_is_not_printed() {
        // FIPS 180-4, the example of one block.
        let of_abc = StateHash::of("abc");
        assert_eq!(of_abc.bytes()[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(StateHash::stored(*of_abc.bytes()), of_abc);
        assert_eq!(format!("{of_abc:?}"), "StateHash");
    }
}
