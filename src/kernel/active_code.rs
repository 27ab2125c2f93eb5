//! An active code with its owner.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An active code with its owner, as look-ups tell it and caches keep it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActiveCode {
    pub owner: Uuid,
    pub email: String,
    pub username: String,
    pub version: i64,
    pub id: i64,
    pub code: String,
    /// Microseconds since 1970.
    pub expires_at: i64,
    pub discoverable: bool,
}
