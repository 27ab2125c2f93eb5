//! Sessions at our own pages: a cookie instead of tokens.

use std::time::Duration;

use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::audit;
use crate::features::audit::model::Event;
use crate::features::tokens::actions::FRESH;
use crate::features::tokens::model::{BrowserSession, Credential};
use crate::features::tokens::store::{self, NewBrowserSession};
use crate::kernel::actor::Actor;
use crate::kernel::digest::VisitorHash;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{BrowserSessionId, UserId};
use crate::kernel::time::Time;
use crate::limits::turns::Key;
use crate::web::visitor::Visitor;

/// Use is noted this often at most: a page view should not be a write.
const NOTED_EVERY: Duration = Duration::from_secs(3600);

/// Begins a session for a person who has proven who they are.
pub async fn begin(
    app: &App,
    actor: Actor,
    user: UserId,
    credential: Credential,
    secret_hash: VisitorHash,
) -> Result<()> {
    let now = app.clock.now();
    let expires_at = now.plus(app.config.tokens.absolute());
    let (id, most) = (BrowserSessionId::new(), app.limits.sessions());
    let new = NewBrowserSession { id, secret_hash, user, now, expires_at, credential, most };
    let begin: Work<NewBrowserSession, bool> = |tx, new| Box::pin(insert(tx, new));
    let begun = app.write_in_turn(actor.person(user), Key::User(user.0), new, begin).await?;
    if begun { Ok(()) } else { Err(Refusal::BadCredentials.into()) }
}

async fn insert(tx: &mut Tx<'_>, new: &NewBrowserSession) -> Result<bool> {
    let inserted = store::insert_browser_session(tx, new).await?;
    if inserted && store::is_manager_in(tx, new.user).await? {
        audit::actions::record(tx, new.now, Event::ManagerLoggedIn(new.user)).await?;
    }
    Ok(inserted)
}

/// Makes sure, as part of a unit of work, that somebody is logged in and stays so until it has ended: whoever ends all
/// sessions of a user has changed the user before.
pub async fn hold(tx: &mut Tx<'_>, session: &BrowserSession) -> Result<()> {
    let live = store::hold_browser_session(tx, session.user, session.id).await?;
    if live { Ok(()) } else { Err(Refusal::BadCredentials.into()) }
}

/// Who is logged in with this cookie.
pub async fn who(app: &App, actor: Actor, secret_hash: &VisitorHash) -> Result<Option<BrowserSession>> {
    let now = app.clock.now();
    let Some((session, used_at)) = store::browser_session(&app.db, secret_hash, now).await? else { return Ok(None) };
    let unused = now.since(used_at);
    if unused > app.config.tokens.idle() {
        return Ok(None);
    }
    if unused > NOTED_EVERY && !app.db.is_read_only() {
        let note: Work<(BrowserSessionId, Time, Time), ()> =
            |tx, (id, now, before)| Box::pin(store::touch_browser_session(tx, *id, *now, *before));
        // Of many views at once after a long while, one is enough to note it.
        match app
            .write_in_turn(actor.person(session.user), Key::User(session.user.0), (session.id, now, used_at), note)
            .await
        {
            Ok(()) | Err(Error::Limited(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(session))
}

/// Who is logged in with a browser.
pub async fn person(app: &App, visitor: &Visitor) -> Result<Option<BrowserSession>> {
    if visitor.is_new() { Ok(None) } else { who(app, visitor.actor, &visitor.hash()).await }
}

/// Whether the person proved who they are a moment ago.
pub fn is_fresh(app: &App, session: &BrowserSession) -> bool {
    app.clock.now().is_soon_after(session.authenticated_at, FRESH)
}

/// Logs out of our own pages. What programs were given goes on.
pub async fn end(app: &App, actor: Actor, session: BrowserSessionId) -> Result<()> {
    let work: Work<(BrowserSessionId, Time), ()> = |tx, (id, now)| Box::pin(store::end_browser_session(tx, *id, *now));
    app.write_in_turn(actor, Key::Grant(*session.0.as_bytes()), (session, app.clock.now()), work).await
}
