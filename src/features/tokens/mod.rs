//! Access tokens, refresh tokens and the keys that sign them.

pub mod actions;
pub mod http;
pub mod keyring;
pub mod keys;
pub mod model;
mod sealing;
pub mod store;
