//! New participants as one statement, on the engine that gains by it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use uuid::Uuid;

use super::NewUser;
use super::participants::NewParticipant;
use crate::db::{Attempt, Db, Row, Sql, Tx};
use crate::kernel::actor::Actor;
use crate::kernel::code::{Code, CodeKey};
use crate::kernel::digest::Digest;
use crate::kernel::error::{Error, Result};
use crate::kernel::handle::Handle;
use crate::kernel::ids::{MessageId, UserId};
use crate::{params, sql};

/// A statement that makes all of these whom nobody has had and whose code, if they come with one, is good: each with
/// their name, handle, code and referral. A row for each who was made. $1 is an array in JSON. As in the steps, slots
/// are locked before the clock is read. Whoever clashes with somebody makes all of it fail.
macro_rules! admission {
    (and $beside:literal) => {
        concat!(
            "with given as materialized (
                select * from json_to_recordset($1::text::json) as given (
                    place int, id uuid, username text, name_key text, email text, email_key text, created_at bigint,
                    proven_at bigint, external_id text, external_hash text, display_name text, language text,
                    handle text, handle_hash text, code text, code_hash text, life bigint, brought_by text,
                    created_message uuid, confirmed_message uuid)
            ), wanted as materialized (
                select distinct decode(brought_by, 'base64') as code_hash from given where brought_by is not null
            ), held as materialized (
                select c.code_hash, s.owner_id, c.ordinal, s.expires_at, s.recorded_at
                from wanted
                join code_strings c on c.code_hash = wanted.code_hash
                join code_slots s on s.owner_id = c.owner_id and s.code_id = c.id
                for share of s
            ), judged as materialized (
                select code_hash, owner_id, ordinal, expires_at, greatest(referral_now(), recorded_at) as now from held
            ), entrance as materialized (
                select given.*, judged.owner_id as referrer, judged.ordinal, judged.now
                from given
                left join judged on judged.code_hash = decode(given.brought_by, 'base64')
                    and judged.expires_at > judged.now
                where given.brought_by is null or judged.owner_id is not null
            ), person as (
                insert into users (id, username, email, name_key, email_key, created_at, is_manager, discoverable,
                                   email_verdict, email_proven_at, external_id, external_hash, display_name, language,
                                   handle)
                select id, username, email, name_key, email_key, created_at, false, false, 'unchecked', proven_at,
                       external_id, decode(external_hash, 'base64'), display_name, language, handle
                from entrance order by place
                on conflict (external_hash) where external_hash is not null do nothing
                returning id
            ), made as materialized (
                select entrance.*, referral_now() as made_at from entrance join person on person.id = entrance.id
            ), keys as (
                insert into logins (login_key, user_id)
                select name_key, id from made where name_key <> email_key
                union all select email_key, id from made where email_key <> ''
            ), named as (
                insert into handle_strings (handle_hash, owner_id) select decode(handle_hash, 'base64'), id from made
            ), string as (
                insert into code_strings (code_hash, owner_id, ordinal)
                select decode(code_hash, 'base64'), id, 1 from made
                returning id, owner_id
            ), code as (
                insert into codes (owner_id, ordinal, id, code, created_at, expires_at, by_service)
                select made.id, 1, string.id, made.code, made.made_at, made.made_at + made.life, true
                from made join string on string.owner_id = made.id
            ), slot as (
                insert into code_slots (owner_id, issued, version, code_id, code, expires_at, recorded_at)
                select made.id, 1, 1, string.id, made.code, made.made_at + made.life, made.made_at
                from made join string on string.owner_id = made.id
            ), referral as (
                insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status)
                select referrer, id, ordinal, now, 'confirmed' from made where referrer is not null order by place
            )",
            $beside,
            " select id, referrer from made"
        )
    };
}

sql! {
    ADMIT = { postgres: admission!(and "") };
    /// The same, and messages of the referrals.
    ADMIT_AND_TELL = {
        postgres: admission!(and ", messages as (
                insert into outbox (id, type, subject_id, data, at)
                select m.id, m.type, made.id,
                       json_build_object('id', made.id, 'referrer', json_build_object('id', made.referrer),
                                         'referee', json_build_object('id', made.id), 'state', 'confirmed',
                                         'version', m.version)::text, made.created_at
                from made cross join lateral (values (made.created_message, 'referral.created', 1),
                                                     (made.confirmed_message, 'referral.confirmed', 2))
                    as m (id, type, version)
                where made.referrer is not null and m.id is not null
            )"),
    };
}

/// A participant, with all that is written of one who is new.
pub struct NewMember<'a> {
    pub participant: NewParticipant<'a>,
    pub handle: &'a Handle,
    pub code: &'a Code,
    /// How long the code lives, in microseconds.
    pub life: i64,
    pub brought_by: Option<CodeKey>,
    /// Whether others are told of the referral.
    pub tells: bool,
}

/// A member as the statement reads them; hashes in base 64.
#[derive(Serialize)]
struct Given<'a> {
    place: usize,
    id: String,
    username: &'a str,
    name_key: &'a str,
    email: &'a str,
    email_key: &'a str,
    created_at: i64,
    proven_at: Option<i64>,
    external_id: &'a str,
    external_hash: String,
    display_name: Option<&'a str>,
    language: Option<&'a str>,
    handle: &'a str,
    handle_hash: String,
    code: &'a str,
    code_hash: String,
    life: i64,
    brought_by: Option<String>,
    created_message: Option<Uuid>,
    confirmed_message: Option<Uuid>,
}

impl<'a> Given<'a> {
    fn of(place: usize, member: &NewMember<'a>) -> Self {
        let NewMember { participant, handle, code, life, brought_by, tells } = member;
        let NewParticipant { user, external, name, language, handle: _ } = participant;
        let NewUser { id, username, email, name_key, email_key, created_at, email_proven, .. } = *user;
        let text = |hash: &[u8]| BASE64_STANDARD.encode(hash);
        Self {
            place,
            id: id.to_string(),
            username,
            name_key,
            email,
            email_key,
            created_at: created_at.0,
            proven_at: email_proven.then_some(created_at.0),
            external_id: external.as_str(),
            external_hash: text(external.hash().bytes()),
            display_name: *name,
            language: *language,
            handle: handle.as_str(),
            handle_hash: text(&handle.key().0),
            code: code.as_str(),
            code_hash: text(&code.key().0),
            life: *life,
            brought_by: brought_by.map(|key| text(&key.0)),
            created_message: tells.then(|| MessageId::new().0),
            confirmed_message: tells.then(|| MessageId::new().0),
        }
    }
}

/// The statement for these: all of them are told of, or none is.
fn statement(members: &[NewMember<'_>]) -> &'static Sql {
    if members.iter().any(|member| member.tells && member.brought_by.is_some()) { &ADMIT_AND_TELL } else { &ADMIT }
}

/// Somebody who was made, and who has brought them.
pub type Admitted = (UserId, Option<UserId>);

fn given(members: &[NewMember<'_>]) -> Result<String> {
    let given: Vec<Given<'_>> = members.iter().enumerate().map(|(place, member)| Given::of(place, member)).collect();
    serde_json::to_string(&given).map_err(|error| Error::Internal(format!("new participants: {error}")))
}

fn admitted(rows: &[Row]) -> Result<Vec<Admitted>> {
    rows.iter().map(|row| Ok((row.user(0)?, row.get::<Option<Uuid>>(1)?.map(UserId)))).collect()
}

/// Makes those who are new, as part of a unit of work; nothing where the engine has no such statement.
pub async fn admit(tx: &mut Tx<'_>, members: &[NewMember<'_>]) -> Result<Vec<Admitted>> {
    let rows = tx.attempt(statement(members), || Ok(params![given(members)?].into())).await?;
    admitted(&rows)
}

/// Makes somebody who is new, alone; nothing where the steps are to be taken.
pub async fn admit_one(db: &Db, actor: Actor, member: &NewMember<'_>) -> Result<Option<Admitted>> {
    let members = std::slice::from_ref(member);
    let given = given(members)?;
    match db.attempt(actor, statement(members), |_| params![given].into()).await? {
        Attempt::Written(rows) => Ok(admitted(&rows)?.pop()),
        Attempt::NotWritten | Attempt::NoSuchWay => Ok(None),
    }
}
