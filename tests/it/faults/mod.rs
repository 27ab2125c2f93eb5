//! What breaks between the service and its servers, or breaks the service itself, makes no answer untrue: what was
//! acknowledged is there once, what was refused is not, and nothing is there by half.
//!
//! `cargo xtask faults` lets more of it break, and more often.

mod amounts;
mod histories;
mod kills;
mod owners;
mod tables;
mod upgrade;
mod ways;
