//! Where identities and people on their way are kept.

use super::model::{LinkedIdentity, PendingSignIn, UnclaimedIdentity};
use crate::db::{Db, Row, Tx};
use crate::kernel::digest::{StateHash, TicketHash, VisitorHash};
use crate::kernel::error::Result;
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::outbound::identity_provider::model::Identity;
use crate::{params, sql};

sql! {
    INSERT_DEPARTURE = "insert into sign_ins
            (ticket_hash, provider, visitor_hash, next, code, nonce, verifier, email_verified, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7, false, $8)";
    INSERT_ARRIVAL = "insert into sign_ins
            (ticket_hash, provider, visitor_hash, next, code, issuer, subject, email, email_verified, name, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    /// A state is not taken for a ticket, nor a ticket for a state. Another browser neither has it nor uses it up.
    TAKE_DEPARTURE = "delete from sign_ins
                      where ticket_hash = $1 and visitor_hash = $2 and expires_at > $3 and subject is null
                      returning provider, visitor_hash, next, code, expires_at, nonce, verifier";
    TAKE_ARRIVAL = "delete from sign_ins
                    where ticket_hash = $1 and visitor_hash = $2 and expires_at > $3 and subject is not null
                    returning provider, visitor_hash, next, code, expires_at,
                              issuer, subject, email, email_verified, name";
    ARRIVAL = "select provider, visitor_hash, next, code, expires_at, issuer, subject, email, email_verified, name
               from sign_ins
               where ticket_hash = $1 and visitor_hash = $2 and expires_at > $3 and subject is not null";
    /// Also those that a clock has begun which was ahead.
    FORGET_SIGN_INS = "delete from sign_ins where expires_at <= $1 or expires_at > $2";
    OWNER = "select user_id from identities where issuer = $1 and subject = $2";
    /// Only for a user who is there: erasure locks the row, and nothing personal may be written behind it.
    LINK = {
        sqlite: "insert into identities (issuer, subject, user_id, linked_at)
            select $1, $2, u.id, $4 from users u where u.id = $3 and u.erased_at is null
            on conflict (issuer, subject) do nothing",
        postgres: "insert into identities (issuer, subject, user_id, linked_at)
            select $1, $2, u.id, $4 from users u where u.id = $3 and u.erased_at is null for share of u
            on conflict (issuer, subject) do nothing",
    };
    /// What a provider has told of a user who comes again.
    FORGET_ARRIVALS_OF = "delete from sign_ins where exists (
            select 1 from identities i
            where i.user_id = $1 and i.issuer = sign_ins.issuer and i.subject = sign_ins.subject)";
    IDENTITIES_OF = "select issuer, subject, linked_at from identities where user_id = $1
                     order by linked_at, issuer, subject";
    /// Against everybody who takes or gives the user another way in. Whether there is a password.
    HOLD_WAYS_IN = {
        sqlite: "select password_hash is not null from users where id = $1",
        postgres: "select password_hash is not null from users where id = $1 for no key update",
    };
    FORGET_ARRIVALS_BY = "delete from sign_ins where issuer = $1 and subject = $2";
    UNLINK = "delete from identities where user_id = $1 and issuer = $2 and subject = $3";
    UNLINK_ALL = "delete from identities where user_id = $1";
}

/// Notes who leaves for a provider, under the SHA-256 of the state sent along.
pub async fn insert_departure(tx: &mut Tx<'_>, state_hash: &StateHash, new: &PendingSignIn) -> Result<()> {
    let values = params![
        state_hash,
        &new.provider,
        &new.visitor_hash,
        &new.next,
        new.code.clone(),
        &new.nonce,
        &new.verifier,
        new.expires_at,
    ];
    tx.run(&INSERT_DEPARTURE, &values).await.map(drop)
}

/// Notes who came back and is nobody's yet, under the SHA-256 of the ticket in our form.
pub async fn insert_arrival(tx: &mut Tx<'_>, ticket_hash: &TicketHash, new: &UnclaimedIdentity) -> Result<()> {
    let identity = &new.identity;
    let values = params![
        ticket_hash,
        &new.provider,
        &new.visitor_hash,
        &new.next,
        new.code.clone(),
        &identity.issuer,
        &identity.subject,
        identity.email.clone(),
        identity.email_verified,
        identity.name.clone(),
        new.expires_at,
    ];
    tx.run(&INSERT_ARRIVAL, &values).await.map(drop)
}

/// Of any number of callers one gets it, once.
pub async fn take_departure(
    tx: &mut Tx<'_>,
    state_hash: &StateHash,
    visitor_hash: &VisitorHash,
    now: Time,
) -> Result<Option<PendingSignIn>> {
    let Some(row) = tx.row(&TAKE_DEPARTURE, &params![state_hash, visitor_hash, now]).await? else { return Ok(None) };
    Ok(Some(PendingSignIn {
        provider: row.get(0)?,
        visitor_hash: row.digest(1)?,
        next: row.get(2)?,
        code: row.get(3)?,
        expires_at: row.time(4)?,
        nonce: row.get(5)?,
        verifier: row.get(6)?,
    }))
}

/// Of any number of callers one gets it, once.
pub async fn take_arrival(
    tx: &mut Tx<'_>,
    ticket_hash: &TicketHash,
    visitor_hash: &VisitorHash,
    now: Time,
) -> Result<Option<UnclaimedIdentity>> {
    let row = tx.row(&TAKE_ARRIVAL, &params![ticket_hash, visitor_hash, now]).await?;
    row.map(|row| read_arrival(&row)).transpose()
}

/// Leaves it where it is, for a form that is shown again.
pub async fn arrival(
    db: &Db,
    ticket_hash: &TicketHash,
    visitor_hash: &VisitorHash,
    now: Time,
) -> Result<Option<UnclaimedIdentity>> {
    let row = db.row(&ARRIVAL, params![ticket_hash, visitor_hash, now]).await?;
    row.map(|row| read_arrival(&row)).transpose()
}

/// Removes those whose time is over, and those that have more than there can be.
pub async fn forget_sign_ins(tx: &mut Tx<'_>, now: Time, last: Time) -> Result<u64> {
    tx.run(&FORGET_SIGN_INS, &params![now, last]).await
}

/// Whose identity this is.
pub async fn owner(db: &Db, issuer: &str, subject: &str) -> Result<Option<UserId>> {
    db.row(&OWNER, params![issuer, subject]).await?.map(|row| row.user(0)).transpose()
}

/// As [`owner`], as part of a unit of work.
pub async fn holder(tx: &mut Tx<'_>, issuer: &str, subject: &str) -> Result<Option<UserId>> {
    tx.row(&OWNER, &params![issuer, subject]).await?.map(|row| row.user(0)).transpose()
}

/// False when the identity is somebody's already, be it this user's, or when the user is erased.
pub async fn link(tx: &mut Tx<'_>, issuer: &str, subject: &str, user: UserId, now: Time) -> Result<bool> {
    Ok(tx.run(&LINK, &params![issuer, subject, user, now]).await? == 1)
}

/// Says how many there were. Whoever is under way with one of them is forgotten, too.
pub async fn unlink_all(tx: &mut Tx<'_>, user: UserId) -> Result<u64> {
    tx.run(&FORGET_ARRIVALS_OF, &params![user]).await?;
    tx.run(&UNLINK_ALL, &params![user]).await
}

/// The oldest first.
pub async fn identities_of(db: &Db, user: UserId) -> Result<Vec<LinkedIdentity>> {
    db.rows(&IDENTITIES_OF, params![user]).await?.iter().map(read_linked).collect()
}

/// As [`identities_of`], with whether the user has a password; nobody changes either until the unit of work has ended.
pub async fn hold_ways_in(tx: &mut Tx<'_>, user: UserId) -> Result<(bool, Vec<LinkedIdentity>)> {
    let row = tx.row(&HOLD_WAYS_IN, &params![user]).await?;
    let has_password = row.map_or(Ok(false), |row| row.get(0))?;
    let identities = tx.rows(&IDENTITIES_OF, &params![user]).await?;
    Ok((has_password, identities.iter().map(read_linked).collect::<Result<_>>()?))
}

fn read_linked(row: &Row) -> Result<LinkedIdentity> {
    Ok(LinkedIdentity { issuer: row.get(0)?, subject: row.get(1)?, linked_at: row.time(2)? })
}

/// Whoever is under way with it is forgotten, too.
pub async fn unlink(tx: &mut Tx<'_>, user: UserId, identity: &LinkedIdentity) -> Result<()> {
    tx.run(&FORGET_ARRIVALS_BY, &params![&identity.issuer, &identity.subject]).await?;
    tx.run(&UNLINK, &params![user, &identity.issuer, &identity.subject]).await.map(drop)
}

fn read_arrival(row: &Row) -> Result<UnclaimedIdentity> {
    Ok(UnclaimedIdentity {
        provider: row.get(0)?,
        visitor_hash: row.digest(1)?,
        next: row.get(2)?,
        code: row.get(3)?,
        expires_at: row.time(4)?,
        identity: Identity {
            issuer: row.get(5)?,
            subject: row.get(6)?,
            email: row.get(7)?,
            email_verified: row.get(8)?,
            name: row.get(9)?,
        },
    })
}
