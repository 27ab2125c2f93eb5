//! Participants of a host's app: how they are told of, one by one and in batches, and what becomes of them.

mod batch;
mod codes;
mod handles;
mod people;
mod races;
mod statement;
mod upsert;
