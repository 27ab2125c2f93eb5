//! What people get for what happens at a host's: the rules, the events that they judge, rewards, and the ledger, whose
//! every row is both sides of a movement.

pub mod actions;
pub mod api;
pub mod model;
pub mod store;
