//! What is told of a participant.

use crate::features::referrals::model::Status;
use crate::kernel::handle::Handle;
use crate::kernel::ids::UserId;

/// A participant, as hosts and managers see them.
#[derive(Clone, Debug)]
pub struct Participant {
    pub id: UserId,
    pub external_id: String,
    pub email: Option<String>,
    pub name: Option<String>,
    pub language: Option<String>,
    /// What their link is called; nothing for one whom a node of the release before has made.
    pub handle: Option<Handle>,
    /// Their own active code.
    pub code: Option<String>,
    /// Who brought them, and whether that counts.
    pub referred_by: Option<(UserId, Status)>,
}

/// A participant whom a call has made or found.
pub struct Upserted {
    pub made: bool,
    pub participant: Participant,
}
