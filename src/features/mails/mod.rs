//! Mails to people: what is sent, to whom, and what the links in it are good for. What a link does is its caller's
//! business.

pub mod actions;
pub mod model;
pub mod store;
