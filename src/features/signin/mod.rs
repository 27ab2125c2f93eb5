//! Logging in at our own pages: by password, or with other identity providers that speak OpenID Connect.

pub mod actions;
pub mod answers;
pub mod http;
pub mod id_token;
pub mod model;
pub mod provider;
pub mod store;
pub mod transport;
