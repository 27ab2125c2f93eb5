//! Webhooks (standardwebhooks.com): endpoints, what is delivered to them and how that went; and the feed for who cannot
//! receive.

pub mod actions;
pub mod api;
pub mod model;
pub mod store;
