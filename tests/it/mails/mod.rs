//! Mails: what is sent, what its links are good for, and how little whoever asks for one learns.

mod address;
mod confirmation;
mod faults;
mod harvest;
mod helpers;
mod links;
mod quiet;
mod reset;
