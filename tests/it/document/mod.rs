//! The OpenAPI document: what clients are generated from, and that its examples are true.

mod architecture;
mod erasure;
mod fields;
mod openapi;
mod reference;
