//! Links: handles, where they lead, what is counted, what people share.

mod counting;
mod figures;
mod handles;
mod helpers;
mod opening;
mod pages;
mod renewal;
mod sharing;
