//! Telling, as part of what is told of.

use uuid::Uuid;

use super::model::{Message, Stored};
use super::store;
use crate::app::App;
use crate::db::Tx;
use crate::kernel::actor::Actor;
use crate::kernel::error::Result;
use crate::kernel::ids::MessageId;
use crate::kernel::time::Time;

/// Messages that one statement writes.
const AT_ONCE: usize = 512;

/// Writes a message as part of a unit of work, if anybody is told; the caller rings [`App::to_tell`] after the commit,
/// so that nobody waits for the next look.
pub async fn tell(tx: &mut Tx<'_>, message: &Message) -> Result<()> {
    store::tell(tx, message).await
}

/// As [`tell`], of several things at once.
pub async fn tell_all(tx: &mut Tx<'_>, messages: &[Message]) -> Result<()> {
    for some in messages.chunks(AT_ONCE) {
        store::tell_all(tx, some).await?;
    }
    Ok(())
}

/// Whether anybody is told, as it is for a unit of work: for those that would have to look up what to tell.
pub async fn is_heard_within(tx: &mut Tx<'_>) -> Result<bool> {
    store::is_heard_within(tx).await
}

/// Whether anybody is told, as it was at most a second ago: for units of work that are faster where nobody is. Whoever
/// makes the first endpoint waits for as long, so that nothing that begins after is not told.
pub async fn is_heard(app: &App) -> Result<bool> {
    Ok(*app.heard.get(store::is_heard(&app.db)).await?)
}

/// Whether anybody is told, as it is.
pub async fn is_heard_now(app: &App) -> Result<bool> {
    store::is_heard(&app.db).await
}

/// Notes whether messages are kept for the feed.
pub async fn open(app: &App) -> Result<()> {
    let on = app.config.webhooks.feed;
    app.db.write(Actor::SERVICE, on, |tx, on| Box::pin(store::set_feed(tx, *on))).await?;
    app.heard.forget();
    Ok(())
}

/// Whether messages wait for their numbers.
pub async fn is_waiting(app: &App) -> Result<bool> {
    store::is_waiting(&app.db).await
}

/// Gives committed messages the next numbers, as part of a unit of work, and says the first and the last of these;
/// nothing where none waits. Whoever writes messages waits for nobody: this alone locks the head, so that of two
/// numbers the greater is committed last, and who has read up to one has missed none before it.
pub async fn number(tx: &mut Tx<'_>, most: i64, now: Time) -> Result<Option<(i64, i64)>> {
    let last = store::lock(tx).await?;
    let waiting: Vec<Uuid> = store::unnumbered(tx, most).await?;
    if waiting.is_empty() {
        return Ok(None);
    }
    store::number(tx, &waiting, last, now).await?;
    Ok(Some((last + 1, last + waiting.len() as i64)))
}

pub async fn message(app: &App, id: MessageId) -> Result<Option<Stored>> {
    store::message(&app.db, id).await
}

/// Those of these that are there, in any order.
pub async fn messages(app: &App, ids: &[MessageId]) -> Result<Vec<Stored>> {
    store::messages(&app.db, ids).await
}

/// So many messages behind a number, in their order.
pub async fn behind(app: &App, seq: i64, most: i64) -> Result<Vec<Stored>> {
    store::behind(&app.db, seq, most).await
}

/// The last number that was given, and the last of those that were removed.
pub async fn ends(app: &App) -> Result<(i64, i64)> {
    store::ends(&app.db).await
}

/// Removes messages from before a time, as part of a unit of work, and says up to which number.
pub async fn forget(tx: &mut Tx<'_>, before: Time, most: i64) -> Result<Option<i64>> {
    store::lock(tx).await?;
    store::forget(tx, before, most).await
}
