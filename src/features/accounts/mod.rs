//! People with an account: registration, log-in, everything under `/me`.

pub mod actions;
pub mod api;
pub mod model;
pub mod pages;
pub mod store;
