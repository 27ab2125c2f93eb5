//! Accounts that come from another service, with their ids and hashes.

use super::registration::take_names;
use crate::db::Tx;
use crate::features::accounts::model::login_name;
use crate::features::accounts::store::{self, NewUser};
use crate::kernel::email::Email;
use crate::kernel::error::Result;
use crate::kernel::ids::UserId;
use crate::kernel::name::Username;
use crate::kernel::time::Time;
use crate::kernel::verdict::Verdict;

/// An account as it was elsewhere.
#[derive(Clone, Debug)]
pub struct MovedUser {
    pub id: UserId,
    pub username: Username,
    pub email: Email,
    /// As it was stored there, if it is one that we can check.
    pub password_hash: Option<String>,
}

/// What a name and an address are found by.
pub fn keys(username: &Username, email: &Email) -> [String; 2] {
    [login_name(username), email.key().to_owned()]
}

/// Writes an account, as part of a unit of work.
pub async fn bring(tx: &mut Tx<'_>, moved: &MovedUser, now: Time) -> Result<()> {
    let [name_key, email_key] = keys(&moved.username, &moved.email);
    let new = NewUser {
        id: moved.id,
        username: moved.username.as_str().to_owned(),
        email: moved.email.as_str().to_owned(),
        name_key,
        email_key,
        password_hash: moved.password_hash.clone(),
        created_at: now,
        verdict: Verdict::Unchecked,
        email_proven: false,
    };
    store::insert_user(tx, &new).await?;
    take_names(tx, &new).await
}
