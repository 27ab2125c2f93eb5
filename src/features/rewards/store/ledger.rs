//! The ledger, which only grows, and the rows that are locked by whoever moves something of a holder's.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{list, party, word};
use crate::db::{Db, Row, Tx};
use crate::features::rewards::model::event::{Balance, Entry, Reward, TakenBack};
use crate::features::rewards::model::reward::Movement;
use crate::features::rewards::model::{LedgerKind, Unit};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{RewardId, UserId};
use crate::kernel::program::DEFAULT;
use crate::kernel::time::Time;
use crate::{params, sql};

/// By so much amounts are split for their sums, which may go beyond what an engine counts to.
const PART: i128 = 1_000_000_000;

sql! {
    SHARE_ACCOUNTS = {
        sqlite: "select holder_id from accounts where holder_id in (select unhex(value) from json_each($1))
                 order by holder_id",
        postgres: "select a.holder_id from accounts a
                   where a.holder_id in (select value::uuid from json_array_elements_text($1::text::json))
                   order by a.holder_id for share of a",
    };
    LOCK_ACCOUNTS = {
        sqlite: "select holder_id from accounts where holder_id in (select unhex(value) from json_each($1))
                 order by holder_id",
        postgres: "select a.holder_id from accounts a
                   where a.holder_id in (select value::uuid from json_array_elements_text($1::text::json))
                   order by a.holder_id for update of a",
    };
    OPEN_ACCOUNT = "insert into accounts (holder_id) values ($1) on conflict do nothing";
    BOOK = "insert into ledger (holder_id, program_id, unit, kind, amount, reward_id, cause_id, at)
            select $2, p.id, $3, $4, $5, $6, $7, $8 from programs p where p.slug = $1";
    /// In the order in which they were booked.
    BOOKED_FOR = "select l.reward_id, l.kind, l.amount, l.unit
                  from rewards r join ledger l on l.reward_id = r.id
                  where r.event_id = $1 and l.cause_id = $2 order by l.id";
    /// Each sum in two parts, of the rows behind $2 up to $3.
    SUMS = "select unit, kind, cast(sum(amount / 1000000000) as bigint), cast(sum(amount % 1000000000) as bigint)
            from ledger where holder_id = $1 and id > $2 and id <= $3 group by unit, kind";
    IN_OPEN_LINES = "select cast(coalesce(sum(amount / 1000000000), 0) as bigint),
                         cast(coalesce(sum(amount % 1000000000), 0) as bigint)
                     from payout_lines where holder_id = $1 and unit = $2 and state = 'open'";
    LAST_MARK = "select upto, unit, pending, available, paid from ledger_marks
                 where holder_id = $1
                     and upto = (select upto from ledger_marks where holder_id = $1 order by upto desc limit 1)";
    LAST_ENTRY = "select id from ledger where holder_id = $1 order by id desc limit 1";
    MARK = "insert into ledger_marks (holder_id, upto, unit, pending, available, paid) values ($1, $2, $3, $4, $5, $6)
            on conflict do nothing";
    ENTRIES = "select l.id, l.holder_id, u.external_id, l.kind, l.amount, l.unit, l.reward_id, l.cause_id, l.at
               from ledger l join users u on u.id = l.holder_id where l.id < $2 order by l.id desc limit $1";
    ENTRIES_OF_HOLDER = "select l.id, l.holder_id, u.external_id, l.kind, l.amount, l.unit, l.reward_id, l.cause_id,
                                l.at
                         from ledger l join users u on u.id = l.holder_id
                         where l.holder_id = $3 and l.id < $2 order by l.id desc limit $1";
}

/// How accounts are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Beside others who only add.
    Shared,
    /// Alone: what is counted stays so.
    Alone,
}

/// Holds the accounts of these holders until the unit of work has ended. Those that are not there yet are opened.
pub async fn hold(tx: &mut Tx<'_>, holders: &[UserId], hold: Hold) -> Result<()> {
    let mut holders = holders.to_vec();
    holders.sort_unstable();
    holders.dedup();
    let statement = match hold {
        Hold::Shared => &SHARE_ACCOUNTS,
        Hold::Alone => &LOCK_ACCOUNTS,
    };
    let ids = list(holders.iter().map(|holder| holder.0));
    let held = tx.rows(statement, &params![&ids]).await?;
    if held.len() < holders.len() {
        for holder in holders {
            tx.run(&OPEN_ACCOUNT, &params![holder]).await?;
        }
        tx.rows(statement, &params![&ids]).await?;
    }
    Ok(())
}

/// Books a movement of a reward, whose account is held.
pub async fn book(tx: &mut Tx<'_>, reward: &Reward, movement: Movement, cause: Uuid, at: Time) -> Result<()> {
    let values = params![
        DEFAULT,
        reward.holder.id,
        reward.unit.as_str(),
        movement.kind.word(),
        movement.amount,
        reward.id,
        cause,
        at,
    ];
    tx.run(&BOOK, &values).await.map(drop)
}

/// Books a movement that is about no single reward.
pub async fn book_without(
    tx: &mut Tx<'_>,
    holder: UserId,
    unit: &Unit,
    movement: Movement,
    cause: Uuid,
    at: Time,
) -> Result<()> {
    let none = None::<Uuid>;
    let values = params![DEFAULT, holder, unit.as_str(), movement.kind.word(), movement.amount, none, cause, at];
    tx.run(&BOOK, &values).await.map(drop)
}

/// What was taken back of an event's rewards for this cause.
pub async fn taken_back(tx: &mut Tx<'_>, event: Uuid, cause: Uuid) -> Result<Vec<TakenBack>> {
    let rows = tx.rows(&BOOKED_FOR, &params![event, cause]).await?;
    rows.iter()
        .map(|row| {
            Ok(TakenBack {
                reward: RewardId(row.get(0)?),
                kind: word(row, 1, LedgerKind::parse, ("ledger", "kind"))?,
                amount: row.get(2)?,
                unit: Unit::stored(row.get(3)?),
            })
        })
        .collect()
}

/// What somebody has, by unit.
pub async fn balances(db: &Db, holder: UserId) -> Result<Vec<Balance>> {
    let (upto, mut sums) = marked(&db.rows(&LAST_MARK, params![holder]).await?)?;
    sums.add_all(&db.rows(&SUMS, params![holder, upto, i64::MAX]).await?)?;
    Ok(sums.0.into_values().collect())
}

/// As [`balances`], in a unit of work.
async fn balances_within(tx: &mut Tx<'_>, holder: UserId, upto: i64) -> Result<Sums> {
    let (marked, mut sums) = marked(&tx.rows(&LAST_MARK, &params![holder]).await?)?;
    sums.add_all(&tx.rows(&SUMS, &params![holder, marked, upto]).await?)?;
    Ok(sums)
}

/// What a holder, whose account is held alone, has available in a unit, less what open payouts have of it.
pub async fn free(tx: &mut Tx<'_>, holder: UserId, unit: &Unit) -> Result<i128> {
    let sums = balances_within(tx, holder, i64::MAX).await?;
    let available = sums.0.get(unit.as_str()).map_or(0, |balance| balance.available);
    let reserved = tx.row(&IN_OPEN_LINES, &params![holder, unit.as_str()]).await?;
    Ok(available - reserved.map_or(Ok(0), |row| sum(&row, 0))?)
}

/// Adds a mark, so that a balance begins there. The holder's account is held alone: no row with a lower number can
/// still appear.
pub async fn mark(tx: &mut Tx<'_>, holder: UserId) -> Result<()> {
    let Some(last) = tx.row(&LAST_ENTRY, &params![holder]).await? else { return Ok(()) };
    let upto: i64 = last.get(0)?;
    for balance in balances_within(tx, holder, upto).await?.0.into_values() {
        let [pending, available, paid] =
            [balance.pending, balance.available, balance.paid].map(|amount| amount.to_string());
        tx.run(&MARK, &params![holder, upto, balance.unit.as_str(), pending, available, paid]).await?;
    }
    Ok(())
}

/// What there is in each unit.
#[derive(Default)]
pub(super) struct Sums(pub(super) BTreeMap<String, Balance>);

impl Sums {
    pub(super) fn of(&mut self, unit: &str) -> &mut Balance {
        let empty = || Balance { unit: Unit::stored(unit.to_owned()), pending: 0, available: 0, paid: 0 };
        self.0.entry(unit.to_owned()).or_insert_with(empty)
    }

    /// Adds rows of unit, kind and a sum in two parts.
    fn add_all(&mut self, rows: &[Row]) -> Result<()> {
        for row in rows {
            let kind = word(row, 1, LedgerKind::parse, ("ledger", "kind"))?;
            self.of(&row.get::<String>(0)?).add(kind, sum(row, 2)?);
        }
        Ok(())
    }
}

/// A sum in two parts.
pub(super) fn sum(row: &Row, at: usize) -> Result<i128> {
    let (high, low): (i64, i64) = (row.get(at)?, row.get(at + 1)?);
    Ok(i128::from(high) * PART + i128::from(low))
}

/// Where the last mark is, and what there was.
fn marked(rows: &[Row]) -> Result<(i64, Sums)> {
    let (mut upto, mut sums) = (0, Sums::default());
    for row in rows {
        upto = row.get(0)?;
        let balance = marked_balance(row, 1)?;
        sums.0.insert(balance.unit.as_str().to_owned(), balance);
    }
    Ok((upto, sums))
}

/// A unit and the amounts of a mark.
pub(super) fn marked_balance(row: &Row, at: usize) -> Result<Balance> {
    let amount = |at: usize| {
        let text: String = row.get(at)?;
        text.parse().map_err(|_| Error::inconsistent("ledger_marks", "pending, available or paid", &text))
    };
    let unit = Unit::stored(row.get(at)?);
    Ok(Balance { unit, pending: amount(at + 1)?, available: amount(at + 2)?, paid: amount(at + 3)? })
}

/// So many movements behind one of them, the newest first.
pub async fn entries(db: &Db, holder: Option<UserId>, behind: i64, size: i64) -> Result<Vec<Entry>> {
    let rows = match holder {
        None => db.scan(&ENTRIES, params![size, behind]).await?,
        Some(holder) => db.scan(&ENTRIES_OF_HOLDER, params![size, behind, holder]).await?,
    };
    rows.iter()
        .map(|row| {
            Ok(Entry {
                id: row.get(0)?,
                holder: party(row, 1)?,
                kind: word(row, 3, LedgerKind::parse, ("ledger", "kind"))?,
                amount: row.get(4)?,
                unit: Unit::stored(row.get(5)?),
                reward: row.get::<Option<Uuid>>(6)?.map(RewardId),
                cause: row.get(7)?,
                at: row.time(8)?,
            })
        })
        .collect()
}
