//! Programs that managers have let in: OAuth clients.

pub mod actions;
pub mod http;
pub mod model;
pub mod store;
