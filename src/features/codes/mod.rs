//! Codes: what a referrer shares. At most one of an owner's codes is active.

pub mod actions;
pub mod api;
pub mod model;
pub mod store;
