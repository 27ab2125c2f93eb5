//! The database: one text has one effect on two engines, one fault has one name, and no caller, unit or lost connection
//! leaves anything open behind it.

mod addresses;
mod batches;
mod certificates;
mod connections;
mod failover;
mod helpers;
mod locks;
mod migrations;
mod ours;
mod pooler;
mod sqlite;
mod statements;
mod tls;
mod units;
