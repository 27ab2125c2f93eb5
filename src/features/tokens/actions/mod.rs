//! Sessions: begun by a log-in, kept by refreshing, ended on every node.

pub mod browser_sessions;
pub mod keys;
pub mod reseal;
pub mod sessions;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::app::App;
use crate::cache::changes::{MEMORY, announce_keys, announce_session, announce_sessions};
use crate::crypto::keyring::RefreshKey;
use crate::db::{Tx, Work};
use crate::features::audit;
use crate::features::audit::model::Event;
use crate::features::tokens::model::{Family, Grant, RefreshToken};
use crate::features::tokens::store;
pub use crate::features::tokens::store::{NewFamily, Origin};
use crate::kernel::actor::Actor;
use crate::kernel::caller::{Caller, Claims, FIRST_PARTY, IdTokenAlgorithm, Subject};
use crate::kernel::digest::{AccessTokenHash, RefreshTokenHash};
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{KeyChangeId, SessionId, TokenId, UserId};
use crate::kernel::scope::{Scope, Scopes};
use crate::kernel::time::Time;
use crate::limits::turns::Key;

/// How long after a rotation its answer is given again to who asks with the replaced token, for answers get lost.
const GRACE: Duration = Duration::from_secs(10);
/// How long a log-in stands for a password where an account has none.
pub(super) const FRESH: Duration = Duration::from_secs(300);

/// Begins a session for a user whose password was found right against the given stored hash.
pub async fn begin_session(app: &App, actor: Actor, user: UserId, password_hash: String) -> Result<Grant> {
    let (new, token) = new_family(app, FIRST_PARTY, Scopes::FIRST_PARTY, Origin::Password(user, password_hash))?;
    let (session, now) = (new.id, new.now);
    let begin: Work<NewFamily, Option<Begun>> = |tx, new| Box::pin(begin_family(tx, new));
    let begun =
        app.write_in_turn(actor.person(user), Key::User(user.0), new, begin).await?.ok_or(Refusal::BadCredentials)?;
    let scopes = begun.scopes;
    begun.announce(app).await;
    let granted = Granted { subject: Subject::Person(user), client: FIRST_PARTY.to_owned(), session, scopes };
    give(app, &granted, Some(&token), now)
}

/// A family that is not stored yet, with its first refresh token.
pub fn new_family(app: &App, client: &str, scopes: Scopes, origin: Origin) -> Result<(NewFamily, RefreshToken)> {
    may_sign(app)?;
    let now = app.clock.now();
    let key = app.keyring.refresh_keys().into_iter().next().ok_or_else(no_refresh_key)?;
    let token = RefreshToken::new(app.random()?, app.random()?, 0, &key);
    // A program needs no refresh: its family lasts as long as the one token.
    let life =
        if matches!(origin, Origin::Program(_)) { app.config.tokens.access() } else { app.config.tokens.absolute() };
    let new = NewFamily {
        id: SessionId::new(),
        token: token.clone(),
        client: client.to_owned(),
        scopes,
        now,
        expires_at: now.plus(life),
        salt: app.random()?,
        origin,
        most: app.limits.sessions(),
    };
    Ok((new, token))
}

/// Before anything is written: a node that has not the master key of the others can sign nothing, and tells callers
/// that nothing was done.
fn may_sign(app: &App) -> Result<()> {
    if app.keyring.is_locked_out() { Err(Error::Busy(Duration::from_secs(1))) } else { Ok(()) }
}

fn no_refresh_key() -> Error {
    Error::Internal("there is no key for refresh tokens".into())
}

/// A family that was stored.
pub struct Begun {
    pub scopes: Scopes,
    /// Older ones of the same user and client that had to go for it.
    ended: Vec<SessionId>,
}

impl Begun {
    /// After the unit of work: makes known what has ended.
    pub async fn announce(self, app: &App) {
        if !self.ended.is_empty() {
            app.sessions_ended(&self.ended).await;
        }
    }
}

/// Stores a family as part of a unit of work; nothing when what it comes from does not hold any more.
pub async fn begin_family(tx: &mut Tx<'_>, new: &NewFamily) -> Result<Option<Begun>> {
    let Some(scopes) = store::insert_family(tx, new).await? else { return Ok(None) };
    if let Origin::Password(user, _) = &new.origin
        && scopes.has(Scope::Admin)
    {
        audit::actions::record(tx, new.now, Event::ManagerLoggedIn(*user)).await?;
    }
    let user = match new.origin {
        Origin::Password(user, _) | Origin::Browser(user, _) => Some(user),
        Origin::Program(_) => None,
    };
    let ended = match user.zip(new.most) {
        Some((user, most)) => store::trim_families(tx, user, &new.client, new.id, most).await?,
        None => Vec::new(),
    };
    Ok(Some(Begun { scopes, ended: announce(tx, ended).await? }))
}

/// What an access token is to say.
pub struct Granted {
    pub subject: Subject,
    pub client: String,
    pub session: SessionId,
    pub scopes: Scopes,
}

struct Refresh {
    token: RefreshToken,
    /// The one that the next token is given by first.
    keys: Vec<RefreshKey>,
    client: String,
    narrowed: Option<Scopes>,
    salt: [u8; 32],
    now: Time,
    idle: Duration,
}

enum Refreshed {
    Next(Granted, RefreshToken),
    Refused,
    /// More was asked for than the session has.
    Beyond,
    /// A token of ours that was replaced, however long ago: stolen, or its successor was. Nobody keeps the session.
    Reused(SessionId),
}

/// Exchanges a client's refresh token for its successor and a new access token, which may be asked to do less and never
/// does more than the client may.
pub async fn refresh(
    app: &App,
    actor: Actor,
    client: &str,
    text: &str,
    narrowed: Option<Scopes>,
    within: Scopes,
) -> Result<Grant> {
    let Some(token) = RefreshToken::parse(text) else { return Err(Refusal::InvalidRefreshToken.into()) };
    may_sign(app)?;
    let now = app.clock.now();
    let (salt, idle) = (app.random()?, app.config.tokens.idle());
    let keys = app.keyring.refresh_keys();
    let turn = Key::Grant(token.handle);
    let input = Refresh { token, keys, client: client.to_owned(), narrowed, salt, now, idle };
    match app.write_in_turn(actor, turn, input, |tx, input| Box::pin(step(tx, input))).await? {
        Refreshed::Next(mut granted, token) => {
            granted.scopes = narrowed.unwrap_or(granted.scopes).and(within);
            give(app, &granted, Some(&token), now)
        }
        Refreshed::Refused => Err(Refusal::InvalidRefreshToken.into()),
        Refreshed::Beyond => Err(Refusal::InsufficientScope.into()),
        Refreshed::Reused(session) => {
            tracing::warn!(%session, "a refresh token was used again after its replacement; the session is ended");
            app.sessions_ended(&[session]).await;
            Err(Refusal::InvalidRefreshToken.into())
        }
    }
}

async fn step(tx: &mut Tx<'_>, input: &Refresh) -> Result<Refreshed> {
    // A lost race is decided by what the winner has written, hence the second look.
    for _ in 0..2 {
        let Some(family) = store::family(tx, &input.token.handle).await? else { return Ok(Refreshed::Refused) };
        let idle = input.now.since(family.used_at) > input.idle;
        // A client that presents another's token learns nothing and changes nothing.
        if family.client != input.client || family.ended || idle || family.expires_at <= input.now {
            return Ok(Refreshed::Refused);
        }
        let Some(user) = family.user else { return Ok(Refreshed::Refused) };
        let hash = input.token.hash();
        let (current, predecessor) = (hash == family.current_hash, is_predecessor(&family, &hash, input.now));
        if (current || predecessor) && input.narrowed.is_some_and(|asked| !asked.within(family.allows())) {
            return Ok(Refreshed::Beyond);
        }
        let granted = Granted {
            subject: Subject::Person(user),
            client: family.client.clone(),
            session: family.id,
            scopes: family.allows(),
        };
        if current {
            let key = input.keys.first().ok_or_else(no_refresh_key)?;
            let next = input.token.successor(&input.salt, family.counter + 1, key);
            if store::rotate(tx, &family, &next.hash(), &input.salt, input.now).await? {
                return Ok(Refreshed::Next(granted, next));
            }
            continue;
        }
        if predecessor {
            let next = given_before(input, &family);
            return Ok(next.map_or(Refreshed::Refused, |next| Refreshed::Next(granted, next)));
        }
        // Somebody knows the handle and has invented the rest: that must not end what they could not have used. Where
        // some tokens have no MAC, it may be one of those. The one replaced last is known without.
        let known = family.previous_hash == Some(hash);
        if !known && family.is_sealed() && !input.token.is_sealed_by(&input.keys) {
            return Ok(Refreshed::Refused);
        }
        end(tx, family.id, input.now).await?;
        return Ok(Refreshed::Reused(family.id));
    }
    Ok(Refreshed::Refused)
}

/// The successor that the replaced token was given, by whichever key or version of a node; nothing when that key is
/// gone.
fn given_before(input: &Refresh, family: &Family) -> Option<RefreshToken> {
    let sealed = input.keys.iter().map(|key| input.token.successor(&family.salt, family.counter, key));
    let mut all = sealed.chain([input.token.successor_without_mac(&family.salt)]);
    all.find(|next| next.hash() == family.current_hash)
}

/// Ends a session as part of a unit of work; the caller tells [`App::sessions_ended`] after it.
pub async fn end(tx: &mut Tx<'_>, session: SessionId, now: Time) -> Result<()> {
    if store::end_family(tx, session, now).await? {
        announce_session(tx, session).await?;
    }
    Ok(())
}

/// The token replaced last, by a successor that nobody has used yet, a moment ago.
fn is_predecessor(family: &Family, hash: &RefreshTokenHash, now: Time) -> bool {
    let recent = family.rotated_at.is_some_and(|at| now.is_soon_after(at, GRACE));
    recent && family.previous_hash == Some(*hash)
}

/// Ends a session, on every node.
pub async fn log_out(app: &App, actor: Actor, session: SessionId) -> Result<()> {
    let work: Work<(SessionId, Time), ()> = |tx, (session, now)| Box::pin(end(tx, *session, *now));
    app.write_in_turn(actor, Key::Grant(*session.0.as_bytes()), (session, app.clock.now()), work).await?;
    app.sessions_ended(&[session]).await;
    Ok(())
}

/// Ends all sessions of a user as part of a unit of work; the caller tells [`App::sessions_ended`] after it.
pub async fn end_all(tx: &mut Tx<'_>, user: UserId, now: Time) -> Result<Vec<SessionId>> {
    store::end_browser_sessions_of(tx, user, now).await?;
    let ended = store::end_families_of(tx, user, now).await?;
    announce(tx, ended).await
}

/// As [`end_all`], for those that a client has.
pub async fn end_all_of_client(tx: &mut Tx<'_>, client: &str, now: Time) -> Result<Vec<SessionId>> {
    let ended = store::end_families_of_client(tx, client, now).await?;
    announce(tx, ended).await
}

/// As [`end_all`], for those that a client has of one user.
pub async fn end_all_of_consent(tx: &mut Tx<'_>, user: UserId, client: &str, now: Time) -> Result<Vec<SessionId>> {
    let ended = store::end_families_of_consent(tx, user, client, now).await?;
    announce(tx, ended).await
}

async fn announce(tx: &mut Tx<'_>, ended: Vec<SessionId>) -> Result<Vec<SessionId>> {
    announce_sessions(tx, &ended).await?;
    Ok(ended)
}

/// The refresh token's family, if the token is its current or previous one: what a client may ask about or end.
pub async fn family_of(tx: &mut Tx<'_>, token: &RefreshToken) -> Result<Option<Family>> {
    let family = store::family(tx, &token.handle).await?;
    let hash = token.hash();
    Ok(family.filter(|family| {
        let previous = family.previous_hash == Some(hash);
        hash == family.current_hash || previous
    }))
}

/// The refresh token's family, if the token is the one to be used next.
pub async fn current_family_of(tx: &mut Tx<'_>, token: &RefreshToken) -> Result<Option<Family>> {
    let family = store::family(tx, &token.handle).await?;
    Ok(family.filter(|family| token.hash() == family.current_hash))
}

/// Whether the person behind a session proved who they are a moment ago, and which client the session is.
pub async fn fresh_client(app: &App, session: SessionId) -> Result<Option<String>> {
    let found = store::authenticated(&app.db, session).await?;
    Ok(found.and_then(|(at, client)| app.clock.now().is_soon_after(at, FRESH).then_some(client)))
}

/// The caller behind an access token whose session goes on.
pub async fn authenticate(app: &App, token: &str) -> Result<Caller> {
    // Before the look at the keys: what is verified by a key that is retired meanwhile is never found.
    let key = (app.keyring.era(), AccessTokenHash::of(token));
    let now = app.clock.now();
    let caller = match app.verified.get(&key).filter(|caller| caller.is_good(now)) {
        Some(caller) => {
            app.metrics.token(true);
            caller
        }
        None => {
            let issuer = app.public_url();
            let claims = app.keyring.claims(token, issuer, now).ok_or(Refusal::InvalidToken)?;
            let caller = Arc::new(Caller::of(&claims).ok_or(Refusal::InvalidToken)?);
            app.verified.insert(key, caller.clone());
            app.metrics.token(false);
            caller
        }
    };
    if is_over(app, caller.session).await? { Err(Refusal::InvalidToken.into()) } else { Ok(*caller) }
}

/// What an access token says, if it is good and its session goes on.
pub async fn claims(app: &App, token: &str) -> Result<Option<Claims>> {
    let Some(claims) = app.keyring.claims(token, app.public_url(), app.clock.now()) else { return Ok(None) };
    let Some(caller) = Caller::of(&claims) else { return Ok(None) };
    Ok(if is_over(app, caller.session).await? { None } else { Some(claims) })
}

async fn is_over(app: &App, session: SessionId) -> Result<bool> {
    Ok(match app.changes.session_ended(session) {
        Some(ended) => ended,
        None => !store::is_live(&app.db, session).await?,
    })
}

/// Removes sessions that ended or expired before a time; those of programs, of which there is one for each token, as
/// soon as no node can ask for them.
pub async fn housekeeping(app: &App, before: Time) -> Result<u64> {
    let work: Work<(Time, Time), u64> =
        |tx, (before, programs)| Box::pin(store::forget_families(tx, *before, *programs));
    app.db.write(Actor::SERVICE, (before, app.clock.now().minus(MEMORY)), work).await
}

/// Brings times back that a clock has written which was ahead: a session begun then would outlive all others, and a key
/// made then would not sign for as long.
pub async fn mend_times(app: &App, now: Time) -> Result<u64> {
    let latest = Latest { now, end: now.plus(app.config.tokens.absolute()), change: KeyChangeId::new() };
    let mended = app.db.write(Actor::SERVICE, latest, |tx, latest| Box::pin(mend(tx, latest))).await?;
    if mended.keys > 0 {
        app.keys_changed().await;
    }
    Ok(mended.sessions + mended.keys)
}

struct Latest {
    now: Time,
    /// After which no session lasts that has begun by now.
    end: Time,
    change: KeyChangeId,
}

struct Mended {
    sessions: u64,
    keys: u64,
}

async fn mend(tx: &mut Tx<'_>, latest: &Latest) -> Result<Mended> {
    let sessions = store::mend_sessions(tx, latest.now, latest.end).await?;
    let keys = store::mend_keys(tx, latest.now, latest.now.plus(keys::LEAD)).await?;
    if keys > 0 {
        announce_keys(tx, latest.change).await?;
    }
    Ok(Mended { sessions, keys })
}

/// Signs an ID token.
pub async fn sign_id_token(
    app: &App,
    algorithm: IdTokenAlgorithm,
    claims: &impl Serialize,
    now: Time,
) -> Result<String> {
    if algorithm == IdTokenAlgorithm::Rs256 {
        keys::rs256_ready(app).await?;
    }
    let token = app.keyring.sign_id_token(algorithm, claims, now)?;
    token.ok_or_else(|| Error::Internal("there is no key for ID tokens".into()))
}

/// Signs the access token.
pub fn give(app: &App, granted: &Granted, token: Option<&RefreshToken>, now: Time) -> Result<Grant> {
    let life = app.config.tokens.access();
    let issuer = app.public_url();
    let claims = Claims {
        iss: issuer.to_owned(),
        aud: issuer.to_owned(),
        sub: match granted.subject {
            Subject::Person(user) => user.to_string(),
            Subject::Program(program) => program.to_string(),
        },
        client_id: granted.client.clone(),
        iat: now.seconds(),
        exp: now.plus(life).seconds(),
        jti: TokenId::new().to_string(),
        scope: granted.scopes.to_string(),
        sid: granted.session.to_string(),
    };
    Ok(Grant {
        access_token: app.keyring.sign(&claims, now)?,
        expires_in: life.as_secs(),
        refresh_token: token.map(RefreshToken::text),
        scopes: granted.scopes,
    })
}
