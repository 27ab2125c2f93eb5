//! What handlers and pages are made with: extractors, problems, lists, cookies and forms, languages, views. Nothing
//! here knows a feature.

pub mod actor;
pub mod browser;
pub mod client_address;
pub mod csv;
pub mod extract;
pub mod idempotency;
pub mod page;
pub mod pages;
pub mod problem;
pub mod query;
pub mod views;
pub mod visitor;
