//! Pages in a real browser: the documentation, the problems, log-in and consent.

mod docs;
mod helpers;
mod journeys;
mod leaving;
mod problems;
mod views;
