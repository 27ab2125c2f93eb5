//! Where authorization codes and consents are kept.

use uuid::Uuid;

use super::model::{Consent, StoredCode, UserInfo};
use crate::db::{Db, Row, Tx};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{SessionId, UserId};
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
    CONSENT = "select scope from consents where user_id = $1 and client_id = $2";
    /// Locked against being withdrawn while a code becomes tokens.
    HOLD_CONSENT = {
        sqlite: "select scope from consents where user_id = $1 and client_id = $2",
        postgres: "select scope from consents where user_id = $1 and client_id = $2 for share",
    };
    /// Makes an empty one if there is none, so that there is a row to lock: of two who add to it at once, the second
    /// adds to what the first has made.
    OPEN_CONSENT = "insert into consents (user_id, client_id, scope, granted_at) values ($1, $2, '', $3)
                    on conflict (user_id, client_id) do update set granted_at = excluded.granted_at
                    returning scope";
    SET_CONSENT = "update consents set scope = $3 where user_id = $1 and client_id = $2";
    WITHDRAW = "delete from consents where user_id = $1 and client_id = $2";
    FORGET_CLIENT = "delete from consents where client_id = $1";
    FORGET_USER = "delete from consents where user_id = $1";
    /// With the client's id as text on both engines; built-in clients have no row.
    CONSENTS = "select client_id, scope, granted_at from consents where user_id = $1 order by granted_at, client_id";
    /// The person behind a token, for what it may tell about them.
    PERSON = "select username, email, email_proven_at is not null from users
              where id = $1 and erased_at is null and disabled_at is null";
}

pub async fn insert_code(tx: &mut Tx<'_>, code: &StoredCode) -> Result<()> {
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

pub async fn code(tx: &mut Tx<'_>, hash: &[u8; 32]) -> Result<Option<StoredCode>> {
    let Some(row) = tx.row(&CODE, &params![hash]).await? else { return Ok(None) };
    Ok(Some(StoredCode {
        hash: *hash,
        client: row.get(0)?,
        user: row.user(1)?,
        browser_session: row.get(2)?,
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
pub async fn use_code(tx: &mut Tx<'_>, hash: &[u8; 32], family: SessionId) -> Result<bool> {
    Ok(tx.run(&USE_CODE, &params![hash, family]).await? == 1)
}

pub async fn forget_codes(tx: &mut Tx<'_>, before: Time) -> Result<u64> {
    tx.run(&FORGET_CODES, &params![before]).await
}

pub async fn consent(db: &Db, user: UserId, client: &str) -> Result<Option<Scopes>> {
    let row = db.row(&CONSENT, params![user, client]).await?;
    row.map(|row| Ok(Scopes::known(&row.get::<String>(0)?))).transpose()
}

pub async fn hold_consent(tx: &mut Tx<'_>, user: UserId, client: &str) -> Result<Option<Scopes>> {
    let row = tx.row(&HOLD_CONSENT, &params![user, client]).await?;
    row.map(|row| Ok(Scopes::known(&row.get::<String>(0)?))).transpose()
}

/// Adds to what was allowed before: this is more, not something else.
pub async fn add_consent(tx: &mut Tx<'_>, user: UserId, client: &str, scopes: Scopes, now: Time) -> Result<()> {
    let row = tx.row(&OPEN_CONSENT, &params![user, client, now]).await?;
    let row = row.ok_or_else(|| Error::inconsistent("consents", "scope", user))?;
    let before = Scopes::known(&row.get::<String>(0)?);
    tx.run(&SET_CONSENT, &params![user, client, scopes.or(before).to_string()]).await.map(drop)
}

/// False when there was none.
pub async fn withdraw(tx: &mut Tx<'_>, user: UserId, client: &str) -> Result<bool> {
    Ok(tx.run(&WITHDRAW, &params![user, client]).await? == 1)
}

pub async fn forget_client(tx: &mut Tx<'_>, client: &str) -> Result<()> {
    tx.run(&FORGET_CLIENT, &params![client]).await.map(drop)
}

pub async fn forget_user(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    tx.run(&FORGET_USER, &params![user]).await.map(drop)
}

/// Without the clients' names.
pub async fn consents(db: &Db, user: UserId) -> Result<Vec<Consent>> {
    let rows = db.scan(&CONSENTS, params![user]).await?;
    rows.iter()
        .map(|row| {
            Ok(Consent {
                client_id: row.get(0)?,
                name: String::new(),
                scopes: Scopes::known(&row.get::<String>(1)?),
                granted_at: row.time(2)?,
            })
        })
        .collect()
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
