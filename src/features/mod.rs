//! What the product does. Each feature has the same rooms: `model` what it is, `store` where it is kept, `actions` what
//! can be done, `api` how programs ask for it, `pages` how people do. A feature knows those before it in this list
//! only.

pub mod accounts;
pub mod audit;
pub mod clients;
pub mod codes;
pub mod identities;
pub mod links;
pub mod mails;
pub mod managers;
pub mod oauth;
pub mod outbox;
pub mod participants;
pub mod programs;
pub mod referrals;
pub mod rewards;
pub mod share;
pub mod signin;
pub mod tokens;
pub mod webhooks;
