//! What the table of people has of participants of a host's app.

use super::NewUser;
use crate::db::Tx;
use crate::features::accounts::model::participant::ExternalId;
use crate::kernel::digest::ExternalIdHash;
use crate::kernel::error::Result;
use crate::kernel::handle::Handle;
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    /// Of any number who make the same participant at once one does; the others wait for it and then find them.
    INSERT_PARTICIPANT = "insert into users
            (id, username, email, name_key, email_key, created_at, is_manager, discoverable, email_verdict,
             email_proven_at, external_id, external_hash, display_name, language, handle)
        values ($1, $2, $3, $4, $5, $6, false, false, 'unchecked', $7, $8, $9, $10, $11, $12)
        on conflict (external_hash) where external_hash is not null do nothing";
    /// Whoever has a password or another provider's identity has made it an account of their own.
    LOCK_PARTICIPANT = {
        sqlite: "select u.id, u.erased_at is not null, u.email, u.email_key, u.display_name, u.language,
                        u.email_proven_at is not null, u.is_manager,
                        u.password_hash is not null or exists (select 1 from identities i where i.user_id = u.id),
                        u.handle is not null, u.disabled_at is not null
                 from users u where u.external_hash = $1",
        postgres: "select u.id, u.erased_at is not null, u.email, u.email_key, u.display_name, u.language,
                          u.email_proven_at is not null, u.is_manager,
                          u.password_hash is not null or exists (select 1 from identities i where i.user_id = u.id),
                          u.handle is not null, u.disabled_at is not null
                   from users u where u.external_hash = $1 for update of u",
    };
    SET_DETAILS = "update users set display_name = $2, language = $3 where id = $1";
    /// The same address in another spelling stays as proven as it was.
    SET_ADDRESS = "update users set email = $2, email_key = $3, email_verdict = 'unchecked', email_checked_at = null,
                          email_proven_at = case when email_key = $3 then coalesce(email_proven_at, $4) else $4 end
                   where id = $1";
    NOTE_PROOF = "update users set email_proven_at = $2 where id = $1 and email_proven_at is null";
    FREE_LOGIN = "delete from logins where login_key = $1 and user_id = $2";
}

/// What is told of a new participant beside what every user has.
pub struct NewParticipant<'a> {
    pub user: &'a NewUser,
    pub external: &'a ExternalId,
    pub name: Option<&'a str>,
    pub language: Option<&'a str>,
    pub handle: Option<&'a Handle>,
}

/// False when there is, or was, a participant with this external id.
pub async fn insert(tx: &mut Tx<'_>, new: &NewParticipant<'_>) -> Result<bool> {
    let user = new.user;
    let values = params![
        user.id,
        &user.username,
        &user.email,
        &user.name_key,
        &user.email_key,
        user.created_at,
        user.email_proven.then_some(user.created_at),
        new.external.as_str(),
        &new.external.hash(),
        new.name,
        new.language,
        new.handle.map(Handle::as_str),
    ];
    Ok(tx.run(&INSERT_PARTICIPANT, &values).await? == 1)
}

/// A participant, locked until the unit of work has ended.
pub struct HeldParticipant {
    pub id: UserId,
    pub erased: bool,
    /// Empty when there is none.
    pub email: String,
    pub email_key: String,
    pub name: Option<String>,
    pub language: Option<String>,
    pub email_proven: bool,
    pub is_manager: bool,
    /// Whether the person has made it an account of their own.
    pub is_own_account: bool,
    pub has_handle: bool,
    pub disabled: bool,
}

pub async fn lock(tx: &mut Tx<'_>, external: &ExternalIdHash) -> Result<Option<HeldParticipant>> {
    let Some(row) = tx.row(&LOCK_PARTICIPANT, &params![external]).await? else { return Ok(None) };
    Ok(Some(HeldParticipant {
        id: row.user(0)?,
        erased: row.get(1)?,
        email: row.get(2)?,
        email_key: row.get(3)?,
        name: row.get(4)?,
        language: row.get(5)?,
        email_proven: row.get(6)?,
        is_manager: row.get(7)?,
        is_own_account: row.get(8)?,
        has_handle: row.get(9)?,
        disabled: row.get(10)?,
    }))
}

pub async fn set_details(tx: &mut Tx<'_>, user: UserId, name: Option<&str>, language: Option<&str>) -> Result<()> {
    tx.run(&SET_DETAILS, &params![user, name, language]).await.map(drop)
}

/// Sets the address, or takes it away: then both are empty.
pub async fn set_address(tx: &mut Tx<'_>, user: UserId, email: &str, key: &str, proven_at: Option<Time>) -> Result<()> {
    tx.run(&SET_ADDRESS, &params![user, email, key, proven_at]).await.map(drop)
}

pub async fn note_proof(tx: &mut Tx<'_>, user: UserId, now: Time) -> Result<()> {
    tx.run(&NOTE_PROOF, &params![user, now]).await.map(drop)
}

/// Gives a name or address of somebody's free again.
pub async fn free_login(tx: &mut Tx<'_>, key: &str, user: UserId) -> Result<()> {
    tx.run(&FREE_LOGIN, &params![key, user]).await.map(drop)
}
