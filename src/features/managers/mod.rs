//! Running the program: finding people, what is done to their accounts, what is noted of it, lists as files.

pub mod actions;
pub mod api;
pub mod model;
pub mod store;
