//! What managers see and do.

mod acts;
mod audit;
mod erasure;
mod exports;
mod roles;
mod search;
