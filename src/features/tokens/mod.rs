//! Sessions: access tokens, refresh tokens, the keys that sign them, and log-ins at our own pages.

pub mod actions;
pub mod api;
pub mod caller;
pub mod model;
pub mod store;
