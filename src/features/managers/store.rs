//! People, as those who run the program look for them. Nothing is written here.

use super::model::{AccountState, Clicks, Details, Filter, Person, SentMail};
use crate::db::{Db, Row, Sql, Value};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::kernel::verdict::Verdict;
use crate::{params, sql};
use uuid::Uuid;

sql! {
    /// By the beginning of a name or an address, in the order of these: $1 to $2 is what begins so, $3 the last that
    /// was seen. Whoever is found by both is found by the name. $5 to $7 are words to be met, or empty.
    BY_PREFIX = {
        sqlite: "select u.id, u.username, u.email, u.created_at, u.is_manager, u.disabled_at is not null,
                        u.erased_at is not null, u.email_verdict, l.login_key
                 from logins l join users u on u.id = l.user_id
                 where l.login_key >= $1 and l.login_key < $2 and l.login_key > $3
                     and (l.login_key = u.name_key or u.name_key < $1 or u.name_key >= $2)
                     and (u.email_verdict = $5 or $5 = '')
                     and (case when u.is_manager then 'yes' else 'no' end = $6 or $6 = '')
                     and (case when u.erased_at is not null then 'erased' when u.disabled_at is not null then 'disabled'
                               else 'active' end = $7 or $7 = '')
                 order by l.login_key limit $4",
        // One person for each login, in their order: else PostgreSQL may read all people and sort them.
        postgres: "select u.id, u.username, u.email, u.created_at, u.is_manager, u.is_disabled, u.is_erased,
                          u.email_verdict, l.login_key
                   from logins l cross join lateral (
                       select u.id, u.username, u.email, u.created_at, u.is_manager, u.email_verdict,
                              u.disabled_at is not null as is_disabled, u.erased_at is not null as is_erased
                       from users u
                       where u.id = l.user_id
                           and (l.login_key = u.name_key or u.name_key collate \"C\" < $1
                                or u.name_key collate \"C\" >= $2)
                           and (u.email_verdict = $5 or $5 = '')
                           and (case when u.is_manager then 'yes' else 'no' end = $6 or $6 = '')
                           and (case when u.erased_at is not null then 'erased' when u.disabled_at is not null
                                     then 'disabled' else 'active' end = $7 or $7 = '')
                       offset 0
                   ) u
                   where l.login_key collate \"C\" >= $1 and l.login_key collate \"C\" < $2
                       and l.login_key collate \"C\" > $3
                   order by l.login_key collate \"C\" limit $4",
    };
    /// The same of managers, who are few: from them to their names.
    MANAGERS_BY_PREFIX = {
        sqlite: "select u.id, u.username, u.email, u.created_at, u.is_manager, u.disabled_at is not null,
                        u.erased_at is not null, u.email_verdict, l.login_key
                 from users u cross join logins l
                 where u.is_manager and l.login_key in (u.name_key, u.email_key) and l.user_id = u.id
                     and l.login_key >= $1 and l.login_key < $2 and l.login_key > $3
                     and (l.login_key = u.name_key or u.name_key < $1 or u.name_key >= $2)
                     and (u.email_verdict = $5 or $5 = '')
                     and (case when u.is_manager then 'yes' else 'no' end = $6 or $6 = '')
                     and (case when u.erased_at is not null then 'erased' when u.disabled_at is not null then 'disabled'
                               else 'active' end = $7 or $7 = '')
                 order by l.login_key limit $4",
        postgres: "select u.id, u.username, u.email, u.created_at, u.is_manager, u.disabled_at is not null,
                          u.erased_at is not null, u.email_verdict, l.login_key
                   from users u cross join lateral (
                       select l.login_key from logins l
                       where l.login_key in (u.name_key, u.email_key) and l.user_id = u.id
                       offset 0
                   ) l
                   where u.is_manager
                       and l.login_key collate \"C\" >= $1 and l.login_key collate \"C\" < $2
                       and l.login_key collate \"C\" > $3
                       and (l.login_key = u.name_key or u.name_key collate \"C\" < $1
                            or u.name_key collate \"C\" >= $2)
                       and (u.email_verdict = $5 or $5 = '')
                       and (case when u.is_manager then 'yes' else 'no' end = $6 or $6 = '')
                       and (case when u.erased_at is not null then 'erased' when u.disabled_at is not null
                                 then 'disabled' else 'active' end = $7 or $7 = '')
                   order by l.login_key collate \"C\" limit $4",
    };
    /// The newest first, behind $1, and so for those below, each with an index that has these rows only.
    EVERYBODY = "select u.id, u.username, u.email, u.created_at, u.is_manager, u.disabled_at is not null,
                        u.erased_at is not null, u.email_verdict, ''
                 from users u
                 where u.id < $1 and (u.email_verdict = $3 or $3 = '')
                     and (case when u.is_manager then 'yes' else 'no' end = $4 or $4 = '')
                     and (case when u.erased_at is not null then 'erased' when u.disabled_at is not null then 'disabled'
                               else 'active' end = $5 or $5 = '')
                 order by u.id desc limit $2";
    MANAGERS = "select u.id, u.username, u.email, u.created_at, u.is_manager, u.disabled_at is not null,
                       u.erased_at is not null, u.email_verdict, ''
                from users u
                where u.is_manager and u.id < $1 and (u.email_verdict = $3 or $3 = '')
                    and (case when u.is_manager then 'yes' else 'no' end = $4 or $4 = '')
                    and (case when u.erased_at is not null then 'erased' when u.disabled_at is not null then 'disabled'
                              else 'active' end = $5 or $5 = '')
                order by u.id desc limit $2";
    DISABLED = "select u.id, u.username, u.email, u.created_at, u.is_manager, u.disabled_at is not null,
                       u.erased_at is not null, u.email_verdict, ''
                from users u
                where u.disabled_at is not null and u.id < $1 and (u.email_verdict = $3 or $3 = '')
                    and (case when u.is_manager then 'yes' else 'no' end = $4 or $4 = '')
                    and (case when u.erased_at is not null then 'erased' when u.disabled_at is not null then 'disabled'
                              else 'active' end = $5 or $5 = '')
                order by u.id desc limit $2";
    ERASED = "select u.id, u.username, u.email, u.created_at, u.is_manager, u.disabled_at is not null,
                     u.erased_at is not null, u.email_verdict, ''
              from users u
              where u.erased_at is not null and u.id < $1 and (u.email_verdict = $3 or $3 = '')
                  and (case when u.is_manager then 'yes' else 'no' end = $4 or $4 = '')
                  and (case when u.erased_at is not null then 'erased' when u.disabled_at is not null then 'disabled'
                            else 'active' end = $5 or $5 = '')
              order by u.id desc limit $2";
    DETAILS = "select id, username, email, created_at, is_manager, disabled_at is not null, erased_at is not null,
                      email_verdict, discoverable, password_hash is not null, disabled_at, erased_at, email_checked_at,
                      email_proven_at, handle, external_id, display_name, language,
                      new_email
               from users where id = $1";
    CLICKS_OF = "select cast(coalesce(sum(clicks), 0) as bigint), cast(coalesce(sum(visitors), 0) as bigint)
                 from clicks_daily where owner_id = $1";
    MAILS_OF = "select kind, language, created_at, sent_at, used_at from mails where user_id = $1
                order by created_at desc, id desc limit $2";
    /// So many people behind one, by id, with who brought them.
    USERS_PART = "select u.id, u.username, u.email, u.created_at, u.is_manager, u.disabled_at is not null,
                         u.erased_at is not null, u.email_verdict, r.referrer_id, r.status, u.external_id,
                         u.display_name
                  from users u left join referrals r on r.referee_id = u.id
                  where u.id > $1 order by u.id limit $2";
    /// So many referrals behind one, by number.
    REFERRALS_PART = "select r.id, r.referee_id, r.referrer_id, c.code, r.status, r.joined_at
                      from referrals r
                      left join codes c on c.owner_id = r.referrer_id and c.ordinal = r.code_ordinal
                      where r.id > $1 order by r.id limit $2";
    /// A referrer's own, for their export.
    REFEREES_PART = "select referee_id, joined_at, status from referrals
                     where referrer_id = (select id from users where id = $1) order by id limit $2";
}

/// The words that a statement compares.
fn words(filter: &Filter) -> [Value; 3] {
    let manager = filter.manager.map_or("", |is| if is { "yes" } else { "no" });
    let state = filter.state.map_or("", AccountState::word);
    params![filter.verdict.map_or("", Verdict::word), manager, state]
}

/// So many whose name or address begins so, behind a key, each with the key that was found.
pub async fn by_prefix(
    db: &Db,
    prefix: &str,
    behind: &str,
    filter: &Filter,
    most: i64,
) -> Result<Vec<(Person, String)>> {
    // No text goes on with the last character there is.
    let values = params![prefix, format!("{prefix}\u{10ffff}"), behind, most];
    let values: Vec<Value> = values.into_iter().chain(words(filter)).collect();
    let statement = if filter.manager == Some(true) { &MANAGERS_BY_PREFIX } else { &BY_PREFIX };
    found(db, statement, values).await
}

/// So many, the newest first, behind an id.
pub async fn everybody(db: &Db, behind: Uuid, filter: &Filter, most: i64) -> Result<Vec<(Person, String)>> {
    let statement = match filter {
        Filter { manager: Some(true), .. } => &MANAGERS,
        Filter { state: Some(AccountState::Disabled), .. } => &DISABLED,
        Filter { state: Some(AccountState::Erased), .. } => &ERASED,
        _ => &EVERYBODY,
    };
    let values: Vec<Value> = params![behind, most].into_iter().chain(words(filter)).collect();
    found(db, statement, values).await
}

async fn found(db: &Db, statement: &'static Sql, values: Vec<Value>) -> Result<Vec<(Person, String)>> {
    db.scan(statement, values).await?.iter().map(|row| Ok((person(row)?, row.get(8)?))).collect()
}

pub async fn details(db: &Db, user: UserId) -> Result<Option<Details>> {
    let Some(row) = db.row(&DETAILS, params![user]).await? else { return Ok(None) };
    let time = |index| Ok::<_, Error>(row.get::<Option<i64>>(index)?.map(Time));
    Ok(Some(Details {
        person: person(&row)?,
        discoverable: row.get(8)?,
        has_password: row.get(9)?,
        disabled_at: time(10)?,
        erased_at: time(11)?,
        email_checked_at: time(12)?,
        email_proven_at: time(13)?,
        handle: row.get(14)?,
        external_id: row.get(15)?,
        name: row.get(16)?,
        language: row.get(17)?,
        new_email: row.get(18)?,
    }))
}

pub async fn clicks(db: &Db, user: UserId) -> Result<Clicks> {
    let row = db.row(&CLICKS_OF, params![user]).await?;
    let row = row.ok_or_else(|| Error::inconsistent("clicks_daily", "owner_id", user))?;
    Ok(Clicks { clicks: row.get(0)?, visitors: row.get(1)? })
}

/// The newest first.
pub async fn mails(db: &Db, user: UserId, most: i64) -> Result<Vec<SentMail>> {
    let mail = |row: &Row| {
        let word: String = row.get(0)?;
        Ok(SentMail {
            kind: MailKind::parse(&word).ok_or_else(|| Error::inconsistent("mails", "kind", word))?,
            language: row.get(1)?,
            created_at: row.time(2)?,
            sent_at: row.get::<Option<i64>>(3)?.map(Time),
            used_at: row.get::<Option<i64>>(4)?.map(Time),
        })
    };
    db.rows(&MAILS_OF, params![user, most]).await?.iter().map(mail).collect()
}

fn person(row: &Row) -> Result<Person> {
    let word: String = row.get(7)?;
    Ok(Person {
        id: row.user(0)?,
        username: row.get(1)?,
        email: row.get(2)?,
        created_at: row.time(3)?,
        is_manager: row.get(4)?,
        state: AccountState::of(row.get(5)?, row.get(6)?),
        verdict: Verdict::parse(&word).ok_or_else(|| Error::inconsistent("users", "email_verdict", word))?,
    })
}

/// Somebody, with who brought them and how that stands.
pub struct UserLine {
    pub person: Person,
    pub referrer: Option<Uuid>,
    pub status: Option<String>,
    pub external_id: Option<String>,
    pub name: Option<String>,
}

pub async fn users_part(db: &Db, behind: Uuid, most: i64) -> Result<Vec<UserLine>> {
    let rows = db.scan(&USERS_PART, params![behind, most]).await?;
    let line = |row: &Row| {
        Ok(UserLine {
            person: person(row)?,
            referrer: row.get(8)?,
            status: row.get(9)?,
            external_id: row.get(10)?,
            name: row.get(11)?,
        })
    };
    rows.iter().map(line).collect()
}

/// Who came with whose code.
pub struct ReferralLine {
    pub number: i64,
    pub referee: Uuid,
    pub referrer: Uuid,
    /// Empty once its owner was erased.
    pub code: Option<String>,
    pub status: String,
    pub joined_at: Time,
}

pub async fn referrals_part(db: &Db, behind: i64, most: i64) -> Result<Vec<ReferralLine>> {
    let rows = db.scan(&REFERRALS_PART, params![behind, most]).await?;
    let line = |row: &Row| {
        Ok(ReferralLine {
            number: row.get(0)?,
            referee: row.get(1)?,
            referrer: row.get(2)?,
            code: row.get(3)?,
            status: row.get(4)?,
            joined_at: row.time(5)?,
        })
    };
    rows.iter().map(line).collect()
}

/// The first of those whom somebody brought: who, when, and how it stands.
pub async fn referees(db: &Db, referrer: UserId, most: i64) -> Result<Vec<(UserId, Time, String)>> {
    let rows = db.scan(&REFEREES_PART, params![referrer, most]).await?;
    rows.iter().map(|row| Ok((row.user(0)?, row.time(1)?, row.get(2)?))).collect()
}
