//! Who did what with other people's things, and that nobody changes what was noted of it.

pub mod actions;
pub mod model;
pub mod store;
