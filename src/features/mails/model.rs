//! What a mail is.

use serde::{Deserialize, Serialize};

use crate::kernel::ids::{MailId, UserId};
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;

/// A mail that is to be sent.
#[derive(Clone)]
pub struct NewMail {
    pub id: MailId,
    pub user: UserId,
    pub kind: MailKind,
    /// As HTML calls it.
    pub language: &'static str,
    /// The form in which the address is compared.
    pub address_key: String,
    pub created_at: Time,
    pub expires_at: Time,
    /// What its job is told, sealed.
    pub told: Told,
}

/// A mail as the database has it.
pub struct StoredMail {
    pub user: UserId,
    pub kind: MailKind,
    pub language: String,
    pub address_key: String,
    pub created_at: Time,
    pub expires_at: Time,
    pub used: bool,
    pub sent: bool,
}

/// Whose link somebody has used, and which address it was sent to.
pub struct UsedLink {
    pub user: UserId,
    pub address_key: String,
}

/// What the job of a mail is told, as it lies in the database.
#[derive(Clone, Serialize, Deserialize)]
pub struct Told {
    pub sealed: String,
}

/// The same, opened.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// This address; what is sent is noted already.
    Address(String),
    /// Whoever has an account with this address, if anybody has: the job finds out.
    AccountOf(Request),
    /// Nobody: it was written so that the work is the same as if there were somebody.
    Nobody,
}

/// A mail that somebody has asked for who has not shown who they are.
#[derive(Serialize, Deserialize)]
pub struct Request {
    pub kind: String,
    /// As it was typed.
    pub email: String,
    pub language: String,
}
