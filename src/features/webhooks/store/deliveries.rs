//! Where deliveries and attempts are kept.

use serde_json::json;
use uuid::Uuid;

use crate::db::{Db, Row, Tx};
use crate::features::webhooks::model::{Attempt, Delivery, DeliveryState};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{EndpointId, MessageId};
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    /// Of messages by their numbers, to whoever wants them.
    FAN_OUT = "insert into deliveries (message_id, endpoint_id, state, next_at, attempts)
               select o.id, e.id, 'pending', $3, 0 from outbox o join webhook_endpoints e
                   on e.types = '*' or ' ' || e.types || ' ' like '% ' || o.type || ' %'
               where o.seq >= $1 and o.seq <= $2 and e.state = 'enabled'
               on conflict (message_id, endpoint_id) do nothing";
    /// Asked every second.
    DUE_ENDPOINTS = "select e.id from webhook_endpoints e
                     where e.state = 'enabled' and exists (
                         select 1 from deliveries d
                         where d.endpoint_id = e.id and d.state = 'pending' and d.next_at <= $1
                             and (d.lease_until is null or d.lease_until <= $1))";
    UNDER_WAY = "select count(*) from deliveries where endpoint_id = $1 and lease_until > $2";
    /// The endpoint is locked: nobody else takes any of its deliveries.
    CLAIM_DELIVERIES = "update deliveries set lease_until = $3
                        where endpoint_id = $1 and message_id in (
                            select message_id from deliveries
                            where endpoint_id = $1 and state = 'pending' and next_at <= $2
                                and (lease_until is null or lease_until <= $2)
                            order by next_at limit $4)
                        returning message_id, attempts";
    /// What another node has settled meanwhile, whose lease this one had lost, stays so. The plus keeps SQLite from
    /// looking through all of an endpoint's: it would read the whole text again for each of these.
    SETTLE = {
        sqlite: "update deliveries
                 set state = s.state, next_at = s.next_at, attempts = deliveries.attempts + 1, lease_until = null,
                     last_status = s.status, last_error = s.error
                 from (select unhex(json_extract(value, '$.message')) as message,
                              json_extract(value, '$.state') as state, json_extract(value, '$.next_at') as next_at,
                              json_extract(value, '$.status') as status, json_extract(value, '$.error') as error
                       from json_each($2)) s
                 where +deliveries.endpoint_id = $1 and deliveries.message_id = s.message
                     and deliveries.state = 'pending'",
        postgres: "update deliveries
                   set state = s.state, next_at = s.next_at, attempts = deliveries.attempts + 1, lease_until = null,
                       last_status = s.status, last_error = s.error
                   from json_to_recordset($2::text::json)
                       as s (message uuid, state text, next_at bigint, status bigint, error text)
                   where deliveries.endpoint_id = $1 and deliveries.message_id = s.message
                       and deliveries.state = 'pending'",
    };
    NOTE_ATTEMPTS = {
        sqlite: "insert into attempts (message_id, endpoint_id, at, millis, status, error)
                 select unhex(json_extract(value, '$.message')), $1, json_extract(value, '$.at'),
                        json_extract(value, '$.millis'), json_extract(value, '$.status'),
                        json_extract(value, '$.error')
                 from json_each($2) where true
                 on conflict (message_id, endpoint_id, at) do nothing",
        postgres: "insert into attempts (message_id, endpoint_id, at, millis, status, error)
                   select s.message, $1, s.at, s.millis, s.status, s.error
                   from json_to_recordset($2::text::json)
                       as s (message uuid, at bigint, millis bigint, status bigint, error text)
                   on conflict (message_id, endpoint_id, at) do nothing",
    };
    GIVE_DELIVERIES_BACK = {
        sqlite: "update deliveries set lease_until = null
                 where endpoint_id = $1 and message_id in (select unhex(value) from json_each($2))",
        postgres: "update deliveries set lease_until = null
                   where endpoint_id = $1 and message_id in (
                       select value::uuid from json_array_elements_text($2::text::json) as ids (value))",
    };
    /// $1 endpoint, $2 the message that was seen last, $3 a word or empty, $4 how many. The newest first.
    DELIVERIES = "select d.message_id, d.endpoint_id, o.type, o.at, d.state, d.next_at, d.attempts, d.last_status,
                         d.last_error
                  from deliveries d join outbox o on o.id = d.message_id
                  where d.endpoint_id = $1 and d.message_id < $2 and (d.state = $3 or $3 = '')
                  order by d.message_id desc limit $4";
    DELIVERIES_OF = "select d.message_id, d.endpoint_id, o.type, o.at, d.state, d.next_at, d.attempts, d.last_status,
                            d.last_error
                     from deliveries d join outbox o on o.id = d.message_id
                     where d.message_id = $1 order by d.endpoint_id";
    ATTEMPTS = "select message_id, endpoint_id, at, millis, status, error from attempts
                where message_id = $1 order by at, endpoint_id";
    /// Sends a message again to whoever had it and to whoever would have it now.
    RESEND = "insert into deliveries (message_id, endpoint_id, state, next_at, attempts)
              select o.id, e.id, 'pending', $2, 0 from outbox o join webhook_endpoints e
                  on e.types = '*' or ' ' || e.types || ' ' like '% ' || o.type || ' %'
              where o.id = $1 and o.seq is not null and e.state = 'enabled'
              on conflict (message_id, endpoint_id) do update
                  set state = 'pending', next_at = excluded.next_at, attempts = 0, lease_until = null";
    /// Of messages by their numbers, from a time on, what has not got through.
    RECOVER = "insert into deliveries (message_id, endpoint_id, state, next_at, attempts)
               select o.id, e.id, 'pending', $5, 0 from outbox o join webhook_endpoints e
                   on e.types = '*' or ' ' || e.types || ' ' like '% ' || o.type || ' %'
               where e.id = $1 and e.state <> 'removed' and o.at >= $2 and o.seq > $3 and o.seq <= $4
               on conflict (message_id, endpoint_id) do update
                   set state = 'pending', next_at = excluded.next_at, attempts = 0
                   where deliveries.state <> 'delivered'";
    /// Those put off, or taken up, by a clock that was ahead.
    MEND_NEXT_ATTEMPT = "update deliveries set next_at = $1 where state = 'pending' and next_at > $2";
    MEND_DELIVERY_LEASE = "update deliveries set lease_until = null where lease_until > $1";
    PENDING_DELIVERIES = "select count(*) from deliveries where state = 'pending'";
    FORGET_DELIVERIES = "delete from deliveries where message_id in (
                             select id from outbox where seq is not null and at < $1 order by seq limit $2)";
    FORGET_ATTEMPTS = "delete from attempts where (message_id, endpoint_id, at) in (
                           select message_id, endpoint_id, at from attempts where at < $1 order by at limit $2)";
    /// Of an endpoint that was removed.
    FORGET_REMOVED = "delete from deliveries where (message_id, endpoint_id) in (
                          select d.message_id, d.endpoint_id from webhook_endpoints e
                          join deliveries d on d.endpoint_id = e.id where e.state = 'removed' limit $1)";
}

/// What became of a delivery that was taken up.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub message: MessageId,
    pub state: DeliveryState,
    pub next_at: Time,
    pub status: Option<u16>,
    pub error: Option<&'static str>,
    pub at: Time,
    pub millis: i64,
}

pub async fn fan_out(tx: &mut Tx<'_>, (first, last): (i64, i64), now: Time) -> Result<u64> {
    tx.run(&FAN_OUT, &params![first, last, now]).await
}

/// The endpoints for which there is something to do.
pub async fn due(db: &Db, now: Time) -> Result<Vec<EndpointId>> {
    db.rows(&DUE_ENDPOINTS, params![now]).await?.iter().map(|row| row.get(0).map(EndpointId)).collect()
}

/// How many deliveries to an endpoint are under way, on all nodes.
pub async fn under_way(tx: &mut Tx<'_>, endpoint: EndpointId, now: Time) -> Result<i64> {
    tx.row(&UNDER_WAY, &params![endpoint, now]).await?.map_or(Ok(0), |row| row.get(0))
}

/// Takes up at most so many that are due, each with how often it was tried; the caller has locked the endpoint.
pub async fn claim(
    tx: &mut Tx<'_>,
    endpoint: EndpointId,
    now: Time,
    lease_until: Time,
    most: i64,
) -> Result<Vec<(MessageId, i64)>> {
    let rows = tx.rows(&CLAIM_DELIVERIES, &params![endpoint, now, lease_until, most]).await?;
    rows.iter().map(|row| Ok((MessageId(row.get(0)?), row.get(1)?))).collect()
}

pub async fn settle(tx: &mut Tx<'_>, endpoint: EndpointId, settled: &[Settlement]) -> Result<()> {
    let one = |one: &Settlement| {
        json!({
            "message": one.message.0.simple().to_string(), "state": one.state, "next_at": one.next_at.0,
            "status": one.status, "error": one.error, "at": one.at.0, "millis": one.millis,
        })
    };
    let all = serde_json::Value::Array(settled.iter().map(one).collect()).to_string();
    tx.run(&SETTLE, &params![endpoint, &all]).await?;
    tx.run(&NOTE_ATTEMPTS, &params![endpoint, all]).await.map(drop)
}

/// Leaves deliveries to whoever takes them up next, as if nobody had.
pub async fn give_back(tx: &mut Tx<'_>, endpoint: EndpointId, messages: &[MessageId]) -> Result<()> {
    let ids: Vec<String> = messages.iter().map(|id| id.0.simple().to_string()).collect();
    tx.run(&GIVE_DELIVERIES_BACK, &params![endpoint, json!(ids).to_string()]).await.map(drop)
}

/// Those of an endpoint, the newest first, before a message; in a state if one is named.
pub async fn list(
    db: &Db,
    endpoint: EndpointId,
    before: Uuid,
    state: Option<DeliveryState>,
    most: i64,
) -> Result<Vec<Delivery>> {
    let state = state.map_or("", DeliveryState::word);
    db.scan(&DELIVERIES, params![endpoint, before, state, most]).await?.iter().map(read).collect()
}

pub async fn of_message(db: &Db, message: MessageId) -> Result<Vec<Delivery>> {
    db.rows(&DELIVERIES_OF, params![message]).await?.iter().map(read).collect()
}

/// Oldest first.
pub async fn attempts(db: &Db, message: MessageId) -> Result<Vec<Attempt>> {
    let attempt = |row: &Row| {
        let (message, endpoint) = (MessageId(row.get(0)?), EndpointId(row.get(1)?));
        let (millis, status, error) = (row.get(3)?, row.get(4)?, row.get(5)?);
        Ok(Attempt { message, endpoint, at: row.time(2)?, millis, status, error })
    };
    db.scan(&ATTEMPTS, params![message]).await?.iter().map(attempt).collect()
}

/// Makes a message due again, and says to how many endpoints.
pub async fn resend(tx: &mut Tx<'_>, message: MessageId, now: Time) -> Result<u64> {
    tx.run(&RESEND, &params![message, now]).await
}

/// Makes due what an endpoint has missed since a time, of messages behind one number and up to another.
pub async fn recover(
    tx: &mut Tx<'_>,
    endpoint: EndpointId,
    since: Time,
    (behind, until): (i64, i64),
    now: Time,
) -> Result<u64> {
    tx.run(&RECOVER, &params![endpoint, since, behind, until, now]).await
}

/// Makes due what a clock has put off that was ahead: to later than one time, or taken up until later than another.
pub async fn mend(tx: &mut Tx<'_>, now: Time, put_off: Time, taken_up: Time) -> Result<u64> {
    let due = tx.run(&MEND_NEXT_ATTEMPT, &params![now, put_off]).await?;
    Ok(due + tx.run(&MEND_DELIVERY_LEASE, &params![taken_up]).await?)
}

pub async fn pending(db: &Db) -> Result<i64> {
    db.row(&PENDING_DELIVERIES, params![]).await?.map_or(Ok(0), |row| row.get(0))
}

/// Removes deliveries of messages from before a time, so many messages at most.
pub async fn forget(tx: &mut Tx<'_>, before: Time, most: i64) -> Result<()> {
    tx.run(&FORGET_DELIVERIES, &params![before, most]).await.map(drop)
}

pub async fn forget_attempts(tx: &mut Tx<'_>, before: Time, most: i64) -> Result<u64> {
    tx.run(&FORGET_ATTEMPTS, &params![before, most]).await
}

pub async fn forget_removed(tx: &mut Tx<'_>, most: i64) -> Result<u64> {
    tx.run(&FORGET_REMOVED, &params![most]).await
}

fn read(row: &Row) -> Result<Delivery> {
    let (message, state): (Uuid, String) = (row.get(0)?, row.get(4)?);
    Ok(Delivery {
        message: MessageId(message),
        endpoint: EndpointId(row.get(1)?),
        kind: row.get(2)?,
        at: row.time(3)?,
        state: DeliveryState::parse(&state).ok_or_else(|| Error::inconsistent("deliveries", "state", message))?,
        next_at: row.time(5)?,
        attempts: row.get(6)?,
        last_status: row.get(7)?,
        last_error: row.get(8)?,
    })
}
