//! What the product says to mail systems, and what they say to it.

pub mod hunter;
