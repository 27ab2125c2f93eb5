//! Sessions: begun by a log-in, kept by refreshing, ended on every node.

use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::model::{Caller, Claims, FIRST_PARTY, FIRST_PARTY_SCOPE, Family, Grant, RefreshToken};
use super::store::{self, NewFamily};
use crate::app::App;
use crate::cache::changes::announce_session;
use crate::db::{Tx, Work};
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::{SessionId, TokenId, UserId};
use crate::kernel::time::Time;

/// How long after a rotation its answer is given again to who asks with the replaced token, for answers get lost.
const GRACE: Duration = Duration::from_secs(10);

/// Begins a session for a user whose password was found right against the given stored hash.
pub async fn begin_session(app: &App, user: UserId, password_hash: String) -> Result<Grant> {
    let now = app.clock.now();
    let token = RefreshToken::new(app.random()?, app.random()?);
    let new = NewFamily {
        id: SessionId::new(),
        token: token.clone(),
        user,
        password_hash,
        now,
        expires_at: now.plus(app.config.tokens.absolute()),
        salt: app.random()?,
    };
    let session = new.id;
    let insert: Work<NewFamily, bool> = |tx, new| Box::pin(store::insert_family(tx, new));
    if !app.db.write(new, insert).await? {
        return Err(Refusal::BadCredentials.into());
    }
    grant(app, user, session, &token, now)
}

struct Refresh {
    token: RefreshToken,
    salt: [u8; 32],
    now: Time,
    idle: Duration,
}

enum Refreshed {
    Next(UserId, SessionId, RefreshToken),
    Refused,
    /// A token that was replaced long ago: stolen, or its successor was. Nobody keeps the session.
    Reused(SessionId),
}

/// Exchanges a refresh token for its successor and a new access token.
pub async fn refresh(app: &App, text: &str) -> Result<Grant> {
    let Some(token) = RefreshToken::parse(text) else { return Err(Refusal::InvalidRefreshToken.into()) };
    let now = app.clock.now();
    let input = Refresh { token, salt: app.random()?, now, idle: app.config.tokens.idle() };
    match app.db.write(input, |tx, input| Box::pin(step(tx, input))).await? {
        Refreshed::Next(user, session, token) => grant(app, user, session, &token, now),
        Refreshed::Refused => Err(Refusal::InvalidRefreshToken.into()),
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
        if family.ended || idle || family.expires_at <= input.now {
            return Ok(Refreshed::Refused);
        }
        let hash = input.token.hash();
        if same(&hash, &family.current_hash) {
            let next = input.token.successor(&input.salt);
            if store::rotate(tx, &family, &next.hash(), &input.salt, input.now).await? {
                return Ok(Refreshed::Next(family.user, family.id, next));
            }
            continue;
        }
        if is_predecessor(&family, &hash, input.now) {
            return Ok(Refreshed::Next(family.user, family.id, input.token.successor(&family.salt)));
        }
        if store::end_family(tx, family.id, input.now).await? {
            announce_session(tx, family.id).await?;
        }
        return Ok(Refreshed::Reused(family.id));
    }
    Ok(Refreshed::Refused)
}

/// The token replaced last, by a successor that nobody has used yet, a moment ago.
fn is_predecessor(family: &Family, hash: &[u8; 32], now: Time) -> bool {
    let recent = family.rotated_at.is_some_and(|at| now.since(at) <= GRACE);
    recent && family.previous_hash.as_ref().is_some_and(|previous| same(hash, previous))
}

fn same(a: &[u8; 32], b: &[u8]) -> bool {
    a.as_slice().ct_eq(b).into()
}

/// Ends the caller's session, on every node.
pub async fn log_out(app: &App, caller: Caller) -> Result<()> {
    let end: Work<(SessionId, Time), ()> = |tx, (session, now)| {
        Box::pin(async move {
            if store::end_family(tx, *session, *now).await? {
                announce_session(tx, *session).await?;
            }
            Ok(())
        })
    };
    app.db.write((caller.session, app.clock.now()), end).await?;
    app.sessions_ended(&[caller.session]).await;
    Ok(())
}

/// Ends all sessions of a user as part of a unit of work; the caller tells [`App::sessions_ended`] after it.
pub async fn end_all(tx: &mut Tx<'_>, user: UserId, now: Time) -> Result<Vec<SessionId>> {
    let ended = store::end_families_of(tx, user, now).await?;
    for session in &ended {
        announce_session(tx, *session).await?;
    }
    Ok(ended)
}

/// The caller behind an access token whose session goes on.
pub async fn authenticate(app: &App, token: &str) -> Result<Caller> {
    let mut key = [0; 32];
    key.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()).as_ref());
    // Before the look at the keys: what is verified by a key that is retired meanwhile is never found.
    let key = (app.keyring.era(), key);
    let now = app.clock.now();
    let caller = match app.verified.get(&key).filter(|caller| caller.expires_at > now) {
        Some(caller) => caller,
        None => {
            let issuer = app.public_url();
            let caller = Arc::new(app.keyring.verify(token, issuer, now).ok_or(Refusal::InvalidToken)?);
            app.verified.insert(key, caller.clone());
            caller
        }
    };
    let ended = match app.changes.session_ended(caller.session) {
        Some(ended) => ended,
        None => !store::is_live(&app.db, caller.session).await?,
    };
    if ended { Err(Refusal::InvalidToken.into()) } else { Ok(*caller) }
}

/// Removes sessions that ended or expired before a time.
pub async fn housekeeping(app: &App, before: Time) -> Result<u64> {
    app.db.write(before, |tx, before| Box::pin(store::forget_families(tx, *before))).await
}

fn grant(app: &App, user: UserId, session: SessionId, token: &RefreshToken, now: Time) -> Result<Grant> {
    let life = app.config.tokens.access();
    let issuer = app.public_url();
    let claims = Claims {
        iss: issuer.to_owned(),
        aud: issuer.to_owned(),
        sub: user.to_string(),
        client_id: FIRST_PARTY.to_owned(),
        iat: now.seconds(),
        exp: now.plus(life).seconds(),
        jti: TokenId::new().to_string(),
        scope: FIRST_PARTY_SCOPE.to_owned(),
        sid: session.to_string(),
    };
    Ok(Grant { access_token: app.keyring.sign(&claims, now)?, expires_in: life.as_secs(), refresh_token: token.text() })
}
