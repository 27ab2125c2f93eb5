//! What is measured.

pub mod audit;
pub mod growth;
pub mod hashing;
pub mod keyed;
pub mod mails;
pub mod nodes;
pub mod pages;
pub mod plans;
pub mod process;
pub mod program;
pub mod reads;
pub mod registrations;
pub mod rewards;
pub mod webhooks;

use crate::report::Report;
use crate::run::{Bench, Place};

/// Given the large data in PostgreSQL and in SQLite.
pub type Part = fn(&Bench, &Place, &Place, &mut Report) -> Result<(), String>;
