//! Where codes are kept. Every decision about a code begins with [`lock`] or [`lock_shared`]: first the owner's slot is
//! locked, then the clock is read, then it is decided. Any other order lets a code outlive its end.

pub mod moving;

use super::model::{OwnedCode, Slot, SlotCode, State};
use crate::db::{Db, Row, Sql, Tx};
use crate::kernel::active_code::ActiveCode;
use crate::kernel::code::{Code, CodeKey};
use crate::kernel::error::{Error, Result};
use crate::kernel::handle::{HandleKey, InvitationKey};
use crate::kernel::ids::UserId;
use crate::kernel::page::{Cursor, Page, PageRequest, Start};
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    ENSURE_SLOT = "insert into code_slots (owner_id, issued, version) values ($1, 0, 0)
                   on conflict (owner_id) do nothing";
    /// The clock is read outside of the locked part, so after it.
    LOCK_SLOT = {
        sqlite: "select issued, version, code_id, expires_at, recorded_at, referral_now()
                 from code_slots where owner_id = $1",
        postgres: "with slot as materialized (
                       select issued, version, code_id, expires_at, recorded_at
                       from code_slots where owner_id = $1 for update)
                   select issued, version, code_id, expires_at, recorded_at, referral_now() from slot",
    };
    LOCK_SLOT_SHARED = {
        sqlite: "select issued, version, code_id, expires_at, recorded_at, referral_now()
                 from code_slots where owner_id = $1",
        postgres: "with slot as materialized (
                       select issued, version, code_id, expires_at, recorded_at
                       from code_slots where owner_id = $1 for share)
                   select issued, version, code_id, expires_at, recorded_at, referral_now() from slot",
    };
    FILL_SLOT = "update code_slots set issued = $2, version = version + 1, code_id = $3, code = $4, expires_at = $5,
                                       recorded_at = $6
                 where owner_id = $1";
    EMPTY_SLOT = "update code_slots set version = version + 1, code_id = null, code = null, expires_at = null,
                                        recorded_at = $2
                  where owner_id = $1";
    NOTE_TIME = "update code_slots set recorded_at = $2 where owner_id = $1 and recorded_at < $2";
    /// Asked every second: the first of the index, whatever the statistics say.
    HAS_EXPIRED = "select 1 from (select min(expires_at) as first from code_slots) slots
                   where slots.first <= referral_now()";
    /// The slots whose code's time is over, the first of them, locked, with what decides whether the next code follows.
    /// The clock is read once, by a query of its own: with a function that changes from row to row no index helps.
    /// Slots that somebody has locked are passed over: who waited for one would hold all the others meanwhile.
    TAKE_EXPIRED = {
        sqlite: "select s.owner_id, s.issued, s.version, s.code_id, s.expires_at, s.recorded_at, referral_now(),
                        coalesce(c.by_service, false), u.disabled_at is null and u.erased_at is null
                 from code_slots s join users u on u.id = s.owner_id
                 left join codes c on c.owner_id = s.owner_id and c.ordinal = s.issued
                 where s.expires_at <= (select referral_now()) order by s.expires_at limit 32",
        postgres: "with due as materialized (
                       select s.owner_id, s.issued, s.version, s.code_id, s.expires_at, s.recorded_at,
                              coalesce(c.by_service, false) as by_service,
                              u.disabled_at is null and u.erased_at is null as is_live
                       from code_slots s join users u on u.id = s.owner_id
                       left join codes c on c.owner_id = s.owner_id and c.ordinal = s.issued
                       where s.expires_at <= (select referral_now()) order by s.expires_at limit 32
                       for update of s skip locked)
                   select owner_id, issued, version, code_id, expires_at, recorded_at, referral_now(), by_service,
                          is_live
                   from due",
    };
    OPEN_SLOT = "insert into code_slots (owner_id, issued, version) values ($1, 0, 0) returning referral_now()";
    TOUCH_SLOT = "update code_slots set version = version + 1 where owner_id = $1";
    OWNER_IS_LIVE = "select 1 from users where id = $1 and disabled_at is null and erased_at is null";
    CLAIM_STRING = "insert into code_strings (code_hash, owner_id, ordinal) values ($1, $2, $3)
                    on conflict (code_hash) do nothing returning id";
    CLAIM_HANDLE = "insert into handle_strings (handle_hash, owner_id) values ($1, $2)
                    on conflict (handle_hash) do nothing";
    /// Whose handle it is, by the name that they show, and whether their last code is one that the next follows: the
    /// service had made it, its time is over, and nobody has ended it or keeps its owner out.
    FIND_HANDLE = "select h.owner_id,
                          coalesce(u.display_name, case when u.external_id is null then u.username end, ''),
                          coalesce(c.by_service and c.revoked_at is null and u.disabled_at is null
                                   and u.erased_at is null and (s.code_id is null or s.expires_at <= referral_now()),
                                   false)
                   from handle_strings h join users u on u.id = h.owner_id
                   left join code_slots s on s.owner_id = h.owner_id
                   left join codes c on c.owner_id = s.owner_id and c.ordinal = s.issued
                   where h.handle_hash = $1";
    FIND_STRING = "select id, owner_id, ordinal from code_strings where code_hash = $1";
    INSERT_CODE = "insert into codes (owner_id, ordinal, id, code, created_at, expires_at, by_service)
                   values ($1, $2, $3, $4, $5, $6, $7)";
    MADE_AT = "select created_at from codes where owner_id = $1 and ordinal = $2";
    /// A node of an older version may have made the code without noting when.
    REVOKE = "update codes set revoked_at = case when created_at > $3 then created_at else $3 end
              where owner_id = $1 and ordinal = $2 and revoked_at is null";
    ERASE = "update codes set code = '' where owner_id = $1";
    /// Only what is in the slot can be active: a code that has left it stays dead if the clock steps back.
    LIST = "select s.issued, c.id, c.code, c.expires_at, c.revoked_at is not null, c.ordinal,
                   coalesce(s.code_id = c.id and s.expires_at > referral_now(), false)
            from code_slots s left join codes c on c.owner_id = s.owner_id and c.ordinal > $2 and c.ordinal <= $3
            where s.owner_id = $1 order by c.ordinal";
    /// One statement for hit and miss, so that a miss tells nothing about its reason.
    FIND_BY_EMAIL = "select u.id, u.email, u.username, s.version, s.code_id, s.code, s.expires_at, u.discoverable
                     from logins l
                     join users u on u.id = l.user_id
                     join code_slots s on s.owner_id = u.id
                     where l.login_key = $1 and u.email_key = l.login_key and u.disabled_at is null
                           and s.expires_at > referral_now()";
    FIND_BY_OWNER = "select u.id, u.email, u.username, s.version, s.code_id, s.code, s.expires_at, u.discoverable
                     from code_slots s join users u on u.id = s.owner_id
                     where s.owner_id = $1 and s.expires_at > referral_now()";
    /// As `FIND_BY_HASH`, of the code that is active, whichever that is.
    FIND_BY_HANDLE = "select u.id, u.email,
                             coalesce(u.display_name, case when u.external_id is null then u.username end, ''),
                             s.version, s.code_id, s.code, s.expires_at, u.discoverable
                      from handle_strings h
                      join code_slots s on s.owner_id = h.owner_id
                      join users u on u.id = h.owner_id
                      where h.handle_hash = $1 and u.disabled_at is null and s.expires_at > referral_now()";
    /// The name is the one that they show: empty for a participant of whom the host has told none.
    FIND_BY_HASH = "select u.id, u.email,
                           coalesce(u.display_name, case when u.external_id is null then u.username end, ''),
                           s.version, s.code_id, s.code, s.expires_at, u.discoverable
                    from code_strings c
                    join code_slots s on s.owner_id = c.owner_id and s.code_id = c.id
                    join users u on u.id = c.owner_id
                    where c.code_hash = $1 and u.disabled_at is null and s.expires_at > referral_now()";
    /// The first moment after those behind the last mark: of the others the slot knows.
    AFTER_JOINS = "select max(r.joined_at) + 1 from referrals r
                 where r.referrer_id = (select id from users where id = $1)
                    and r.id > coalesce((select referral_id from referral_marks
                                         where referrer_id = $1 order by ordinal desc limit 1), 0)";
}

/// Locks an owner's slot against everybody, making it if there is none yet.
pub async fn lock(tx: &mut Tx<'_>, owner: UserId) -> Result<Slot> {
    if let Some(slot) = locked(tx, &LOCK_SLOT, owner).await? {
        return Ok(slot);
    }
    tx.run(&ENSURE_SLOT, &params![owner]).await?;
    let slot = locked(tx, &LOCK_SLOT, owner).await?;
    slot.ok_or_else(|| Error::inconsistent("code_slots", "owner_id", owner))
}

/// Locks an owner's slot, if there is one, against changes but not against others who lock it like this.
pub async fn lock_shared(tx: &mut Tx<'_>, owner: UserId) -> Result<Option<Slot>> {
    locked(tx, &LOCK_SLOT_SHARED, owner).await
}

async fn locked(tx: &mut Tx<'_>, sql: &'static Sql, owner: UserId) -> Result<Option<Slot>> {
    let Some(row) = tx.row(sql, &params![owner]).await? else { return Ok(None) };
    let current = match (row.get::<Option<i64>>(2)?, row.get::<Option<i64>>(3)?) {
        (Some(id), Some(expires_at)) => Some(SlotCode { id, expires_at: Time(expires_at) }),
        _ => None,
    };
    // The clock may have stepped back since.
    let now = row.time(5)?.max(row.time(4)?);
    Ok(Some(Slot { owner, issued: row.get(0)?, version: row.get(1)?, current, now }))
}

/// Makes the slot of an owner who was made in this unit of work: nobody else knows of it yet.
pub async fn open(tx: &mut Tx<'_>, owner: UserId) -> Result<Slot> {
    let row = tx.row(&OPEN_SLOT, &params![owner]).await?;
    let row = row.ok_or_else(|| Error::inconsistent("code_slots", "owner_id", owner))?;
    Ok(Slot { owner, issued: 0, version: 0, current: None, now: row.time(0)? })
}

/// Puts a code into a locked slot; `by_service` if it is one that the next follows.
pub async fn fill(
    tx: &mut Tx<'_>,
    slot: &Slot,
    (id, code): (i64, &Code),
    expires_at: Time,
    by_service: bool,
) -> Result<OwnedCode> {
    let ordinal = slot.issued + 1;
    let values = params![slot.owner, ordinal, id, code.as_str(), slot.now, expires_at, by_service];
    tx.run(&INSERT_CODE, &values).await?;
    tx.run(&FILL_SLOT, &params![slot.owner, ordinal, id, code.as_str(), expires_at, slot.now]).await?;
    Ok(OwnedCode { id, owner: slot.owner, code: code.as_str().to_owned(), expires_at, state: State::Active, ordinal })
}

/// Whether an owner may still have codes. Asked under the lock of the slot: whoever disables or erases a user does that
/// first and then takes the slot, so either they are seen here or they see the code made.
pub async fn owner_is_live(tx: &mut Tx<'_>, owner: UserId) -> Result<bool> {
    Ok(tx.row(&OWNER_IS_LIVE, &params![owner]).await?.is_some())
}

/// Takes the code out of a locked slot, whose code was ended at the slot's time.
pub async fn empty(tx: &mut Tx<'_>, slot: &Slot) -> Result<()> {
    tx.run(&EMPTY_SLOT, &params![slot.owner, slot.now]).await.map(drop)
}

/// Makes sure that nothing recorded in a slot from now on is dated before this.
pub async fn note_time(tx: &mut Tx<'_>, owner: UserId, at: Time) -> Result<()> {
    tx.run(&NOTE_TIME, &params![owner, at]).await.map(drop)
}

/// Whether any slot holds a code whose time is over.
pub async fn has_expired(db: &Db) -> Result<bool> {
    Ok(db.row(&HAS_EXPIRED, params![]).await?.is_some())
}

/// A locked slot whose code's time is over.
pub struct Expired {
    pub slot: Slot,
    /// The least that the slot's time may be from now on: a code that leaves it is dated by its end, not by a clock
    /// that may be ahead.
    pub ended_at: Time,
    /// Whether the service had made the code.
    pub by_service: bool,
    /// Whether the owner may still have codes.
    pub is_live: bool,
}

/// Locks slots whose code's time is over, not all at once.
pub async fn take_expired(tx: &mut Tx<'_>) -> Result<Vec<Expired>> {
    let rows = tx.rows(&TAKE_EXPIRED, &params![]).await?;
    rows.iter()
        .map(|row| {
            let (expires_at, recorded_at) = (row.time(4)?, row.time(5)?);
            let current = Some(SlotCode { id: row.get(3)?, expires_at });
            let ended_at = recorded_at.max(expires_at);
            // The clock may have stepped back since.
            let now = row.time(6)?.max(ended_at);
            let slot = Slot { owner: row.user(0)?, issued: row.get(1)?, version: row.get(2)?, current, now };
            Ok(Expired { slot, ended_at, by_service: row.get(7)?, is_live: row.get(8)? })
        })
        .collect()
}

/// Makes what is cached of an owner history without changing the code.
pub async fn touch(tx: &mut Tx<'_>, owner: UserId) -> Result<()> {
    tx.run(&TOUCH_SLOT, &params![owner]).await.map(drop)
}

/// Takes a code string for ever; nothing when it was taken before.
pub async fn claim(tx: &mut Tx<'_>, key: CodeKey, owner: UserId, ordinal: i64) -> Result<Option<i64>> {
    tx.row(&CLAIM_STRING, &params![&key.0, owner, ordinal]).await?.map(|row| row.get(0)).transpose()
}

/// A code string's id, owner and place among the owner's codes.
pub async fn find(tx: &mut Tx<'_>, key: CodeKey) -> Result<Option<(i64, UserId, i64)>> {
    let Some(row) = tx.row(&FIND_STRING, &params![&key.0]).await? else { return Ok(None) };
    Ok(Some((row.get(0)?, row.user(1)?, row.get(2)?)))
}

/// Takes a handle for ever; false when it was taken before.
pub async fn claim_handle(tx: &mut Tx<'_>, key: HandleKey, owner: UserId) -> Result<bool> {
    Ok(tx.run(&CLAIM_HANDLE, &params![&key.0, owner]).await? == 1)
}

/// Somebody by their handle.
pub struct HandleOwner {
    pub id: UserId,
    /// What they show; empty for a participant of whom the host has told no name.
    pub name: String,
    /// Whether their last code is over and may be followed by the next.
    pub is_due: bool,
}

/// Whose handle it is.
pub async fn owner_of_handle(tx: &mut Tx<'_>, key: HandleKey) -> Result<Option<HandleOwner>> {
    tx.row(&FIND_HANDLE, &params![&key.0]).await?.map(|row| handle_owner(&row)).transpose()
}

/// As [`owner_of_handle`], outside of units of work.
pub async fn find_handle(db: &Db, key: HandleKey) -> Result<Option<HandleOwner>> {
    db.row(&FIND_HANDLE, params![&key.0]).await?.map(|row| handle_owner(&row)).transpose()
}

fn handle_owner(row: &Row) -> Result<HandleOwner> {
    Ok(HandleOwner { id: row.user(0)?, name: row.get(1)?, is_due: row.get(2)? })
}

/// When an owner's code with this number was made.
pub async fn made_at(tx: &mut Tx<'_>, owner: UserId, ordinal: i64) -> Result<Option<Time>> {
    tx.row(&MADE_AT, &params![owner, ordinal]).await?.map(|row| row.time(0)).transpose()
}

/// False when it had been revoked before.
pub async fn revoke(tx: &mut Tx<'_>, owner: UserId, ordinal: i64, now: Time) -> Result<bool> {
    Ok(tx.run(&REVOKE, &params![owner, ordinal, now]).await? == 1)
}

/// Removes the strings that a person chose; that they were used is remembered by their hashes.
pub async fn erase(tx: &mut Tx<'_>, owner: UserId) -> Result<()> {
    tx.run(&ERASE, &params![owner]).await.map(drop)
}

pub async fn list(db: &Db, owner: UserId, request: PageRequest) -> Result<Page<OwnedCode>> {
    let after = match request.start {
        Start::Page(_) => request.offset(),
        Start::After(cursor) => cursor.0,
    };
    let rows = db.scan(&LIST, params![owner, after, after.saturating_add(request.size)]).await?;
    let total = rows.first().map_or(Ok(0), |row| row.get(0))?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        if let Some(id) = row.get::<Option<i64>>(1)? {
            items.push(OwnedCode {
                id,
                owner,
                code: row.get(2)?,
                expires_at: row.time(3)?,
                state: State::of(row.get(6)?, row.get(4)?),
                ordinal: row.get(5)?,
            });
        }
    }
    let next = items.last().filter(|last| last.ordinal < total).map(|last| Cursor(last.ordinal));
    Ok(Page { items, total, request, next })
}

pub async fn active_by_email(db: &Db, key: &str) -> Result<Option<ActiveCode>> {
    db.row(&FIND_BY_EMAIL, params![key]).await?.map(|row| active(&row)).transpose()
}

pub async fn active_by_owner(db: &Db, owner: UserId) -> Result<Option<ActiveCode>> {
    db.row(&FIND_BY_OWNER, params![owner]).await?.map(|row| active(&row)).transpose()
}

/// What a code or a handle would refer somebody with.
pub async fn active_by_key(db: &Db, key: InvitationKey) -> Result<Option<ActiveCode>> {
    let sql = match key {
        InvitationKey::Code(_) => &FIND_BY_HASH,
        InvitationKey::Handle(_) => &FIND_BY_HANDLE,
    };
    db.row(sql, params![key.bytes()]).await?.map(|row| active(&row)).transpose()
}

fn active(row: &Row) -> Result<ActiveCode> {
    Ok(ActiveCode {
        owner: row.get(0)?,
        email: row.get(1)?,
        username: row.get(2)?,
        version: row.get(3)?,
        id: row.get(4)?,
        code: row.get(5)?,
        expires_at: row.get(6)?,
        discoverable: row.get(7)?,
    })
}

/// The first moment after the referrals of a locked slot's owner that the slot does not know of.
pub async fn after_joins(tx: &mut Tx<'_>, referrer: UserId) -> Result<Option<Time>> {
    let after = tx.row(&AFTER_JOINS, &params![referrer]).await?.map(|row| row.get::<Option<i64>>(0)).transpose()?;
    Ok(after.flatten().map(Time))
}
