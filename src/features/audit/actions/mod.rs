//! Noting what was done, and reading it.

pub mod chain;
pub mod keys;
pub mod verify;

use std::time::Duration;

use uuid::Uuid;

use crate::app::App;
use crate::db::Tx;
use crate::features::audit::model::chain::{Chained, Head};
use crate::features::audit::model::{Event, Record};
use crate::features::audit::store;
pub use crate::features::audit::store::Wanted;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;

/// A person gets all that is known of them this often.
pub const EXPORT_EVERY: Duration = Duration::from_secs(3600);

/// Notes what a unit of work does, as part of it: who does it, the unit knows.
pub async fn record(tx: &mut Tx<'_>, now: Time, event: Event) -> Result<()> {
    let mut record = Record::new(now, tx.actor(), &event);
    record.mac = tx.signature(&record.signed())?;
    store::insert(tx, &record).await
}

/// A part of the list, the newest first, and whether there is more.
pub async fn list(app: &App, wanted: Wanted) -> Result<(Vec<Chained>, Option<Uuid>)> {
    let size = usize::try_from(wanted.size).unwrap_or(0);
    let mut rows = store::list(&app.db, &Wanted { size: wanted.size + 1, ..wanted }).await?;
    let more = rows.len() > size;
    rows.truncate(size);
    let next = rows.last().filter(|_| more).map(|row| row.record.id);
    Ok((rows, next))
}

/// The last place of the chain.
pub async fn head(app: &App) -> Result<Head> {
    store::head(&app.db).await
}

/// Notes that somebody has asked for all that is known of them, unless they have lately. The caller has locked the
/// user.
pub async fn record_own_export(tx: &mut Tx<'_>, user: UserId, now: Time, limited: bool) -> Result<()> {
    if limited
        && let Some(last) = store::last_own_export(tx, user.0).await?
        && now.is_soon_after(last, EXPORT_EVERY)
    {
        return Err(Error::Limited(last.plus(EXPORT_EVERY).since(now)));
    }
    record(tx, now, Event::UserExported(user)).await
}
