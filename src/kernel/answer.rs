//! What a write was answered.

use std::fmt;

/// As it is kept for whoever sends the write again.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// JSON, or nothing.
    pub body: Vec<u8>,
}

/// Without the body: it may hold what is told once.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}
