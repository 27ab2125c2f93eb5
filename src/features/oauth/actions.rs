//! From a person's word to a program's tokens, and back.

use std::time::Duration;

use super::model::request::{AuthorizationRequest, Rejected};
use super::model::{
    AuthorizationCode, Fault, IdClaims, Introspected, OAuthError, StoredAuthorizationCode, TokenError, UserInfo,
    at_hash, matches,
};
use super::store;
use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::clients;
use crate::features::clients::actions::consents;
use crate::features::clients::model::{GrantType, OAuthClient};
use crate::features::tokens;
use crate::features::tokens::actions::browser_sessions;
use crate::features::tokens::actions::{Begun, Granted, NewFamily, Origin};
use crate::features::tokens::model::{BrowserSession, Family, Grant, RefreshToken};
use crate::kernel::actor::Actor;
use crate::kernel::caller::{Caller, Subject};
use crate::kernel::digest::AuthorizationCodeHash;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{BrowserSessionId, SessionId, UserId};
use crate::kernel::parameters::Parameters;
use crate::kernel::scope::{Scope, Scopes};
use crate::kernel::time::Time;
use crate::limits::turns::Key;

/// How long an authorization code is good.
const CODE_LIFE: Duration = Duration::from_secs(60);

/// Reads an authorization request.
pub async fn read_request(app: &App, parameters: &Parameters) -> Result<AuthorizationRequest, Rejected> {
    let id = AuthorizationRequest::client_id(parameters)?;
    let client = clients::actions::find(app, id).await?.ok_or(Rejected::UnknownClient)?;
    AuthorizationRequest::read(client, parameters)
}

/// Whether a person has allowed all this before, to a client of which it is sure that it is the same.
pub async fn has_consent(app: &App, user: UserId, request: &AuthorizationRequest) -> Result<bool> {
    if request.wishes.prompt.consent || !request.redirect_uri.proves_client() {
        return Ok(false);
    }
    let given = consents::given(app, user, &request.client.id).await?;
    Ok(given.is_some_and(|given| request.wishes.scopes.within(given)))
}

struct Allowed {
    code: StoredAuthorizationCode,
    person: BrowserSession,
    /// Whether the person was asked now.
    asked: bool,
    now: Time,
}

/// An authorization code for what a person allows a client, now or before.
pub async fn issue_code(
    app: &App,
    actor: Actor,
    person: &BrowserSession,
    request: &AuthorizationRequest,
    asked: bool,
) -> Result<String> {
    let now = app.clock.now();
    let code = AuthorizationCode(app.random()?);
    let wishes = &request.wishes;
    let stored = StoredAuthorizationCode {
        hash: code.hash(),
        client: request.client.id.clone(),
        user: person.user,
        browser_session: person.id,
        redirect_uri: request.redirect_uri.to_string(),
        scopes: wishes.scopes,
        challenge: wishes.challenge.map_or_else(Vec::new, Vec::from),
        nonce: wishes.nonce.clone(),
        authenticated_at: person.authenticated_at,
        expires_at: now.plus(CODE_LIFE),
        family: None,
    };
    let allow: Work<Allowed, ()> = |tx, allowed| Box::pin(allow(tx, allowed));
    app.write_for(
        actor.person(person.user),
        person.user,
        Allowed { code: stored, person: person.clone(), asked, now },
        allow,
    )
    .await?;
    Ok(code.text())
}

async fn allow(tx: &mut Tx<'_>, allowed: &Allowed) -> Result<()> {
    let code = &allowed.code;
    // Who is out since they were asked allows nothing any more.
    browser_sessions::hold(tx, &allowed.person).await?;
    if allowed.asked {
        consents::add(tx, code.user, &code.client, code.scopes, allowed.now).await?;
    }
    store::insert_code(tx, code).await
}

/// What a client presents with a code.
pub struct PresentedCode {
    pub code: String,
    pub redirect_uri: String,
    pub verifier: Option<String>,
}

struct Exchange {
    hash: AuthorizationCodeHash,
    client: String,
    redirect_uri: String,
    verifier: Option<String>,
    scopes: Scopes,
    family: NewFamily,
}

enum Exchanged {
    /// With what the ID token tells, where there is one.
    Done(Box<StoredAuthorizationCode>, Scopes, Option<UserInfo>, Begun),
    Refused,
    /// By somebody who knows all that the first user knew: one of them has stolen it.
    Replayed(SessionId),
}

/// What the token endpoint gives for a code.
pub struct CodeGrant {
    pub grant: Grant,
    pub id_token: Option<String>,
}

/// Exchanges a code for tokens.
pub async fn exchange(
    app: &App,
    actor: Actor,
    client: &OAuthClient,
    presented: PresentedCode,
) -> Result<CodeGrant, TokenError> {
    let refused = Fault::new(
        OAuthError::InvalidGrant,
        "The code is not good: used, expired, or made for another client, redirect_uri or code_challenge",
    );
    let Some(code) = AuthorizationCode::parse(&presented.code) else { return Err(refused.into()) };
    // Whose it is comes from the code's row, inside of the unit.
    let nobody = Origin::Browser(UserId(uuid::Uuid::nil()), BrowserSessionId(uuid::Uuid::nil()));
    let (family, token) = tokens::actions::new_family(app, &client.id, Scopes::NONE, nobody)?;
    let (session, now) = (family.id, family.now);
    let input = Exchange {
        hash: code.hash(),
        client: client.id.clone(),
        redirect_uri: presented.redirect_uri,
        verifier: presented.verifier,
        scopes: client.scopes,
        family,
    };
    let key = Key::of_digest(&code.hash());
    let (code, scopes, person) = match app
        .write_in_turn(actor, key, input, |tx, input| Box::pin(use_up(tx, input)))
        .await?
    {
        Exchanged::Done(code, scopes, person, begun) => {
            begun.announce(app).await;
            (code, scopes, person)
        }
        Exchanged::Refused => return Err(refused.into()),
        Exchanged::Replayed(session) => {
            tracing::warn!(%session, client = client.id, "an authorization code was used twice; the session is ended");
            app.sessions_ended(&[session]).await;
            return Err(refused.into());
        }
    };
    let granted = Granted { subject: Subject::Person(code.user), client: client.id.clone(), session, scopes };
    let refresh = client.may(GrantType::RefreshToken).then_some(&token);
    let grant = tokens::actions::give(app, &granted, refresh, now)?;
    let id_token = match person {
        Some(person) => Some(id_token(app, client, &code, person, &grant, now).await?),
        None => None,
    };
    Ok(CodeGrant { grant, id_token })
}

async fn use_up(tx: &mut Tx<'_>, input: &Exchange) -> Result<Exchanged> {
    let Some(code) = store::code(tx, &input.hash).await? else { return Ok(Exchanged::Refused) };
    let bound = code.client == input.client && code.redirect_uri == input.redirect_uri;
    if !bound || !matches(input.verifier.as_deref(), &code.challenge) {
        return Ok(Exchanged::Refused);
    }
    let now = input.family.now;
    if let Some(family) = code.family {
        tokens::actions::end(tx, family, now).await?;
        return Ok(Exchanged::Replayed(family));
    }
    if code.expires_at <= now || !now.is_soon_after(code.expires_at.minus(CODE_LIFE), CODE_LIFE) {
        return Ok(Exchanged::Refused);
    }
    // Both may have been taken back since the code was given.
    let given = consents::hold(tx, code.user, &code.client).await?.unwrap_or(Scopes::NONE);
    let scopes = code.scopes.and(given).and(input.scopes);
    if scopes.is_empty() || !store::use_code(tx, &input.hash, input.family.id).await? {
        return Ok(Exchanged::Refused);
    }
    let origin = Origin::Browser(code.user, code.browser_session);
    let family = NewFamily { origin, scopes, ..input.family.clone() };
    let Some(begun) = tokens::actions::begin_family(tx, &family).await? else { return Ok(Exchanged::Refused) };
    let person = if scopes.has(Scope::Openid) { store::person_of(tx, code.user, scopes).await? } else { None };
    Ok(Exchanged::Done(Box::new(code), scopes, person, begun))
}

async fn id_token(
    app: &App,
    client: &OAuthClient,
    code: &StoredAuthorizationCode,
    person: UserInfo,
    grant: &Grant,
    now: Time,
) -> Result<String> {
    let claims = IdClaims {
        iss: app.public_url().to_owned(),
        sub: code.user.to_string(),
        aud: client.id.clone(),
        iat: now.seconds(),
        exp: now.plus(app.config.tokens.access()).seconds(),
        auth_time: code.authenticated_at.seconds(),
        nonce: code.nonce.clone(),
        at_hash: at_hash(client.id_token_algorithm, &grant.access_token),
        preferred_username: person.username,
        email: person.email,
        email_verified: person.email_verified,
    };
    tokens::actions::sign_id_token(app, client.id_token_algorithm, &claims, now).await
}

/// A token for a program that acts for itself.
pub async fn act_alone(
    app: &App,
    actor: Actor,
    client: &OAuthClient,
    asked: Option<&str>,
) -> Result<Grant, TokenError> {
    let machine = client.scopes.and(Scopes::MACHINE);
    let scopes = match asked {
        None => machine,
        Some(text) => match Scopes::parse(text) {
            Some(asked) if !asked.is_empty() && asked.within(machine) => asked,
            _ => {
                let sentence = "This client may not have all of these scopes alone";
                return Err(Fault::new(OAuthError::InvalidScope, sentence).into());
            }
        },
    };
    let Some(program) = client.uuid.filter(|_| client.may(GrantType::ClientCredentials)) else {
        return Err(Fault::new(OAuthError::UnauthorizedClient, "This client may not act alone").into());
    };
    let (family, _) = tokens::actions::new_family(app, &client.id, scopes, Origin::Program(program))?;
    let (session, now) = (family.id, family.now);
    // There is a row for each token until it has expired.
    app.limits.write(program).await?;
    let begin: Work<NewFamily, Option<Begun>> = |tx, family| Box::pin(tokens::actions::begin_family(tx, family));
    if app.db.write(actor, family, begin).await?.is_none() {
        return Err(Fault::new(OAuthError::InvalidClient, "The client is not registered any more").into());
    }
    let granted = Granted { subject: Subject::Program(program), client: client.id.clone(), session, scopes };
    Ok(tokens::actions::give(app, &granted, None, now)?)
}

/// Exchanges a refresh token of a client for its successor.
pub async fn refresh(
    app: &App,
    actor: Actor,
    client: &OAuthClient,
    token: &str,
    asked: Option<&str>,
) -> Result<Grant, TokenError> {
    if !client.may(GrantType::RefreshToken) {
        return Err(Fault::new(OAuthError::UnauthorizedClient, "This client may not refresh").into());
    }
    let beyond = Fault::new(OAuthError::InvalidScope, "The session does not have all of these scopes");
    // As at the authorization endpoint, for clients repeat what they asked for there.
    let asked = match asked.map(Scopes::known) {
        Some(asked) if asked.is_empty() => return Err(beyond.into()),
        asked => asked,
    };
    match tokens::actions::refresh(app, actor, &client.id, token, asked, client.scopes).await {
        Ok(grant) => Ok(grant),
        Err(Error::Refused(Refusal::InvalidRefreshToken)) => {
            let sentence = "The refresh token is not good any more, or not this client's";
            Err(Fault::new(OAuthError::InvalidGrant, sentence).into())
        }
        Err(Error::Refused(Refusal::InsufficientScope)) => Err(beyond.into()),
        Err(error) => Err(error.into()),
    }
}

/// Ends the session that a token of the client's belongs to. Of other tokens nothing is told.
pub async fn revoke(app: &App, actor: Actor, client: &OAuthClient, token: &str) -> Result<()> {
    let session = match RefreshToken::parse(token) {
        Some(token) => {
            let key = Key::Grant(token.handle);
            let revocation = Revocation { token, client: client.id.clone(), now: app.clock.now() };
            app.write_in_turn(actor, key, revocation, |tx, input| Box::pin(end_family_of(tx, input))).await?
        }
        None => {
            let claims = tokens::actions::claims(app, token).await?.filter(|claims| claims.client_id == client.id);
            let session = claims.as_ref().and_then(Caller::of).map(|caller| caller.session);
            if let Some(session) = session {
                tokens::actions::log_out(app, actor, session).await?;
            }
            None
        }
    };
    if let Some(session) = session {
        app.sessions_ended(&[session]).await;
    }
    Ok(())
}

struct Revocation {
    token: RefreshToken,
    client: String,
    now: Time,
}

/// Nothing where the token is not the client's.
async fn end_family_of(tx: &mut Tx<'_>, input: &Revocation) -> Result<Option<SessionId>> {
    let family = tokens::actions::family_of(tx, &input.token).await?;
    let Some(family) = family.filter(|family| family.client == input.client) else { return Ok(None) };
    tokens::actions::end(tx, family.id, input.now).await?;
    Ok(Some(family.id))
}

/// What a token of the client's is good for; nothing about any other.
pub async fn introspect(app: &App, actor: Actor, client: &OAuthClient, token: &str) -> Result<Option<Introspected>> {
    let Some(token) = RefreshToken::parse(token) else {
        let claims = tokens::actions::claims(app, token).await?.filter(|claims| claims.client_id == client.id);
        return Ok(claims.map(|claims| Introspected {
            scopes: Scopes::known(&claims.scope),
            client_id: claims.client_id,
            subject: Some(claims.sub),
            expires_at: claims.exp,
            issued_at: Some(claims.iat),
            id: Some(claims.jti),
            is_access_token: true,
        }));
    };
    let find: Work<RefreshToken, Option<Family>> = |tx, token| Box::pin(tokens::actions::current_family_of(tx, token));
    let family = app.db.write(actor, token, find).await?.filter(|family| family.client == client.id);
    let now = app.clock.now();
    let idle = app.config.tokens.idle();
    let live = family.filter(|family| !family.ended && family.expires_at > now && now.since(family.used_at) <= idle);
    Ok(live.map(|family| Introspected {
        scopes: family.scopes,
        client_id: family.client,
        subject: family.user.map(|user| user.to_string()),
        expires_at: family.expires_at.seconds(),
        ..Introspected::default()
    }))
}

/// What a token with the scopes tells about its person.
pub async fn user_info(app: &App, user: UserId, scopes: Scopes) -> Result<UserInfo> {
    store::person(&app.db, user, scopes).await?.ok_or_else(|| Refusal::InvalidToken.into())
}

/// Removes codes that nobody can use any more.
pub async fn housekeeping(app: &App, now: Time) -> Result<u64> {
    // A second use is noticed for as long as what the first gave can live unused.
    let before = now.minus(app.config.tokens.access());
    app.db.write(Actor::SERVICE, before, |tx, before| Box::pin(store::forget_codes(tx, *before))).await
}
