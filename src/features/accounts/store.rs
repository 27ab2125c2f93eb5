//! Where people are kept.

pub mod admission;
pub mod participants;
pub mod registration;

use super::model::{Credentials, User};
use crate::db::{Db, Row, Tx, Value};
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::handle::Handle;
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::kernel::verdict::Verdict;
use crate::{params, sql};

sql! {
    INSERT_USER = "insert into users
            (id, username, email, name_key, email_key, password_hash, created_at, is_manager, discoverable,
             email_verdict, email_proven_at)
        values ($1, $2, $3, $4, $5, $6, $7, false, true, $8, $9)";
    INSERT_LOGIN = "insert into logins (login_key, user_id) values ($1, $2) on conflict (login_key) do nothing";
    CREDENTIALS = "select u.id, u.username, u.email, u.password_hash, u.disabled_at is not null, u.email_verdict,
                          u.created_at, u.email_proven_at is not null
                   from logins l join users u on u.id = l.user_id where l.login_key = $1";
    /// The parameters of every kind of hash there is, each once: one step down the index for each, and one more.
    HASH_KINDS = {
        sqlite: "with recursive kinds (kind) as (
                select (select substr(password_hash, 1, max(7, instr(password_hash, ',p='))) from users
                        where password_hash is not null
                        order by substr(password_hash, 1, max(7, instr(password_hash, ',p='))) limit 1)
                union all
                select (select substr(password_hash, 1, max(7, instr(password_hash, ',p='))) from users
                        where password_hash is not null
                            and substr(password_hash, 1, max(7, instr(password_hash, ',p='))) > kinds.kind
                        order by substr(password_hash, 1, max(7, instr(password_hash, ',p='))) limit 1)
                from kinds where kinds.kind is not null
            )
            select kind from kinds where kind is not null",
        postgres: "with recursive kinds (kind) as (
                select (select substr(password_hash, 1, greatest(7, strpos(password_hash, ',p='))) collate \"C\"
                        from users
                        where password_hash is not null
                        order by substr(password_hash, 1, greatest(7, strpos(password_hash, ',p='))) collate \"C\"
                        limit 1)
                union all
                select (select substr(password_hash, 1, greatest(7, strpos(password_hash, ',p='))) collate \"C\"
                        from users
                        where password_hash is not null
                            and substr(password_hash, 1, greatest(7, strpos(password_hash, ',p='))) collate \"C\"
                                > kinds.kind
                        order by substr(password_hash, 1, greatest(7, strpos(password_hash, ',p='))) collate \"C\"
                        limit 1)
                from kinds where kinds.kind is not null
            )
            select kind from kinds where kind is not null",
    };
    CREDENTIALS_BY_ID = "select id, username, email, password_hash, disabled_at is not null, email_verdict, created_at,
                                email_proven_at is not null
                         from users where id = $1 and erased_at is null";
    USER = "select id, username, email, created_at, is_manager, discoverable, email_verdict, erased_at is not null,
                   handle_chosen_at is not null, display_name
            from users where id = $1";
    SET_DISCOVERABLE = "update users set discoverable = $2 where id = $1 and erased_at is null and discoverable <> $2";
    SET_NAME = "update users set display_name = $2
                where id = $1 and erased_at is null and display_name is distinct from $2";
    /// Only if it is still the password that was checked.
    SET_PASSWORD = "update users set password_hash = $3 where id = $1 and password_hash is not distinct from $2
                        and erased_at is null";
    /// With the address as proof: whether it was proven before is told. The row is locked either way.
    RESET_PASSWORD_OF = "update users set password_hash = $3, email_proven_at = coalesce(email_proven_at, $4),
                                held_until = null
                         where id = $1 and email_key = $2 and erased_at is null and disabled_at is null
                         returning email_proven_at = $4";
    /// By a link that was sent to this address.
    CONFIRM_EMAIL = "update users set email_proven_at = coalesce(email_proven_at, $3), held_until = null
                     where id = $1 and email_key = $2 and erased_at is null and disabled_at is null";
    STANDING = "select email_proven_at is not null, email_verdict from users where id = $1 and erased_at is null";
    /// Where the address is somebody else's the account has none that anything is found by.
    HOLD_NAME = "update users set held_until = $2, email_key = case when $3 then email_key else '' end where id = $1";
    /// Locked, so that whoever confirms at this moment is first or too late. Of managers somebody else knows.
    HELD_TOO_LONG = {
        sqlite: "select id from users where held_until <= $1 and not is_manager order by held_until limit $2",
        postgres: "select id from users where held_until <= $1 and not is_manager order by held_until limit $2
                   for update skip locked",
    };
    SET_NEW_EMAIL = "update users set new_email = $2, new_email_key = $3
                     where id = $1 and erased_at is null and disabled_at is null";
    FORGET_NEW_EMAILS = "update users set new_email = null, new_email_key = null
                         where new_email_key is not null
                            and id in (select user_id from mails where expires_at <= $1 and kind = 'confirm')
                            and not exists (select 1 from mails m where m.user_id = users.id
                                            and m.address_key = users.new_email_key and m.expires_at > $1)";
    DROP_NEW_EMAIL = "update users set new_email = null, new_email_key = null
                      where id = $1 and new_email_key is not null";
    IS_LOGIN = "select 1 from logins where login_key = $1";
    /// What is to be changed, locked against other changes.
    PENDING_EMAIL = {
        sqlite: "select email_key, new_email from users
                 where id = $1 and new_email_key = $2 and erased_at is null and disabled_at is null",
        postgres: "select email_key, new_email from users
                   where id = $1 and new_email_key = $2 and erased_at is null and disabled_at is null for update",
    };
    /// What was known about the address before is not known about this one, which has received a mail.
    CHANGE_EMAIL = "update users set email = new_email, email_key = new_email_key, new_email = null,
                           new_email_key = null, email_proven_at = $2, email_verdict = 'unchecked',
                           email_checked_at = null, held_until = null
                    where id = $1";
    DELETE_LOGIN = "delete from logins where login_key = $1 and user_id = $2";
    EMAIL_KEYS = "select email_key, new_email_key from users where id = $1 and erased_at is null";
    NEW_EMAIL = "select new_email from users where id = $1 and erased_at is null";
    EMAIL_KEY = "select email_key from users where id = $1 and erased_at is null";
    RESET_PASSWORD = "update users set password_hash = $2 where id = $1 and erased_at is null";
    SET_VERDICT = "update users set email_verdict = $2, email_checked_at = $3
                   where id = $1 and email_verdict = 'pending' and erased_at is null";
    SET_CREATED_AT = "update users set created_at = $2 where id = $1";
    /// Who can act as a manager, in one order, so that two who change this wait for each other and not in a circle.
    HOLD_MANAGERS = {
        sqlite: "select id from users where is_manager and disabled_at is null and erased_at is null order by id",
        postgres: "select id from users where is_manager and disabled_at is null and erased_at is null order by id
                   for no key update",
    };
    HOLD_ACCOUNT = {
        sqlite: "select is_manager, disabled_at is not null from users where id = $1 and erased_at is null",
        postgres: "select is_manager, disabled_at is not null from users where id = $1 and erased_at is null
                   for no key update",
    };
    SET_MANAGER = "update users set is_manager = $2 where id = $1 and erased_at is null";
    SET_DISABLED = "update users set disabled_at = $2 where id = $1 and erased_at is null";
    /// Whether the address was proven before is told; the row is locked either way.
    PROVE_EMAIL = "update users set email_proven_at = coalesce(email_proven_at, $2), held_until = null,
                          password_hash = case when email_proven_at is null then null else password_hash end
                   where id = $1 and email_key = $3 and erased_at is null and disabled_at is null
                   returning email_proven_at = $2";
    /// Locked against being given another, or to somebody else, by whoever uses this one.
    HOLD_PASSWORD = {
        sqlite: "select 1 from users
                 where id = $1 and password_hash = $2 and disabled_at is null and erased_at is null",
        postgres: "select 1 from users
                   where id = $1 and password_hash = $2 and disabled_at is null and erased_at is null for share",
    };
    HANDLE = "select handle, coalesce(display_name, case when external_id is null then username end, '')
              from users where id = $1 and erased_at is null";
    LOCK_HANDLE = {
        sqlite: "select handle, handle_chosen_at is not null from users
                 where id = $1 and disabled_at is null and erased_at is null",
        postgres: "select handle, handle_chosen_at is not null from users
                   where id = $1 and disabled_at is null and erased_at is null for update",
    };
    SET_HANDLE = "update users set handle = $2, handle_chosen_at = $3 where id = $1";
    DELETE_LOGINS = "delete from logins where user_id = $1
                     and login_key in (select name_key from users where id = $1
                                       union all select email_key from users where id = $1)";
    ERASE_USER = "update users set username = 'erased', email = 'erased@erased.invalid', name_key = '', email_key = '',
                         new_email = null, new_email_key = null, held_until = null,
                         email_proven_at = null, password_hash = null, handle = null, handle_chosen_at = null,
                         is_manager = false, discoverable = false,
                         external_id = null, display_name = null, language = null, erased_at = $2
                  where id = $1 and erased_at is null";
    /// Only if the password is still the one that was checked; with $3 whatever it is.
    LOCK_USER = {
        sqlite: "select email_key from users
                 where id = $1 and (password_hash is not distinct from $2 or $3) and erased_at is null",
        postgres: "select email_key from users
                   where id = $1 and (password_hash is not distinct from $2 or $3) and erased_at is null for update",
    };
    INSERT_ERASED = "insert into erased (user_id, at) values ($1, $2) on conflict (user_id) do nothing";
    /// So many behind a person and a time.
    ERASED_LOG = "select user_id, at from erased where (at, user_id) > ($1, $2) order by at, user_id limit $3";
}

#[derive(Clone)]
pub struct NewUser {
    pub id: UserId,
    pub username: String,
    pub email: String,
    /// The forms in which they are compared.
    pub name_key: String,
    pub email_key: String,
    /// Nothing for people who came with another provider.
    pub password_hash: Option<String>,
    pub created_at: Time,
    pub verdict: Verdict,
    pub email_proven: bool,
}

/// In the order of the columns.
fn values(new: &NewUser) -> [Value; 9] {
    params![
        new.id,
        &new.username,
        &new.email,
        &new.name_key,
        &new.email_key,
        new.password_hash.clone(),
        new.created_at,
        new.verdict.word(),
        new.email_proven.then_some(new.created_at),
    ]
}

pub async fn insert_user(tx: &mut Tx<'_>, new: &NewUser) -> Result<()> {
    tx.run(&INSERT_USER, &values(new)).await.map(drop)
}

/// False when the name or address is somebody's already.
pub async fn insert_login(tx: &mut Tx<'_>, key: &str, user: UserId) -> Result<bool> {
    Ok(tx.run(&INSERT_LOGIN, &params![key, user]).await? == 1)
}

pub async fn credentials(db: &Db, login_key: &str) -> Result<Option<Credentials>> {
    db.row(&CREDENTIALS, params![login_key]).await?.map(|row| read_credentials(&row)).transpose()
}

/// The beginnings of the stored hashes, as far as their parameters go, each once.
pub async fn hash_kinds(db: &Db) -> Result<Vec<String>> {
    db.rows(&HASH_KINDS, params![]).await?.iter().map(|row| row.get(0)).collect()
}

pub async fn credentials_of(db: &Db, user: UserId) -> Result<Option<Credentials>> {
    db.row(&CREDENTIALS_BY_ID, params![user]).await?.map(|row| read_credentials(&row)).transpose()
}

pub async fn user(db: &Db, id: UserId) -> Result<Option<User>> {
    let Some(row) = db.row(&USER, params![id]).await? else { return Ok(None) };
    Ok(Some(User {
        id,
        username: row.get(1)?,
        email: row.get(2)?,
        created_at: row.time(3)?,
        is_manager: row.get(4)?,
        discoverable: row.get(5)?,
        verdict: verdict(&row, 6)?,
        erased: row.get(7)?,
        handle_chosen: row.get(8)?,
        name: row.get(9)?,
    }))
}

/// False when nothing had to be changed.
pub async fn set_discoverable(tx: &mut Tx<'_>, user: UserId, discoverable: bool) -> Result<bool> {
    Ok(tx.run(&SET_DISCOVERABLE, &params![user, discoverable]).await? == 1)
}

/// Sets the name that somebody shows, or takes it away. False when nothing had to be changed.
pub async fn set_name(tx: &mut Tx<'_>, user: UserId, name: Option<&str>) -> Result<bool> {
    Ok(tx.run(&SET_NAME, &params![user, name]).await? == 1)
}

/// False when the old hash is not the stored one any more.
pub async fn set_password(tx: &mut Tx<'_>, user: UserId, old: Option<&str>, new: &str) -> Result<bool> {
    Ok(tx.run(&SET_PASSWORD, &params![user, old, new]).await? == 1)
}

pub async fn reset_password(tx: &mut Tx<'_>, user: UserId, new: &str) -> Result<bool> {
    Ok(tx.run(&RESET_PASSWORD, &params![user, new]).await? == 1)
}

/// Sets a password by a link that was sent to this address, which is proven by it. Says whether it was not before;
/// nothing when the address is not this user's any more, or the user is disabled.
pub async fn reset_password_of(
    tx: &mut Tx<'_>,
    user: UserId,
    email_key: &str,
    new: &str,
    now: Time,
) -> Result<Option<bool>> {
    let row = tx.row(&RESET_PASSWORD_OF, &params![user, email_key, new, now]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// False when the address is not this user's any more, or the user is disabled.
pub async fn confirm_email(tx: &mut Tx<'_>, user: UserId, email_key: &str, now: Time) -> Result<bool> {
    Ok(tx.run(&CONFIRM_EMAIL, &params![user, email_key, now]).await? == 1)
}

/// Whether the address of a user, whom the unit of work has locked, is proven, and the verdict on it.
pub async fn standing(tx: &mut Tx<'_>, user: UserId) -> Result<Option<(bool, Verdict)>> {
    let row = tx.row(&STANDING, &params![user]).await?;
    row.map(|row| Ok((row.get(0)?, verdict(&row, 1)?))).transpose()
}

/// Holds the name of somebody new for a while, whether the address was free or is somebody else's.
pub async fn hold_name(tx: &mut Tx<'_>, user: UserId, until: Time, is_theirs: bool) -> Result<()> {
    tx.run(&HOLD_NAME, &params![user, until, is_theirs]).await.map(drop)
}

/// At most so many for whom a name was held until now, who have not confirmed their address.
pub async fn held_too_long(tx: &mut Tx<'_>, now: Time, most: i64) -> Result<Vec<UserId>> {
    tx.rows(&HELD_TOO_LONG, &params![now, most]).await?.iter().map(|row| row.user(0)).collect()
}

/// Notes which address a user wants instead of theirs; false when they are disabled or erased.
pub async fn set_new_email(tx: &mut Tx<'_>, user: UserId, email: &str, key: &str) -> Result<bool> {
    Ok(tx.run(&SET_NEW_EMAIL, &params![user, email, key]).await? == 1)
}

/// Forgets the addresses that users wanted instead of theirs and can confirm no more; says how many.
pub async fn forget_new_emails(tx: &mut Tx<'_>, now: Time) -> Result<u64> {
    tx.run(&FORGET_NEW_EMAILS, &params![now]).await
}

/// Forgets which address a user wants instead of theirs.
pub async fn drop_new_email(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    tx.run(&DROP_NEW_EMAIL, &params![user]).await.map(drop)
}

/// Whether somebody logs in with this.
pub async fn is_login(tx: &mut Tx<'_>, key: &str) -> Result<bool> {
    Ok(tx.row(&IS_LOGIN, &params![key]).await?.is_some())
}

/// Gives a user the address that they wanted, if it still is this one, and says which key was theirs before; nothing
/// when they want it no more. Whoever has the address by now keeps it.
pub async fn change_email(tx: &mut Tx<'_>, user: UserId, new_key: &str, now: Time) -> Result<Option<String>> {
    let Some(row) = tx.row(&PENDING_EMAIL, &params![user, new_key]).await? else { return Ok(None) };
    let before: String = row.get(0)?;
    tx.run(&DELETE_LOGIN, &params![&before, user]).await?;
    if !insert_login(tx, new_key, user).await? {
        return Err(Refusal::LinkExpired.into());
    }
    tx.run(&CHANGE_EMAIL, &params![user, now]).await?;
    Ok(Some(before))
}

/// The address that a user wants instead of theirs.
pub async fn new_email(db: &Db, user: UserId) -> Result<Option<String>> {
    db.row(&NEW_EMAIL, params![user]).await?.map_or(Ok(None), |row| row.get(0))
}

/// The forms in which a user's address, and the one that they want instead, are compared.
pub async fn email_keys(db: &Db, user: UserId) -> Result<Option<(String, Option<String>)>> {
    let row = db.row(&EMAIL_KEYS, params![user]).await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// The form in which a user's address is compared.
pub async fn email_key(db: &Db, user: UserId) -> Result<Option<String>> {
    db.row(&EMAIL_KEY, params![user]).await?.map(|row| row.get(0)).transpose()
}

/// False when there was a verdict already.
pub async fn set_verdict(tx: &mut Tx<'_>, user: UserId, verdict: Verdict, now: Time) -> Result<bool> {
    Ok(tx.run(&SET_VERDICT, &params![user, verdict.word(), now]).await? == 1)
}

pub async fn set_created_at(tx: &mut Tx<'_>, user: UserId, now: Time) -> Result<()> {
    tx.run(&SET_CREATED_AT, &params![user, now]).await.map(drop)
}

pub async fn set_manager(tx: &mut Tx<'_>, user: UserId, is_manager: bool) -> Result<bool> {
    Ok(tx.run(&SET_MANAGER, &params![user, is_manager]).await? == 1)
}

pub async fn set_disabled(tx: &mut Tx<'_>, user: UserId, since: Option<Time>) -> Result<bool> {
    Ok(tx.run(&SET_DISABLED, &params![user, since]).await? == 1)
}

/// Notes that the person has shown that the address is theirs. Where nobody had before, the password goes: who set it
/// may be somebody else. Says whether that was so; nothing when the address is not this user's any more.
pub async fn prove_email(tx: &mut Tx<'_>, user: UserId, email_key: &str, now: Time) -> Result<Option<bool>> {
    let row = tx.row(&PROVE_EMAIL, &params![user, now, email_key]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// False when the user cannot log in with the password any more whose stored hash this is.
pub async fn hold_password(tx: &mut Tx<'_>, user: UserId, stored: &str) -> Result<bool> {
    Ok(tx.row(&HOLD_PASSWORD, &params![user, stored]).await?.is_some())
}

/// A person's handle, if they have one yet, and the name that they show, if one is known; nothing when they are not
/// there any more.
pub async fn handle(db: &Db, user: UserId) -> Result<Option<(Option<Handle>, String)>> {
    let Some(row) = db.row(&HANDLE, params![user]).await? else { return Ok(None) };
    Ok(Some((row.get::<Option<String>>(0)?.map(Handle::stored), row.get(1)?)))
}

/// As [`handle`], locked against being set by others, and whether the person chose it.
pub async fn lock_handle(tx: &mut Tx<'_>, user: UserId) -> Result<Option<(Option<Handle>, bool)>> {
    let Some(row) = tx.row(&LOCK_HANDLE, &params![user]).await? else { return Ok(None) };
    Ok(Some((row.get::<Option<String>>(0)?.map(Handle::stored), row.get(1)?)))
}

/// Sets a handle that was drawn, or chosen at this time.
pub async fn set_handle(tx: &mut Tx<'_>, user: UserId, handle: &Handle, chosen_at: Option<Time>) -> Result<()> {
    tx.run(&SET_HANDLE, &params![user, handle.as_str(), chosen_at]).await.map(drop)
}

/// Who asks for an erasure.
#[derive(Clone)]
pub enum Warrant {
    /// The person, with the stored hash that a password was checked against, if there was one.
    Own(Option<String>),
    /// Somebody who may.
    Others,
}

/// Removes all that tells who a person was, if the warrant is still good, and says which address key was theirs; the
/// row stays, for others' lists count it.
pub async fn erase(tx: &mut Tx<'_>, user: UserId, warrant: &Warrant, now: Time) -> Result<Option<String>> {
    let (hash, any) = match warrant {
        Warrant::Own(hash) => (hash.clone(), false),
        Warrant::Others => (None, true),
    };
    let Some(row) = tx.row(&LOCK_USER, &params![user, hash, any]).await? else { return Ok(None) };
    tx.run(&DELETE_LOGINS, &params![user]).await?;
    tx.run(&ERASE_USER, &params![user, now]).await?;
    tx.run(&INSERT_ERASED, &params![user, now]).await?;
    row.get(0).map(Some)
}

/// Those who were erased, behind one of them, the oldest first.
pub async fn erased_log(db: &Db, behind: (Time, UserId), most: i64) -> Result<Vec<(UserId, Time)>> {
    let rows = db.scan(&ERASED_LOG, params![behind.0, behind.1, most]).await?;
    rows.iter().map(|row| Ok((row.user(0)?, row.time(1)?))).collect()
}

/// Who can act as a manager; that stays so until the unit of work has ended.
pub async fn hold_managers(tx: &mut Tx<'_>) -> Result<Vec<UserId>> {
    tx.rows(&HOLD_MANAGERS, &params![]).await?.iter().map(|row| row.user(0)).collect()
}

/// What an account is, until the unit of work has ended.
pub struct HeldAccount {
    pub is_manager: bool,
    pub disabled: bool,
}

/// Nothing when there is none, or it was erased.
pub async fn hold_account(tx: &mut Tx<'_>, user: UserId) -> Result<Option<HeldAccount>> {
    let row = tx.row(&HOLD_ACCOUNT, &params![user]).await?;
    row.map(|row| Ok(HeldAccount { is_manager: row.get(0)?, disabled: row.get(1)? })).transpose()
}

fn read_credentials(row: &Row) -> Result<Credentials> {
    Ok(Credentials {
        id: row.user(0)?,
        username: row.get(1)?,
        email: row.get(2)?,
        password_hash: row.get(3)?,
        disabled: row.get(4)?,
        verdict: verdict(row, 5)?,
        created_at: row.time(6)?,
        email_proven: row.get(7)?,
    })
}

fn verdict(row: &Row, index: usize) -> Result<Verdict> {
    let word: String = row.get(index)?;
    Verdict::parse(&word).ok_or_else(|| Error::inconsistent("users", "email_verdict", word))
}
