//! The keys that sign tokens.

mod commands;
mod helpers;
mod reseal;
mod rotation;
mod sealed;
