//! Sign-ins with other providers that are under way, and what comes of them.

use uuid::{Builder, Uuid};

use crate::kernel::digest::{TicketHash, VisitorHash, sha256};
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::outbound::identity_provider::model::Identity;

/// Somebody on the way to a provider, under the hash of the state that was sent along.
#[derive(Clone)]
pub struct PendingSignIn {
    pub provider: String,
    /// Of the visitor's cookie: only the same browser can come back.
    pub visitor_hash: VisitorHash,
    /// Where to go on afterwards.
    pub next: String,
    /// The referral code brought along.
    pub code: Option<String>,
    pub nonce: String,
    pub verifier: String,
    pub expires_at: Time,
}

/// Somebody back from a provider who is nobody's yet, under the hash of the ticket in our form.
#[derive(Clone)]
pub struct UnclaimedIdentity {
    pub provider: String,
    pub visitor_hash: VisitorHash,
    pub next: String,
    pub code: Option<String>,
    pub identity: Identity,
    pub expires_at: Time,
}

/// What finds somebody who has come from another provider and is nobody's yet.
#[derive(Clone)]
pub struct UnclaimedIdentityKey {
    pub ticket_hash: TicketHash,
    pub visitor_hash: VisitorHash,
    /// Whether the provider's word counts that the address is theirs.
    pub email_proven: bool,
}

/// An account elsewhere that a user signs in with.
#[derive(Clone, Debug)]
pub struct LinkedIdentity {
    pub issuer: String,
    pub subject: String,
    pub linked_at: Time,
}

impl LinkedIdentity {
    /// What its user calls it by: the subject is nobody's business who only sees an address of ours.
    pub fn id(&self, user: UserId) -> Uuid {
        let length = self.issuer.len().to_be_bytes();
        let text = [user.0.as_bytes(), &length[..], self.issuer.as_bytes(), self.subject.as_bytes()].concat();
        let digest = sha256(&text);
        Builder::from_custom_bytes(digest.first_chunk().copied().unwrap_or_default()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_identity_is_of_the_whole_of_it_and_of_its_user() {
        let (one, other) = (UserId::new(), UserId::new());
        let identity = |issuer: &str, subject: &str| LinkedIdentity {
            issuer: issuer.into(),
            subject: subject.into(),
            linked_at: Time(0),
        };
        let id = identity("https://a.example", "b").id(one);
        assert_eq!(id, identity("https://a.example", "b").id(one));
        for different in [
            identity("https://a.example", "b").id(other),
            identity("https://a.example", "c").id(one),
            identity("https://a.exampleb", "").id(one),
        ] {
            assert_ne!(different, id);
        }
    }
}
