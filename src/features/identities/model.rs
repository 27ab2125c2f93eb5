//! Sign-ins with other providers that are under way.

use crate::kernel::digest::{TicketHash, VisitorHash};
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
