//! People and their accounts: how they register and log in, what is shown of them, and how they are erased.

mod erasure;
mod helpers;
mod log_in;
mod names;
mod passwords;
mod profile;
mod registration;
mod sessions;
mod statement;
