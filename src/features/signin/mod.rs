//! Logging in at our own pages: by password, or with other identity providers that speak OpenID Connect.

pub mod actions;
pub mod pages;
