//! Counting clicks without keeping who clicked: in memory first, then by day.

use std::net::IpAddr;

use crate::app::App;
use crate::features::links::model::crawlers::{is_crawler, is_prefetch};
use crate::features::links::model::{DayFigures, Days, ReferrerRow};
use crate::features::links::store;
use crate::kernel::actor::Actor;
use crate::kernel::day::Day;
use crate::kernel::error::{Error, Result, Storage};
use crate::kernel::ids::UserId;

/// Days of links that one unit writes.
const MOST_ROWS: usize = 2000;

/// What a browser says that opens a link.
pub struct Opening<'a> {
    pub client: IpAddr,
    pub agent: &'a str,
    /// Whatever may say that nobody has opened it yet.
    pub purposes: Vec<&'a str>,
}

impl Opening<'_> {
    /// Whether a person has opened it, as far as one can tell.
    pub fn is_by_a_person(&self) -> bool {
        !is_crawler(self.agent) && !self.purposes.iter().any(|purpose| is_prefetch(purpose))
    }
}

/// Counts a link that was opened by a person.
pub fn count(app: &App, owner: UserId, opening: &Opening<'_>) -> Result<()> {
    app.clicks.count(owner, (opening.client, opening.agent), app.clock.now(), || app.random())
}

/// Writes what this node has counted. What could not be written is written the next time.
pub async fn flush(app: &App) -> Result<()> {
    loop {
        let rows = app.clicks.take(MOST_ROWS);
        if rows.is_empty() {
            return Ok(());
        }
        let kept = rows.clone();
        match app.db.write(Actor::SERVICE, rows, |tx, rows| Box::pin(store::add_clicks(tx, rows))).await {
            Ok(()) => {}
            // It may be written: rather lost than counted twice.
            Err(error @ Error::Storage(Storage::OutcomeUnknown(_))) => return Err(error),
            Err(error) => {
                app.clicks.put_back(kept);
                return Err(error);
            }
        }
    }
}

/// What happened on somebody's link, a row for each day.
pub async fn figures(app: &App, owner: UserId, days: Days) -> Result<Vec<DayFigures>> {
    let empty = (0..days.length()).map(|at| DayFigures { day: days.from.plus(at), ..DayFigures::default() });
    let mut figures: Vec<DayFigures> = empty.collect();
    for row in store::figures(&app.db, owner, days).await? {
        let place = usize::try_from(row.day.0.saturating_sub(days.from.0)).ok().and_then(|at| figures.get_mut(at));
        if let Some(day) = place {
            day.clicks += row.clicks;
            day.visitors += row.visitors;
            day.registrations += row.registrations;
        }
    }
    Ok(figures)
}

/// Today, by the clock that days are counted by.
pub fn today(app: &App) -> Day {
    Day::of(app.clock.now())
}

/// Those who brought somebody, the most first; one more than asked for if there are more.
pub async fn referrers(app: &App, behind: Option<(i64, UserId)>, size: i64) -> Result<Vec<ReferrerRow>> {
    store::referrers(&app.db, behind, size.saturating_add(1)).await
}
