//! A registration as one statement, on the engine that gains by it.

use super::{NewUser, values};
use crate::db::{Attempt, Db, Value};
use crate::features::mails::model::NewMail;
use crate::features::referrals::model::Status;
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Result};
use crate::kernel::handle::InvitationKey;
use crate::kernel::ids::MessageId;
use crate::{params, sql};

/// $1 to $9 are those of `INSERT_USER`, $10 is the code's hash, if there is a code, $11 the referral's status. As in
/// the steps, the slot is locked before the clock is read; all that is written is made from what was decided then.
macro_rules! registration {
    (and $beside:literal) => {
        concat!(
            "with held as materialized (
                select s.owner_id, c.ordinal, s.expires_at, s.recorded_at
                from code_strings c join code_slots s on s.owner_id = c.owner_id and s.code_id = c.id
                where c.code_hash = $10 for share of s
            ), judged as materialized (
                select owner_id, ordinal, expires_at, greatest(referral_now(), recorded_at) as now from held
            ), entrance as materialized (
                select owner_id, ordinal, now from judged where expires_at > now
                union all select null, null, null where $10 is null
            ), person as (
                insert into users (id, username, email, name_key, email_key, password_hash, created_at, is_manager,
                                   discoverable, email_verdict, email_proven_at)
                select $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::bigint, false, true, $8::text,
                       $9::bigint
                from entrance returning id
            ), keys as (
                insert into logins (login_key, user_id)
                select $4::text, id from person where $4::text <> $5::text union all select $5::text, id from person
            ), referral as (
                insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status)
                select entrance.owner_id, person.id, entrance.ordinal, entrance.now, $11::text
                from entrance, person where entrance.owner_id is not null
            )",
            $beside,
            " select 1 from person"
        )
    };
}

sql! {
    /// What most write: a row when it was written, none when the code is no good.
    REGISTER = { postgres: registration!(and "") };
    /// The same, and the job of the sign-up's event.
    REGISTER_AND_SIGN_UP = {
        postgres: registration!(and ", work as (
                insert into jobs (kind, subject, created_at, run_at, attempts)
                select 'signup_event', $1::uuid::text, $7::bigint, $7::bigint, 0
                from entrance, person where entrance.owner_id is not null
            )"),
    };
    /// The same, and whoever is told of it. $12 to $17 are a mail's, $18 is what its job is told; $19 to $21 are the
    /// ids of messages: of the account, of the referral, and of its counting. What is null is not written.
    REGISTER_AND_TELL = {
        postgres: registration!(and ", mail as (
                insert into mails (id, user_id, kind, language, address_key, created_at, expires_at, attempts)
                select $12::uuid, person.id, $13::text, $14::text, $15::text, $16::bigint, $17::bigint, 0 from person
                where $12::uuid is not null
            ), work as (
                insert into jobs (kind, subject, payload, created_at, run_at, attempts)
                select 'send_mail', $12::uuid::text, $18::text, $16::bigint, $16::bigint, 0 from person
                where $12::uuid is not null
            ), messages as (
                insert into outbox (id, type, subject_id, data, at)
                select $19::uuid, 'participant.created', person.id,
                       json_build_object('id', person.id, 'version', 1)::text, $7::bigint
                from person where $19::uuid is not null
                union all
                select m.id, m.type, person.id,
                       json_build_object('id', person.id, 'referrer', json_build_object('id', entrance.owner_id),
                                         'referee', json_build_object('id', person.id), 'state', $11::text,
                                         'version', m.version)::text, $7::bigint
                from entrance, person, (values ($20::uuid, 'referral.created', 1),
                                               ($21::uuid, 'referral.confirmed', 2)) as m (id, type, version)
                where entrance.owner_id is not null and m.id is not null
            )"),
    };
}

/// Who is told of a registration.
pub struct Beside<'a> {
    pub mail: Option<&'a NewMail>,
    /// Whether others are.
    pub tells: bool,
    /// Whether a rule hears of the sign-up; not where anybody else is told.
    pub sign_up: bool,
}

/// Makes an account, the referral, and the mail and the messages that tell of it, in one statement.
pub async fn register(
    db: &Db,
    actor: Actor,
    new: &NewUser,
    (code, status): (Option<&InvitationKey>, Status),
    Beside { mail, tells, sign_up }: Beside<'_>,
) -> Result<Attempt> {
    let most = || values(new).into_iter().chain(params![code.map(InvitationKey::bytes), status.word()]);
    if mail.is_none() && !tells {
        let statement = if sign_up { &REGISTER_AND_SIGN_UP } else { &REGISTER };
        return db.attempt(actor, statement, |_| most().collect()).await;
    }
    let told = mail.map(|mail| serde_json::to_string(&mail.told)).transpose();
    let told = told.map_err(|error| Error::Internal(format!("a mail's job: {error}")))?;
    let of_mail = params![
        mail.map(|mail| mail.id),
        mail.map(|mail| mail.kind.word()),
        mail.map(|mail| mail.language),
        mail.map(|mail| mail.address_key.as_str()),
        mail.map(|mail| mail.created_at),
        mail.map(|mail| mail.expires_at),
        told,
    ];
    let (refers, counts) = (tells && code.is_some(), status == Status::Confirmed);
    let messages = [tells, refers, refers && counts].map(|is| Value::from(is.then(MessageId::new)));
    db.attempt(actor, &REGISTER_AND_TELL, |_| most().chain(of_mail).chain(messages).collect()).await
}
