//! HTTP: what surrounds every request. What is asked for is the features' business.

pub mod caller;
pub mod connections;
pub mod correlation;
pub mod cors;
pub mod descriptors;
pub mod docs;
pub mod extract;
pub mod figures;
pub mod guard;
pub mod health;
pub mod malformed;
pub mod openapi;
pub mod page;
pub mod pages;
pub mod problem;
pub mod router;
pub mod server;
pub mod stream;
pub mod views;
pub mod visitor;
