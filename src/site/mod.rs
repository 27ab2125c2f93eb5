//! The service as a site: what surrounds every request, all routes, and the documents about them.

pub mod accept;
pub mod brand;
pub mod connections;
pub mod correlation;
pub mod cors;
pub mod descriptors;
pub mod docs;
pub mod figures;
pub mod guard;
pub mod health;
pub mod malformed;
pub mod openapi;
pub mod router;
pub mod server;
pub mod stream;
