//! Events and refunds.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{list, party, word};
use crate::db::{Db, Row, Tx, Value};
use crate::features::referrals::model::{Decision, Status};
use crate::features::rewards::model::event::{Event, EventKey, Party, Skipped, Told, Whom};
use crate::features::rewards::model::preview::Past;
use crate::features::rewards::model::rules::EventType;
use crate::features::rewards::model::{Money, RefundReason, SkipReason, Unit};
use crate::kernel::digest::ExternalIdHash;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{EventId, RefundId, UserId};
use crate::kernel::program::DEFAULT;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    /// $1 the type, $2 the external id.
    EVENT_BY_KEY = "select e.id, e.type, e.external_id, e.referee_id, u.external_id, e.amount, e.unit, e.occurred_at,
                           e.received_at, e.properties, e.skipped, e.rules_version, e.said,
                           coalesce((select max(f.refunded_total) from refunds f where f.event_id = e.id), 0)
                    from events e join users u on u.id = e.referee_id
                    where e.program_id = (select id from programs where slug = $3) and e.type = $1
                        and e.external_id = $2";
    EVENT = "select e.id, e.type, e.external_id, e.referee_id, u.external_id, e.amount, e.unit, e.occurred_at,
                    e.received_at, e.properties, e.skipped, e.rules_version, e.said,
                    coalesce((select max(f.refunded_total) from refunds f where f.event_id = e.id), 0)
             from events e join users u on u.id = e.referee_id where e.id = $1";
    /// The lists: the newest first, $1 rows behind $2, not before $3, of type $4 if it is not empty.
    EVENTS = "select e.id, e.type, e.external_id, e.referee_id, u.external_id, e.amount, e.unit, e.occurred_at,
                     e.received_at, e.properties, e.skipped, e.rules_version, e.said,
                     coalesce((select max(f.refunded_total) from refunds f where f.event_id = e.id), 0)
              from events e join users u on u.id = e.referee_id
              where e.id < $2 and e.received_at >= $3 and (e.type = $4 or $4 = '')
              order by e.id desc limit $1";
    EVENTS_BY_REFEREE = "select e.id, e.type, e.external_id, e.referee_id, u.external_id, e.amount, e.unit,
                                e.occurred_at, e.received_at, e.properties, e.skipped, e.rules_version, e.said,
                                coalesce((select max(f.refunded_total) from refunds f where f.event_id = e.id), 0)
                         from events e join users u on u.id = e.referee_id
                         where e.referee_id = $5 and e.id < $2 and e.received_at >= $3 and (e.type = $4 or $4 = '')
                         order by e.id desc limit $1";
    /// Who did it, with who brought them: neither is erased or confirmed until the unit of work has ended.
    HOLD_REFEREE_BY_EXTERNAL_ID = {
        sqlite: "select u.id, u.external_id, r.referrer_id, r.joined_at, r.status, r.decision
                 from users u join referrals r on r.referee_id = u.id
                 where u.external_hash = $1 and u.external_id is not null and u.erased_at is null",
        postgres: "select u.id, u.external_id, r.referrer_id, r.joined_at, r.status, r.decision
                   from users u join referrals r on r.referee_id = u.id
                   where u.external_hash = $1 and u.external_id is not null and u.erased_at is null for share",
    };
    HOLD_REFEREE = {
        sqlite: "select u.id, u.external_id, r.referrer_id, r.joined_at, r.status, r.decision
                 from users u join referrals r on r.referee_id = u.id
                 where u.id = $1 and u.erased_at is null",
        postgres: "select u.id, u.external_id, r.referrer_id, r.joined_at, r.status, r.decision
                   from users u join referrals r on r.referee_id = u.id
                   where u.id = $1 and u.erased_at is null for share",
    };
    BY_EXTERNAL_ID = "select id from users where external_hash = $1 and external_id is not null";
    REFERRER = "select id, external_id, erased_at is not null from users where id = $1";
    INSERT_EVENT = "insert into events
            (id, program_id, type, external_id, referee_id, amount, unit, occurred_at, received_at, properties,
             rules_version, skipped, said)
        select $1, p.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, '[]', $12 from programs p where p.slug = $2
        on conflict (program_id, type, external_id) do nothing";
    NOTE_SKIPPED = "update events set skipped = $2 where id = $1";
    LOCK_EVENT = {
        sqlite: "select id from events where id = $1",
        postgres: "select id from events where id = $1 for update",
    };
    EVENT_ID = "select id from events
                where program_id = (select id from programs where slug = $3) and type = $1 and external_id = $2";
    REFUND = "select id, said, refunded_total from refunds where event_id = $1 and external_id = $2";
    IS_REFUNDED = "select 1 from refunds where event_id = $1 limit 1";
    INSERT_REFUND = "insert into refunds
            (id, event_id, external_id, amount, refunded_total, reason, said, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)";
    FORGET_PROPERTIES = "update events set properties = null where referee_id = $1 and properties is not null";
    /// For a preview: the events since $1, in the order of their receipt, $2 at most.
    LATEST_EVENTS = "select e.type, e.amount, e.unit, e.occurred_at, e.received_at, r.referrer_id, r.referee_id,
                            r.joined_at
                     from events e join referrals r on r.referee_id = e.referee_id
                     where e.received_at >= $1 order by e.id limit $2";
}

/// An event as it is stored.
pub struct Stored {
    pub event: Event,
    pub rules_version: i64,
    pub said: Vec<u8>,
}

/// Who did something, with the referral that it counts for.
pub struct Referee {
    pub party: Party,
    pub referrer: UserId,
    pub joined_at: Time,
    pub status: Status,
    pub decision: Option<Decision>,
}

impl Referee {
    /// Whether what is granted stays pending, whatever its hold.
    pub fn waits(&self) -> bool {
        self.status == Status::Pending || self.decision == Some(Decision::Hold)
    }
}

pub async fn by_key(tx: &mut Tx<'_>, kind: &EventType, key: &EventKey) -> Result<Option<Stored>> {
    let row = tx.row(&EVENT_BY_KEY, &params![kind.as_str(), key.as_str(), DEFAULT]).await?;
    row.map(|row| read(&row)).transpose()
}

pub async fn event(db: &Db, id: EventId) -> Result<Option<Event>> {
    db.row(&EVENT, params![id]).await?.map(|row| Ok(read(&row)?.event)).transpose()
}

/// An event by its id, in a unit of work.
pub async fn event_within(tx: &mut Tx<'_>, id: EventId) -> Result<Option<Stored>> {
    tx.row(&EVENT, &params![id]).await?.map(|row| read(&row)).transpose()
}

/// Which events are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub size: i64,
    pub behind: Uuid,
    pub from: Time,
    /// Empty for any.
    pub kind: String,
    pub referee: Option<UserId>,
}

pub async fn events(db: &Db, wanted: &Wanted) -> Result<Vec<Event>> {
    let mut values = params![wanted.size, wanted.behind, wanted.from, &wanted.kind].to_vec();
    let rows = match wanted.referee {
        None => db.scan(&EVENTS, values).await?,
        Some(referee) => {
            values.push(Value::from(referee));
            db.scan(&EVENTS_BY_REFEREE, values).await?
        }
    };
    rows.iter().map(|row| Ok(read(row)?.event)).collect()
}

/// Whom a host calls so.
pub async fn by_external_id(db: &Db, external: &ExternalIdHash) -> Result<Option<UserId>> {
    db.row(&BY_EXTERNAL_ID, params![external]).await?.map(|row| row.user(0)).transpose()
}

/// Who did it, held, unless nobody has brought them.
pub async fn hold_referee(tx: &mut Tx<'_>, whom: &Whom) -> Result<Option<Referee>> {
    let row = match whom {
        Whom::External(hash) => tx.row(&HOLD_REFEREE_BY_EXTERNAL_ID, &params![hash]).await?,
        Whom::Id(user) => tx.row(&HOLD_REFEREE, &params![*user]).await?,
    };
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Referee {
        party: party(&row, 0)?,
        referrer: row.user(2)?,
        joined_at: row.time(3)?,
        status: word(&row, 4, Status::parse, ("referrals", "status"))?,
        decision: decision(&row, 5)?,
    }))
}

/// Who brought somebody; nothing once they are erased.
pub async fn referrer(tx: &mut Tx<'_>, user: UserId) -> Result<Option<Party>> {
    let row = tx.row(&REFERRER, &params![user]).await?.ok_or_else(|| Error::inconsistent("users", "id", user))?;
    Ok(if row.get(2)? { None } else { Some(party(&row, 0)?) })
}

/// An event that is about to be written.
pub struct NewEvent<'a> {
    pub id: EventId,
    pub told: &'a Told,
    pub referee: UserId,
    pub occurred_at: Time,
    pub received_at: Time,
    pub rules_version: i64,
    pub said: &'a [u8],
}

/// Writes an event, unless there is one of its type and external id.
pub async fn insert(tx: &mut Tx<'_>, new: &NewEvent<'_>) -> Result<bool> {
    let money = new.told.money.as_ref();
    let values = params![
        new.id,
        DEFAULT,
        new.told.kind.as_str(),
        new.told.key.as_str(),
        new.referee,
        money.map(|money| money.amount),
        money.map(|money| money.unit.as_str()),
        new.occurred_at,
        new.received_at,
        new.told.properties.clone(),
        new.rules_version,
        new.said,
    ];
    Ok(tx.run(&INSERT_EVENT, &values).await? == 1)
}

/// Notes, in the unit that writes an event, which rules gave nothing.
pub async fn note_skipped(tx: &mut Tx<'_>, id: EventId, skipped: &[Skipped]) -> Result<()> {
    let skipped: Vec<Json> =
        skipped.iter().map(|skipped| json!({"rule": skipped.rule, "reason": skipped.reason})).collect();
    tx.run(&NOTE_SKIPPED, &params![id, json!(skipped).to_string()]).await.map(drop)
}

/// Locks an event, then reads it: what was refunded of it does not change until the unit of work has ended.
pub async fn lock(tx: &mut Tx<'_>, id: EventId) -> Result<Option<Stored>> {
    match tx.row(&LOCK_EVENT, &params![id]).await? {
        Some(_) => event_within(tx, id).await,
        None => Ok(None),
    }
}

/// As [`lock`], by what the host calls it.
pub async fn lock_by_key(tx: &mut Tx<'_>, kind: &EventType, key: &EventKey) -> Result<Option<Stored>> {
    let row = tx.row(&EVENT_ID, &params![kind.as_str(), key.as_str(), DEFAULT]).await?;
    match row {
        Some(row) => lock(tx, EventId(row.get(0)?)).await,
        None => Ok(None),
    }
}

/// A refund of an event, by what the host calls it: its id, the fields it was sent with, and what was refunded with it.
pub async fn refund(tx: &mut Tx<'_>, event: EventId, key: &EventKey) -> Result<Option<(RefundId, Vec<u8>, i64)>> {
    let row = tx.row(&REFUND, &params![event, key.as_str()]).await?;
    row.map(|row| Ok((RefundId(row.get(0)?), row.get(1)?, row.get(2)?))).transpose()
}

pub async fn is_refunded(tx: &mut Tx<'_>, event: EventId) -> Result<bool> {
    Ok(tx.row(&IS_REFUNDED, &params![event]).await?.is_some())
}

/// A refund that is about to be written.
pub struct NewRefund<'a> {
    pub id: RefundId,
    pub event: EventId,
    pub key: &'a EventKey,
    pub amount: i64,
    pub refunded_total: i64,
    pub reason: RefundReason,
    pub said: &'a [u8],
    pub now: Time,
}

pub async fn insert_refund(tx: &mut Tx<'_>, new: &NewRefund<'_>) -> Result<()> {
    let values = params![
        new.id,
        new.event,
        new.key.as_str(),
        new.amount,
        new.refunded_total,
        new.reason.word(),
        new.said,
        new.now,
    ];
    tx.run(&INSERT_REFUND, &values).await.map(drop)
}

/// Empties what hosts have told of somebody's events.
pub async fn forget_properties(tx: &mut Tx<'_>, referee: UserId) -> Result<()> {
    tx.run(&FORGET_PROPERTIES, &params![referee]).await.map(drop)
}

/// The events since then, so many at most, in the order of their receipt.
pub async fn since(db: &Db, from: Time, most: i64) -> Result<Vec<Past>> {
    let rows = db.scan(&LATEST_EVENTS, params![from, most]).await?;
    rows.iter()
        .map(|row| {
            Ok(Past {
                kind: EventType::stored(row.get(0)?),
                money: money(row, 1)?,
                occurred_at: row.time(3)?,
                received_at: row.time(4)?,
                referrer: row.user(5)?,
                referee: row.user(6)?,
                joined_at: row.time(7)?,
            })
        })
        .collect()
}

/// Events as a statement takes any number of them.
pub fn ids(events: &[Event]) -> String {
    list(events.iter().map(|event| event.id.0))
}

fn decision(row: &Row, at: usize) -> Result<Option<Decision>> {
    match row.get::<Option<String>>(at)? {
        None => Ok(None),
        Some(_) => word(row, at, Decision::parse, ("referrals", "decision")).map(Some),
    }
}

fn money(row: &Row, at: usize) -> Result<Option<Money>> {
    let (amount, unit): (Option<i64>, Option<String>) = (row.get(at)?, row.get(at + 1)?);
    Ok(amount.zip(unit).map(|(amount, unit)| Money { amount, unit: Unit::stored(unit) }))
}

fn read(row: &Row) -> Result<Stored> {
    let id = EventId(row.get(0)?);
    let skipped = skipped(&row.get::<String>(10)?);
    Ok(Stored {
        event: Event {
            id,
            kind: EventType::stored(row.get(1)?),
            key: EventKey::stored(row.get(2)?),
            referee: party(row, 3)?,
            money: money(row, 5)?,
            refunded: row.get(13)?,
            occurred_at: row.time(7)?,
            received_at: row.time(8)?,
            properties: row.get(9)?,
            skipped: skipped.ok_or_else(|| Error::inconsistent("events", "skipped", id))?,
            rewards: Vec::new(),
        },
        rules_version: row.get(11)?,
        said: row.get(12)?,
    })
}

fn skipped(text: &str) -> Option<Vec<Skipped>> {
    let values: Vec<Json> = serde_json::from_str(text).ok()?;
    let read = |value: &Json| {
        let reason = SkipReason::parse(value["reason"].as_str()?)?;
        Some(Skipped { rule: value["rule"].as_str()?.to_owned(), reason })
    };
    values.iter().map(read).collect()
}
