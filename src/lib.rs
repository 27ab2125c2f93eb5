//! Referral: a self-hosted referral-program service. ARCHITECTURE.md has the map; the modules follow in reading order.

pub mod kernel;
pub mod config;
pub mod db;
