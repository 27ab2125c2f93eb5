//! Where the audit is kept. No statement here changes or removes a row, but that the job gives it its place.

use serde_json::json;
use uuid::Uuid;

use super::model::Record;
use super::model::chain::{Chained, Head};
use crate::crypto::keyring::StoredSecret;
use crate::crypto::sealing::Resealed;
use crate::db::{Db, Row, Tx, Value};
use crate::kernel::error::{Error, Result};
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    INSERT_AUDIT = "insert into audit
            (id, at, actor_kind, actor_id, action, subject_kind, subject_id, detail, request_id, mac)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    /// Asked every second.
    STANDING = "select h.seq, h.hash, exists (select 1 from audit where seq is null) from audit_head h
                where h.one = 1";
    HEAD = "select seq, hash from audit_head where one = 1";
    LOCK_HEAD = {
        sqlite: "select seq, hash from audit_head where one = 1",
        postgres: "select seq, hash from audit_head where one = 1 for update",
    };
    /// A statement of its own, behind the lock: so it sees whatever was committed until then.
    UNCHAINED = "select id, at, actor_kind, actor_id, action, subject_kind, subject_id, detail, request_id, mac, seq,
                        hash
                 from audit where seq is null order by id limit $1";
    /// The plus keeps SQLite from the index of rows without a place: it would read the whole text again for each of
    /// them, which takes minutes where many wait.
    CHAIN = {
        sqlite: "update audit set seq = places.seq, hash = places.hash
                 from (select unhex(json_extract(value, '$.id')) as id, json_extract(value, '$.seq') as seq,
                              unhex(json_extract(value, '$.hash')) as hash
                       from json_each($1)) places
                 where audit.id = places.id and +audit.seq is null",
        postgres: "update audit set seq = places.seq, hash = decode(places.hash, 'hex')
                   from json_to_recordset($1::text::json) as places (id uuid, seq bigint, hash text)
                   where audit.id = places.id and audit.seq is null",
    };
    SET_HEAD = "update audit_head set seq = $1, hash = $2 where one = 1";
    CHAINED = "select id, at, actor_kind, actor_id, action, subject_kind, subject_id, detail, request_id, mac, seq, hash
               from audit where seq > $1 and seq <= $2 order by seq limit $3";
    /// The first that stands behind the head, where the job has put nothing.
    BEHIND_HEAD = "select min(a.seq) from audit a where a.seq > (select seq from audit_head where one = 1)";
    ROW_AT = "select hash from audit where seq = $1";
    /// The lists: the newest first, $1 rows behind $2, not before $3, with the action $4 if it is not empty.
    LIST = "select id, at, actor_kind, actor_id, action, subject_kind, subject_id, detail, request_id, mac, seq, hash
            from audit where id < $2 and at >= $3 and (action = $4 or $4 = '') order by id desc limit $1";
    LIST_BY_ACTOR = "select id, at, actor_kind, actor_id, action, subject_kind, subject_id, detail, request_id, mac,
                            seq, hash
                     from audit where actor_id = $5 and id < $2 and at >= $3 and (action = $4 or $4 = '')
                     order by id desc limit $1";
    LIST_BY_SUBJECT = "select id, at, actor_kind, actor_id, action, subject_kind, subject_id, detail, request_id, mac,
                              seq, hash
                       from audit where subject_id = $5 and id < $2 and at >= $3 and (action = $4 or $4 = '')
                       order by id desc limit $1";
    LIST_BY_BOTH = "select id, at, actor_kind, actor_id, action, subject_kind, subject_id, detail, request_id, mac,
                           seq, hash
                    from audit
                    where actor_id = $5 and subject_id = $6 and id < $2 and at >= $3 and (action = $4 or $4 = '')
                    order by id desc limit $1";
    /// When somebody was last exported by themselves.
    LAST_OWN_EXPORT = "select max(at) from audit
                       where subject_id = $1 and action = 'user_exported' and actor_kind = 'person'";
    AUDIT_KEYS = "select kid, secret, sealed from audit_keys order by generation desc";
    LOCK_AUDIT_KEYS = {
        sqlite: "select 1",
        postgres: "lock table audit_keys in share row exclusive mode",
    };
    INSERT_AUDIT_KEY = "insert into audit_keys (generation, kid, secret, sealed, created_at)
        select coalesce(max(generation), 0) + 1, $1, $2, $3, $4 from audit_keys";
    /// Only if it is still the one that was looked at.
    RESEAL_AUDIT_KEY = "update audit_keys set secret = $2, sealed = true where kid = $1 and secret = $3";
}

pub async fn insert(tx: &mut Tx<'_>, record: &Record) -> Result<()> {
    let values = params![
        record.id,
        record.at,
        &record.actor_kind,
        record.actor_id,
        &record.action,
        &record.subject_kind,
        record.subject_id.clone(),
        &record.detail,
        record.request_id,
        record.mac.clone(),
    ];
    tx.run(&INSERT_AUDIT, &values).await.map(drop)
}

/// The head, and whether rows wait for their place.
pub async fn standing(db: &Db) -> Result<(Head, bool)> {
    let row = db.row(&STANDING, params![]).await?.ok_or_else(no_head)?;
    Ok((read_head(&row)?, row.get(2)?))
}

pub async fn head(db: &Db) -> Result<Head> {
    let row = db.row(&HEAD, params![]).await?.ok_or_else(no_head)?;
    read_head(&row)
}

/// The head, which nobody else moves until the unit of work has ended.
pub async fn lock_head(tx: &mut Tx<'_>) -> Result<Head> {
    let row = tx.row(&LOCK_HEAD, &params![]).await?.ok_or_else(no_head)?;
    read_head(&row)
}

/// So many rows that have no place yet.
pub async fn unchained(tx: &mut Tx<'_>, most: i64) -> Result<Vec<Chained>> {
    tx.rows(&UNCHAINED, &params![most]).await?.iter().map(read).collect()
}

/// Gives rows their places and moves the head behind them.
pub async fn chain(tx: &mut Tx<'_>, rows: &[(Uuid, Head)]) -> Result<()> {
    let Some((_, last)) = rows.last() else { return Ok(()) };
    let place =
        |(id, head): &(Uuid, Head)| json!({"id": id.simple().to_string(), "seq": head.seq, "hash": head.hash_text()});
    let places = serde_json::Value::Array(rows.iter().map(place).collect());
    let chained = tx.run(&CHAIN, &params![places.to_string()]).await?;
    if chained != rows.len() as u64 {
        return Err(Error::inconsistent("audit", "seq", last.seq));
    }
    tx.run(&SET_HEAD, &params![last.seq, &last.hash]).await.map(drop)
}

/// So many rows behind one place, up to another.
pub async fn chained(db: &Db, behind: i64, until: i64, most: i64) -> Result<Vec<Chained>> {
    db.scan(&CHAINED, params![behind, until, most]).await?.iter().map(read).collect()
}

pub async fn behind_head(db: &Db) -> Result<Option<i64>> {
    db.row(&BEHIND_HEAD, params![]).await?.map_or(Ok(None), |row| row.get(0))
}

/// The place with this number; nothing when there is no such row, or it has no hash.
pub async fn place(db: &Db, seq: i64) -> Result<Option<Head>> {
    let Some(row) = db.row(&ROW_AT, params![seq]).await? else { return Ok(None) };
    let hash = row.get::<Option<Vec<u8>>>(0)?.and_then(|hash| hash.try_into().ok());
    Ok(hash.map(|hash| Head { seq, hash }))
}

/// What is asked for of the list.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub actor: Option<Uuid>,
    pub subject: Option<String>,
    /// A word; empty for any.
    pub action: String,
    pub from: Time,
    /// The last row that was seen.
    pub before: Uuid,
    pub size: i64,
}

/// The newest first.
pub async fn list(db: &Db, wanted: &Wanted) -> Result<Vec<Chained>> {
    let mut values: Vec<Value> = params![wanted.size, wanted.before, wanted.from, &wanted.action].into();
    values.extend(wanted.actor.map(Into::into));
    values.extend(wanted.subject.clone().map(Into::into));
    let statement = match (&wanted.actor, &wanted.subject) {
        (None, None) => &LIST,
        (Some(_), None) => &LIST_BY_ACTOR,
        (None, Some(_)) => &LIST_BY_SUBJECT,
        (Some(_), Some(_)) => &LIST_BY_BOTH,
    };
    db.scan(statement, values).await?.iter().map(read).collect()
}

pub async fn last_own_export(tx: &mut Tx<'_>, user: Uuid) -> Result<Option<Time>> {
    let row = tx.row(&LAST_OWN_EXPORT, &params![user.to_string()]).await?;
    Ok(row.map_or(Ok(None), |row| row.get::<Option<i64>>(0))?.map(Time))
}

/// The newest first.
pub async fn keys(db: &Db) -> Result<Vec<StoredSecret>> {
    db.rows(&AUDIT_KEYS, params![]).await?.iter().map(read_key).collect()
}

/// As [`keys`]; nobody else changes them until the unit of work has ended.
pub async fn lock_keys(tx: &mut Tx<'_>) -> Result<Vec<StoredSecret>> {
    tx.rows(&LOCK_AUDIT_KEYS, &params![]).await?;
    tx.rows(&AUDIT_KEYS, &params![]).await?.iter().map(read_key).collect()
}

/// Adds the newest key; the caller has locked them.
pub async fn insert_key(tx: &mut Tx<'_>, key: &StoredSecret, now: Time) -> Result<()> {
    let values = params![&key.kid, key.secret.clone(), key.sealed, now];
    tx.run(&INSERT_AUDIT_KEY, &values).await.map(drop)
}

/// False when it is another one by now.
pub async fn reseal_key(tx: &mut Tx<'_>, key: &Resealed) -> Result<bool> {
    let values = params![&key.kid, key.after.clone(), key.before.clone()];
    Ok(tx.run(&RESEAL_AUDIT_KEY, &values).await? == 1)
}

fn no_head() -> Error {
    Error::inconsistent("audit_head", "one", 1)
}

fn read_head(row: &Row) -> Result<Head> {
    let hash = row.get::<Vec<u8>>(1)?.try_into();
    Ok(Head { seq: row.get(0)?, hash: hash.map_err(|_| Error::inconsistent("audit_head", "hash", 1))? })
}

fn read_key(row: &Row) -> Result<StoredSecret> {
    Ok(StoredSecret { kid: row.get(0)?, secret: row.get(1)?, sealed: row.get(2)? })
}

fn read(row: &Row) -> Result<Chained> {
    let record = Record {
        id: row.get(0)?,
        at: row.time(1)?,
        actor_kind: row.get(2)?,
        actor_id: row.get(3)?,
        action: row.get(4)?,
        subject_kind: row.get(5)?,
        subject_id: row.get(6)?,
        detail: row.get(7)?,
        request_id: row.get(8)?,
        mac: row.get(9)?,
    };
    Ok(Chained { record, seq: row.get(10)?, hash: row.get(11)? })
}
