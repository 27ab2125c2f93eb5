//! Where clients are kept.

use uuid::Uuid;

pub mod consents;

use crate::db::{Db, Row, Tx};
use crate::features::clients::model::{Change, GrantType, OAuthClient, RedirectUri};
use crate::kernel::caller::IdTokenAlgorithm;
use crate::kernel::digest::ClientSecretHash;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;
use crate::kernel::scope::Scopes;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    INSERT = "insert into clients (id, name, secret_hash, redirect_uris, grants, scope, id_token_algorithm, created_by,
                                   created_at, require_pkce, trusts_addresses)
              values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    CLIENT = "select id, name, secret_hash, redirect_uris, grants, scope, id_token_algorithm, created_at, require_pkce,
                     trusts_addresses
              from clients where id = $1 and deleted_at is null";
    CLIENTS = "select id, name, secret_hash, redirect_uris, grants, scope, id_token_algorithm, created_at, require_pkce,
                      trusts_addresses
               from clients where deleted_at is null order by created_at, id";
    /// What is null stays as it is now, which may be what somebody else has just made of it.
    UPDATE = "update clients
              set name = coalesce($2, name), redirect_uris = coalesce($3, redirect_uris), scope = coalesce($4, scope),
                  trusts_addresses = coalesce($5, trusts_addresses)
              where id = $1 and deleted_at is null
              returning id, name, secret_hash, redirect_uris, grants, scope, id_token_algorithm, created_at,
                        require_pkce, trusts_addresses";
    SET_SECRET = "update clients set secret_hash = $2
                  where id = $1 and deleted_at is null and secret_hash is not null";
    DELETE = "update clients set deleted_at = $2, secret_hash = null where id = $1 and deleted_at is null";
}

pub async fn insert(tx: &mut Tx<'_>, id: Uuid, client: &OAuthClient, by: Option<UserId>) -> Result<()> {
    let values = params![
        id,
        &client.name,
        client.secret_hash.as_ref(),
        joined(client.redirect_uris.iter().map(RedirectUri::as_str)),
        joined(client.grants.iter().map(|grant| grant.word())),
        client.scopes.to_string(),
        client.id_token_algorithm.word(),
        by,
        client.created_at,
        client.require_pkce,
        client.trusts_addresses,
    ];
    tx.run(&INSERT, &values).await.map(drop)
}

pub async fn client(db: &Db, id: Uuid) -> Result<Option<OAuthClient>> {
    db.row(&CLIENT, params![id]).await?.map(|row| read(&row)).transpose()
}

/// All of them, oldest first.
pub async fn clients(db: &Db) -> Result<Vec<OAuthClient>> {
    db.scan(&CLIENTS, params![]).await?.iter().map(read).collect()
}

/// The client as it is then; nothing when there is none.
pub async fn update(tx: &mut Tx<'_>, id: Uuid, change: &Change) -> Result<Option<OAuthClient>> {
    let uris = change.redirect_uris.as_ref().map(|uris| joined(uris.iter().map(RedirectUri::as_str)));
    let scope = change.scopes.map(|scopes| scopes.to_string());
    let row = tx.row(&UPDATE, &params![id, change.name.clone(), uris, scope, change.trusts_addresses]).await?;
    row.map(|row| read(&row)).transpose()
}

/// False when there is none, or it is public.
pub async fn set_secret(tx: &mut Tx<'_>, id: Uuid, hash: &ClientSecretHash) -> Result<bool> {
    Ok(tx.run(&SET_SECRET, &params![id, hash]).await? == 1)
}

/// False when there is none.
pub async fn delete(tx: &mut Tx<'_>, id: Uuid, now: Time) -> Result<bool> {
    Ok(tx.run(&DELETE, &params![id, now]).await? == 1)
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

fn read(row: &Row) -> Result<OAuthClient> {
    let id: Uuid = row.get(0)?;
    let words: [String; 4] = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
    let [uris, grants, scope, algorithm] = words;
    Ok(OAuthClient {
        id: id.to_string(),
        uuid: Some(id),
        name: row.get(1)?,
        secret_hash: row.optional_digest(2)?,
        redirect_uris: uris.split_ascii_whitespace().map(RedirectUri::stored).collect(),
        grants: grants.split_ascii_whitespace().filter_map(GrantType::parse).collect(),
        scopes: Scopes::known(&scope),
        id_token_algorithm: IdTokenAlgorithm::parse(&algorithm)
            .ok_or_else(|| Error::inconsistent("clients", "id_token_algorithm", id))?,
        created_at: row.time(7)?,
        require_pkce: row.get(8)?,
        trusts_addresses: row.get(9)?,
    })
}
