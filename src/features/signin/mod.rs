//! Logging in at our own pages: by password, or with another identity provider.

pub mod http;
