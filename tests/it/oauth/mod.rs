//! The authorization server, as browsers and other programs meet it.

mod attacks;
mod authorization;
mod clients;
mod pages;
mod shop;
mod tokens;
mod upgrade;
