//! What the service asks of others over HTTP: only at the addresses in the settings, and at those in the metadata of
//! identity providers that are there.

pub mod hunter;
pub mod identity_provider;
pub mod transport;
