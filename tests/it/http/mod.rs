//! Requests as they are on the wire, and what bodies and queries may hold.

mod bodies;
mod cors;
mod crowds;
mod deadlines;
mod fields;
mod framing;
mod headers;
mod helpers;
mod routes;
