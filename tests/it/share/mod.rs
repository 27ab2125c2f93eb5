//! A person's own pages, with script off: every form once, twice, too late, and by somebody else.

mod account;
mod branding;
mod helpers;
mod overview;
