//! Who somebody is at other identity providers, and sign-ins with them that are under way.

pub mod actions;
pub mod api;
pub mod model;
pub mod store;
