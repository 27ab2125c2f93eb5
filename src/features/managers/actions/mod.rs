//! Finding people, all that is known of one, and lists as files.

pub mod reseal;

use uuid::Uuid;

use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::accounts::actions::management;
use crate::features::audit;
use crate::features::audit::model::chain::Chained;
use crate::features::audit::model::{Event, List};
use crate::features::clients::actions::consents;
use crate::features::clients::model::Consent;
use crate::features::codes::model::OwnedCode;
use crate::features::identities::model::LinkedIdentity;
use crate::features::managers::model::{AccountState, Clicks, Details, Filter, PeopleCursor, Person, Search, SentMail};
use crate::features::managers::store;
pub use crate::features::managers::store::{ReferralLine, UserLine};
use crate::features::referrals::model::Referrer;
use crate::features::rewards::model::event::{Balance, Reward, WantedRewards};
use crate::features::tokens::model::Session;
use crate::features::{codes, identities, referrals, rewards, tokens};
use crate::kernel::active_code::ActiveCode;
use crate::kernel::actor::Actor;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::UserId;
use crate::kernel::page::{PageRequest, Start};
use crate::kernel::time::Time;

/// Rows of a file that are in memory at a time.
pub const PART: i64 = 1000;
/// Codes, mails, referees, rewards and lines of the audit that an export has.
const MOST_EXPORTED: i64 = 10_000;
/// Codes and mails that a profile has.
const MOST_SHOWN: i64 = 50;

/// A part of the list of people, and where it goes on.
pub async fn search(
    app: &App,
    search: Search,
    filter: Filter,
    after: Option<PeopleCursor>,
    size: i64,
) -> Result<(Vec<Person>, Option<PeopleCursor>)> {
    let mut found = match (&search, &after) {
        (Search::Id(user), _) => {
            let details = store::details(&app.db, *user).await?;
            let fits = |person: &Person| {
                filter.state.is_none_or(|state| state == person.state)
                    && filter.verdict.is_none_or(|verdict| verdict == person.verdict)
                    && filter.manager.is_none_or(|manager| manager == person.is_manager)
            };
            let person = details.map(|details| details.person).filter(fits);
            return Ok((person.into_iter().collect(), None));
        }
        // Names and addresses of the erased are gone.
        (Search::Prefix(_), _) if filter.state == Some(AccountState::Erased) => Vec::new(),
        (Search::Prefix(prefix), after) => {
            let behind = match after {
                Some(PeopleCursor::Key(key)) => key.as_str(),
                _ => "",
            };
            store::by_prefix(&app.db, prefix, behind, &filter, size + 1).await?
        }
        (Search::Everybody, after) => {
            let behind = match after {
                Some(PeopleCursor::Id(id)) => *id,
                _ => Uuid::max(),
            };
            store::everybody(&app.db, behind, &filter, size + 1).await?
        }
    };
    let more = found.len() as i64 > size;
    found.truncate(usize::try_from(size).unwrap_or(0));
    let next = found.last().filter(|_| more).map(|(person, key)| match search {
        Search::Prefix(_) => PeopleCursor::Key(key.clone()),
        _ => PeopleCursor::Id(person.id.0),
    });
    Ok((found.into_iter().map(|(person, _)| person).collect(), next))
}

/// All that is known of somebody.
pub struct Profile {
    pub details: Details,
    pub referred_by: Option<Referrer>,
    pub referral_count: i64,
    pub active_code: Option<ActiveCode>,
    pub code_count: i64,
    /// The latest.
    pub codes: Vec<OwnedCode>,
    pub sessions: Vec<Session>,
    pub identities: Vec<LinkedIdentity>,
    pub consents: Vec<Consent>,
    pub clicks: Clicks,
    pub mails: Vec<SentMail>,
}

/// Somebody as those who run the program see them.
pub async fn profile(app: &App, user: UserId) -> Result<Profile> {
    known(app, user, MOST_SHOWN).await?.ok_or_else(|| Refusal::UserNotFound.into())
}

async fn known(app: &App, user: UserId, most: i64) -> Result<Option<Profile>> {
    let Some(details) = store::details(&app.db, user).await? else { return Ok(None) };
    // A list of codes has numbers without gaps: behind so many come the latest.
    let first = PageRequest { start: Start::Page(1), size: 1 };
    let code_count = codes::actions::list(app, user, first).await?.total;
    let behind = crate::kernel::page::Cursor((code_count - most).max(0));
    let latest = PageRequest { start: Start::After(behind), size: most };
    Ok(Some(Profile {
        details,
        referred_by: referrals::actions::referrer_of(app, user).await?,
        referral_count: referrals::actions::count(app, user).await?,
        active_code: codes::actions::active_of(app, user).await?,
        code_count,
        codes: codes::actions::list(app, user, latest).await?.items,
        sessions: tokens::actions::sessions::list(app, user).await?,
        identities: identities::actions::of(app, user).await?,
        consents: consents::list(app, user).await?,
        clicks: store::clicks(&app.db, user).await?,
        mails: store::mails(&app.db, user, most).await?,
    }))
}

/// All that is kept of somebody, for themselves.
pub struct Export {
    pub at: Time,
    pub profile: Profile,
    /// Whom they brought: who, when, how it stands. The first ten thousand.
    pub referees: Vec<(UserId, Time, String)>,
    /// What they have done with what is noted, and what was done to them: the latest ten thousand.
    pub noted: Vec<Chained>,
    /// What they have, by unit.
    pub balances: Vec<Balance>,
    /// What they got, the latest ten thousand.
    pub rewards: Vec<Reward>,
}

/// All that is kept of oneself, as often as that may be asked.
pub async fn own_export(app: &App, actor: Actor, user: UserId) -> Result<Export> {
    management::note_own_export(app, actor, user).await?;
    export(app, user).await
}

/// All that is kept of somebody, for a manager who gives it to them.
pub async fn export_of(app: &App, actor: Actor, manager: UserId, user: UserId) -> Result<Export> {
    profile(app, user).await?;
    note(app, actor, manager, Event::UserExported(user)).await?;
    export(app, user).await
}

/// As [`export_of`], for the operator.
pub async fn export_by_operator(app: &App, user: UserId) -> Result<Export> {
    profile(app, user).await?;
    let work: Work<(Event, Time), ()> = |tx, (event, now)| Box::pin(write(tx, event, *now));
    app.db.write(Actor::OPERATOR, (Event::UserExported(user), app.clock.now()), work).await?;
    export(app, user).await
}

async fn export(app: &App, user: UserId) -> Result<Export> {
    let profile = known(app, user, MOST_EXPORTED).await?.ok_or(Refusal::UserNotFound)?;
    let wanted = audit::actions::Wanted {
        actor: None,
        subject: Some(user.to_string()),
        action: String::new(),
        from: Time(i64::MIN),
        before: Uuid::max(),
        size: MOST_EXPORTED,
    };
    let of_user = WantedRewards { holder: Some(user), state: None };
    Ok(Export {
        at: app.clock.now(),
        profile,
        referees: store::referees(&app.db, user, MOST_EXPORTED).await?,
        noted: audit::actions::list(app, wanted).await?.0,
        balances: rewards::actions::lists::balances(app, user).await?,
        rewards: rewards::actions::lists::rewards(app, of_user, Uuid::max(), MOST_EXPORTED).await?.0,
    })
}

/// Notes that a manager takes a list with them.
pub async fn note_list(app: &App, actor: Actor, manager: UserId, list: List) -> Result<()> {
    note(app, actor, manager, Event::ListExported(list)).await
}

async fn note(app: &App, actor: Actor, manager: UserId, event: Event) -> Result<()> {
    let work: Work<(Event, Time), ()> = |tx, (event, now)| Box::pin(write(tx, event, *now));
    app.write_for(actor, manager, (event, app.clock.now()), work).await
}

async fn write(tx: &mut Tx<'_>, event: &Event, now: Time) -> Result<()> {
    audit::actions::record(tx, now, event.clone()).await
}

/// The part of the list of people behind one of them.
pub async fn users_part(app: &App, behind: Uuid) -> Result<Vec<UserLine>> {
    store::users_part(&app.db, behind, PART).await
}

/// The part of the list of referrals behind one of them.
pub async fn referrals_part(app: &App, behind: i64) -> Result<Vec<ReferralLine>> {
    store::referrals_part(&app.db, behind, PART).await
}
