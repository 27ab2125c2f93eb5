//! What was decided by hand.

use uuid::Uuid;

use crate::db::Tx;
use crate::features::rewards::model::Money;
use crate::features::rewards::model::decision::About;
use crate::kernel::actor::Who;
use crate::kernel::error::Result;
use crate::kernel::ids::{DecisionId, UserId};
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    INSERT_DECISION = "insert into decisions
            (id, about, about_id, person_id, decision, unit, amount, note, by_kind, by_id, at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    DECIDED_OF = "select about_id from decisions where id = $1 and about = 'referral' and decision = 'deny'";
    FORGET_NOTES = "update decisions set note = null where person_id = $1 and note is not null";
    HOLD_HOLDER = {
        sqlite: "select id from users where id = $1 and erased_at is null",
        postgres: "select id from users where id = $1 and erased_at is null for share",
    };
}

/// A decision that is about to be written; who takes it, the unit of work knows.
pub struct NewDecision<'a> {
    pub id: DecisionId,
    pub about: About,
    pub about_id: Uuid,
    pub person: UserId,
    pub decision: &'static str,
    pub money: Option<&'a Money>,
    pub note: Option<&'a str>,
    pub now: Time,
}

pub async fn insert(tx: &mut Tx<'_>, new: &NewDecision<'_>) -> Result<()> {
    let (kind, by) = match tx.actor().who {
        Who::Anonymous => ("anonymous", None),
        Who::Person(user) => ("person", Some(user.0)),
        Who::Manager(user) => ("manager", Some(user.0)),
        Who::Program(client) => ("program", Some(client.0)),
        Who::Operator => ("operator", None),
        Who::Service => ("service", None),
    };
    let values = params![
        new.id,
        new.about.word(),
        new.about_id,
        new.person,
        new.decision,
        new.money.map(|money| money.unit.as_str()),
        new.money.map(|money| money.amount),
        new.note,
        kind,
        by,
        new.now,
    ];
    tx.run(&INSERT_DECISION, &values).await.map(drop)
}

/// Whose referral was denied by this decision.
pub async fn denied(tx: &mut Tx<'_>, id: DecisionId) -> Result<Option<UserId>> {
    tx.row(&DECIDED_OF, &params![id]).await?.map(|row| row.user(0)).transpose()
}

/// Empties what managers have written about somebody.
pub async fn forget_notes(tx: &mut Tx<'_>, person: UserId) -> Result<()> {
    tx.run(&FORGET_NOTES, &params![person]).await.map(drop)
}

/// Whether there is somebody of this id, who is not erased until the unit of work has ended.
pub async fn hold_holder(tx: &mut Tx<'_>, holder: UserId) -> Result<bool> {
    Ok(tx.row(&HOLD_HOLDER, &params![holder]).await?.is_some())
}
