//! The service from outside, through HTTP, on every set-up.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking, and their helpers are no exception"
)]

mod support;

mod reference;
