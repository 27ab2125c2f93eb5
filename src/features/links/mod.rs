//! Links: what people send to those whom they invite. A link has the name of its owner, the handle, and leads to
//! whatever code of theirs is active when it is opened.

pub mod actions;
pub mod api;
pub mod model;
pub mod pages;
pub mod store;
