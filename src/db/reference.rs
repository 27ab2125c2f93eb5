//! The tables of the reference service, in one state.

use tokio_postgres::Row;
use uuid::Uuid;

use super::Db;
use super::error::from_postgres;
use crate::kernel::error::{Error, Result};

/// Times there have no zone: they are the server's.
const CODES: &str = "select id::bigint, user_id, code::text, case when isfinite(expires_at) then \
                         (extract(epoch from expires_at at time zone current_setting('TimeZone')) * 1000000)::bigint end \
                     from referral_code order by id";
const USERS: &str = "select id, username::text, email::text, password::text from \"user\" order by id";
const REFERRALS: &str = "select user_id, referral_id from user_referrer order by referral_id, user_id";
const BEGIN: &str = "start transaction isolation level repeatable read read only; set local statement_timeout = 0";

#[derive(Clone, Debug)]
pub struct User {
    pub id: Uuid,
    pub username: String,
    pub email: String,
    pub password: String,
}

#[derive(Clone, Debug)]
pub struct Code {
    pub id: i64,
    pub owner: Uuid,
    pub code: String,
    /// Microseconds since 1970; nothing for one without an end.
    pub expires_at: Option<i64>,
}

/// All that the service keeps: people by id, codes by id, referrals (who invited, who was invited) by the latter.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub users: Vec<User>,
    pub codes: Vec<Code>,
    pub referrals: Vec<(Uuid, Uuid)>,
}

pub async fn read(db: &Db) -> Result<Tables> {
    let Db::Postgres(postgres) = db else {
        return Err(Error::Internal("the reference service keeps its tables in PostgreSQL".into()));
    };
    let mut lease = postgres.connection().await?;
    lease.begin(BEGIN).await?;
    let connection = lease.connection()?;
    let read = async || -> Result<Tables, tokio_postgres::Error> {
        let mut tables = Tables::default();
        for row in connection.query_typed(USERS, &[]).await? {
            let (id, username, email, password) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            tables.users.push(User { id, username, email, password });
        }
        for row in connection.query_typed(CODES, &[]).await? {
            tables.codes.push(code(&row)?);
        }
        for row in connection.query_typed(REFERRALS, &[]).await? {
            tables.referrals.push((row.try_get(0)?, row.try_get(1)?));
        }
        Ok(tables)
    };
    read().await.map_err(|error| from_postgres(&error, "the reference service's tables").into())
}

fn code(row: &Row) -> Result<Code, tokio_postgres::Error> {
    Ok(Code { id: row.try_get(0)?, owner: row.try_get(1)?, code: row.try_get(2)?, expires_at: row.try_get(3)? })
}
