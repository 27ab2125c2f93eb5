//! The sessions that a person has: programs' and our own pages', as the person sees and ends them.

use uuid::Uuid;

use crate::db::{Db, Row, Tx};
use crate::features::tokens::model::{Session, SessionKind};
use crate::kernel::error::Result;
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    /// Those that can still be used: $2 is now, $3 the last use of one that is not idle for too long.
    SESSIONS_OF = "select id, client_id, scope, created_at, authenticated_at, used_at, expires_at
                   from token_families
                   where user_id = $1 and ended_at is null and expires_at > $2 and used_at > $3
                   order by used_at desc, id limit $4";
    BROWSER_SESSIONS_OF = "select id, authenticated_at, used_at, expires_at from browser_sessions
                           where user_id = $1 and ended_at is null and expires_at > $2 and used_at > $3
                           order by used_at desc, id limit $4";
    END_FAMILY_OF = "update token_families set ended_at = $3 where id = $1 and user_id = $2 and ended_at is null";
    END_RECENT_FAMILIES = "update token_families set ended_at = $1
                           where ended_at is null and used_at > $2 returning id";
    END_ALL_FAMILIES = "update token_families set ended_at = $1 where ended_at is null";
    END_ALL_BROWSER_SESSIONS = "update browser_sessions set ended_at = $1 where ended_at is null";
    END_BROWSER_SESSION_OF = "update browser_sessions set ended_at = $3
                              where id = $1 and user_id = $2 and ended_at is null";
}

/// At most so many of each kind, those used last first.
pub async fn sessions_of(db: &Db, user: UserId, now: Time, used_after: Time, most: i64) -> Result<Vec<Session>> {
    let values = params![user, now, used_after, most];
    let families = db.rows(&SESSIONS_OF, values.clone()).await?;
    let browsers = db.rows(&BROWSER_SESSIONS_OF, values).await?;
    families.iter().map(family).chain(browsers.iter().map(browser)).collect()
}

fn family(row: &Row) -> Result<Session> {
    Ok(Session {
        id: row.get(0)?,
        kind: SessionKind::Tokens,
        client: Some(row.get(1)?),
        scope: Some(row.get(2)?),
        created_at: row.time(3)?,
        authenticated_at: row.time(4)?,
        used_at: row.time(5)?,
        expires_at: row.time(6)?,
    })
}

fn browser(row: &Row) -> Result<Session> {
    Ok(Session {
        id: row.get(0)?,
        kind: SessionKind::Browser,
        client: None,
        scope: None,
        created_at: row.time(1)?,
        authenticated_at: row.time(1)?,
        used_at: row.time(2)?,
        expires_at: row.time(3)?,
    })
}

/// Which kind of session it was; nothing when the user has none with this id.
pub async fn end_session_of(tx: &mut Tx<'_>, id: Uuid, user: UserId, now: Time) -> Result<Option<SessionKind>> {
    let values = params![id, user, now];
    if tx.run(&END_FAMILY_OF, &values).await? == 1 {
        return Ok(Some(SessionKind::Tokens));
    }
    Ok((tx.run(&END_BROWSER_SESSION_OF, &values).await? == 1).then_some(SessionKind::Browser))
}

/// Ends every session there is; those are returned that were used after a time.
pub async fn end_everybodys(tx: &mut Tx<'_>, now: Time, after: Time) -> Result<Vec<SessionId>> {
    let recent = tx.rows(&END_RECENT_FAMILIES, &params![now, after]).await?;
    tx.run(&END_ALL_FAMILIES, &params![now]).await?;
    tx.run(&END_ALL_BROWSER_SESSIONS, &params![now]).await?;
    recent.iter().map(|row| row.get(0).map(SessionId)).collect()
}
