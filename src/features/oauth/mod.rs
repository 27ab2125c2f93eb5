//! The authorization server: other programs get tokens for the people who allow it, or for themselves.

pub mod actions;
pub mod api;
pub mod model;
pub mod pages;
pub mod store;
