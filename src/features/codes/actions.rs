//! Making, finding and ending codes.

pub mod issued;
pub mod moving;

pub use self::issued::sweep;

use std::sync::Arc;
use std::time::Duration;

use self::issued::Draw;
use super::model::{HeldCode, OwnedCode, Slot, ValidCode};
use super::store;
use crate::app::App;
use crate::cache::changes::announce_code;
use crate::db::{Tx, Work};
use crate::features::programs;
use crate::idempotency::Sent;
use crate::kernel::active_code::ActiveCode;
use crate::kernel::caller::Subject;
use crate::kernel::code::{Code, CodeKey};
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::handle::{HandleKey, InvitationKey};
use crate::kernel::ids::UserId;
use crate::kernel::page::{Cursor, Page, PageRequest, Start};
use crate::kernel::time::Time;

/// Drawing a taken string this often means that the random source is broken.
const DRAWS: usize = 8;
/// Within which the codes that a user makes are counted.
const DAY: Duration = Duration::from_secs(24 * 3600);

struct NewCode {
    owner: UserId,
    /// One that was chosen, or several that were drawn.
    candidates: Vec<Code>,
    chosen: bool,
    expires_at: Time,
    replace: bool,
    behind: Option<i64>,
    /// How many the owner may make within a day.
    most: Option<i64>,
}

/// A code that somebody wants to have.
pub struct Wanted {
    /// The string that they choose; nothing for one that is drawn.
    pub code: Option<Code>,
    pub expires_at: Time,
    /// Whether the active one, if any, is revoked in the same step.
    pub replace: bool,
    /// The owner's codes that they know of: where there are more meanwhile, nothing is made.
    pub behind: Option<i64>,
}

/// Makes a code.
pub async fn create(app: &App, sent: impl Into<Sent<OwnedCode>>, owner: UserId, wanted: Wanted) -> Result<OwnedCode> {
    let Wanted { code, expires_at, replace, behind } = wanted;
    let chosen = code.is_some();
    let candidates = match code {
        Some(code) => vec![code],
        None => app.random_codes(DRAWS)?,
    };
    let most = app.limits.codes_a_day();
    let new = NewCode { owner, candidates, chosen, expires_at, replace, behind, most };
    let sent = sent.into().of(|(made, _): &(OwnedCode, i64)| made);
    let made = app.write_for(sent, owner, new, |tx, new| Box::pin(make(tx, new))).await;
    let (made, version) = app.limits.tell_of_codes(made)?;
    app.code_changed(owner, version).await;
    Ok(made)
}

async fn make(tx: &mut Tx<'_>, new: &NewCode) -> Result<(OwnedCode, i64)> {
    let mut slot = store::lock(tx, new.owner).await?;
    if !store::owner_is_live(tx, new.owner).await? {
        return Err(Refusal::InvalidToken.into());
    }
    if new.behind.is_some_and(|known| known != slot.issued) {
        return Err(Refusal::ActiveCodeExists.into());
    }
    if new.replace && slot.active().is_some() {
        after_joins(tx, &mut slot).await?;
    }
    if new.expires_at <= slot.now {
        return Err(Refusal::ExpiresInPast.into());
    }
    // Before the string is claimed: who has a code learns nothing about the strings of others.
    if slot.active().is_some() && !new.replace {
        return Err(Refusal::ActiveCodeExists.into());
    }
    if let Some(most) = new.most {
        within_a_day(tx, &slot, most).await?;
    }
    let Some((id, code)) = claim(tx, &slot, &new.candidates).await? else {
        return Err(if new.chosen {
            Refusal::CodeTaken.into()
        } else {
            Error::Internal(format!("{DRAWS} codes in a row were taken"))
        });
    };
    if slot.active().is_some() {
        store::revoke(tx, slot.owner, slot.issued, slot.now).await?;
    }
    let made = store::fill(tx, &slot, (id, code), new.expires_at, false).await?;
    let version = slot.version + 1;
    announce_code(tx, slot.owner, version).await?;
    Ok((made, version))
}

/// Takes the first of these strings that nobody has or had, for the next code of a locked slot.
async fn claim<'c>(tx: &mut Tx<'_>, slot: &Slot, candidates: &'c [Code]) -> Result<Option<(i64, &'c Code)>> {
    for code in candidates {
        if let Some(id) = store::claim(tx, code.key(), slot.owner, slot.issued + 1).await? {
            return Ok(Some((id, code)));
        }
    }
    Ok(None)
}

/// Refuses a code beyond so many within a day. The codes count themselves: of those made before, the one so many back
/// must be old enough. It is judged under the lock of the slot, so it is exact, on any number of nodes.
async fn within_a_day(tx: &mut Tx<'_>, slot: &Slot, most: i64) -> Result<()> {
    let first = slot.issued + 1 - most;
    if first < 1 {
        return Ok(());
    }
    let Some(made) = store::made_at(tx, slot.owner, first).await? else { return Ok(()) };
    // What is dated more than a day ahead was dated by a clock that was wrong, and tells nothing.
    if slot.now.since(made) >= DAY || made.since(slot.now) >= DAY {
        return Ok(());
    }
    Err(Error::CodesSpent(made.plus(DAY).since(slot.now)))
}

/// Revokes a code of the caller's, also one that has expired. From here on no node accepts it.
pub async fn revoke(app: &App, sent: Sent<()>, owner: UserId, typed: &str) -> Result<()> {
    let Some(key) = CodeKey::of(typed) else { return Err(Refusal::CodeNotFound.into()) };
    let end: Work<(UserId, CodeKey), i64> = |tx, (owner, key)| Box::pin(end(tx, *owner, *key));
    let version = app.write_for(sent.settled(&())?, owner, (owner, key), end).await?;
    app.code_changed(owner, version).await;
    Ok(())
}

async fn end(tx: &mut Tx<'_>, caller: UserId, key: CodeKey) -> Result<i64> {
    let Some((id, owner, ordinal)) = store::find(tx, key).await? else { return Err(Refusal::CodeNotFound.into()) };
    if owner != caller {
        return Err(Refusal::NotYourCode.into());
    }
    let mut slot = store::lock(tx, owner).await?;
    after_joins(tx, &mut slot).await?;
    if !store::revoke(tx, owner, ordinal, slot.now).await? {
        return Err(Refusal::CodeNotFound.into());
    }
    if slot.current.as_ref().is_some_and(|current| current.id == id) {
        store::empty(tx, &slot).await?;
    } else {
        store::touch(tx, owner).await?;
    }
    announce_code(tx, owner, slot.version + 1).await?;
    Ok(slot.version + 1)
}

/// Brings the time of a locked slot behind those of all referrals: a code that ends now has referred nobody after its
/// end. (Registrations note no time in the slot, which they share.)
async fn after_joins(tx: &mut Tx<'_>, slot: &mut Slot) -> Result<()> {
    if let Some(after) = store::after_joins(tx, slot.owner).await? {
        slot.now = slot.now.max(after);
    }
    Ok(())
}

/// Keeps in a slot that is held off until when referrals are recorded, before they get a mark: nobody looks for the
/// time of those behind a mark again.
pub async fn note_joins(tx: &mut Tx<'_>, owner: UserId) -> Result<()> {
    match store::after_joins(tx, owner).await? {
        Some(after) => store::note_time(tx, owner, after).await,
        None => Ok(()),
    }
}

/// The caller's codes, dead ones included, oldest first.
pub async fn list(app: &App, owner: UserId, request: PageRequest) -> Result<Page<OwnedCode>> {
    store::list(&app.db, owner, request).await
}

/// The active code behind an address, unless its owner does not want to be found by others. The one answer for every
/// miss: nobody there, no active code, does not want to be found.
pub async fn find_by_email(app: &App, caller: Subject, email: &Email) -> Result<Arc<ActiveCode>> {
    let found = app.codes.get(email.key(), store::active_by_email(&app.db, email.key())).await?;
    found
        .filter(|code| code.discoverable || caller == Subject::Person(UserId(code.owner)))
        .ok_or_else(|| Refusal::NoActiveCode.into())
}

/// The code that the owner was given last, dead or alive.
pub async fn latest_of(app: &App, owner: UserId) -> Result<Option<OwnedCode>> {
    let first = store::list(&app.db, owner, PageRequest { start: Start::Page(1), size: 1 }).await?;
    if first.total <= 1 {
        return Ok(first.items.into_iter().next());
    }
    let last = PageRequest { start: Start::After(Cursor(first.total - 1)), size: 1 };
    Ok(store::list(&app.db, owner, last).await?.items.into_iter().next())
}

/// The owner's active code.
pub async fn active_of(app: &App, owner: UserId) -> Result<Option<ActiveCode>> {
    store::active_by_owner(&app.db, owner).await
}

/// Whether a code or a handle would refer somebody now, and whose it is.
pub async fn validate(app: &App, typed: &str) -> Result<Option<ValidCode>> {
    let Some(key) = InvitationKey::of(typed) else { return Ok(None) };
    if let Some(code) = store::active_by_key(&app.db, key).await? {
        return Ok(Some(ValidCode { owner_name: code.username, expires_at: Some(Time(code.expires_at)) }));
    }
    let InvitationKey::Handle(key) = key else { return Ok(None) };
    let owner = store::find_handle(&app.db, key).await?.filter(|owner| owner.is_due);
    let Some(owner) = owner else { return Ok(None) };
    let renews = programs::actions::current(app).await?.auto_renew;
    Ok(renews.then_some(ValidCode { owner_name: owner.name, expires_at: None }))
}

/// Holds a code for a registration: it stays what it is until the commit. A handle stands for the code that is active
/// then, and for the next where the service had issued one whose time is over: that is made with `renewal`.
pub async fn hold(tx: &mut Tx<'_>, key: InvitationKey, renewal: Option<&Draw>) -> Result<HeldCode> {
    let refused = || Error::from(Refusal::CodeNotUsable);
    let (owner, named) = match key {
        InvitationKey::Code(key) => {
            let (id, owner, _) = store::find(tx, key).await?.ok_or_else(refused)?;
            (owner, Some(id))
        }
        InvitationKey::Handle(key) => {
            let owner = store::owner_of_handle(tx, key).await?.ok_or_else(refused)?;
            if let Some(draw) = renewal.filter(|_| owner.is_due) {
                return issued::renew(tx, (key, owner.id), draw).await?.ok_or_else(refused);
            }
            (owner.id, None)
        }
    };
    let slot = store::lock_shared(tx, owner).await?.ok_or_else(refused)?;
    match slot.active() {
        // The slot's code is the last that was made.
        Some(active) if named.is_none_or(|id| active.id == id) => {
            Ok(HeldCode { owner, ordinal: slot.issued, now: slot.now })
        }
        _ => Err(refused()),
    }
}

/// Whose code or handle this is, whether or not it is still good, and which of their codes, if it is one.
pub async fn origin(tx: &mut Tx<'_>, key: InvitationKey) -> Result<Option<(UserId, Option<i64>)>> {
    match key {
        InvitationKey::Code(key) => Ok(store::find(tx, key).await?.map(|(_, owner, ordinal)| (owner, Some(ordinal)))),
        InvitationKey::Handle(key) => Ok(store::owner_of_handle(tx, key).await?.map(|owner| (owner.id, None))),
    }
}

/// Takes a handle for its owner, for ever, as part of a unit of work; false when it was taken before.
pub async fn claim_handle(tx: &mut Tx<'_>, key: HandleKey, owner: UserId) -> Result<bool> {
    store::claim_handle(tx, key, owner).await
}

/// Holds off registrations with an owner's codes until the commit.
pub async fn hold_off(tx: &mut Tx<'_>, owner: UserId) -> Result<()> {
    store::lock(tx, owner).await.map(drop)
}

/// Ends an owner's active code as part of a unit of work, and removes all their strings if they are to be `erased`. The
/// caller tells [`App::code_changed`] the version after it.
pub async fn end_all(tx: &mut Tx<'_>, owner: UserId, erased: bool) -> Result<i64> {
    let mut slot = store::lock(tx, owner).await?;
    if slot.current.is_some() {
        after_joins(tx, &mut slot).await?;
        store::revoke(tx, owner, slot.issued, slot.now).await?;
    }
    store::empty(tx, &slot).await?;
    if erased {
        store::erase(tx, owner).await?;
    }
    announce_code(tx, owner, slot.version + 1).await?;
    Ok(slot.version + 1)
}

/// Revokes an owner's active code as part of a unit of work, and says which it was and the version to be told after it;
/// nothing when there is none.
pub async fn end_active(tx: &mut Tx<'_>, owner: UserId) -> Result<Option<(i64, i64)>> {
    let mut slot = store::lock(tx, owner).await?;
    let Some(id) = slot.active().map(|active| active.id) else { return Ok(None) };
    after_joins(tx, &mut slot).await?;
    store::revoke(tx, owner, slot.issued, slot.now).await?;
    store::empty(tx, &slot).await?;
    announce_code(tx, owner, slot.version + 1).await?;
    Ok(Some((id, slot.version + 1)))
}

/// Makes every node read an owner's code again, after something else about the owner has changed.
pub async fn refresh(tx: &mut Tx<'_>, owner: UserId) -> Result<i64> {
    let slot = store::lock(tx, owner).await?;
    store::touch(tx, owner).await?;
    announce_code(tx, owner, slot.version + 1).await?;
    Ok(slot.version + 1)
}
