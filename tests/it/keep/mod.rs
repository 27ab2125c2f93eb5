//! Backups, restores, copies: what an operator needs on the worst day, and on the day they outgrow one machine.

mod backup;
mod copy;
mod helpers;
mod import;
mod killed;
mod laws;
mod read_only;
mod restore;
