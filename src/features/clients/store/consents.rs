//! Where consents are kept.

use crate::db::{Db, Tx};
use crate::features::clients::model::Consent;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;
use crate::kernel::scope::Scopes;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
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

/// As part of removing a client.
pub async fn forget_client(tx: &mut Tx<'_>, client: &str) -> Result<()> {
    tx.run(&FORGET_CLIENT, &params![client]).await.map(drop)
}

/// As part of erasing an account.
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
