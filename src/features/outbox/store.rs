//! Where messages are kept.

use serde_json::json;
use uuid::Uuid;

use super::model::{Message, Stored};
use crate::db::{Db, Row, Tx};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::MessageId;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    /// Nothing where nobody is told.
    TELL = "insert into outbox (id, type, subject_id, data, at)
            select $1, $2, $3, $4, $5
            where (select feed from outbox_head where one = 1)
                or exists (select 1 from webhook_endpoints where state <> 'removed')";
    /// As TELL, of a list.
    TELL_ALL = {
        sqlite: "insert into outbox (id, type, subject_id, data, at)
                 select unhex(json_extract(value, '$.id')), json_extract(value, '$.type'),
                        unhex(json_extract(value, '$.subject')), json_extract(value, '$.data'),
                        json_extract(value, '$.at')
                 from json_each($1)
                 where (select feed from outbox_head where one = 1)
                     or exists (select 1 from webhook_endpoints where state <> 'removed')",
        postgres: "insert into outbox (id, type, subject_id, data, at)
                   select id, type, subject, data, at
                   from json_to_recordset($1::text::json) as m (id uuid, type text, subject uuid, data text, at bigint)
                   where (select feed from outbox_head where one = 1)
                       or exists (select 1 from webhook_endpoints where state <> 'removed')",
    };
    IS_HEARD = "select feed or exists (select 1 from webhook_endpoints where state <> 'removed')
                from outbox_head where one = 1";
    SET_FEED = "update outbox_head set feed = $1 where one = 1 and feed <> $1";
    /// Asked every second.
    IS_WAITING = "select exists (select 1 from outbox where seq is null)";
    LOCK_OUTBOX = {
        sqlite: "select seq from outbox_head where one = 1",
        postgres: "select seq from outbox_head where one = 1 for update",
    };
    /// A statement of its own, behind the lock: so it sees whatever was committed until then.
    UNNUMBERED = "select id from outbox where seq is null order by id limit $1";
    /// The plus keeps SQLite from looking for rows without a number first: it would read the whole text again for each.
    NUMBER = {
        sqlite: "update outbox set seq = places.seq, fanned_out_at = $2
                 from (select unhex(json_extract(value, '$.id')) as id, json_extract(value, '$.seq') as seq
                       from json_each($1)) places
                 where outbox.id = places.id and +outbox.seq is null",
        postgres: "update outbox set seq = places.seq, fanned_out_at = $2
                   from json_to_recordset($1::text::json) as places (id uuid, seq bigint)
                   where outbox.id = places.id and outbox.seq is null",
    };
    SET_LAST_NUMBER = "update outbox_head set seq = $1 where one = 1";
    MESSAGE = "select id, type, data, at, seq from outbox where id = $1";
    MESSAGES = {
        sqlite: "select id, type, data, at, seq from outbox
                 where id in (select unhex(value) from json_each($1))",
        postgres: "select id, type, data, at, seq from outbox
                   where id in (select value::uuid from json_array_elements_text($1::text::json) as ids (value))",
    };
    /// Those that a feed's reader has not seen, in their order.
    BEHIND = "select id, type, data, at, seq from outbox where seq > $1 order by seq limit $2";
    ENDS = "select seq, forgotten from outbox_head where one = 1";
    /// The last of those that are too old, $2 at most of them. Their times need not be in the order of their numbers.
    TOO_OLD = "select max(seq) from (
                   select seq from outbox where seq is not null and at < $1 order by seq limit $2) old";
    FORGET_MESSAGES = "delete from outbox where seq <= $1";
    SET_FORGOTTEN = "update outbox_head set forgotten = $1 where one = 1 and forgotten < $1";
}

pub async fn tell(tx: &mut Tx<'_>, message: &Message) -> Result<()> {
    let values = params![message.id, message.kind.word(), message.subject, message.data.to_string(), message.at];
    tx.run(&TELL, &values).await.map(drop)
}

pub async fn tell_all(tx: &mut Tx<'_>, messages: &[Message]) -> Result<()> {
    let given = messages.iter().map(|message| {
        json!({
            "id": message.id.0.simple().to_string(),
            "type": message.kind.word(),
            "subject": message.subject.simple().to_string(),
            "data": message.data.to_string(),
            "at": message.at.0,
        })
    });
    let given = serde_json::Value::Array(given.collect());
    tx.run(&TELL_ALL, &params![given.to_string()]).await.map(drop)
}

pub async fn is_heard_within(tx: &mut Tx<'_>) -> Result<bool> {
    tx.row(&IS_HEARD, &params![]).await?.ok_or_else(no_head)?.get(0)
}

pub async fn is_heard(db: &Db) -> Result<bool> {
    db.row(&IS_HEARD, params![]).await?.ok_or_else(no_head)?.get(0)
}

pub async fn set_feed(tx: &mut Tx<'_>, on: bool) -> Result<()> {
    tx.run(&SET_FEED, &params![on]).await.map(drop)
}

pub async fn is_waiting(db: &Db) -> Result<bool> {
    db.row(&IS_WAITING, params![]).await?.map_or(Ok(false), |row| row.get(0))
}

/// The last number, which nobody else moves until the unit of work has ended.
pub async fn lock(tx: &mut Tx<'_>) -> Result<i64> {
    tx.row(&LOCK_OUTBOX, &params![]).await?.ok_or_else(no_head)?.get(0)
}

/// So many messages that have no number yet.
pub async fn unnumbered(tx: &mut Tx<'_>, most: i64) -> Result<Vec<Uuid>> {
    tx.rows(&UNNUMBERED, &params![most]).await?.iter().map(|row| row.get(0)).collect()
}

/// Gives messages the numbers behind the last one.
pub async fn number(tx: &mut Tx<'_>, messages: &[Uuid], last: i64, now: Time) -> Result<()> {
    let place = |(id, seq): (&Uuid, i64)| json!({"id": id.simple().to_string(), "seq": seq});
    let places = serde_json::Value::Array(messages.iter().zip(last + 1..).map(place).collect());
    let numbered = tx.run(&NUMBER, &params![places.to_string(), now]).await?;
    if numbered != messages.len() as u64 {
        return Err(Error::inconsistent("outbox", "seq", last));
    }
    tx.run(&SET_LAST_NUMBER, &params![last + messages.len() as i64]).await.map(drop)
}

pub async fn message(db: &Db, id: MessageId) -> Result<Option<Stored>> {
    db.row(&MESSAGE, params![id]).await?.map(|row| read(&row)).transpose()
}

/// Those of these that are there, in any order.
pub async fn messages(db: &Db, ids: &[MessageId]) -> Result<Vec<Stored>> {
    let ids: Vec<String> = ids.iter().map(|id| id.0.simple().to_string()).collect();
    db.scan(&MESSAGES, params![json!(ids).to_string()]).await?.iter().map(read).collect()
}

pub async fn behind(db: &Db, seq: i64, most: i64) -> Result<Vec<Stored>> {
    db.scan(&BEHIND, params![seq, most]).await?.iter().map(read).collect()
}

/// The last number that was given, and the last of those that were removed.
pub async fn ends(db: &Db) -> Result<(i64, i64)> {
    let row = db.row(&ENDS, params![]).await?.ok_or_else(no_head)?;
    Ok((row.get(0)?, row.get(1)?))
}

/// Removes messages from before a time, so many at most, and says up to which number; nothing where there are none. The
/// caller has locked the head.
pub async fn forget(tx: &mut Tx<'_>, before: Time, most: i64) -> Result<Option<i64>> {
    let last: Option<i64> = tx.row(&TOO_OLD, &params![before, most]).await?.map_or(Ok(None), |row| row.get(0))?;
    if let Some(last) = last {
        tx.run(&FORGET_MESSAGES, &params![last]).await?;
        tx.run(&SET_FORGOTTEN, &params![last]).await?;
    }
    Ok(last)
}

fn no_head() -> Error {
    Error::inconsistent("outbox_head", "one", 1)
}

fn read(row: &Row) -> Result<Stored> {
    let (id, data): (Uuid, String) = (row.get(0)?, row.get(2)?);
    let data = serde_json::from_str(&data).map_err(|_| Error::inconsistent("outbox", "data", id))?;
    Ok(Stored { id: MessageId(id), kind: row.get(1)?, data, at: row.time(3)?, seq: row.get(4)? })
}
