//! What is measured beside the shipped binary, each a command of this program and a process of its own.

pub mod bare_hyper;
pub mod bare_sqlite;
pub mod without_hashing;
