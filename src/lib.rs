//! Referral: a self-hosted referral-program service. ARCHITECTURE.md has the map; the modules follow in reading order.

#![forbid(unsafe_code)]
// They panic when what is printed cannot be written: its reader has gone, or the disk is full.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod brand;
pub mod cache;
pub mod cli;
pub mod clicks;
pub mod config;
pub mod crypto;
pub mod db;
pub mod features;
pub mod idempotency;
pub mod jobs;
pub mod keep;
pub mod kernel;
pub mod limits;
pub mod log;
pub mod loops;
pub mod metrics;
pub mod outbound;
pub mod readiness;
pub mod site;
pub mod start;
pub mod web;
pub mod worker;
