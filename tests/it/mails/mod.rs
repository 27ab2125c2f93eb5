//! Mails: what is sent, what its links are good for, and how little whoever asks for one learns.

mod faults;
mod helpers;
mod links;
mod reset;
