//! The binary as an operator meets it.

mod admin;
mod check;
mod commands;
mod guide;
mod health;
mod log;
mod metrics;
mod migrations;
mod settings;
mod stop;
mod tour;
