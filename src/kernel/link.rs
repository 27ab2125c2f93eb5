//! What somebody's link means, as nodes remember it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whose link it is and where it leads, as of a version of the owner's slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkTarget {
    pub owner: Uuid,
    pub version: i64,
    pub leads: Leads,
    /// Until when it can be so at all: microseconds since 1970.
    pub until: i64,
}

/// What becomes of a click.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leads {
    /// To a registration with this code, which is active.
    Code(String),
    /// To a registration with the handle that was opened: the code has expired, and may be renewed then.
    Renewal,
    /// To one without a code.
    Ended,
    /// To one without a code: the owner is not there any more, or is kept out.
    Gone,
}
