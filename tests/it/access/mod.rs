//! Who may do what: every operation of the document is asked by every kind of caller, and every page by every kind of
//! browser.

mod callers;
mod operations;
mod pages;
