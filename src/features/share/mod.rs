//! A person's own pages: their link to share, their code, who came by it, and their account.

pub mod pages;
