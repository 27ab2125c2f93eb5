//! Identity providers, honest ones and others: who is let in, and every way in which nobody is.

mod helpers;
mod honest;
mod lies;
mod metadata;
mod odd;
mod store;
