//! Whether what is in a database keeps the laws: the one look that backups, restores, copies and imports take.
//!
//! Each statement finds breaches of a law: whose they are, and how many there are in all. It reads one state of the
//! database, also while others write.

use uuid::Uuid;

use crate::db::{Place, Sql};
use crate::features::rewards::actions::check;
use crate::kernel::code::CodeKey;
use crate::kernel::error::{Error, Result};
use crate::params;
use crate::sql;

sql! {
    SLOT_HOLDS_THE_LAST_CODE = "
        select s.owner_id, count(*) over ()
        from code_slots s left join codes c on c.owner_id = s.owner_id and c.ordinal = s.issued
        where s.issued <> (select count(*) from codes o where o.owner_id = s.owner_id)
           or s.issued > 0 and c.id is null
           or s.code_id is not null
              and (c.id <> s.code_id or c.code <> s.code or c.expires_at <> s.expires_at or c.revoked_at is not null)
           or s.code_id is null and c.revoked_at is null and c.expires_at > referral_now()
        limit 1";
    LIVES_FOLLOW_EACH_OTHER = "
        select owner_id, count(*) over ()
        from (select owner_id, created_at,
                     lag(case when revoked_at < expires_at then revoked_at else expires_at end)
                         over (partition by owner_id order by ordinal) as ended
              from codes) lives
        where created_at < ended
        limit 1";
    /// Referrals that came with another service's tables have no code of ours: their ordinal is 0.
    REFERRALS_ARE_WITHIN_A_LIFE = "
        select r.referee_id, count(*) over ()
        from referrals r left join codes c on c.owner_id = r.referrer_id and c.ordinal = r.code_ordinal
        where r.code_ordinal <> 0
          and (c.id is null or r.joined_at < c.created_at or r.joined_at >= c.expires_at
               or r.joined_at >= c.revoked_at)
        limit 1";
    STRINGS_ARE_THEIR_CODES = "
        select s.owner_id, count(*) over ()
        from code_strings s left join codes c on c.owner_id = s.owner_id and c.ordinal = s.ordinal
        where c.id is null or c.id <> s.id
        limit 1";
    MARKS_ARE_IN_THEIR_PLACES = "
        select m.referrer_id, count(*) over ()
        from referral_marks m
        left join (select referrer_id, id, row_number() over (partition by referrer_id order by id) as place
                   from referrals) r on r.referrer_id = m.referrer_id and r.id = m.referral_id
        where r.place is null or r.place <> m.ordinal
        limit 1";
    PEOPLE_HAVE_THEIR_NAMES = "
        select u.id, count(*) over ()
        from users u
        left join logins n on n.login_key = u.name_key
        left join logins e on e.login_key = u.email_key
        where u.erased_at is null
          and (n.user_id is null or n.user_id <> u.id
               or u.email_key <> '' and (e.user_id is null or e.user_id <> u.id))
        limit 1";
    NAMES_ARE_SOMEBODYS = "
        select l.user_id, count(*) over ()
        from logins l join users u on u.id = l.user_id
        where u.erased_at is not null or l.login_key <> u.name_key and l.login_key <> u.email_key
        limit 1";
    THE_ERASED_ARE_NOTED = "
        select u.id, count(*) over ()
        from users u left join erased e on e.user_id = u.id
        where (u.erased_at is null) <> (e.user_id is null)
        limit 1";
    THE_ERASED_LEAVE_NOTHING = "
        select id, count(*) over ()
        from users
        where erased_at is not null
          and (password_hash is not null or email_key <> '' or new_email is not null or external_id is not null)
        limit 1";
    HANDLES_ARE_ISSUED = "
        select u.id, count(*) over ()
        from users u left join (select distinct owner_id from handle_strings) h on h.owner_id = u.id
        where u.handle is not null and h.owner_id is null
        limit 1";
    THE_AUDIT_IS_NUMBERED = "
        select cast(null as uuid), h.seq
        from audit_head h
        where h.seq <> (select count(*) from audit where seq is not null)
           or h.seq <> (select coalesce(max(seq), 0) from audit)";
    STRINGS_BEHIND = "
        select s.id, s.owner_id, s.code_hash, c.code
        from code_strings s join codes c on c.owner_id = s.owner_id and c.ordinal = s.ordinal
        where s.id > $1 order by s.id limit 5000";
}

/// Each with what is wrong where it finds something. What a constraint holds, both engines look after themselves: a
/// SQLite file is asked as well, see `db::backup::damage`.
const LAWS: &[(&Sql, &str)] = &[
    (&SLOT_HOLDS_THE_LAST_CODE, "law 1: a slot does not hold the last of its owner's codes"),
    (&LIVES_FOLLOW_EACH_OTHER, "law 1: two codes of one owner were active at once"),
    (&REFERRALS_ARE_WITHIN_A_LIFE, "law 2: a referral is outside of its code's life"),
    (&STRINGS_ARE_THEIR_CODES, "law 3: a string that was issued is not that of its code"),
    (&MARKS_ARE_IN_THEIR_PLACES, "a mark in a referrer's list is not in its place"),
    (&PEOPLE_HAVE_THEIR_NAMES, "a name or an address does not lead to its account"),
    (&NAMES_ARE_SOMEBODYS, "a name or an address leads to an account that has another"),
    (&THE_ERASED_ARE_NOTED, "law 14: an erasure is not noted, or was not done"),
    (&THE_ERASED_LEAVE_NOTHING, "law 14: something is left of somebody who was erased"),
    (&HANDLES_ARE_ISSUED, "law 16: a handle is not among those that were issued"),
    (&THE_AUDIT_IS_NUMBERED, "law 15: the numbers of the audit have gaps, or its head is another's"),
];

/// Every law that does not hold, in a sentence each, with one of those it is about.
pub async fn breaches(mut place: Place<'_>) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for (law, wrong) in LAWS {
        if let Some(row) = place.scan(law, params![]).await?.first() {
            let (whose, count): (Option<Uuid>, i64) = (row.get(0)?, row.get(1)?);
            let whose = whose.map_or(String::new(), |whose| format!(", of {whose} for one"));
            breaches.push(format!("{wrong} ({count} in all{whose})"));
        }
    }
    if let Some(owner) = foreign_string(&mut place).await? {
        breaches.push(format!("law 3: a code's string is another than was issued (of {owner} for one)"));
    }
    let found = check::look(&mut place).await?;
    if let Some(fault) = found.faults.first() {
        let of = &fault.id;
        breaches.push(format!("the ledger does not add up ({} faults, of {of} for one)", found.faults.len()));
    }
    Ok(breaches)
}

/// The owner of a code whose string is not the one whose hash was kept.
async fn foreign_string(place: &mut Place<'_>) -> Result<Option<Uuid>> {
    let mut behind = i64::MIN;
    loop {
        let part = place.scan(&STRINGS_BEHIND, params![behind]).await?;
        let Some(last) = part.last() else { return Ok(None) };
        behind = last.get(0)?;
        for row in &part {
            let (hash, code): (Vec<u8>, String) = (row.get(2)?, row.get(3)?);
            // Erasure blanks the string and keeps the hash.
            let same = code.is_empty() || CodeKey::of(&code).is_some_and(|key| key.0[..] == hash[..]);
            if !same {
                return row.get(1).map(Some);
            }
        }
    }
}

/// The laws that do not hold as one sentence; `what` is where they do not.
pub fn sentence(what: &str, breaches: &[String]) -> String {
    format!("{what} does not keep the laws: {}", breaches.join("; "))
}

/// A fault of the look itself.
pub fn not_looked(what: &str, error: &Error) -> String {
    format!("cannot look whether {what} keeps the laws: {error}")
}
