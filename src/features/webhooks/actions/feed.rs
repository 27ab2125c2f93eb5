//! The same messages for who cannot receive: read in the order of their numbers.

use std::time::Duration;

use tokio::time::Instant;

use super::named;
use crate::app::App;
use crate::features::outbox;
use crate::features::outbox::model::Stored;
use crate::kernel::error::{Refusal, Result};

/// Between two looks while somebody waits: what another node has numbered, and the word to stop, are seen so.
const PERIOD: Duration = Duration::from_millis(500);

/// Messages behind a number, and the number to go on behind. Where there are none, waits for some so long at most; no
/// connection to the database is held meanwhile.
pub async fn read(app: &App, after: Option<i64>, wait: Duration, most: i64) -> Result<(Vec<Stored>, i64)> {
    if !app.config.webhooks.feed {
        return Err(Refusal::FeedOff.into());
    }
    let until = Instant::now() + wait;
    let (last, forgotten) = outbox::actions::ends(app).await?;
    let after = after.unwrap_or(forgotten);
    // From before what is kept, or of a database that was put back to an earlier day.
    if after < forgotten || after > last {
        return Err(Refusal::CursorExpired.into());
    }
    loop {
        let told = app.told.notified();
        tokio::pin!(told);
        // From here on nothing is missed.
        told.as_mut().enable();
        let found = outbox::actions::behind(app, after, most).await?;
        let left = until.saturating_duration_since(Instant::now());
        if !found.is_empty() || left.is_zero() || app.stopping() {
            let behind = found.last().and_then(|last| last.seq).unwrap_or(after);
            return Ok((named(app, found).await?, behind));
        }
        tokio::select! {
            () = told => {}
            () = tokio::time::sleep(left.min(PERIOD)) => {}
        }
    }
}
