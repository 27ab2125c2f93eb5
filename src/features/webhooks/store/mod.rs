//! Where endpoints and their secrets are kept.

pub mod deliveries;

use uuid::Uuid;

use super::model::{Change, DisabledReason, Endpoint, EndpointState, Types};
use crate::crypto::keyring::StoredSecret;
use crate::crypto::sealing::Resealed;
use crate::db::{Db, Row, Tx};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{EndpointId, UserId};
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    INSERT_ENDPOINT = "insert into webhook_endpoints (id, url, types, description, state, created_at)
                       values ($1, $2, $3, $4, 'enabled', $5)";
    ENDPOINTS = "select id, url, types, description, state, reason, created_at, disabled_at, failing_since, warned_at
                 from webhook_endpoints where state <> 'removed' order by created_at, id";
    ENDPOINT = "select id, url, types, description, state, reason, created_at, disabled_at, failing_since, warned_at
                from webhook_endpoints where id = $1 and state <> 'removed'";
    LOCK_ENDPOINT = {
        sqlite: "select id, url, types, description, state, reason, created_at, disabled_at, failing_since, warned_at
                 from webhook_endpoints where id = $1 and state <> 'removed'",
        postgres: "select id, url, types, description, state, reason, created_at, disabled_at, failing_since, warned_at
                   from webhook_endpoints where id = $1 and state <> 'removed' for no key update",
    };
    /// What is null stays as it is now, which may be what somebody else has just made of it.
    UPDATE_ENDPOINT = "update webhook_endpoints
                       set url = coalesce($2, url), types = coalesce($3, types),
                           description = coalesce($4, description)
                       where id = $1 and state <> 'removed'
                       returning id, url, types, description, state, reason, created_at, disabled_at, failing_since,
                                 warned_at";
    SET_ENDPOINT_STATE = "update webhook_endpoints
                          set state = $2, reason = $3, disabled_at = $4, failing_since = null, warned_at = null
                          where id = $1 and state <> 'removed'";
    SET_FAILING = "update webhook_endpoints set failing_since = $2, warned_at = $3 where id = $1";
    /// The row stays for what was delivered; its address goes.
    REMOVE_ENDPOINT = "update webhook_endpoints set state = 'removed', url = '', description = ''
                       where id = $1 and state <> 'removed'";
    /// As if it had begun to fail now, where a clock says that it will.
    MEND_FAILING = "update webhook_endpoints set failing_since = $1, warned_at = null where failing_since > $2";
    COUNT_DISABLED = "select count(*) from webhook_endpoints where state = 'disabled'";
    INSERT_SECRET = "insert into webhook_secrets (kid, endpoint_id, secret, sealed, created_at)
                     values ($1, $2, $3, $4, $5)";
    EXPIRE_SECRETS = "update webhook_secrets set expires_at = $2 where endpoint_id = $1 and expires_at is null";
    /// Those that sign now, the newest first.
    ENDPOINT_SECRETS = "select kid, secret, sealed from webhook_secrets
                        where endpoint_id = $1 and (expires_at is null or expires_at > $2)
                        order by created_at desc, kid";
    ALL_SECRETS = "select kid, secret, sealed from webhook_secrets order by kid";
    REMOVE_SECRETS = "delete from webhook_secrets where endpoint_id = $1";
    FORGET_SECRETS = "delete from webhook_secrets where expires_at < $1";
    /// Only if it is still the one that was looked at.
    RESEAL_SECRET = "update webhook_secrets set secret = $2, sealed = true where kid = $1 and secret = $3";
    /// Who is told of endpoints that fail.
    MANAGERS_TO_TELL = "select id, email, email_key, language from users
                        where is_manager and disabled_at is null and erased_at is null and email_key <> ''";
    /// How hosts call these people.
    CALLED = {
        sqlite: "select id, external_id from users
                 where id in (select unhex(value) from json_each($1)) and external_id is not null",
        postgres: "select id, external_id from users
                   where id in (select value::uuid from json_array_elements_text($1::text::json) as ids (value))
                       and external_id is not null",
    };
}

/// A manager who has an address.
pub struct ManagerToTell {
    pub id: UserId,
    pub email: String,
    pub email_key: String,
    pub language: Option<String>,
}

pub async fn insert(tx: &mut Tx<'_>, endpoint: &Endpoint) -> Result<()> {
    let values = params![
        endpoint.id,
        &endpoint.url,
        endpoint.types.words().join(" "),
        &endpoint.description,
        endpoint.created_at,
    ];
    tx.run(&INSERT_ENDPOINT, &values).await.map(drop)
}

/// All that were not removed, oldest first.
pub async fn endpoints(db: &Db) -> Result<Vec<Endpoint>> {
    db.rows(&ENDPOINTS, params![]).await?.iter().map(read).collect()
}

pub async fn endpoint(db: &Db, id: EndpointId) -> Result<Option<Endpoint>> {
    db.row(&ENDPOINT, params![id]).await?.map(|row| read(&row)).transpose()
}

/// The endpoint, which nobody else changes until the unit of work has ended.
pub async fn lock(tx: &mut Tx<'_>, id: EndpointId) -> Result<Option<Endpoint>> {
    tx.row(&LOCK_ENDPOINT, &params![id]).await?.map(|row| read(&row)).transpose()
}

/// The endpoint as it is then; nothing when there is none.
pub async fn update(tx: &mut Tx<'_>, id: EndpointId, change: &Change) -> Result<Option<Endpoint>> {
    let url = change.url.as_ref().map(|url| url.as_str().to_owned());
    let types = change.types.as_ref().map(|types| types.words().join(" "));
    let row = tx.row(&UPDATE_ENDPOINT, &params![id, url, types, change.description.clone()]).await?;
    row.map(|row| read(&row)).transpose()
}

/// False when there is none.
pub async fn set_state(tx: &mut Tx<'_>, id: EndpointId, disabled: Option<(DisabledReason, Time)>) -> Result<bool> {
    let state = if disabled.is_some() { EndpointState::Disabled } else { EndpointState::Enabled };
    let (reason, at) = (disabled.map(|(reason, _)| reason.word()), disabled.map(|(_, at)| at));
    Ok(tx.run(&SET_ENDPOINT_STATE, &params![id, state.word(), reason, at]).await? == 1)
}

pub async fn set_failing(tx: &mut Tx<'_>, id: EndpointId, since: Option<Time>, warned_at: Option<Time>) -> Result<()> {
    tx.run(&SET_FAILING, &params![id, since, warned_at]).await.map(drop)
}

/// False when there is none.
pub async fn remove(tx: &mut Tx<'_>, id: EndpointId) -> Result<bool> {
    let removed = tx.run(&REMOVE_ENDPOINT, &params![id]).await? == 1;
    tx.run(&REMOVE_SECRETS, &params![id]).await?;
    Ok(removed)
}

/// Brings back what a clock has written of endpoints that was ahead, later than a time.
pub async fn mend(tx: &mut Tx<'_>, now: Time, latest: Time) -> Result<u64> {
    tx.run(&MEND_FAILING, &params![now, latest]).await
}

pub async fn count_disabled(db: &Db) -> Result<i64> {
    db.row(&COUNT_DISABLED, params![]).await?.map_or(Ok(0), |row| row.get(0))
}

pub async fn insert_secret(tx: &mut Tx<'_>, endpoint: EndpointId, secret: &StoredSecret, now: Time) -> Result<()> {
    let values = params![&secret.kid, endpoint, secret.secret.clone(), secret.sealed, now];
    tx.run(&INSERT_SECRET, &values).await.map(drop)
}

/// Those that are good without an end are so until a time.
pub async fn expire_secrets(tx: &mut Tx<'_>, endpoint: EndpointId, at: Time) -> Result<()> {
    tx.run(&EXPIRE_SECRETS, &params![endpoint, at]).await.map(drop)
}

/// Those that sign now, in the unit of work that takes deliveries up.
pub async fn secrets_within(tx: &mut Tx<'_>, endpoint: EndpointId, now: Time) -> Result<Vec<StoredSecret>> {
    tx.rows(&ENDPOINT_SECRETS, &params![endpoint, now]).await?.iter().map(read_secret).collect()
}

pub async fn secrets(db: &Db, endpoint: EndpointId, now: Time) -> Result<Vec<StoredSecret>> {
    db.rows(&ENDPOINT_SECRETS, params![endpoint, now]).await?.iter().map(read_secret).collect()
}

pub async fn all_secrets(db: &Db) -> Result<Vec<StoredSecret>> {
    db.rows(&ALL_SECRETS, params![]).await?.iter().map(read_secret).collect()
}

/// False when it is another one by now.
pub async fn reseal_secret(tx: &mut Tx<'_>, secret: &Resealed) -> Result<bool> {
    let values = params![&secret.kid, secret.after.clone(), secret.before.clone()];
    Ok(tx.run(&RESEAL_SECRET, &values).await? == 1)
}

pub async fn forget_secrets(tx: &mut Tx<'_>, before: Time) -> Result<()> {
    tx.run(&FORGET_SECRETS, &params![before]).await.map(drop)
}

pub async fn managers(db: &Db) -> Result<Vec<ManagerToTell>> {
    let manager = |row: &Row| {
        Ok(ManagerToTell { id: row.user(0)?, email: row.get(1)?, email_key: row.get(2)?, language: row.get(3)? })
    };
    db.rows(&MANAGERS_TO_TELL, params![]).await?.iter().map(manager).collect()
}

/// How a host calls each of these who has such a name.
pub async fn called(db: &Db, people: &[UserId]) -> Result<Vec<(UserId, String)>> {
    let ids: Vec<String> = people.iter().map(|id| id.0.simple().to_string()).collect();
    let rows = db.scan(&CALLED, params![serde_json::json!(ids).to_string()]).await?;
    rows.iter().map(|row| Ok((row.user(0)?, row.get(1)?))).collect()
}

fn read(row: &Row) -> Result<Endpoint> {
    let id: Uuid = row.get(0)?;
    let state = EndpointState::parse(&row.get::<String>(4)?);
    let reason: Option<String> = row.get(5)?;
    let time = |index| row.get::<Option<i64>>(index).map(|time| time.map(Time));
    Ok(Endpoint {
        id: EndpointId(id),
        url: row.get(1)?,
        types: Types::stored(&row.get::<String>(2)?),
        description: row.get(3)?,
        state: state.ok_or_else(|| Error::inconsistent("webhook_endpoints", "state", id))?,
        reason: reason.and_then(|word| DisabledReason::parse(&word)),
        created_at: row.time(6)?,
        disabled_at: time(7)?,
        failing_since: time(8)?,
        warned_at: time(9)?,
    })
}

fn read_secret(row: &Row) -> Result<StoredSecret> {
    Ok(StoredSecret { kid: row.get(0)?, secret: row.get(1)?, sealed: row.get(2)? })
}
