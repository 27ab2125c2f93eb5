//! Recording and listing referrals.

use super::model::{Decision, Held, Latest, Referee, Referrer, Status, View, Viewer};
use super::store;
use crate::app::App;
use crate::config::Visibility;
use crate::db::Tx;
use crate::features::codes::actions::{hold_off, note_joins};
use crate::features::codes::model::HeldCode;
use crate::features::outbox;
use crate::features::outbox::model::Message;
use crate::jobs::{self, Kind, Outcome};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::{DecisionId, UserId};
use crate::kernel::page::{Cursor, Page, PageRequest};
use crate::kernel::time::Time;

/// One registration in so many asks for marks to be set. Any list then has about so many rows behind its last mark.
const FOLD_ONE_IN: u128 = 64;

/// Stands for the code of a referral that was made elsewhere: ours are numbered from 1.
const OF_ELSEWHERE: i64 = 0;

/// Records that a referee came with a code, as part of their registration.
pub async fn record(tx: &mut Tx<'_>, held: HeldCode, referee: UserId, status: Status, now: Time) -> Result<()> {
    store::insert(tx, held.owner, referee, held.ordinal, held.now, status).await?;
    if asks_to_fold(referee) {
        jobs::enqueue(tx, Kind::FoldReferrals, held.owner.to_string(), now).await?;
    }
    Ok(())
}

/// Records who brought somebody elsewhere: with no code of ours, and when is not known.
pub async fn bring(tx: &mut Tx<'_>, referrer: UserId, referee: UserId, now: Time) -> Result<()> {
    store::insert(tx, referrer, referee, OF_ELSEWHERE, now, Status::Confirmed).await
}

/// Asks for marks in a list that has become long at once.
pub async fn ask_to_fold(tx: &mut Tx<'_>, referrer: UserId, now: Time) -> Result<()> {
    jobs::enqueue(tx, Kind::FoldReferrals, referrer.to_string(), now).await.map(drop)
}

/// Whether a new referee asks for marks. By chance, which the end of an id is: no order of registrations keeps a list
/// from its turn.
pub fn asks_to_fold(referee: UserId) -> bool {
    referee.0.as_u128().is_multiple_of(FOLD_ONE_IN)
}

/// Counts a referral whose referee's address has passed, and says whether it did not count before.
pub async fn confirm(tx: &mut Tx<'_>, referee: UserId, now: Time) -> Result<bool> {
    let Some((referrer, decisions)) = store::confirm(tx, referee).await? else { return Ok(false) };
    outbox::actions::tell(tx, &Message::referral_confirmed(referrer, referee, decisions, now)).await?;
    Ok(true)
}

/// Tells others of a referral that was recorded, as part of the same unit of work.
pub async fn tell(tx: &mut Tx<'_>, referrer: UserId, referee: UserId, status: Status, now: Time) -> Result<()> {
    outbox::actions::tell(tx, &Message::referral_created(referrer, referee, status.word(), now)).await?;
    match status {
        Status::Confirmed => outbox::actions::tell(tx, &Message::referral_confirmed(referrer, referee, 0, now)).await,
        Status::Pending => Ok(()),
    }
}

/// How a referral stands, locked: it is decided about.
pub async fn lock(tx: &mut Tx<'_>, referee: UserId) -> Result<Option<Held>> {
    store::lock(tx, referee).await
}

/// How a referral stands until the unit of work has ended; nothing for whoever came by themselves.
pub async fn share(tx: &mut Tx<'_>, referee: UserId) -> Result<Option<Held>> {
    store::share(tx, referee).await
}

/// Notes what was decided of a referral that is locked, and tells others.
pub async fn decide(tx: &mut Tx<'_>, referee: UserId, (decision, id): (Decision, DecisionId), now: Time) -> Result<()> {
    let (referrer, status, decisions) = store::decide(tx, referee, decision, id).await?;
    let message = Message::referral_moderated(referrer, referee, (status.word(), decision.word()), decisions, now);
    outbox::actions::tell(tx, &message).await
}

/// A page of a referrer's referees, oldest first, as the viewer may see it. An unknown referrer has brought nobody.
pub async fn list(app: &App, referrer: UserId, viewer: Viewer, request: PageRequest) -> Result<Page<Referee>> {
    let (page, seen) = store::page(&app.db, referrer, viewer.user(), request).await?;
    let insider = viewer.is_insider(seen.by_manager, referrer);
    let shows_codes = insider || (seen.discoverable && viewer.may_read_codes());
    match View::of(insider, app.config.accounts.referees_visible_to) {
        View::Nothing => Err(Refusal::RefereesHidden.into()),
        view => Ok(page.map(|referee| referee.seen(view, shows_codes))),
    }
}

/// Those who came last with a referrer's codes, as the referrer's own page shows them: in full only where everybody may
/// see them so, for others may look on.
pub async fn latest(app: &App, referrer: UserId, before: Option<Cursor>, size: i64) -> Result<Latest> {
    let view = match app.config.accounts.referees_visible_to {
        Visibility::All => View::Full,
        Visibility::Owner | Visibility::Masked => View::Masked,
    };
    let mut latest = store::latest(&app.db, referrer, before, size).await?;
    latest.items = latest.items.into_iter().map(|referee| referee.seen(view, true)).collect();
    Ok(latest)
}

/// Who brought somebody.
pub async fn referrer_of(app: &App, referee: UserId) -> Result<Option<Referrer>> {
    store::referrer_of(&app.db, referee).await
}

/// Who brought somebody, and with which of their codes, in a unit of work.
pub async fn came_with(tx: &mut Tx<'_>, referee: UserId) -> Result<Option<(UserId, i64)>> {
    store::came_with(tx, referee).await
}

/// How many somebody brought.
pub async fn count(app: &App, referrer: UserId) -> Result<i64> {
    store::count(&app.db, referrer).await
}

/// The job that keeps pages and totals cheap.
pub async fn fold(app: &App, subject: &str) -> Result<Outcome> {
    let Some(referrer) = UserId::parse(subject) else { return Ok(Outcome::Done("no such referrer")) };
    app.db.write(Actor::SERVICE, referrer, |tx, referrer| Box::pin(set_marks(tx, *referrer))).await?;
    Ok(Outcome::Done("folded"))
}

async fn set_marks(tx: &mut Tx<'_>, referrer: UserId) -> Result<u64> {
    hold_off(tx, referrer).await?;
    note_joins(tx, referrer).await?;
    store::mark(tx, referrer).await
}
