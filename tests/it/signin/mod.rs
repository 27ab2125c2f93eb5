//! Signing in with other identity providers, as a browser meets it: who becomes whose, and who does not get in.

mod accounts;
mod addresses;
mod first_visit;
mod helpers;
mod identities;
mod refused;
