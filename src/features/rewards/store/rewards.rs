//! Rewards.

use uuid::Uuid;

use super::{list, party, word};
use crate::db::{Db, Row, Tx};
use crate::features::rewards::model::event::{Reward, WantedRewards};
use crate::features::rewards::model::reward::{RewardState, Standing};
use crate::features::rewards::model::{Side, Unit};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{EventId, RewardId, UserId};
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    /// $1 a list of events.
    REWARDS_OF_EVENTS = {
        sqlite: "select r.id, r.event_id, r.holder_id, u.external_id, r.side, r.rule_key, r.rule_version, r.unit,
                        r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                        r.line_id, r.budgeted, r.version
                 from rewards r join users u on u.id = r.holder_id
                 where r.event_id in (select unhex(value) from json_each($1)) order by r.id",
        postgres: "select r.id, r.event_id, r.holder_id, u.external_id, r.side, r.rule_key, r.rule_version, r.unit,
                          r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                          r.line_id, r.budgeted, r.version
                   from rewards r join users u on u.id = r.holder_id
                   where r.event_id in (select value::uuid from json_array_elements_text($1::text::json))
                   order by r.id",
    };
    /// The lists: the newest first, $1 rows behind $2.
    REWARDS = "select r.id, r.event_id, r.holder_id, u.external_id, r.side, r.rule_key, r.rule_version, r.unit,
                      r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                      r.line_id, r.budgeted, r.version
               from rewards r join users u on u.id = r.holder_id
               where r.id < $2 order by r.id desc limit $1";
    REWARDS_BY_STATE = "select r.id, r.event_id, r.holder_id, u.external_id, r.side, r.rule_key, r.rule_version,
                               r.unit, r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                               r.line_id, r.budgeted, r.version
                        from rewards r join users u on u.id = r.holder_id
                        where r.state = $3 and r.id < $2 order by r.id desc limit $1";
    REWARDS_BY_HOLDER = "select r.id, r.event_id, r.holder_id, u.external_id, r.side, r.rule_key, r.rule_version,
                                r.unit, r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                                r.line_id, r.budgeted, r.version
                         from rewards r join users u on u.id = r.holder_id
                         where r.holder_id = $4 and (r.state = $3 or $3 = '') and r.id < $2
                         order by r.id desc limit $1";
    /// Of a holder whose account is locked.
    COUNT_BY_RULE = "select count(*) from rewards where holder_id = $1 and rule_key = $2 and granted_at >= $3";
    INSERT_REWARD = "insert into rewards
            (id, event_id, referee_id, holder_id, side, rule_key, rule_version, unit, amount, reversed, paid_amount,
             state, granted_at, available_at, waits, once_key, budgeted)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 'pending', $10, $11, $12, $13, $14)
        on conflict do nothing";
    /// In the order of their ids.
    LOCK_REWARDS_OF_EVENT = {
        sqlite: "select r.id, r.event_id, r.holder_id, null, r.side, r.rule_key, r.rule_version, r.unit, r.amount,
                        r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                        r.line_id, r.budgeted, r.version
                 from rewards r where r.event_id = $1 order by r.id",
        postgres: "select r.id, r.event_id, r.holder_id, null::text, r.side, r.rule_key, r.rule_version, r.unit,
                          r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                          r.line_id, r.budgeted, r.version
                   from rewards r where r.event_id = $1 order by r.id for update",
    };
    HOLDERS_OF_EVENT = "select distinct holder_id from rewards where event_id = $1";
    /// Asked every second.
    IS_DUE = "select 1 from rewards where state = 'pending' and not waits and available_at <= $1 limit 1";
    DUE = "select id, holder_id from rewards where state = 'pending' and not waits and available_at <= $1
           order by available_at, id limit $2";
    LOCK_DUE = {
        sqlite: "select r.id, r.event_id, r.holder_id, null, r.side, r.rule_key, r.rule_version, r.unit, r.amount,
                        r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                        r.line_id, r.budgeted, r.version
                 from rewards r where r.id in (select unhex(value) from json_each($1)) and r.state = 'pending'
                     and not r.waits order by r.id",
        postgres: "select r.id, r.event_id, r.holder_id, null::text, r.side, r.rule_key, r.rule_version, r.unit,
                          r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                          r.line_id, r.budgeted, r.version
                   from rewards r
                   where r.id in (select value::uuid from json_array_elements_text($1::text::json))
                       and r.state = 'pending' and not r.waits order by r.id for update of r",
    };
    /// Of any number who would do something with it one does.
    SET_STANDING = "update rewards set state = $4, reversed = $5, paid_amount = $6, version = version + 1
                    where id = $1 and state = $2 and reversed = $3";
    /// In the order of their ids, as whoever takes several of them does.
    LOCK_WAITING = {
        sqlite: "select 1 where $1 is null and $2",
        postgres: "select id from rewards where referee_id = $1 and state = 'pending' and waits <> $2
                   order by id for update",
    };
    SET_WAITING = "update rewards set waits = $2 where referee_id = $1 and state = 'pending' and waits <> $2";
    /// Referees whose referral counts, while what was granted for it waits.
    LEFT_WAITING = "select distinct w.referee_id from rewards w join referrals f on f.referee_id = w.referee_id
                    where w.state = 'pending' and w.waits and f.status = 'confirmed'
                        and (f.decision is null or f.decision = 'approve')
                    order by w.referee_id limit $1";
    WHOSE = "select holder_id, referee_id from rewards where id = $1";
    /// What was granted for a referee, of which something is left.
    UNREVERSED = "select id, holder_id from rewards where referee_id = $1 and reversed < amount order by id limit $2";
    LOCK_EACH = {
        sqlite: "select r.id, r.event_id, r.holder_id, u.external_id, r.side, r.rule_key, r.rule_version, r.unit,
                        r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                        r.line_id, r.budgeted, r.version
                 from rewards r join users u on u.id = r.holder_id
                 where r.id in (select unhex(value) from json_each($1)) order by r.id",
        postgres: "select r.id, r.event_id, r.holder_id, u.external_id, r.side, r.rule_key, r.rule_version, r.unit,
                          r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                          r.line_id, r.budgeted, r.version
                   from rewards r join users u on u.id = r.holder_id
                   where r.id in (select value::uuid from json_array_elements_text($1::text::json))
                   order by r.id for update of r",
    };
}

/// The rewards of these events, in the order of their ids.
pub async fn of_events(db: &Db, events: String) -> Result<Vec<Reward>> {
    db.scan(&REWARDS_OF_EVENTS, params![events]).await?.iter().map(read).collect()
}

/// As [`of_events`], in a unit of work.
pub async fn of_event(tx: &mut Tx<'_>, event: EventId) -> Result<Vec<Reward>> {
    tx.rows(&REWARDS_OF_EVENTS, &params![list([event.0])]).await?.iter().map(read).collect()
}

/// So many behind one of them, the newest first.
pub async fn rewards(db: &Db, wanted: &WantedRewards, behind: Uuid, size: i64) -> Result<Vec<Reward>> {
    let state = wanted.state.map_or("", RewardState::word);
    let rows = match (wanted.holder, wanted.state) {
        (Some(holder), _) => db.scan(&REWARDS_BY_HOLDER, params![size, behind, state, holder]).await?,
        (None, Some(_)) => db.scan(&REWARDS_BY_STATE, params![size, behind, state]).await?,
        (None, None) => db.scan(&REWARDS, params![size, behind]).await?,
    };
    rows.iter().map(read).collect()
}

/// How often a rule gave something to a holder since then.
pub async fn count(tx: &mut Tx<'_>, holder: UserId, rule: &str, since: Time) -> Result<i64> {
    let row = tx.row(&COUNT_BY_RULE, &params![holder, rule, since]).await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// A reward that is about to be granted.
pub struct NewReward<'a> {
    pub reward: &'a Reward,
    pub referee: UserId,
    pub waits: bool,
    pub once: bool,
}

/// Grants a reward, unless its rule pays once and has.
pub async fn insert(tx: &mut Tx<'_>, new: &NewReward<'_>) -> Result<bool> {
    let reward = new.reward;
    let once = new.once.then(|| format!("{}:{}:{}", new.referee, reward.side.word(), reward.rule_key));
    let values = params![
        reward.id,
        reward.event,
        new.referee,
        reward.holder.id,
        reward.side.word(),
        &reward.rule_key,
        reward.rule_version,
        reward.unit.as_str(),
        reward.standing.amount,
        reward.granted_at,
        reward.available_at,
        new.waits,
        once,
        reward.budgeted,
    ];
    Ok(tx.run(&INSERT_REWARD, &values).await? == 1)
}

/// Whose rewards an event has brought.
pub async fn holders(tx: &mut Tx<'_>, event: EventId) -> Result<Vec<UserId>> {
    tx.rows(&HOLDERS_OF_EVENT, &params![event]).await?.iter().map(|row| row.user(0)).collect()
}

/// The rewards of an event, locked.
pub async fn lock(tx: &mut Tx<'_>, event: EventId) -> Result<Vec<Reward>> {
    tx.rows(&LOCK_REWARDS_OF_EVENT, &params![event]).await?.iter().map(read).collect()
}

/// Whether there is a reward whose hold is over.
pub async fn is_due(db: &Db, now: Time) -> Result<bool> {
    Ok(db.row(&IS_DUE, params![now]).await?.is_some())
}

/// Rewards whose hold is over, with their holders.
pub async fn due(tx: &mut Tx<'_>, now: Time, most: i64) -> Result<Vec<(RewardId, UserId)>> {
    let rows = tx.rows(&DUE, &params![now, most]).await?;
    rows.iter().map(|row| Ok((RewardId(row.get(0)?), row.user(1)?))).collect()
}

/// Those of these rewards that are still pending, locked.
pub async fn lock_due(tx: &mut Tx<'_>, ids: &[RewardId]) -> Result<Vec<Reward>> {
    tx.rows(&LOCK_DUE, &params![list(ids.iter().map(|id| id.0))]).await?.iter().map(read).collect()
}

/// Changes a reward that is as it was read, and says how it is then.
pub async fn set(tx: &mut Tx<'_>, reward: &Reward, to: Standing) -> Result<Reward> {
    let (id, from) = (reward.id, &reward.standing);
    let values = params![id, from.state.word(), from.reversed, to.state.word(), to.reversed, to.paid_amount];
    match tx.run(&SET_STANDING, &values).await? {
        1 => Ok(Reward { standing: to, version: reward.version + 1, ..reward.clone() }),
        _ => Err(Error::inconsistent("rewards", "state", format!("{id}, which is locked"))),
    }
}

/// Whether pending rewards that a referee's events have brought wait for more than their time. The referral is locked.
pub async fn set_waiting(tx: &mut Tx<'_>, referee: UserId, waits: bool) -> Result<()> {
    tx.rows(&LOCK_WAITING, &params![referee, waits]).await?;
    tx.run(&SET_WAITING, &params![referee, waits]).await.map(drop)
}

/// Some referees whose referral counts, while what was granted for it waits.
pub async fn left_waiting(db: &Db, most: i64) -> Result<Vec<UserId>> {
    db.scan(&LEFT_WAITING, params![most]).await?.iter().map(|row| row.user(0)).collect()
}

/// Whose a reward is, and for whose referral.
pub struct Whose {
    pub holder: UserId,
    pub referee: UserId,
}

pub async fn whose(tx: &mut Tx<'_>, id: RewardId) -> Result<Option<Whose>> {
    let row = tx.row(&WHOSE, &params![id]).await?;
    row.map(|row| Ok(Whose { holder: row.user(0)?, referee: row.user(1)? })).transpose()
}

/// Some of what was granted for a referee and not taken back, with the holders.
pub async fn unreversed(tx: &mut Tx<'_>, referee: UserId, most: i64) -> Result<Vec<(RewardId, UserId)>> {
    let rows = tx.rows(&UNREVERSED, &params![referee, most]).await?;
    rows.iter().map(|row| Ok((RewardId(row.get(0)?), row.user(1)?))).collect()
}

/// These rewards, locked.
pub async fn lock_each(tx: &mut Tx<'_>, ids: &[RewardId]) -> Result<Vec<Reward>> {
    tx.rows(&LOCK_EACH, &params![list(ids.iter().map(|id| id.0))]).await?.iter().map(read).collect()
}

pub(super) fn read(row: &Row) -> Result<Reward> {
    Ok(Reward {
        id: RewardId(row.get(0)?),
        event: EventId(row.get(1)?),
        holder: party(row, 2)?,
        side: word(row, 4, Side::parse, ("rewards", "side"))?,
        rule_key: row.get(5)?,
        rule_version: row.get(6)?,
        unit: Unit::stored(row.get(7)?),
        standing: Standing {
            state: word(row, 11, RewardState::parse, ("rewards", "state"))?,
            in_line: row.get::<Option<Uuid>>(14)?.is_some(),
            amount: row.get(8)?,
            reversed: row.get(9)?,
            paid_amount: row.get(10)?,
        },
        granted_at: row.time(12)?,
        available_at: row.time(13)?,
        budgeted: row.get(15)?,
        version: row.get(16)?,
    })
}
