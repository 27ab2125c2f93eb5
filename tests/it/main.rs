//! The service from outside, through HTTP, on every set-up.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking, and their helpers are no exception"
)]

mod support;

mod access;
mod accounts;
mod actors;
mod audit;
mod database;
mod document;
mod faults;
mod http;
mod idempotency;
mod jobs;
mod keep;
mod keys;
mod laws;
mod limits;
mod links;
mod lists;
mod mails;
mod managers;
mod nodes;
mod oauth;
mod operator;
mod pages;
mod participants;
mod programs;
mod providers;
mod replaced;
mod rewards;
mod share;
mod signin;
mod stale;
mod structure;
mod style;
mod tokens;
mod verifier;
mod webhooks;
