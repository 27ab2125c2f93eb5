//! Payouts and their lines.

use uuid::Uuid;

use super::ledger::sum;
use super::rewards::read as read_reward;
use super::{list, word};
use crate::db::{Db, Row, Tx};
use crate::features::rewards::model::Unit;
use crate::features::rewards::model::event::Reward;
use crate::features::rewards::model::payout::{Line, Payout, PayoutState, Wanted};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{PayoutId, PayoutLineId, UserId};
use crate::kernel::program::DEFAULT;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    INSERT_PAYOUT = "insert into payouts (id, program_id, unit, min_amount, holders, state, created_by, created_at)
                     select $1, p.id, $3, $4, $5, 'preparing', $6, $7 from programs p where p.slug = $2";
    LOCK_PAYOUT = {
        sqlite: "select unit, min_amount, holders, state, prepared_to, created_by from payouts where id = $1",
        postgres: "select unit, min_amount, holders, state, prepared_to, created_by from payouts where id = $1
                   for update",
    };
    SET_PAYOUT_STATE = "update payouts set state = $2, settled_at = $3 where id = $1";
    SET_PREPARED = "update payouts set prepared_to = $2 where id = $1";
    /// Those who ever had anything, in the order of their ids: $2 behind $1.
    HOLDERS_BEHIND = "select a.holder_id, u.erased_at is not null from accounts a join users u on u.id = a.holder_id
                      where a.holder_id > $1 order by a.holder_id limit $2";
    HOLDERS_AMONG = {
        sqlite: "select a.holder_id, u.erased_at is not null from accounts a join users u on u.id = a.holder_id
                 where a.holder_id > $1 and a.holder_id in (select unhex(value) from json_each($3))
                 order by a.holder_id limit $2",
        postgres: "select a.holder_id, u.erased_at is not null from accounts a join users u on u.id = a.holder_id
                   where a.holder_id > $1
                       and a.holder_id in (select value::uuid from json_array_elements_text($3::text::json))
                   order by a.holder_id limit $2",
    };
    /// What is available of rewards whose referral is denied, and will be taken back.
    DENIED = "select cast(coalesce(sum((r.amount - r.reversed) / 1000000000), 0) as bigint),
                  cast(coalesce(sum((r.amount - r.reversed) % 1000000000), 0) as bigint)
              from rewards r join referrals f on f.referee_id = r.referee_id
              where r.holder_id = $1 and r.unit = $2 and r.state = 'available' and r.line_id is null
                  and f.decision = 'deny'";
    INSERT_LINE = "insert into payout_lines (id, payout_id, holder_id, unit, amount, state)
                   values ($1, $2, $3, $4, $5, 'open')";
    /// The holder's account is held alone.
    RESERVE = "update rewards set line_id = $1, line_amount = amount - reversed
               where holder_id = $2 and unit = $3 and state = 'available' and line_id is null
                   and not exists (select 1 from referrals f
                       where f.referee_id = rewards.referee_id and f.decision = 'deny')";
    OPEN_HOLDERS = "select holder_id from payout_lines where payout_id = $1 and state = 'open' order by holder_id";
    BOOK_LINES = "insert into ledger (holder_id, program_id, unit, kind, amount, reward_id, cause_id, at)
                  select l.holder_id, p.program_id, l.unit, 'pay', l.amount, null, l.id, $2
                  from payout_lines l join payouts p on p.id = l.payout_id
                  where l.payout_id = $1 and l.state = 'open' order by l.holder_id";
    PAY_REWARDS = "update rewards set state = 'paid', paid_amount = line_amount, version = version + 1
                   where line_id in (select id from payout_lines where payout_id = $1 and state = 'open')";
    FREE_REWARDS = "update rewards set state = case when reversed = amount then 'reversed' else state end,
                        version = version + case when reversed = amount then 1 else 0 end,
                        line_id = null, line_amount = null
                    where line_id in (select id from payout_lines where payout_id = $1 and state = 'open')";
    SET_LINES = "update payout_lines set state = $2 where payout_id = $1 and state = 'open'";
    LINE = "select id, amount, unit, state from payout_lines where payout_id = $1 and holder_id = $2";
    RETURN_REWARDS = "update rewards set state = case when reversed = amount then 'reversed' else 'available' end,
                          paid_amount = 0, line_id = null, line_amount = null, version = version + 1
                      where line_id = $1";
    REWARDS_OF_PAYOUT = "select r.id, r.event_id, r.holder_id, u.external_id, r.side, r.rule_key, r.rule_version,
                                r.unit, r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                                r.line_id, r.budgeted, r.version
                         from payout_lines l join rewards r on r.line_id = l.id join users u on u.id = r.holder_id
                         where l.payout_id = $1 order by r.id";
    REWARDS_OF_LINE = "select r.id, r.event_id, r.holder_id, u.external_id, r.side, r.rule_key, r.rule_version,
                              r.unit, r.amount, r.reversed, r.paid_amount, r.state, r.granted_at, r.available_at,
                              r.line_id, r.budgeted, r.version
                       from rewards r join users u on u.id = r.holder_id where r.line_id = $1 order by r.id";
    RETURN_LINE = "update payout_lines set state = 'returned' where id = $1 and state = 'paid'";
    PAYOUT = "select p.id, p.unit, p.min_amount, p.state, p.created_at, p.settled_at,
                  (select count(*) from payout_lines l where l.payout_id = p.id),
                  (select count(*) from payout_lines l where l.payout_id = p.id and l.state = 'returned'),
                  (select cast(coalesce(sum(l.amount / 1000000000), 0) as bigint) from payout_lines l
                       where l.payout_id = p.id),
                  (select cast(coalesce(sum(l.amount % 1000000000), 0) as bigint) from payout_lines l
                       where l.payout_id = p.id)
              from payouts p where p.id = $1";
    /// The lists: the newest first, $1 rows behind $2.
    PAYOUTS = "select p.id, p.unit, p.min_amount, p.state, p.created_at, p.settled_at,
                   (select count(*) from payout_lines l where l.payout_id = p.id),
                   (select count(*) from payout_lines l where l.payout_id = p.id and l.state = 'returned'),
                   (select cast(coalesce(sum(l.amount / 1000000000), 0) as bigint) from payout_lines l
                        where l.payout_id = p.id),
                   (select cast(coalesce(sum(l.amount % 1000000000), 0) as bigint) from payout_lines l
                        where l.payout_id = p.id)
               from payouts p where p.id < $2 order by p.id desc limit $1";
    /// Whoever was erased has no address, and what stands for it would look like one.
    LINES = "select l.id, l.holder_id, u.external_id, case when u.erased_at is null then u.email else '' end,
                 l.amount, l.unit
             from payout_lines l join users u on u.id = l.holder_id
             where l.payout_id = $1 and l.holder_id > $2 order by l.holder_id limit $3";
}

pub async fn insert(tx: &mut Tx<'_>, id: PayoutId, wanted: &Wanted, by: UserId, now: Time) -> Result<()> {
    let holders = wanted.holders.as_ref().map(|holders| list(holders.iter().map(|holder| holder.0)));
    let values = params![id, DEFAULT, wanted.unit.as_str(), wanted.min_amount, holders, by, now];
    tx.run(&INSERT_PAYOUT, &values).await.map(drop)
}

/// A payout that is locked.
pub struct Locked {
    pub unit: Unit,
    pub min_amount: i64,
    pub state: PayoutState,
    /// Who has made it.
    pub by: UserId,
    holders: Option<String>,
    prepared_to: Option<Uuid>,
}

pub async fn lock(tx: &mut Tx<'_>, id: PayoutId) -> Result<Option<Locked>> {
    let Some(row) = tx.row(&LOCK_PAYOUT, &params![id]).await? else { return Ok(None) };
    Ok(Some(Locked {
        unit: Unit::stored(row.get(0)?),
        min_amount: row.get(1)?,
        holders: row.get(2)?,
        state: word(&row, 3, PayoutState::parse, ("payouts", "state"))?,
        prepared_to: row.get(4)?,
        by: row.user(5)?,
    }))
}

/// Those who come next in a payout that is prepared, and whether they are erased.
pub async fn next_holders(tx: &mut Tx<'_>, payout: &Locked, most: i64) -> Result<Vec<(UserId, bool)>> {
    let behind = payout.prepared_to.unwrap_or_default();
    let rows = match &payout.holders {
        None => tx.rows(&HOLDERS_BEHIND, &params![behind, most]).await?,
        Some(holders) => tx.rows(&HOLDERS_AMONG, &params![behind, most, holders]).await?,
    };
    rows.iter().map(|row| Ok((row.user(0)?, row.get(1)?))).collect()
}

pub async fn set_prepared(tx: &mut Tx<'_>, id: PayoutId, last: UserId) -> Result<()> {
    tx.run(&SET_PREPARED, &params![id, last]).await.map(drop)
}

pub async fn set_state(tx: &mut Tx<'_>, id: PayoutId, state: PayoutState, settled: Option<Time>) -> Result<()> {
    tx.run(&SET_PAYOUT_STATE, &params![id, state.word(), settled]).await.map(drop)
}

/// What a holder has available of rewards whose referral is denied.
pub async fn denied(tx: &mut Tx<'_>, holder: UserId, unit: &Unit) -> Result<i128> {
    let row = tx.row(&DENIED, &params![holder, unit.as_str()]).await?;
    row.map_or(Ok(0), |row| sum(&row, 0))
}

/// A line that is about to be written.
pub struct NewLine<'a> {
    pub id: PayoutLineId,
    pub payout: PayoutId,
    pub holder: UserId,
    pub unit: &'a Unit,
    pub amount: i64,
}

/// Writes a line, and reserves all that its holder has available. Their account is held alone.
pub async fn insert_line(tx: &mut Tx<'_>, line: &NewLine<'_>) -> Result<()> {
    let unit = line.unit.as_str();
    tx.run(&INSERT_LINE, &params![line.id, line.payout, line.holder, unit, line.amount]).await?;
    tx.run(&RESERVE, &params![line.id, line.holder, unit]).await.map(drop)
}

/// Whose lines of a payout that is locked are open.
pub async fn open_holders(tx: &mut Tx<'_>, id: PayoutId) -> Result<Vec<UserId>> {
    tx.rows(&OPEN_HOLDERS, &params![id]).await?.iter().map(|row| row.user(0)).collect()
}

/// Books the open lines of a payout, whose holders' accounts are held alone.
pub async fn pay(tx: &mut Tx<'_>, id: PayoutId, now: Time) -> Result<()> {
    tx.run(&BOOK_LINES, &params![id, now]).await?;
    tx.run(&PAY_REWARDS, &params![id]).await?;
    tx.run(&SET_LINES, &params![id, "paid"]).await.map(drop)
}

/// The rewards that the lines of a payout have.
pub async fn rewards(tx: &mut Tx<'_>, id: PayoutId) -> Result<Vec<Reward>> {
    tx.rows(&REWARDS_OF_PAYOUT, &params![id]).await?.iter().map(read_reward).collect()
}

/// The rewards that a line has.
pub async fn rewards_of_line(tx: &mut Tx<'_>, id: PayoutLineId) -> Result<Vec<Reward>> {
    tx.rows(&REWARDS_OF_LINE, &params![id]).await?.iter().map(read_reward).collect()
}

/// Frees what the open lines of a payout have, whose holders' accounts are held alone.
pub async fn free(tx: &mut Tx<'_>, id: PayoutId) -> Result<()> {
    tx.run(&FREE_REWARDS, &params![id]).await?;
    tx.run(&SET_LINES, &params![id, "cancelled"]).await.map(drop)
}

/// A line of a payout that is locked.
pub struct OwnLine {
    pub id: PayoutLineId,
    pub amount: i64,
    pub unit: Unit,
    pub is_paid: bool,
}

pub async fn line(tx: &mut Tx<'_>, id: PayoutId, holder: UserId) -> Result<Option<OwnLine>> {
    let Some(row) = tx.row(&LINE, &params![id, holder]).await? else { return Ok(None) };
    let state: String = row.get(3)?;
    Ok(Some(OwnLine {
        id: PayoutLineId(row.get(0)?),
        amount: row.get(1)?,
        unit: Unit::stored(row.get(2)?),
        is_paid: state == "paid",
    }))
}

/// Takes back a line that is paid, whose holder's account is held alone.
pub async fn give_back(tx: &mut Tx<'_>, id: PayoutLineId) -> Result<()> {
    tx.run(&RETURN_REWARDS, &params![id]).await?;
    match tx.run(&RETURN_LINE, &params![id]).await? {
        1 => Ok(()),
        _ => Err(Error::inconsistent("payout_lines", "state", id)),
    }
}

pub async fn payout(db: &Db, id: PayoutId) -> Result<Option<Payout>> {
    db.row(&PAYOUT, params![id]).await?.map(|row| read(&row)).transpose()
}

/// As [`payout`], in a unit of work.
pub async fn payout_within(tx: &mut Tx<'_>, id: PayoutId) -> Result<Payout> {
    let row = tx.row(&PAYOUT, &params![id]).await?;
    row.map(|row| read(&row)).transpose()?.ok_or_else(|| Error::inconsistent("payouts", "id", id))
}

/// So many behind one of them, the newest first.
pub async fn payouts(db: &Db, behind: Uuid, size: i64) -> Result<Vec<Payout>> {
    db.scan(&PAYOUTS, params![size, behind]).await?.iter().map(read).collect()
}

/// So many lines behind a holder's, in the order of their ids.
pub async fn lines(db: &Db, id: PayoutId, behind: Uuid, size: i64) -> Result<Vec<Line>> {
    let rows = db.scan(&LINES, params![id, behind, size]).await?;
    rows.iter()
        .map(|row| {
            Ok(Line {
                id: PayoutLineId(row.get(0)?),
                holder: row.user(1)?,
                external_id: row.get(2)?,
                email: row.get(3)?,
                amount: row.get(4)?,
                unit: Unit::stored(row.get(5)?),
            })
        })
        .collect()
}

fn read(row: &Row) -> Result<Payout> {
    Ok(Payout {
        id: PayoutId(row.get(0)?),
        unit: Unit::stored(row.get(1)?),
        min_amount: row.get(2)?,
        state: word(row, 3, PayoutState::parse, ("payouts", "state"))?,
        created_at: row.time(4)?,
        settled_at: row.get::<Option<i64>>(5)?.map(Time),
        lines: row.get(6)?,
        returned: row.get(7)?,
        total: sum(row, 8)?,
    })
}
