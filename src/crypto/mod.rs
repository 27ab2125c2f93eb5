//! What keeps secrets: hashing, sealing, and the keys that sign.

pub mod audit_keys;
pub mod hashing;
pub mod keyring;
pub mod mail_key;
pub mod sealing;
