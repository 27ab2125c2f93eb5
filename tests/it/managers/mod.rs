//! What managers see and do.

mod acts;
mod audit;
mod exports;
mod roles;
mod search;
