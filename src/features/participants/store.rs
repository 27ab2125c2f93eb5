//! What is read of participants. The table of people is that of accounts, which write it.

use super::model::Participant;
use crate::db::{Db, Row, Tx};
use crate::features::referrals::model::Status;
use crate::kernel::digest::ExternalIdHash;
use crate::kernel::error::{Error, Result};
use crate::kernel::handle::Handle;
use crate::kernel::ids::UserId;
use crate::{params, sql};

sql! {
    PARTICIPANT = "select u.id, u.external_id, u.email, u.display_name, u.language,
                          case when s.expires_at > referral_now() then s.code end, r.referrer_id, r.status, u.handle
                   from users u
                   left join code_slots s on s.owner_id = u.id
                   left join referrals r on r.referee_id = u.id
                   where u.external_hash = $1 and u.external_id is not null";
    /// $1 the participant to go on behind, $2 how many.
    PARTICIPANTS = "select u.id, u.external_id, u.email, u.display_name, u.language,
                           case when s.expires_at > referral_now() then s.code end, r.referrer_id, r.status, u.handle
                    from (select id, external_id, email, display_name, language, handle from users
                          where external_id is not null and id > $1 order by id limit $2) u
                    left join code_slots s on s.owner_id = u.id
                    left join referrals r on r.referee_id = u.id
                    order by u.id";
}

pub async fn participant(db: &Db, external: &ExternalIdHash) -> Result<Option<Participant>> {
    db.row(&PARTICIPANT, params![external]).await?.map(|row| read(&row)).transpose()
}

/// As [`participant`], in a unit of work.
pub async fn participant_within(tx: &mut Tx<'_>, external: &ExternalIdHash) -> Result<Option<Participant>> {
    tx.row(&PARTICIPANT, &params![external]).await?.map(|row| read(&row)).transpose()
}

/// So many behind one of them, in the order of their ids.
pub async fn participants(db: &Db, behind: UserId, most: i64) -> Result<Vec<Participant>> {
    db.scan(&PARTICIPANTS, params![behind, most]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Participant> {
    let id = row.user(0)?;
    let email: String = row.get(2)?;
    let referred_by = match (row.get::<Option<uuid::Uuid>>(6)?, row.get::<Option<String>>(7)?) {
        (Some(referrer), Some(word)) => {
            let status = Status::parse(&word).ok_or_else(|| Error::inconsistent("referrals", "status", id))?;
            Some((UserId(referrer), status))
        }
        _ => None,
    };
    Ok(Participant {
        id,
        external_id: row.get(1)?,
        email: Some(email).filter(|email| !email.is_empty()),
        name: row.get(3)?,
        language: row.get(4)?,
        handle: row.get::<Option<String>>(8)?.map(Handle::stored),
        code: row.get(5)?,
        referred_by,
    })
}
