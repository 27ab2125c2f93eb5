//! Participants: people whom a host's app has among its own accounts. Its back end tells of them, one by one or in
//! batches; here they have no password, and perhaps no address.

pub mod actions;
pub mod api;
pub mod model;
pub mod store;
