//! Signing in with others: identity providers that speak OpenID Connect, and whom they call by which subject.

pub mod actions;
pub mod model;
pub mod provider;
pub mod store;
pub mod transport;
