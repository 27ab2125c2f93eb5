//! What the service asks of others, over HTTP and SMTP: only at the addresses in the settings, at those in the metadata
//! of identity providers that are there, and at webhook endpoints that managers have named.

pub mod addresses;
pub mod hunter;
pub mod identity_provider;
pub mod receivers;
pub mod smtp;
pub mod transport;
