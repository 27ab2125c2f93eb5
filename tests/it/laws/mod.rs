//! The laws of the product, each on every set-up. What matters is read from the tables, not from the API.

mod codes;
mod helpers;
mod mixed;
mod privacy;
mod referrals;
