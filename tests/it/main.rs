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
mod binary;
mod clocks;
mod cors;
mod crowds;
mod databases;
mod deadlines;
mod failover;
mod faults;
mod figures;
mod gallery;
mod guide;
mod health;
mod identity;
mod input;
mod journeys;
mod keys;
mod laws;
mod leaving;
mod limits;
mod lists;
mod nodes;
mod oauth;
mod oauth_attacks;
mod openapi;
mod operator;
mod pages;
mod pooler;
mod providers;
mod reference;
mod registrations;
mod replaced;
mod seam;
mod signin;
mod stale;
mod structure;
mod tls;
mod tokens;
mod verifier;
mod views;
mod wire;
