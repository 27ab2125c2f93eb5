//! What links lead to, and how often they were opened.

use crate::clicks::{Counts, LinkDay};
use crate::db::{Db, Row, Tx};
use crate::kernel::day::Day;
use crate::kernel::error::Result;
use crate::kernel::handle::InvitationKey;
use crate::kernel::ids::UserId;
use crate::kernel::link::{Leads, LinkTarget};
use crate::{params, sql};

use super::model::{DayFigures, Days, ReferrerRow};

sql! {
    /// Of a handle it is whatever code sits in its owner's slot. The last column tells whether the next follows it when
    /// its time is over: the service had made it, and nobody has ended it.
    FIND_BY_HANDLE = "select h.owner_id, s.version, s.code, s.expires_at,
                             coalesce(s.expires_at > referral_now(), false),
                             u.disabled_at is not null or u.erased_at is not null,
                             coalesce(u.display_name, case when u.external_id is null then u.username end, ''),
                             coalesce(c.by_service and c.revoked_at is null, false)
                      from handle_strings h join users u on u.id = h.owner_id
                      left join code_slots s on s.owner_id = h.owner_id
                      left join codes c on c.owner_id = s.owner_id and c.ordinal = s.issued
                      where h.handle_hash = $1";
    /// Of a code it is that code alone, whatever its owner has now, and nothing follows it.
    FIND_BY_CODE = "select c.owner_id, s.version, s.code, s.expires_at,
                           coalesce(s.code_id = c.id and s.expires_at > referral_now(), false),
                           u.disabled_at is not null or u.erased_at is not null,
                           coalesce(u.display_name, case when u.external_id is null then u.username end, ''), false
                    from code_strings c join users u on u.id = c.owner_id
                    left join code_slots s on s.owner_id = c.owner_id
                    where c.code_hash = $1";
    /// All that a node has counted, as one statement: the owners in one order, so that no two nodes hold each other up.
    ADD_CLICKS = {
        sqlite: "insert into clicks_daily (owner_id, day, clicks, visitors)
                 select unhex(value ->> 'owner'), value ->> 'day', value ->> 'clicks', value ->> 'visitors'
                 from json_each($1) where true
                 on conflict (owner_id, day) do update
                 set clicks = clicks_daily.clicks + excluded.clicks,
                     visitors = clicks_daily.visitors + excluded.visitors",
        postgres: "insert into clicks_daily (owner_id, day, clicks, visitors)
                   select owner, day, clicks, visitors
                   from jsonb_to_recordset($1::text::jsonb)
                        as counted (owner uuid, day bigint, clicks bigint, visitors bigint)
                   on conflict (owner_id, day) do update
                   set clicks = clicks_daily.clicks + excluded.clicks,
                       visitors = clicks_daily.visitors + excluded.visitors",
    };
    CLICKS = "select day, clicks, visitors from clicks_daily where owner_id = $1 and day >= $2 and day <= $3";
    /// The id takes a way through users, as in the lists of referrals.
    REGISTRATIONS = "select joined_at / 86400000000, count(*) from referrals
                     where referrer_id = (select id from users where id = $1) and joined_at >= $2 and joined_at < $3
                     group by 1";
    /// $1 and $2 are the last row of the part before, $3 how many rows are wanted.
    REFERRERS = "select r.referrer_id, u.username, u.handle, r.referrals, r.last_joined_at
                 from (select referrer_id, count(*) as referrals, max(joined_at) as last_joined_at
                       from referrals group by referrer_id) r
                 join users u on u.id = r.referrer_id
                 where r.referrals < $1 or (r.referrals = $1 and r.referrer_id > $2)
                 order by r.referrals desc, r.referrer_id limit $3";
}

/// Where a link leads, with the name that its owner shows (empty for a participant of whom the host has told none);
/// nothing when nobody's is called so.
pub async fn find(db: &Db, key: InvitationKey) -> Result<Option<(LinkTarget, String)>> {
    let sql = match key {
        InvitationKey::Handle(_) => &FIND_BY_HANDLE,
        InvitationKey::Code(_) => &FIND_BY_CODE,
    };
    db.row(sql, params![key.bytes()]).await?.map(|row| read(&row)).transpose()
}

fn read(row: &Row) -> Result<(LinkTarget, String)> {
    let (active, gone, renews): (bool, bool, bool) = (row.get(4)?, row.get(5)?, row.get(7)?);
    let code: Option<String> = row.get(2)?;
    let leads = match code {
        _ if gone => Leads::Gone,
        Some(code) if active => Leads::Code(code),
        _ if renews => Leads::Renewal,
        _ => Leads::Ended,
    };
    let ends: Option<i64> = row.get(3)?;
    let target = LinkTarget {
        owner: row.get(0)?,
        version: row.get::<Option<i64>>(1)?.unwrap_or(0),
        until: ends.filter(|_| matches!(leads, Leads::Code(_))).unwrap_or(i64::MAX),
        leads,
    };
    Ok((target, row.get(6)?))
}

/// Adds what was counted.
pub async fn add_clicks(tx: &mut Tx<'_>, rows: &[(LinkDay, Counts)]) -> Result<()> {
    let told: Vec<serde_json::Value> = rows
        .iter()
        .map(|((owner, day), counts)| {
            let owner = owner.0.simple().to_string();
            serde_json::json!({"owner": owner, "day": day.0, "clicks": counts.clicks, "visitors": counts.visitors})
        })
        .collect();
    tx.run(&ADD_CLICKS, &params![serde_json::Value::Array(told).to_string()]).await.map(drop)
}

/// What happened on somebody's link, for the days on which something did.
pub async fn figures(db: &Db, owner: UserId, days: Days) -> Result<Vec<DayFigures>> {
    let clicks = db.rows(&CLICKS, params![owner, days.from.0, days.to.0]).await?;
    let (begin, end) = (days.from.begin(), days.to.plus(1).begin());
    let joined = db.scan(&REGISTRATIONS, params![owner, begin, end]).await?;
    let clicks = clicks.iter().map(|row| {
        let (day, clicks, visitors) = (Day(row.get(0)?), row.get(1)?, row.get(2)?);
        Ok(DayFigures { day, clicks, visitors, registrations: 0 })
    });
    let joined = joined
        .iter()
        .map(|row| Ok(DayFigures { day: Day(row.get(0)?), registrations: row.get(1)?, ..DayFigures::default() }));
    clicks.chain(joined).collect()
}

/// Those who brought somebody, the most first, behind a row of the list.
pub async fn referrers(db: &Db, behind: Option<(i64, UserId)>, most: i64) -> Result<Vec<ReferrerRow>> {
    let (referrals, id) = behind.unwrap_or((i64::MAX, UserId(uuid::Uuid::nil())));
    let rows = db.scan(&REFERRERS, params![referrals, id, most]).await?;
    rows.iter()
        .map(|row| {
            Ok(ReferrerRow {
                id: row.user(0)?,
                username: row.get(1)?,
                handle: row.get(2)?,
                referrals: row.get(3)?,
                last_joined_at: row.time(4)?,
            })
        })
        .collect()
}
