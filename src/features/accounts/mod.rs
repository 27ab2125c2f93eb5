//! People with an account: registration, log-in, everything under `/me`.

pub mod actions;
pub mod address;
pub mod admin;
pub mod hashing;
pub mod http;
pub mod jobs;
pub mod me;
pub mod model;
pub mod password;
pub mod store;
