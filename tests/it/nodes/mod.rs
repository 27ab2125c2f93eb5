//! Two nodes on one PostgreSQL, with and without Redis, and what becomes of them when either goes away.

mod changes;
mod clocks;
mod helpers;
mod postgres;
mod redis;
