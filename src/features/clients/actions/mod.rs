//! Registering clients, and recognising them.

pub mod consents;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::audit;
use crate::features::audit::model::{Event, Part};
use crate::features::clients::model::{Change, ClientRegistration, DOCS, Fault, OAuthClient, hash_secret};
use crate::features::clients::store;
use crate::features::tokens;
use crate::idempotency::Sent;
use crate::kernel::digest::ClientSecretHash;
use crate::kernel::error::{Error, FieldError, Refusal, Result};
use crate::kernel::ids::{ClientId, SessionId, UserId};
use crate::kernel::time::Time;

/// A client with its secret, which is told this once.
pub struct Made {
    pub client: OAuthClient,
    pub secret: Option<String>,
}

/// Lets a program in.
pub async fn register(app: &App, sent: Sent<Made>, new: ClientRegistration) -> Result<Made> {
    refuse(new.faults())?;
    let secret = new.confidential.then(|| new_text(app)).transpose()?;
    let id = ClientId::new().0;
    let client = OAuthClient {
        id: id.to_string(),
        uuid: Some(id),
        name: new.name,
        secret_hash: secret.as_ref().map(|secret| hash_secret(secret)),
        redirect_uris: new.redirect_uris,
        grants: new.grants,
        scopes: new.scopes,
        id_token_algorithm: new.id_token_algorithm,
        require_pkce: new.require_pkce,
        trusts_addresses: new.trusts_addresses,
        created_at: app.clock.now(),
    };
    let enter: Work<(Uuid, OAuthClient, Option<UserId>), ()> =
        |tx, (id, client, by)| Box::pin(insert(tx, *id, client, *by));
    let input = (id, client.clone(), sent.actor().user());
    let made = Made { client, secret };
    app.write(sent.settled(&made)?, input, enter).await?;
    tracing::info!(client = made.client.id, name = made.client.name, "a client was registered");
    Ok(made)
}

async fn insert(tx: &mut Tx<'_>, id: Uuid, client: &OAuthClient, by: Option<UserId>) -> Result<()> {
    store::insert(tx, id, client, by).await?;
    audit::actions::record(tx, client.created_at, Event::ClientRegistered(id)).await
}

fn refuse(faults: Vec<Fault>) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let errors = faults.into_iter().map(|(field, rule)| FieldError::new("body", field, "value_error", rule));
    Err(Error::Invalid(errors.collect()))
}

fn new_text(app: &App) -> Result<String> {
    Ok(format!("cs_{}", URL_SAFE_NO_PAD.encode(app.random::<32>()?)))
}

/// The client with this id, built-in ones included.
pub async fn find(app: &App, id: &str) -> Result<Option<OAuthClient>> {
    if id == DOCS {
        return Ok(Some(OAuthClient::docs(app.public_url())));
    }
    match parse_id(id) {
        Some(id) => store::client(&app.db, id).await,
        None => Ok(None),
    }
}

/// The registered client with this id.
pub async fn get(app: &App, id: &str) -> Result<OAuthClient> {
    let found = find(app, id).await?.filter(|client| client.uuid.is_some());
    found.ok_or_else(|| Refusal::ClientNotFound.into())
}

/// Whether a client might have this id, removed ones included.
pub fn may_be_id(text: &str) -> bool {
    text == DOCS || parse_id(text).is_some()
}

/// One spelling only: clients are compared by the text of their ids.
fn parse_id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| id.to_string() == text)
}

/// All registered clients, oldest first.
pub async fn list(app: &App) -> Result<Vec<OAuthClient>> {
    store::clients(&app.db).await
}

/// Changes a client. Scopes that it loses are gone from the next token on; what people allowed stays as it is.
pub async fn change(app: &App, sent: Sent<OAuthClient>, id: &str, change: Change) -> Result<OAuthClient> {
    let client = get(app, id).await?;
    // Each rule is about one of what can be changed, and what never is: it holds whatever others change meanwhile.
    let whole = ClientRegistration {
        confidential: client.is_confidential(),
        name: change.name.clone().unwrap_or(client.name),
        redirect_uris: change.redirect_uris.clone().unwrap_or(client.redirect_uris),
        grants: client.grants,
        scopes: change.scopes.unwrap_or(client.scopes),
        id_token_algorithm: client.id_token_algorithm,
        require_pkce: client.require_pkce,
        trusts_addresses: change.trusts_addresses.unwrap_or(client.trusts_addresses),
    };
    refuse(whole.faults())?;
    let uuid = client.uuid.ok_or(Refusal::ClientNotFound)?;
    let work: Work<(Uuid, Change, Time), OAuthClient> = |tx, (id, change, now)| Box::pin(update(tx, *id, change, *now));
    app.write(sent, (uuid, change, app.clock.now()), work).await
}

async fn update(tx: &mut Tx<'_>, id: Uuid, change: &Change, now: Time) -> Result<OAuthClient> {
    let changed = store::update(tx, id, change).await?.ok_or(Refusal::ClientNotFound)?;
    let parts = [
        (change.name.is_some(), Part::Name),
        (change.redirect_uris.is_some(), Part::RedirectUris),
        (change.scopes.is_some(), Part::Scope),
        (change.trusts_addresses.is_some(), Part::TrustsAddresses),
    ];
    let parts = parts.into_iter().filter(|(is, _)| *is).map(|(_, part)| part).collect();
    audit::actions::record(tx, now, Event::ClientChanged(id, parts)).await?;
    Ok(changed)
}

/// Gives a confidential client another secret; the old one is no good from here on.
pub async fn new_secret(app: &App, sent: Sent<String>, id: &str) -> Result<String> {
    let client = get(app, id).await?;
    let (Some(uuid), true) = (client.uuid, client.is_confidential()) else {
        return Err(Refusal::ClientPublic.into());
    };
    let text = new_text(app)?;
    let set: Work<(Uuid, ClientSecretHash, Time), ()> = |tx, (id, hash, now)| Box::pin(set_secret(tx, *id, hash, *now));
    app.write(sent.settled(&text)?, (uuid, hash_secret(&text), app.clock.now()), set).await?;
    Ok(text)
}

async fn set_secret(tx: &mut Tx<'_>, id: Uuid, hash: &ClientSecretHash, now: Time) -> Result<()> {
    if !store::set_secret(tx, id, hash).await? {
        return Err(Refusal::ClientNotFound.into());
    }
    audit::actions::record(tx, now, Event::ClientSecretReplaced(id)).await
}

/// Removes a client: its tokens end on every node, and what people allowed it is forgotten.
pub async fn remove(app: &App, sent: Sent<()>, id: &str) -> Result<()> {
    let client = get(app, id).await?;
    let uuid = client.uuid.ok_or(Refusal::ClientNotFound)?;
    let removal = Removal { uuid, id: client.id, now: app.clock.now() };
    let ended = app.write(sent.settled(&())?, removal, |tx, input| Box::pin(delete(tx, input))).await?;
    app.sessions_ended(&ended).await;
    Ok(())
}

struct Removal {
    uuid: Uuid,
    id: String,
    now: Time,
}

async fn delete(tx: &mut Tx<'_>, input: &Removal) -> Result<Vec<SessionId>> {
    if !store::delete(tx, input.uuid, input.now).await? {
        return Err(Refusal::ClientNotFound.into());
    }
    audit::actions::record(tx, input.now, Event::ClientRemoved(input.uuid)).await?;
    consents::forget_client(tx, &input.id).await?;
    tokens::actions::end_all_of_client(tx, &input.id, input.now).await
}
