//! What the service asks of others, over HTTP and SMTP: only at the addresses in the settings, and at those in the
//! metadata of identity providers that are there.

pub mod hunter;
pub mod identity_provider;
pub mod smtp;
pub mod transport;
