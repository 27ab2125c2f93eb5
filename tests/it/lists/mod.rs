//! Lists in pages: whichever way they are walked, everything is there once, in one order, with an exact total.

mod cost;
mod helpers;
mod marks;
mod walks;
