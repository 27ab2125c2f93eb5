//! Events, what the rules give for them, what refunds take back, and the ledger.

mod budgets;
mod check;
mod crowds;
mod decisions;
mod events;
mod generated;
mod helpers;
mod kills;
mod ledger;
mod model;
mod mortal;
mod payouts;
mod place;
mod races;
mod random;
mod refunds;
mod rules;
mod sign_ups;
mod told;
mod year;
