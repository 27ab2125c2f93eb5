//! What the product does. Each feature has the same rooms: `model` what it is, `store` where it is kept, `actions` what
//! can be done, `http` how it is asked for.

pub mod accounts;
pub mod codes;
pub mod referrals;
pub mod signin;
pub mod tokens;
