//! Referral programs: what managers set for everybody. There is one, `default`.

pub mod actions;
pub mod api;
pub mod model;
pub mod store;
