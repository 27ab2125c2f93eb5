//! Referrals: who brought whom. Made once, inside the referee's registration.

pub mod actions;
pub mod api;
pub mod model;
pub mod store;
