//! Where referrals are kept.
//!
//! A referrer's list is ordered by the database's sequence. Every hundredth row has a mark with its ordinal, so a page
//! begins at the nearest mark, and the total is the last mark's ordinal plus the rows behind it. Registrations only add
//! rows; marks are set later, by a job.

use uuid::Uuid;

use super::model::{Decision, Held, Latest, Referee, Referrer, Status};
use crate::db::{Db, Row, Tx};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{DecisionId, UserId};
use crate::kernel::page::{Cursor, Page, PageRequest, Start};
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    INSERT = "insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status)
              values ($1, $2, $3, $4, $5)";
    CONFIRM = "update referrals set status = 'confirmed' where referee_id = $1 and status = 'pending'
               returning referrer_id, decisions";
    LOCK = {
        sqlite: "select referrer_id, status, decision, decision_id from referrals where referee_id = $1",
        postgres: "select referrer_id, status, decision, decision_id from referrals where referee_id = $1 for update",
    };
    SHARE = {
        sqlite: "select referrer_id, status, decision, decision_id from referrals where referee_id = $1",
        postgres: "select referrer_id, status, decision, decision_id from referrals where referee_id = $1 for share",
    };
    DECIDE = "update referrals set decision = $2, decision_id = $3, decisions = decisions + 1 where referee_id = $1
              returning referrer_id, status, decisions";
    REFERRER_OF = "select u.id, u.username, r.status from referrals r join users u on u.id = r.referrer_id
                   where r.referee_id = $1";
    CAME_WITH = "select referrer_id, code_ordinal from referrals where referee_id = $1";
    /// The id takes a way through users to the referrals, here and below, so that PostgreSQL makes the same plan for
    /// every referrer: for one with most of all referees it would walk through everybody's.
    COUNT = "with last_mark as (
                 select ordinal, referral_id from referral_marks
                 where referrer_id = $1 order by ordinal desc limit 1
             )
             select coalesce((select ordinal from last_mark), 0) + (
                 select count(*) from referrals r where r.referrer_id = (select id from users where id = $1)
                    and r.id > coalesce((select referral_id from last_mark), 0))";
    /// $1 referrer, $2 rows to skip, $3 rows wanted, $4 viewer.
    PAGE = "with last_mark as (
                select ordinal, referral_id from referral_marks
                where referrer_id = $1 order by ordinal desc limit 1
            ), near_mark as (
                select ordinal, referral_id from referral_marks
                where referrer_id = $1 and ordinal <= $2 order by ordinal desc limit 1
            ), head as (
                select coalesce((select ordinal from last_mark), 0) + (
                           select count(*) from referrals r where r.referrer_id = (select id from users where id = $1)
                              and r.id > coalesce((select referral_id from last_mark), 0)) as total,
                       coalesce((select is_manager from users where id = $4), false) as by_manager,
                       coalesce((select discoverable from users where id = $1), false) as discoverable
            ), page as (
                select id, referrer_id, referee_id, code_ordinal, joined_at, status from referrals
                where referrer_id = (select id from users where id = $1)
                    and id > coalesce((select referral_id from near_mark), 0)
                order by id limit $3 offset $2 - coalesce((select ordinal from near_mark), 0)
            )
            select head.total, head.by_manager, p.id, u.id, u.username, u.email, p.joined_at, p.status, c.code,
                   head.discoverable
            from head
            left join page p on true
            left join users u on u.id = p.referee_id
            left join codes c on c.owner_id = p.referrer_id and c.ordinal = p.code_ordinal
            order by p.id";
    /// $1 referrer, $2 the row to go on behind, $3 rows wanted, $4 viewer.
    AFTER = "with last_mark as (
                select ordinal, referral_id from referral_marks
                where referrer_id = $1 order by ordinal desc limit 1
            ), head as (
                select coalesce((select ordinal from last_mark), 0) + (
                           select count(*) from referrals r where r.referrer_id = (select id from users where id = $1)
                              and r.id > coalesce((select referral_id from last_mark), 0)) as total,
                       coalesce((select is_manager from users where id = $4), false) as by_manager,
                       coalesce((select discoverable from users where id = $1), false) as discoverable
            ), page as (
                select id, referrer_id, referee_id, code_ordinal, joined_at, status from referrals
                where referrer_id = $1 and id > $2 order by id limit $3
            )
            select head.total, head.by_manager, p.id, u.id, u.username, u.email, p.joined_at, p.status, c.code,
                   head.discoverable
            from head
            left join page p on true
            left join users u on u.id = p.referee_id
            left join codes c on c.owner_id = p.referrer_id and c.ordinal = p.code_ordinal
            order by p.id";
    /// $1 referrer, $2 the row to go back from, $3 rows wanted, $4 viewer.
    BEFORE = "with last_mark as (
                select ordinal, referral_id from referral_marks
                where referrer_id = $1 order by ordinal desc limit 1
            ), head as (
                select coalesce((select ordinal from last_mark), 0) + (
                           select count(*) from referrals r where r.referrer_id = (select id from users where id = $1)
                              and r.id > coalesce((select referral_id from last_mark), 0)) as total,
                       coalesce((select is_manager from users where id = $4), false) as by_manager,
                       coalesce((select discoverable from users where id = $1), false) as discoverable
            ), page as (
                select id, referrer_id, referee_id, code_ordinal, joined_at, status from referrals
                where referrer_id = $1 and id < $2 order by id desc limit $3
            )
            select head.total, head.by_manager, p.id, u.id, u.username, u.email, p.joined_at, p.status, c.code,
                   head.discoverable
            from head
            left join page p on true
            left join users u on u.id = p.referee_id
            left join codes c on c.owner_id = p.referrer_id and c.ordinal = p.code_ordinal
            order by p.id desc";
    /// The referrer's slot is locked: no row with a lower number can still appear.
    MARK = "with last_mark as (
                select ordinal, referral_id from referral_marks
                where referrer_id = $1 order by ordinal desc limit 1
            )
            insert into referral_marks (referrer_id, ordinal, referral_id)
            select t.referrer_id, t.ordinal, t.id from (
                select r.referrer_id, r.id,
                       row_number() over (order by r.id) + coalesce((select ordinal from last_mark), 0) as ordinal
                from referrals r
                where r.referrer_id = $1 and r.id > coalesce((select referral_id from last_mark), 0)
            ) t where t.ordinal % 100 = 0";
}

/// Records a referral.
pub async fn insert(
    tx: &mut Tx<'_>,
    referrer: UserId,
    referee: UserId,
    code_ordinal: i64,
    joined_at: Time,
    status: Status,
) -> Result<()> {
    tx.run(&INSERT, &params![referrer, referee, code_ordinal, joined_at, status.word()]).await.map(drop)
}

/// Whose referral counts now; nothing when there is none, or it counted before.
pub async fn confirm(tx: &mut Tx<'_>, referee: UserId) -> Result<Option<(UserId, i64)>> {
    let row = tx.row(&CONFIRM, &params![referee]).await?;
    row.map(|row| Ok((row.user(0)?, row.get(1)?))).transpose()
}

/// The referral of a referee, locked.
pub async fn lock(tx: &mut Tx<'_>, referee: UserId) -> Result<Option<Held>> {
    tx.row(&LOCK, &params![referee]).await?.map(|row| held(&row)).transpose()
}

/// The referral of a referee, held beside others who only look.
pub async fn share(tx: &mut Tx<'_>, referee: UserId) -> Result<Option<Held>> {
    tx.row(&SHARE, &params![referee]).await?.map(|row| held(&row)).transpose()
}

/// Notes a decision about a referral that is locked: whose it is, how it stands, and how many there were.
pub async fn decide(
    tx: &mut Tx<'_>,
    referee: UserId,
    decision: Decision,
    id: DecisionId,
) -> Result<(UserId, Status, i64)> {
    let row = tx.row(&DECIDE, &params![referee, decision.word(), id]).await?;
    let row = row.ok_or_else(|| Error::inconsistent("referrals", "referee_id", referee))?;
    Ok((row.user(0)?, status(&row, 1)?, row.get(2)?))
}

fn held(row: &Row) -> Result<Held> {
    let decision: Option<String> = row.get(2)?;
    let wrong = |word: String| Error::inconsistent("referrals", "decision", word);
    Ok(Held {
        referrer: row.user(0)?,
        status: status(row, 1)?,
        decision: decision.map(|word| Decision::parse(&word).ok_or_else(|| wrong(word))).transpose()?,
        decision_id: row.get::<Option<Uuid>>(3)?.map(DecisionId),
    })
}

pub async fn referrer_of(db: &Db, referee: UserId) -> Result<Option<Referrer>> {
    let Some(row) = db.row(&REFERRER_OF, params![referee]).await? else { return Ok(None) };
    Ok(Some(Referrer { id: row.user(0)?, username: row.get(1)?, status: status(&row, 2)? }))
}

/// Who brought somebody, and with which of their codes.
pub async fn came_with(tx: &mut Tx<'_>, referee: UserId) -> Result<Option<(UserId, i64)>> {
    let row = tx.row(&CAME_WITH, &params![referee]).await?;
    row.map(|row| Ok((row.user(0)?, row.get(1)?))).transpose()
}

pub async fn count(db: &Db, referrer: UserId) -> Result<i64> {
    db.row(&COUNT, params![referrer]).await?.map_or(Ok(0), |row| row.get(0))
}

/// What a list can be seen by.
#[derive(Default)]
pub struct Seen {
    /// Whether its viewer is a manager.
    pub by_manager: bool,
    /// Whether its referrer lets themselves be found.
    pub discoverable: bool,
}

/// A page of a referrer's list, and what decides who may see how much of it.
pub async fn page(
    db: &Db,
    referrer: UserId,
    viewer: Option<UserId>,
    request: PageRequest,
) -> Result<(Page<Referee>, Seen)> {
    // One row more than asked for tells whether there is a next page.
    let wanted = request.size + 1;
    let rows = match request.start {
        Start::Page(_) => db.scan(&PAGE, params![referrer, request.offset(), wanted, viewer]).await?,
        Start::After(cursor) => db.scan(&AFTER, params![referrer, cursor.0, wanted, viewer]).await?,
    };
    let (total, seen) = match rows.first() {
        Some(row) => (row.get(0)?, Seen { by_manager: row.get(1)?, discoverable: row.get(9)? }),
        None => (0, Seen::default()),
    };
    let mut items = rows.iter().filter_map(|row| referee(row).transpose()).collect::<Result<Vec<_>>>()?;
    let more = items.len() as i64 > request.size;
    items.truncate(usize::try_from(request.size).unwrap_or(0));
    let next = items.last().filter(|_| more).map(|last| Cursor(last.sequence));
    Ok((Page { items, total, request, next }, seen))
}

/// Those of a referrer's referees that came last, the latest first.
pub async fn latest(db: &Db, referrer: UserId, before: Option<Cursor>, size: i64) -> Result<Latest> {
    let before = before.map_or(i64::MAX, |cursor| cursor.0);
    let rows = db.scan(&BEFORE, params![referrer, before, size + 1, referrer]).await?;
    let total = rows.first().map_or(Ok(0), |row| row.get(0))?;
    let mut items = rows.iter().filter_map(|row| referee(row).transpose()).collect::<Result<Vec<_>>>()?;
    let more = items.len() as i64 > size;
    items.truncate(usize::try_from(size).unwrap_or(0));
    let older = items.last().filter(|_| more).map(|last| Cursor(last.sequence));
    Ok(Latest { items, total, older })
}

/// Sets the marks that are due in a referrer's list.
pub async fn mark(tx: &mut Tx<'_>, referrer: UserId) -> Result<u64> {
    tx.run(&MARK, &params![referrer]).await
}

fn referee(row: &Row) -> Result<Option<Referee>> {
    let Some(sequence) = row.get::<Option<i64>>(2)? else { return Ok(None) };
    Ok(Some(Referee {
        sequence,
        id: row.user(3)?,
        username: row.get(4)?,
        email: Some(row.get(5)?).filter(|email: &String| !email.is_empty()),
        joined_at: row.time(6)?,
        status: status(row, 7)?,
        code: row.get::<Option<String>>(8)?.filter(|code| !code.is_empty()),
    }))
}

fn status(row: &Row, index: usize) -> Result<Status> {
    let word: String = row.get(index)?;
    Status::parse(&word).ok_or_else(|| Error::inconsistent("referrals", "status", word))
}
