//! What is noted of what was done, and that nobody changes it unseen.

mod chain;
mod helpers;
mod kills;
mod noted;
