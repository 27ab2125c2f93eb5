//! The service from outside, through HTTP, on every set-up.

mod support;

mod reference;
