//! The key that links are made with: made at the first start, sealed like the signing keys, replaced in an emergency.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::app::App;
use crate::cache::changes::announce_keys;
use crate::crypto::keyring::StoredSecret;
use crate::crypto::mail_key::MailKey;
use crate::crypto::sealing::{ResealError, Resealed};
use crate::db::{Tx, Work};
use crate::features::audit;
use crate::features::audit::model::Event;
use crate::features::mails::store;
use crate::features::tokens::actions::keys::locked;
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, OperatorError, Result};
use crate::kernel::ids::KeyChangeId;
use crate::kernel::time::Time;

/// Takes over the key that the database has, makes one if there is none, and seals it if it lies open.
pub async fn open(app: &App) -> Result<(), OperatorError> {
    let mut stored = store::key(&app.db).await?;
    if stored.is_none() {
        let made = app.keyring.sealed_secret(StoredSecret::generate()?)?;
        let insert: Work<(StoredSecret, Time), ()> = |tx, (key, now)| Box::pin(store::insert_key(tx, key, *now));
        app.db.write(Actor::SERVICE, (made, app.clock.now()), insert).await?;
        // Of several nodes that do so at once one wins, and the others take its key.
        stored = store::key(&app.db).await?;
    }
    let Some(stored) = stored else { return Err(Error::inconsistent("mail_key", "one", 1).into()) };
    if !take_over(app, &stored)? {
        return Err(OperatorError::Refused(locked(app.keyring.seals(), &stored.kid)));
    }
    if app.keyring.seals() && !stored.sealed {
        let seal: Work<StoredSecret, ()> = |tx, key| Box::pin(store::seal_key(tx, key));
        app.db.write(Actor::SERVICE, app.keyring.sealed_secret(stored)?, seal).await?;
    }
    Ok(())
}

/// False when the master key does not open it. One that was opened once stays so.
fn take_over(app: &App, stored: &StoredSecret) -> Result<bool> {
    if app.mail_keyring.get().is_some_and(|known| known.kid == stored.kid) {
        return Ok(true);
    }
    let Some(secret) = app.keyring.unsealed(&stored.kid, &stored.secret, stored.sealed) else { return Ok(false) };
    app.mail_keyring.set(MailKey::new(stored.kid.clone(), &secret)?);
    Ok(true)
}

/// The key, read from the database by a command that has not opened it before.
pub async fn current(app: &App) -> Result<Arc<MailKey>> {
    if app.mail_keyring.get().is_none() {
        open(app).await.map_err(|error| match error {
            OperatorError::Refused(sentence) => Error::Internal(sentence),
            OperatorError::Failed(error) => error,
        })?;
    }
    app.mail_keyring.get().ok_or_else(|| Error::Internal("there is no mail key".into()))
}

/// Takes over the key whenever another node has changed keys.
pub async fn follow(app: &App, mut changed: watch::Receiver<()>) {
    while changed.changed().await.is_ok() {
        loop {
            match open(app).await {
                Ok(()) => break,
                Err(OperatorError::Refused(sentence)) => {
                    tracing::error!("{sentence}. This node cannot send mails with it");
                    break;
                }
                Err(OperatorError::Failed(error)) => {
                    tracing::warn!(%error, "cannot read the mail key, which may have changed; trying again")
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Replaces the key, in an emergency: links made with the former one do nothing any more, and mails that wait are not
/// sent.
pub async fn replace(app: &App) -> Result<()> {
    let made = app.keyring.sealed_secret(StoredSecret::generate()?)?;
    let replacement = Replacement { key: made, now: app.clock.now(), change: KeyChangeId::new() };
    app.db.write(Actor::OPERATOR, replacement, |tx, input| Box::pin(insert_in_place(tx, input))).await?;
    app.keys_changed().await;
    Ok(())
}

struct Replacement {
    key: StoredSecret,
    now: Time,
    change: KeyChangeId,
}

async fn insert_in_place(tx: &mut Tx<'_>, input: &Replacement) -> Result<()> {
    store::insert_key(tx, &input.key, input.now).await?;
    store::replace_key(tx, &input.key, input.now).await?;
    audit::actions::record(tx, input.now, Event::KeyMade(input.key.kid.clone())).await?;
    announce_keys(tx, input.change).await
}

/// Seals the key anew if it lies in the database otherwise than it is to.
pub async fn to_reseal(app: &App) -> Result<Option<Resealed>, ResealError> {
    match store::key(&app.db).await? {
        Some(key) => app.keyring.resealed(&key.kid, &key.secret, key.sealed),
        None => Ok(None),
    }
}

/// Stores it, as part of a unit of work; false when it has been changed since.
pub async fn write_resealed(tx: &mut Tx<'_>, key: &Resealed) -> Result<bool> {
    store::reseal_key(tx, key).await
}
