//! Referrals: who brought whom. Made once, inside the referee's registration.

pub mod actions;
pub mod http;
pub mod model;
pub mod store;
