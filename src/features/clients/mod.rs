//! OAuth clients: programs that managers have registered, and what people have allowed them.

pub mod actions;
pub mod api;
pub mod model;
pub mod store;
