//! Where sessions and signing keys are kept.

pub mod sessions;

use std::path::Path;

use uuid::Uuid;

use super::model::{BrowserSession, Credential, Family, RefreshToken};
use crate::crypto::keyring::{Key, StoredKey, StoredSecret};
use crate::crypto::sealing::Resealed;
use crate::db::{Db, Row, Tx, Value};
use crate::kernel::caller::IdTokenAlgorithm;
use crate::kernel::digest::{RefreshTokenHash, VisitorHash};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{BrowserSessionId, SessionId, UserId};
use crate::kernel::scope::Scopes;
use crate::kernel::time::{SKEW, Time};
use crate::{params, sql};

sql! {
    IS_MANAGER = "select is_manager from users where id = $1";
    /// Only for a user who can still log in with the password that was checked: it may have changed since. The user is
    /// locked against such changes, for whoever makes one ends the sessions there are. Managers may run the program.
    INSERT_FAMILY_BY_PASSWORD = {
        sqlite: "insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at,
                                             authenticated_at, expires_at, counter, current_hash, salt,
                                             sealed_tokens)
            select $1, $2, u.id, $4, case when u.is_manager then $5 || ' admin' else $5 end, $6, $6, $6, $7, 0, $8,
                   $9, 1
            from users u
            where u.id = $3 and u.disabled_at is null and u.erased_at is null and u.password_hash = $10
            returning scope",
        postgres: "insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at,
                                               authenticated_at, expires_at, counter, current_hash, salt,
                                             sealed_tokens)
            select $1, $2, u.id, $4, case when u.is_manager then $5 || ' admin' else $5 end, $6, $6, $6, $7, 0, $8,
                   $9, 1
            from users u
            where u.id = $3 and u.disabled_at is null and u.erased_at is null and u.password_hash = $10
            for share of u
            returning scope",
    };
    /// Only while the person is logged in at our own pages, for the reason above.
    INSERT_FAMILY_BY_BROWSER = {
        sqlite: "insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at,
                                             authenticated_at, expires_at, counter, current_hash, salt,
                                             sealed_tokens)
            select $1, $2, u.id, $4, $5, $6, $6, b.authenticated_at, $7, 0, $8, $9, 1
            from browser_sessions b join users u on u.id = b.user_id
            where b.id = $10 and u.id = $3 and b.ended_at is null and u.disabled_at is null and u.erased_at is null",
        postgres: "insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at,
                                               authenticated_at, expires_at, counter, current_hash, salt,
                                             sealed_tokens)
            select $1, $2, u.id, $4, $5, $6, $6, b.authenticated_at, $7, 0, $8, $9, 1
            from browser_sessions b join users u on u.id = b.user_id
            where b.id = $10 and u.id = $3 and b.ended_at is null and u.disabled_at is null and u.erased_at is null
            for share of u, b",
    };
    /// Only for a program that is still registered.
    INSERT_FAMILY_OF_PROGRAM = {
        sqlite: "insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at,
                                             authenticated_at, expires_at, counter, current_hash, salt,
                                             sealed_tokens)
            select $1, $2, null, $4, $5, $6, $6, $6, $7, 0, $8, $9, 1
            from clients c where c.id = $3 and c.deleted_at is null",
        postgres: "insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at,
                                               authenticated_at, expires_at, counter, current_hash, salt,
                                             sealed_tokens)
            select $1, $2, null, $4, $5, $6, $6, $6, $7, 0, $8, $9, 1
            from clients c where c.id = $3 and c.deleted_at is null
            for share of c",
    };
    /// Those of a user's that a client has beyond so many, the newest one aside: the ones unused for longest.
    TRIM_FAMILIES = {
        sqlite: "delete from token_families where id in (
                     select id from token_families where user_id = $1 and client_id = $2 and id <> $3
                     order by used_at desc limit -1 offset $4)
                 returning id",
        postgres: "delete from token_families where id in (
                       select id from token_families where user_id = $1 and client_id = $2 and id <> $3
                       order by used_at desc offset $4)
                   returning id",
    };
    FAMILY_BY_HANDLE = "select f.id, f.user_id, f.expires_at, f.used_at, f.counter, f.current_hash, f.previous_hash,
                               f.rotated_at, f.salt, f.ended_at is not null, f.client_id, f.scope,
                               coalesce(u.is_manager, false), f.sealed_tokens
                        from token_families f left join users u on u.id = f.user_id where f.handle = $1";
    /// One step of the counter: of any number of callers with the same token one succeeds. Nodes of an older version,
    /// which give tokens without a MAC, do not count in the last column.
    ROTATE = "update token_families
              set counter = counter + 1, previous_hash = current_hash, current_hash = $4, salt = $5, rotated_at = $6,
                  used_at = $6, sealed_tokens = sealed_tokens + 1
              where id = $1 and counter = $2 and current_hash = $3 and ended_at is null";
    END_FAMILY = "update token_families set ended_at = $2 where id = $1 and ended_at is null";
    END_FAMILIES_OF = "update token_families set ended_at = $2 where user_id = $1 and ended_at is null returning id";
    END_FAMILIES_OF_CLIENT = "update token_families set ended_at = $2 where client_id = $1 and ended_at is null
                              returning id";
    END_FAMILIES_OF_CONSENT = "update token_families set ended_at = $3
                               where user_id = $1 and client_id = $2 and ended_at is null returning id";
    AUTHENTICATED = "select authenticated_at, client_id from token_families where id = $1";
    IS_LIVE = "select 1 from token_families where id = $1 and ended_at is null";
    FORGET_FAMILIES = "delete from token_families where expires_at < $1 or ended_at < $1";
    FORGET_FAMILIES_OF_PROGRAMS = "delete from token_families where user_id is null and expires_at < $1";
    /// A statement of its own, so that the next one sees everything that was done to the user before the lock was had:
    /// of other tables a statement sees what was there when it began, however long it has waited since.
    HOLD_USER = {
        sqlite: "select 1 from users where id = $1",
        postgres: "select 1 from users where id = $1 for share",
    };
    /// As above, and against everybody who holds the user: those whom a code holds to a session are among them.
    HOLD_USER_ALONE = {
        sqlite: "select 1 from users where id = $1",
        postgres: "select 1 from users where id = $1 for no key update",
    };
    /// A code that was given in a session needs it for as long as it is there itself.
    TRIM_BROWSER_SESSIONS = {
        sqlite: "delete from browser_sessions where id in (
                     select b.id from browser_sessions b
                     where b.user_id = $1 and b.id <> $2
                         and not exists (select 1 from authorization_codes a where a.browser_session_id = b.id)
                     order by b.used_at desc limit -1 offset $3)",
        postgres: "delete from browser_sessions where id in (
                       select b.id from browser_sessions b
                       where b.user_id = $1 and b.id <> $2
                           and not exists (select 1 from authorization_codes a where a.browser_session_id = b.id)
                       order by b.used_at desc offset $3)",
    };
    /// Only for a user who can still log in, and in this way.
    INSERT_BROWSER_SESSION_BY_PASSWORD = "insert into browser_sessions
            (id, secret_hash, user_id, authenticated_at, used_at, expires_at)
        select $1, $2, u.id, $4, $4, $5 from users u
        where u.id = $3 and u.disabled_at is null and u.erased_at is null and u.password_hash = $6";
    INSERT_BROWSER_SESSION_BY_IDENTITY = "insert into browser_sessions
            (id, secret_hash, user_id, authenticated_at, used_at, expires_at)
        select $1, $2, u.id, $4, $4, $5 from users u join identities i on i.user_id = u.id
        where u.id = $3 and u.disabled_at is null and u.erased_at is null and i.issuer = $6 and i.subject = $7";
    IS_BROWSER_SESSION_LIVE = "select 1 from browser_sessions b join users u on u.id = b.user_id
                               where b.id = $1 and u.id = $2 and b.ended_at is null
                                   and u.disabled_at is null and u.erased_at is null";
    BROWSER_SESSION = "select b.id, b.user_id, u.username, b.authenticated_at, b.used_at
                       from browser_sessions b join users u on u.id = b.user_id
                       where b.secret_hash = $1 and b.ended_at is null and b.expires_at > $2
                           and u.disabled_at is null and u.erased_at is null";
    /// Only by the first of those who saw the same.
    TOUCH_BROWSER_SESSION = "update browser_sessions set used_at = $2 where id = $1 and used_at = $3";
    END_BROWSER_SESSION = "update browser_sessions set ended_at = $2 where id = $1 and ended_at is null";
    END_BROWSER_SESSIONS_OF = "update browser_sessions set ended_at = $2 where user_id = $1 and ended_at is null";
    FORGET_BROWSER_SESSIONS = "delete from browser_sessions where (expires_at < $1 or ended_at < $1)
            and not exists (select 1 from authorization_codes a where a.browser_session_id = browser_sessions.id)";
    /// Those begun by a clock that was ahead: they begin now.
    MEND_FAMILIES = "update token_families set created_at = $1, used_at = $1, authenticated_at = $1, expires_at = $2
                     where expires_at > $3 and created_at > $4 and ended_at is null";
    MEND_BROWSER_SESSIONS = "update browser_sessions set used_at = $1, authenticated_at = $1, expires_at = $2
                             where expires_at > $3 and authenticated_at > $4 and ended_at is null";
    MEND_KEYS = "update signing_keys set created_at = $1, active_from = $2
                 where active_from > $3 and retired_at is null";
    KEYS = "select generation, kid, algorithm, public_key, private_half, sealed, created_at, active_from, retired_at
            from signing_keys order by generation";
    /// Whoever changes keys does so alone; SQLite has one writer anyhow.
    LOCK_KEYS = {
        sqlite: "select 1",
        postgres: "lock table signing_keys in share row exclusive mode",
    };
    INSERT_KEY = "insert into signing_keys
            (generation, kid, algorithm, public_key, private_half, sealed, created_at, active_from)
        select coalesce(max(generation), 0) + 1, $1, $2, $3, $4, $5, $6, $7 from signing_keys";
    /// Nobody signs with it again, so nobody needs its private half.
    RETIRE_KEY = "update signing_keys set retired_at = $2, private_half = $3, sealed = false
                  where generation = $1 and retired_at is null";
    SEAL_KEY = "update signing_keys set private_half = $2, sealed = true
                where generation = $1 and not sealed and retired_at is null";
    /// Only if it is still the one that was looked at.
    RESEAL_KEY = "update signing_keys set private_half = $2, sealed = true
                  where kid = $1 and private_half = $3 and retired_at is null";
    RESEAL_REFRESH_KEY = "update refresh_keys set secret = $2, sealed = true where kid = $1 and secret = $3";
    REFRESH_KEYS = "select kid, secret, sealed from refresh_keys order by generation desc";
    INSERT_REFRESH_KEY = "insert into refresh_keys (generation, kid, secret, sealed, created_at)
        select coalesce(max(generation), 0) + 1, $1, $2, $3, $4 from refresh_keys";
    FORGET_REFRESH_KEYS = "delete from refresh_keys";
    SEAL_REFRESH_KEY = "update refresh_keys set secret = $2, sealed = true where kid = $1 and not sealed";
}

#[derive(Clone)]
pub struct NewFamily {
    pub id: SessionId,
    pub token: RefreshToken,
    pub client: String,
    pub scopes: Scopes,
    pub now: Time,
    pub expires_at: Time,
    pub salt: [u8; 32],
    pub origin: Origin,
    /// How many of them its user may have with its client.
    pub most: Option<i64>,
}

/// What a family comes from; it must still hold when the family is made.
#[derive(Clone)]
pub enum Origin {
    /// A person, with the stored hash that the log-in was checked against.
    Password(UserId, String),
    /// A person who is logged in at our own pages.
    Browser(UserId, BrowserSessionId),
    /// A program that acts for itself.
    Program(Uuid),
}

/// The scopes it was given; nothing when what it comes from does not hold any more.
pub async fn insert_family(tx: &mut Tx<'_>, new: &NewFamily) -> Result<Option<Scopes>> {
    let (sql, subject, proof) = match &new.origin {
        Origin::Password(user, hash) => (&INSERT_FAMILY_BY_PASSWORD, user.0, Some(Value::from(hash))),
        Origin::Browser(user, browser) => (&INSERT_FAMILY_BY_BROWSER, user.0, Some(Value::from(*browser))),
        Origin::Program(program) => (&INSERT_FAMILY_OF_PROGRAM, *program, None),
    };
    let values = params![
        new.id,
        &new.token.handle[..],
        subject,
        &new.client,
        new.scopes.to_string(),
        new.now,
        new.expires_at,
        &new.token.hash(),
        &new.salt,
    ];
    let values: Vec<Value> = values.into_iter().chain(proof).collect();
    if let Origin::Password(..) = new.origin {
        let Some(row) = tx.row(sql, &values).await? else { return Ok(None) };
        return Ok(Some(Scopes::known(&row.get::<String>(0)?)));
    }
    Ok((tx.run(sql, &values).await? == 1).then_some(new.scopes))
}

/// Removes what a user has with a client beyond so many, and says what that was.
pub async fn trim_families(
    tx: &mut Tx<'_>,
    user: UserId,
    client: &str,
    newest: SessionId,
    most: i64,
) -> Result<Vec<SessionId>> {
    sessions(tx.rows(&TRIM_FAMILIES, &params![user, client, newest, most - 1]).await?)
}

pub async fn family(tx: &mut Tx<'_>, handle: &[u8; 16]) -> Result<Option<Family>> {
    let Some(row) = tx.row(&FAMILY_BY_HANDLE, &params![&handle[..]]).await? else { return Ok(None) };
    Ok(Some(Family {
        id: SessionId(row.get(0)?),
        user: row.get::<Option<Uuid>>(1)?.map(UserId),
        client: row.get(10)?,
        scopes: Scopes::known(&row.get::<String>(11)?),
        expires_at: row.time(2)?,
        used_at: row.time(3)?,
        counter: row.get(4)?,
        current_hash: row.digest(5)?,
        previous_hash: row.optional_digest(6)?,
        rotated_at: row.get::<Option<i64>>(7)?.map(Time),
        salt: row.get(8)?,
        ended: row.get(9)?,
        by_manager: row.get(12)?,
        sealed_tokens: row.get(13)?,
    }))
}

/// False when another refresh, or the end of the family, came first.
pub async fn rotate(
    tx: &mut Tx<'_>,
    family: &Family,
    next: &RefreshTokenHash,
    salt: &[u8; 32],
    now: Time,
) -> Result<bool> {
    let step = params![family.id, family.counter, &family.current_hash, next, salt, now];
    Ok(tx.run(&ROTATE, &step).await? == 1)
}

/// False when it had ended before.
pub async fn end_family(tx: &mut Tx<'_>, id: SessionId, now: Time) -> Result<bool> {
    Ok(tx.run(&END_FAMILY, &params![id, now]).await? == 1)
}

pub async fn end_families_of(tx: &mut Tx<'_>, user: UserId, now: Time) -> Result<Vec<SessionId>> {
    sessions(tx.rows(&END_FAMILIES_OF, &params![user, now]).await?)
}

pub async fn end_families_of_client(tx: &mut Tx<'_>, client: &str, now: Time) -> Result<Vec<SessionId>> {
    sessions(tx.rows(&END_FAMILIES_OF_CLIENT, &params![client, now]).await?)
}

pub async fn end_families_of_consent(tx: &mut Tx<'_>, user: UserId, client: &str, now: Time) -> Result<Vec<SessionId>> {
    sessions(tx.rows(&END_FAMILIES_OF_CONSENT, &params![user, client, now]).await?)
}

fn sessions(rows: Vec<Row>) -> Result<Vec<SessionId>> {
    rows.iter().map(|row| row.get::<Uuid>(0).map(SessionId)).collect()
}

/// When the person behind a session last proved who they are, and whose session it is.
pub async fn authenticated(db: &Db, session: SessionId) -> Result<Option<(Time, String)>> {
    db.row(&AUTHENTICATED, params![session]).await?.map(|row| Ok((row.time(0)?, row.get(1)?))).transpose()
}

pub struct NewBrowserSession {
    pub id: BrowserSessionId,
    pub secret_hash: VisitorHash,
    pub user: UserId,
    pub now: Time,
    pub expires_at: Time,
    pub credential: Credential,
    /// How many of them the user may have.
    pub most: Option<i64>,
}

/// False when the user cannot log in any more, or not in this way.
pub async fn insert_browser_session(tx: &mut Tx<'_>, new: &NewBrowserSession) -> Result<bool> {
    tx.row(&HOLD_USER_ALONE, &params![new.user]).await?;
    let (id, hash, user, now, end) = (new.id, &new.secret_hash, new.user, new.now, new.expires_at);
    let inserted = match &new.credential {
        Credential::Password(stored) => {
            let values = params![id, hash, user, now, end, stored];
            tx.run(&INSERT_BROWSER_SESSION_BY_PASSWORD, &values).await?
        }
        Credential::Identity { issuer, subject } => {
            let values = params![id, hash, user, now, end, issuer, subject];
            tx.run(&INSERT_BROWSER_SESSION_BY_IDENTITY, &values).await?
        }
    };
    if let (1, Some(most)) = (inserted, new.most) {
        tx.run(&TRIM_BROWSER_SESSIONS, &params![user, id, most - 1]).await?;
    }
    Ok(inserted == 1)
}

/// False when it has ended; else it does not end before the unit of work has.
pub async fn hold_browser_session(tx: &mut Tx<'_>, user: UserId, id: BrowserSessionId) -> Result<bool> {
    tx.row(&HOLD_USER, &params![user]).await?;
    Ok(tx.row(&IS_BROWSER_SESSION_LIVE, &params![id, user]).await?.is_some())
}

/// Somebody logged in, and when the session was last used.
pub async fn browser_session(db: &Db, secret_hash: &VisitorHash, now: Time) -> Result<Option<(BrowserSession, Time)>> {
    let Some(row) = db.row(&BROWSER_SESSION, params![secret_hash, now]).await? else { return Ok(None) };
    let session = BrowserSession {
        id: row.get(0).map(BrowserSessionId)?,
        user: row.user(1)?,
        username: row.get(2)?,
        authenticated_at: row.time(3)?,
    };
    Ok(Some((session, row.time(4)?)))
}

pub async fn touch_browser_session(tx: &mut Tx<'_>, id: BrowserSessionId, now: Time, before: Time) -> Result<()> {
    tx.run(&TOUCH_BROWSER_SESSION, &params![id, now, before]).await.map(drop)
}

pub async fn end_browser_session(tx: &mut Tx<'_>, id: BrowserSessionId, now: Time) -> Result<()> {
    tx.run(&END_BROWSER_SESSION, &params![id, now]).await.map(drop)
}

pub async fn end_browser_sessions_of(tx: &mut Tx<'_>, user: UserId, now: Time) -> Result<()> {
    tx.run(&END_BROWSER_SESSIONS_OF, &params![user, now]).await.map(drop)
}

pub async fn is_live(db: &Db, id: SessionId) -> Result<bool> {
    Ok(db.row(&IS_LIVE, params![id]).await?.is_some())
}

pub async fn forget_families(tx: &mut Tx<'_>, before: Time, programs: Time) -> Result<u64> {
    tx.run(&FORGET_BROWSER_SESSIONS, &params![before]).await?;
    let forgotten = tx.run(&FORGET_FAMILIES_OF_PROGRAMS, &params![programs]).await?;
    Ok(forgotten + tx.run(&FORGET_FAMILIES, &params![before]).await?)
}

/// Of sessions that were begun ahead of the time; the last time is when one that begins now ends.
pub async fn mend_sessions(tx: &mut Tx<'_>, now: Time, end: Time) -> Result<u64> {
    let times = params![now, end, end.plus(SKEW), now.plus(SKEW)];
    Ok(tx.run(&MEND_FAMILIES, &times).await? + tx.run(&MEND_BROWSER_SESSIONS, &times).await?)
}

/// Of keys that would sign later than one made now, which signs from the last time on.
pub async fn mend_keys(tx: &mut Tx<'_>, now: Time, active_from: Time) -> Result<u64> {
    tx.run(&MEND_KEYS, &params![now, active_from, active_from.plus(SKEW)]).await
}

pub async fn keys(db: &Db) -> Result<Vec<StoredKey>> {
    db.rows(&KEYS, params![]).await?.iter().map(key).collect()
}

/// As [`keys`] and [`refresh_keys`], from a SQLite file that nobody has opened yet.
pub fn keys_of_file(path: &Path) -> Result<(Vec<StoredKey>, Vec<StoredSecret>)> {
    let keys = Db::rows_of_file(path, &KEYS)?.iter().map(key).collect::<Result<_>>()?;
    let refresh_keys = Db::rows_of_file(path, &REFRESH_KEYS)?.iter().map(refresh_key).collect::<Result<_>>()?;
    Ok((keys, refresh_keys))
}

/// Whether somebody runs the program.
pub async fn is_manager(db: &Db, user: UserId) -> Result<bool> {
    db.row(&IS_MANAGER, params![user]).await?.map_or(Ok(false), |row| row.get(0))
}

/// As [`is_manager`], as part of a unit of work.
pub async fn is_manager_in(tx: &mut Tx<'_>, user: UserId) -> Result<bool> {
    tx.row(&IS_MANAGER, &params![user]).await?.map_or(Ok(false), |row| row.get(0))
}

/// The newest first.
pub async fn refresh_keys(db: &Db) -> Result<Vec<StoredSecret>> {
    db.rows(&REFRESH_KEYS, params![]).await?.iter().map(refresh_key).collect()
}

fn refresh_key(row: &Row) -> Result<StoredSecret> {
    Ok(StoredSecret { kid: row.get(0)?, secret: row.get(1)?, sealed: row.get(2)? })
}

/// Makes it the first, unless there is one; the caller has locked the keys.
pub async fn insert_refresh_key(tx: &mut Tx<'_>, key: &StoredSecret, now: Time) -> Result<()> {
    if tx.rows(&REFRESH_KEYS, &params![]).await?.is_empty() {
        let values = params![&key.kid, key.secret.clone(), key.sealed, now];
        tx.run(&INSERT_REFRESH_KEY, &values).await?;
    }
    Ok(())
}

pub async fn forget_refresh_keys(tx: &mut Tx<'_>) -> Result<()> {
    tx.run(&FORGET_REFRESH_KEYS, &params![]).await.map(drop)
}

/// False when another node came first.
pub async fn seal_refresh_key(tx: &mut Tx<'_>, key: &StoredSecret) -> Result<bool> {
    Ok(tx.run(&SEAL_REFRESH_KEY, &params![&key.kid, key.secret.clone()]).await? == 1)
}

/// All keys, which nobody else changes until the unit of work has ended.
pub async fn lock_keys(tx: &mut Tx<'_>) -> Result<Vec<StoredKey>> {
    tx.rows(&LOCK_KEYS, &params![]).await?;
    tx.rows(&KEYS, &params![]).await?.iter().map(key).collect()
}

fn key(row: &Row) -> Result<StoredKey> {
    let generation = row.get(0)?;
    let algorithm = IdTokenAlgorithm::parse(&row.get::<String>(2)?)
        .ok_or_else(|| Error::inconsistent("signing_keys", "algorithm", generation))?;
    Ok(StoredKey {
        generation,
        key: Key {
            kid: row.get(1)?,
            algorithm,
            public_key: row.get(3)?,
            private_key: row.get(4)?,
            sealed: row.get(5)?,
        },
        created_at: row.time(6)?,
        active_from: row.time(7)?,
        retired_at: row.get::<Option<i64>>(8)?.map(Time),
    })
}

/// Adds the newest key; the caller has locked them.
pub async fn insert_key(tx: &mut Tx<'_>, key: &Key, now: Time, active_from: Time) -> Result<()> {
    let values = params![
        &key.kid,
        key.algorithm.word(),
        key.public_key.clone(),
        key.private_key.clone(),
        key.sealed,
        now,
        active_from,
    ];
    tx.run(&INSERT_KEY, &values).await.map(drop)
}

pub async fn retire_key(tx: &mut Tx<'_>, generation: i64, now: Time) -> Result<()> {
    tx.run(&RETIRE_KEY, &params![generation, now, Vec::<u8>::new()]).await.map(drop)
}

/// False when another node came first.
pub async fn seal_key(tx: &mut Tx<'_>, generation: i64, sealed: &[u8]) -> Result<bool> {
    Ok(tx.run(&SEAL_KEY, &params![generation, sealed]).await? == 1)
}

/// False when it is another one by now.
pub async fn reseal_key(tx: &mut Tx<'_>, key: &Resealed) -> Result<bool> {
    let values = params![&key.kid, key.after.clone(), key.before.clone()];
    Ok(tx.run(&RESEAL_KEY, &values).await? == 1)
}

/// As [`reseal_key`].
pub async fn reseal_refresh_key(tx: &mut Tx<'_>, key: &Resealed) -> Result<bool> {
    let values = params![&key.kid, key.after.clone(), key.before.clone()];
    Ok(tx.run(&RESEAL_REFRESH_KEY, &values).await? == 1)
}
