//! What a check reads, and the checks that were asked for.

use super::ledger::{Sums, marked_balance, sum};
use super::word;
use crate::db::{Db, Place, Row, Tx};
use crate::features::rewards::model::LedgerKind;
use crate::features::rewards::model::check::{Check, Found, MOST_FAULTS};
use crate::features::rewards::model::event::Balance;
use crate::kernel::error::Result;
use crate::kernel::ids::{LedgerCheckId, UserId};
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    COUNTS = "select (select count(*) from rewards), (select count(*) from ledger)";
    /// Rewards that say something else than their rows. One statement: it sees both as they were at one moment.
    WRONG_REWARDS = "select r.id from rewards r left join (
            select reward_id,
                sum(case when kind = 'grant' then amount else 0 end) as granted,
                sum(case when kind = 'deny' then amount else 0 end) as denied,
                sum(case when kind = 'release' then amount else 0 end) as released,
                sum(case when kind = 'reverse' then amount else 0 end) as reversed,
                sum(case when kind = 'pay' then amount when kind = 'return' then -amount else 0 end) as paid
            from ledger where reward_id is not null group by reward_id) l on l.reward_id = r.id
        where l.reward_id is null or l.granted <> r.amount or l.denied + l.reversed <> r.reversed
            or l.paid <> (case when r.line_id is null then r.paid_amount else 0 end)
            or (r.line_id is not null and r.state = 'paid' and r.paid_amount <> r.line_amount)
            or l.released <> (case when r.state in ('pending', 'denied') then 0 else r.amount - l.denied end)
            or (r.state in ('denied', 'reversed'))
                <> (r.reversed = r.amount and r.state <> 'paid' and r.line_id is null)
            or (r.state = 'paid') <> (r.paid_amount > 0)
        order by r.id limit $1";
    ALL_SUMS = "select holder_id, unit, kind, cast(sum(amount / 1000000000) as bigint),
                    cast(sum(amount % 1000000000) as bigint)
                from ledger group by holder_id, unit, kind order by holder_id";
    ALL_SUMS_OF_UNIT = "select holder_id, unit, kind, cast(sum(amount / 1000000000) as bigint),
                            cast(sum(amount % 1000000000) as bigint)
                        from ledger where unit = $1 group by holder_id, unit, kind order by holder_id";
    /// The last marks, each with what the rows up to it come to.
    LAST_MARKS = "select m.holder_id, m.unit, m.pending, m.available, m.paid, l.kind,
                      cast(sum(l.amount / 1000000000) as bigint), cast(sum(l.amount % 1000000000) as bigint)
                  from ledger_marks m
                  left join ledger l on l.holder_id = m.holder_id and l.unit = m.unit and l.id <= m.upto
                  where m.upto = (select max(n.upto) from ledger_marks n where n.holder_id = m.holder_id)
                  group by m.holder_id, m.unit, m.pending, m.available, m.paid, l.kind
                  order by m.holder_id, m.unit";
    WRONG_ADJUSTMENTS = "select d.id from decisions d
        left join ledger l on l.kind = d.decision and l.cause_id = d.id and l.reward_id is null
        where d.about = 'balance'
            and (l.id is null or l.amount <> d.amount or l.unit <> d.unit or l.holder_id <> d.about_id)
        order by d.id limit $1";
    UNDECIDED = "select l.cause_id from ledger l
        where l.kind in ('credit', 'debit')
            and not exists (select 1 from decisions d where d.id = l.cause_id and d.about = 'balance')
        order by l.id limit $1";
    /// Lines that were paid have one row for that, and those that were returned another; others have none.
    WRONG_LINES = "select p.id from payout_lines p
        left join ledger l on l.reward_id is null and l.kind = 'pay' and l.cause_id = p.id
        left join ledger m on m.reward_id is null and m.kind = 'return' and m.cause_id = p.id
        where (p.state in ('paid', 'returned')) <> (l.id is not null) or (p.state = 'returned') <> (m.id is not null)
            or l.amount <> p.amount or l.unit <> p.unit or l.holder_id <> p.holder_id
            or m.amount <> p.amount or m.unit <> p.unit or m.holder_id <> p.holder_id
        order by p.id limit $1";
    ROWS_OF_NO_LINE = "select l.cause_id from ledger l
        where l.kind in ('pay', 'return') and l.reward_id is null
            and not exists (select 1 from payout_lines p where p.id = l.cause_id)
        order by l.id limit $1";
    WRONG_BUDGETS = "select b.unit from budgets b where b.spent <> coalesce(
            (select sum(r.amount - r.reversed) from rewards r where r.budgeted and r.unit = b.unit), 0)
        order by b.unit limit $1";
    INSERT_CHECK = "insert into ledger_checks (id, asked_at) values ($1, $2)";
    FINISH_CHECK = "update ledger_checks set finished_at = $2, rewards = $3, movements = $4, faults = $5 where id = $1";
    LAST_CHECK = "select id, asked_at, finished_at, rewards, movements, faults from ledger_checks
                  order by asked_at desc, id desc limit 1";
}

/// How many rewards and movements there are.
pub async fn counts(place: &mut Place<'_>) -> Result<(i64, i64)> {
    match place.row(&COUNTS, params![]).await? {
        Some(row) => Ok((row.get(0)?, row.get(1)?)),
        None => Ok((0, 0)),
    }
}

/// Rewards that say something else than their rows.
pub async fn wrong_rewards(place: &mut Place<'_>) -> Result<Vec<String>> {
    ids(&place.scan(&WRONG_REWARDS, params![MOST_FAULTS as i64]).await?)
}

/// Credits and debits whose decision and row do not agree.
pub async fn wrong_adjustments(place: &mut Place<'_>) -> Result<Vec<String>> {
    let mut wrong = ids(&place.scan(&WRONG_ADJUSTMENTS, params![MOST_FAULTS as i64]).await?)?;
    wrong.extend(ids(&place.scan(&UNDECIDED, params![MOST_FAULTS as i64]).await?)?);
    Ok(wrong)
}

/// Lines of payouts that are not what their rows come to, and causes of such rows that are no lines.
pub async fn wrong_lines(place: &mut Place<'_>) -> Result<Vec<String>> {
    let mut wrong = ids(&place.scan(&WRONG_LINES, params![MOST_FAULTS as i64]).await?)?;
    wrong.extend(ids(&place.scan(&ROWS_OF_NO_LINE, params![MOST_FAULTS as i64]).await?)?);
    Ok(wrong)
}

/// Units whose budget has given something else than the rewards that it covers come to.
pub async fn wrong_budgets(place: &mut Place<'_>) -> Result<Vec<String>> {
    let rows = place.scan(&WRONG_BUDGETS, params![MOST_FAULTS as i64]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

fn ids(rows: &[Row]) -> Result<Vec<String>> {
    rows.iter().map(|row| Ok(row.get::<uuid::Uuid>(0)?.to_string())).collect()
}

/// What one holder has in a unit, by all rows there are.
pub struct Replayed {
    pub holder: UserId,
    pub balance: Balance,
    /// What was taken back of what was available.
    pub reversed: i128,
}

/// What everybody has, by all rows there are, in one unit or in each.
pub async fn replay(place: &mut Place<'_>, unit: Option<&str>) -> Result<Vec<Replayed>> {
    let rows = match unit {
        None => place.scan(&ALL_SUMS, params![]).await?,
        Some(unit) => place.scan(&ALL_SUMS_OF_UNIT, params![unit]).await?,
    };
    let mut replayed = Vec::new();
    let (mut holder, mut sums, mut reversed) = (None, Sums::default(), std::collections::BTreeMap::new());
    let mut finish = |holder: Option<UserId>, sums: Sums, mut reversed: std::collections::BTreeMap<String, i128>| {
        let Some(holder) = holder else { return };
        for (unit, balance) in sums.0 {
            let reversed = reversed.remove(&unit).unwrap_or(0);
            replayed.push(Replayed { holder, balance, reversed });
        }
    };
    for row in &rows {
        let whose = row.user(0)?;
        if holder != Some(whose) {
            finish(holder.replace(whose), std::mem::take(&mut sums), std::mem::take(&mut reversed));
        }
        let (unit, kind): (String, _) = (row.get(1)?, word(row, 2, LedgerKind::parse, ("ledger", "kind"))?);
        let amount = sum(row, 3)?;
        sums.of(&unit).add(kind, amount);
        if kind == LedgerKind::Reverse {
            reversed.insert(unit, amount);
        }
    }
    finish(holder, sums, reversed);
    Ok(replayed)
}

/// Holders whose last mark is not what the rows up to it come to.
pub async fn wrong_marks(place: &mut Place<'_>) -> Result<Vec<UserId>> {
    let rows = place.scan(&LAST_MARKS, params![]).await?;
    let mut wrong = Vec::new();
    let mut marks: Vec<(UserId, Balance, Balance)> = Vec::new();
    for row in &rows {
        let (holder, marked) = (row.user(0)?, marked_balance(row, 1)?);
        if marks.last().is_none_or(|(last, balance, _)| (*last, &balance.unit) != (holder, &marked.unit)) {
            let empty = Balance { unit: marked.unit.clone(), pending: 0, available: 0, paid: 0 };
            marks.push((holder, marked, empty));
        }
        // A unit of which no row is left has none.
        if row.get::<Option<String>>(5)?.is_some()
            && let Some((_, _, replayed)) = marks.last_mut()
        {
            replayed.add(word(row, 5, LedgerKind::parse, ("ledger", "kind"))?, sum(row, 6)?);
        }
    }
    for (holder, marked, replayed) in marks {
        if marked != replayed && wrong.last() != Some(&holder) {
            wrong.push(holder);
        }
    }
    wrong.truncate(MOST_FAULTS);
    Ok(wrong)
}

pub async fn insert(tx: &mut Tx<'_>, id: LedgerCheckId, now: Time) -> Result<()> {
    tx.run(&INSERT_CHECK, &params![id, now]).await.map(drop)
}

/// Notes what a check has found.
pub async fn finish(tx: &mut Tx<'_>, id: LedgerCheckId, found: &Found, now: Time) -> Result<()> {
    let values = params![id, now, found.rewards, found.movements, found.written()];
    tx.run(&FINISH_CHECK, &values).await.map(drop)
}

/// The check that was asked for last.
pub async fn last(db: &Db) -> Result<Option<Check>> {
    let Some(row) = db.row(&LAST_CHECK, params![]).await? else { return Ok(None) };
    let finished = match row.get::<Option<i64>>(2)? {
        None => None,
        Some(at) => {
            let faults = Found::read(&row.get::<String>(5)?);
            Some((Time(at), Found { rewards: row.get(3)?, movements: row.get(4)?, faults }))
        }
    };
    Ok(Some(Check { id: LedgerCheckId(row.get(0)?), asked_at: row.time(1)?, finished }))
}
