//! Versions of rules.

use crate::db::{Db, Row, Tx};
use crate::features::rewards::model::rules::{Rule, Rules};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;
use crate::kernel::program::DEFAULT;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    RULES_IN_FORCE = "select r.version, r.rules from programs p join program_rules r on r.program_id = p.id
                      where p.slug = $1 order by r.version desc limit 1";
    RULES_OF_VERSION = "select r.version, r.rules from programs p join program_rules r on r.program_id = p.id
                        where p.slug = $1 and r.version = $2";
    /// The program is locked.
    INSERT_RULES = "insert into program_rules (program_id, version, rules, created_at, created_by)
        select p.id, coalesce((select max(r.version) from program_rules r where r.program_id = p.id), 0) + 1, $2, $3, $4
        from programs p where p.slug = $1
        returning version";
}

/// The rules in force; none while there are none.
pub async fn in_force(db: &Db) -> Result<Rules> {
    db.row(&RULES_IN_FORCE, params![DEFAULT]).await?.map_or_else(|| Ok(Rules::default()), |row| read(&row))
}

/// As [`in_force`], in a unit of work.
pub async fn in_force_within(tx: &mut Tx<'_>) -> Result<Rules> {
    tx.row(&RULES_IN_FORCE, &params![DEFAULT]).await?.map_or_else(|| Ok(Rules::default()), |row| read(&row))
}

pub async fn of_version(db: &Db, version: i64) -> Result<Option<Rules>> {
    db.row(&RULES_OF_VERSION, params![DEFAULT, version]).await?.map(|row| read(&row)).transpose()
}

/// As [`of_version`], in a unit of work.
pub async fn of_version_within(tx: &mut Tx<'_>, version: i64) -> Result<Option<Rules>> {
    tx.row(&RULES_OF_VERSION, &params![DEFAULT, version]).await?.map(|row| read(&row)).transpose()
}

/// Makes the next version of a program that is locked, and says which it is.
pub async fn insert(tx: &mut Tx<'_>, rules: &[Rule], by: UserId, now: Time) -> Result<i64> {
    let row = tx.row(&INSERT_RULES, &params![DEFAULT, Rules::written(rules), now, by]).await?;
    row.ok_or_else(|| Error::inconsistent("programs", "slug", DEFAULT))?.get(0)
}

fn read(row: &Row) -> Result<Rules> {
    let (version, text): (i64, String) = (row.get(0)?, row.get(1)?);
    Rules::stored(version, &text).ok_or_else(|| Error::inconsistent("program_rules", "rules", version))
}
