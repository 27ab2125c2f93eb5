//! Sessions: access tokens, refresh tokens, the keys that sign them, and log-ins at our own pages.

pub mod actions;
pub mod browser;
pub mod http;
pub mod keyring;
pub mod keys;
pub mod model;
mod sealing;
pub mod store;
