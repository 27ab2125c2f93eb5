//! Where mails are kept, and the key that their links are made with.

use super::model::{NewMail, StoredMail, UsedLink};
use crate::crypto::keyring::StoredSecret;
use crate::crypto::sealing::Resealed;
use crate::db::{Db, Row, Tx, Value};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{MailId, UserId};
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    INSERT = "insert into mails (id, user_id, kind, language, address_key, created_at, expires_at, attempts)
              values ($1, $2, $3, $4, $5, $6, $7, 0)";
    /// Only to whom the address still belongs, who is locked against changes; a job may run twice.
    INSERT_FOR_ACCOUNT = {
        sqlite: "insert into mails (id, user_id, kind, language, address_key, created_at, expires_at, attempts)
                 select $1, u.id, $3, $4, $5, $6, $7, 0 from users u
                 where u.id = $2 and u.email_key = $5 and u.disabled_at is null and u.erased_at is null
                 on conflict (id) do nothing",
        postgres: "insert into mails (id, user_id, kind, language, address_key, created_at, expires_at, attempts)
                   select $1, u.id, $3, $4, $5, $6, $7, 0 from users u
                   where u.id = $2 and u.email_key = $5 and u.disabled_at is null and u.erased_at is null
                   for share of u
                   on conflict (id) do nothing",
    };
    MAIL = "select user_id, kind, language, address_key, created_at, expires_at, used_at is not null,
                   sent_at is not null
            from mails where id = $1";
    /// Of any number of callers one gets it.
    USE = "update mails set used_at = $3
           where id = $1 and kind = $2 and used_at is null and expires_at > $3
           returning user_id, address_key";
    /// The links of a kind that a user has not used, so that they are good no more.
    END_LINKS = "update mails set used_at = $3 where user_id = $1 and kind = $2 and used_at is null";
    END_LINKS_TO = "update mails set used_at = $4
                    where user_id = $1 and kind = $2 and address_key = $3 and used_at is null";
    NOTE = "update mails set attempts = attempts + 1, outcome = $2, sent_at = coalesce(sent_at, $3) where id = $1";
    FORGET_USER = "delete from mails where user_id = $1";
    FORGET = "delete from mails where id in (select id from mails where expires_at < $1 order by expires_at limit $2)";
    KEY = "select kid, secret, sealed from mail_key";
    INSERT_KEY = "insert into mail_key (one, kid, secret, sealed, created_at) values (1, $1, $2, $3, $4)
                  on conflict (one) do nothing";
    REPLACE_KEY = "update mail_key set kid = $1, secret = $2, sealed = $3, created_at = $4";
    /// Only if it is still the one that was looked at.
    RESEAL_KEY = "update mail_key set secret = $2, sealed = true where kid = $1 and secret = $3";
    SEAL_KEY = "update mail_key set secret = $2, sealed = true where kid = $1 and not sealed";
}

/// In the order of the columns.
fn values(mail: &NewMail) -> [Value; 7] {
    params![mail.id, mail.user, mail.kind.word(), mail.language, &mail.address_key, mail.created_at, mail.expires_at,]
}

pub async fn insert(tx: &mut Tx<'_>, mail: &NewMail) -> Result<()> {
    tx.run(&INSERT, &values(mail)).await.map(drop)
}

/// Nothing is written when the address is not the user's any more, or the mail is noted already.
pub async fn insert_for_account(tx: &mut Tx<'_>, mail: &NewMail) -> Result<()> {
    tx.run(&INSERT_FOR_ACCOUNT, &values(mail)).await.map(drop)
}

pub async fn mail(db: &Db, id: MailId) -> Result<Option<StoredMail>> {
    let Some(row) = db.row(&MAIL, params![id]).await? else { return Ok(None) };
    Ok(Some(StoredMail {
        user: row.user(0)?,
        kind: kind(&row, id)?,
        language: row.get(2)?,
        address_key: row.get(3)?,
        created_at: row.time(4)?,
        expires_at: row.time(5)?,
        used: row.get(6)?,
        sent: row.get(7)?,
    }))
}

fn kind(row: &Row, id: MailId) -> Result<MailKind> {
    MailKind::parse(&row.get::<String>(1)?).ok_or_else(|| Error::inconsistent("mails", "kind", id))
}

/// Nothing when the link was used before, or its time is over.
pub async fn use_link(tx: &mut Tx<'_>, id: MailId, kind: MailKind, now: Time) -> Result<Option<UsedLink>> {
    let row = tx.row(&USE, &params![id, kind.word(), now]).await?;
    row.map(|row| Ok(UsedLink { user: row.user(0)?, address_key: row.get(1)? })).transpose()
}

pub async fn end_links(tx: &mut Tx<'_>, user: UserId, kind: MailKind, now: Time) -> Result<()> {
    tx.run(&END_LINKS, &params![user, kind.word(), now]).await.map(drop)
}

/// As [`end_links`], of those that were sent to one address.
pub async fn end_links_to(tx: &mut Tx<'_>, user: UserId, kind: MailKind, address: &str, now: Time) -> Result<()> {
    tx.run(&END_LINKS_TO, &params![user, kind.word(), address, now]).await.map(drop)
}

pub async fn note(tx: &mut Tx<'_>, id: MailId, outcome: &str, sent_at: Option<Time>) -> Result<()> {
    tx.run(&NOTE, &params![id, outcome, sent_at]).await.map(drop)
}

pub async fn forget_user(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    tx.run(&FORGET_USER, &params![user]).await.map(drop)
}

/// Removes at most so many whose links were good until before a time.
pub async fn forget(tx: &mut Tx<'_>, before: Time, most: i64) -> Result<u64> {
    tx.run(&FORGET, &params![before, most]).await
}

pub async fn key(db: &Db) -> Result<Option<StoredSecret>> {
    let Some(row) = db.row(&KEY, params![]).await? else { return Ok(None) };
    Ok(Some(StoredSecret { kid: row.get(0)?, secret: row.get(1)?, sealed: row.get(2)? }))
}

/// Makes it the key, unless there is one.
pub async fn insert_key(tx: &mut Tx<'_>, key: &StoredSecret, now: Time) -> Result<()> {
    tx.run(&INSERT_KEY, &params![&key.kid, key.secret.clone(), key.sealed, now]).await.map(drop)
}

pub async fn replace_key(tx: &mut Tx<'_>, key: &StoredSecret, now: Time) -> Result<()> {
    tx.run(&REPLACE_KEY, &params![&key.kid, key.secret.clone(), key.sealed, now]).await.map(drop)
}

pub async fn seal_key(tx: &mut Tx<'_>, key: &StoredSecret) -> Result<()> {
    tx.run(&SEAL_KEY, &params![&key.kid, key.secret.clone()]).await.map(drop)
}

/// False when it is another one by now.
pub async fn reseal_key(tx: &mut Tx<'_>, key: &Resealed) -> Result<bool> {
    let values = params![&key.kid, key.after.clone(), key.before.clone()];
    Ok(tx.run(&RESEAL_KEY, &values).await? == 1)
}
