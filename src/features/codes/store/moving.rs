//! Codes that were somebody's elsewhere.

use crate::db::Tx;
use crate::kernel::error::Result;
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    INSERT_PAST = "insert into codes (owner_id, ordinal, id, code, created_at, expires_at, revoked_at)
                   values ($1, $2, $3, $4, $5, $6, $7)";
    NOTE_PAST = "update code_slots set issued = $2, version = version + 1, recorded_at = $3 where owner_id = $1";
    PUT_ACTIVE = "update code_slots set code_id = $2, code = $3, expires_at = $4 where owner_id = $1";
}

/// A code with its life, as it was elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedCode {
    pub code: String,
    pub created_at: Time,
    pub expires_at: Time,
    pub revoked_at: Option<Time>,
}

/// Writes a code whose string was claimed; its place is among its owner's.
pub async fn insert(tx: &mut Tx<'_>, owner: UserId, (ordinal, id): (i64, i64), code: &MovedCode) -> Result<()> {
    let values =
        params![owner, ordinal, id, &code.code, code.created_at, code.expires_at, code.revoked_at.map(|at| at.0)];
    tx.run(&INSERT_PAST, &values).await.map(drop)
}

/// Notes in the owner's slot how many codes there are, and until when what is recorded there goes.
pub async fn note(tx: &mut Tx<'_>, owner: UserId, issued: i64, at: Time) -> Result<()> {
    tx.run(&NOTE_PAST, &params![owner, issued, at]).await.map(drop)
}

/// Puts the last of them into the slot.
pub async fn put(tx: &mut Tx<'_>, owner: UserId, id: i64, code: &MovedCode) -> Result<()> {
    tx.run(&PUT_ACTIVE, &params![owner, id, &code.code, code.expires_at]).await.map(drop)
}
