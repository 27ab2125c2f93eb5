//! What is told to others: messages, written in the transaction of what they tell of, and their numbers.

pub mod actions;
pub mod model;
pub mod store;
