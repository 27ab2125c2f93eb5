//! The authorization server: other programs get tokens for the people who allow it, or for themselves.

pub mod actions;
pub mod http;
pub mod model;
pub mod store;
