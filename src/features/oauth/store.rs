//! Where authorization codes and consents are kept.

use uuid::Uuid;

use super::model::{StoredAuthorizationCode, UserInfo};
use crate::db::{Db, Row, Tx};
use crate::kernel::digest::AuthorizationCodeHash;
use crate::kernel::error::Result;
use crate::kernel::ids::{BrowserSessionId, SessionId, UserId};
use crate::kernel::scope::Scopes;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    INSERT_CODE = "insert into authorization_codes (code_hash, client_id, user_id, browser_session_id, redirect_uri,
                                                    scope, challenge, nonce, authenticated_at, expires_at)
                   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    /// Locked, so that of two uses the second sees what the first gave.
    CODE = {
        sqlite: "select client_id, user_id, browser_session_id, redirect_uri, scope, challenge, nonce, authenticated_at,
                        expires_at, family_id
                 from authorization_codes where code_hash = $1",
        postgres: "select client_id, user_id, browser_session_id, redirect_uri, scope, challenge, nonce,
                          authenticated_at, expires_at, family_id
                   from authorization_codes where code_hash = $1 for update",
    };
    USE_CODE = "update authorization_codes set family_id = $2 where code_hash = $1 and family_id is null";
    FORGET_CODES = "delete from authorization_codes where expires_at < $1";
    /// The person behind a token, for what it may tell about them.
    PERSON = "select username, email, email_proven_at is not null from users
              where id = $1 and erased_at is null and disabled_at is null";
}

pub async fn insert_code(tx: &mut Tx<'_>, code: &StoredAuthorizationCode) -> Result<()> {
    let values = params![
        &code.hash,
        &code.client,
        code.user,
        code.browser_session,
        &code.redirect_uri,
        code.scopes.to_string(),
        code.challenge.clone(),
        code.nonce.clone(),
        code.authenticated_at,
        code.expires_at,
    ];
    tx.run(&INSERT_CODE, &values).await.map(drop)
}

pub async fn code(tx: &mut Tx<'_>, hash: &AuthorizationCodeHash) -> Result<Option<StoredAuthorizationCode>> {
    let Some(row) = tx.row(&CODE, &params![hash]).await? else { return Ok(None) };
    Ok(Some(StoredAuthorizationCode {
        hash: *hash,
        client: row.get(0)?,
        user: row.user(1)?,
        browser_session: row.get(2).map(BrowserSessionId)?,
        redirect_uri: row.get(3)?,
        scopes: Scopes::known(&row.get::<String>(4)?),
        challenge: row.get(5)?,
        nonce: row.get(6)?,
        authenticated_at: row.time(7)?,
        expires_at: row.time(8)?,
        family: row.get::<Option<Uuid>>(9)?.map(SessionId),
    }))
}

/// False when it was used before.
pub async fn use_code(tx: &mut Tx<'_>, hash: &AuthorizationCodeHash, family: SessionId) -> Result<bool> {
    Ok(tx.run(&USE_CODE, &params![hash, family]).await? == 1)
}

pub async fn forget_codes(tx: &mut Tx<'_>, before: Time) -> Result<u64> {
    tx.run(&FORGET_CODES, &params![before]).await
}

/// What the scopes tell about a person; nothing when they are not there any more.
pub async fn person(db: &Db, user: UserId, scopes: Scopes) -> Result<Option<UserInfo>> {
    db.row(&PERSON, params![user]).await?.map(|row| user_info(user, scopes, &row)).transpose()
}

/// As [`person`], in a unit of work.
pub async fn person_of(tx: &mut Tx<'_>, user: UserId, scopes: Scopes) -> Result<Option<UserInfo>> {
    tx.row(&PERSON, &params![user]).await?.map(|row| user_info(user, scopes, &row)).transpose()
}

fn user_info(user: UserId, scopes: Scopes, row: &Row) -> Result<UserInfo> {
    Ok(UserInfo::of(user, scopes, row.get(0)?, row.get(1)?, row.get(2)?))
}
