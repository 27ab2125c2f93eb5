//! The keys that sign tokens.

mod commands;
mod helpers;
mod rotation;
mod sealed;
