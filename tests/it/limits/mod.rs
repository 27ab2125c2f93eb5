//! How much and how often: limits on requests and on what is kept, and who waits for whom.

mod addresses;
mod amounts;
mod helpers;
mod log_in;
mod quotas;
mod rates;
mod shared;
mod waiting;
