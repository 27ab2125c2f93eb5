//! Writes that come again with the client's key have one effect and one answer.

mod document;
mod keys;
mod lost;
mod secrets;
