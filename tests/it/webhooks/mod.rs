//! What others are told, and how it reaches them.

mod delivery;
mod endpoints;
mod feed;
mod kills;
mod load;
mod told;
