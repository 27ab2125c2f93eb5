//! Access tokens and refresh tokens.

mod access;
mod forge;
mod helpers;
mod invented;
mod refresh;
