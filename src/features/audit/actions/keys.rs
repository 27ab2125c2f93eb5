//! The life of the keys by which rows carry a MAC.

use crate::app::App;
use crate::crypto::keyring::StoredSecret;
use crate::crypto::sealing::{ResealError, Resealed};
use crate::db::{Tx, Work};
use crate::features::audit::store;
use crate::kernel::actor::Actor;
use crate::kernel::error::Result;
use crate::kernel::time::Time;

/// Takes over the keys that the database has, and says whether there is any and whether rows can be signed.
pub async fn read(app: &App) -> Result<(bool, bool)> {
    let taken = app.audit_keys.take_over(&app.keyring, &store::keys(&app.db).await?);
    let signs = taken.newest.is_some();
    if let Some(key) = taken.newest {
        app.db.sign_with(key);
    }
    Ok((taken.any, signs))
}

/// As [`read`], and makes the first key, and seals those that lie open although there is a master key.
pub async fn open(app: &App) -> Result<()> {
    if !read(app).await?.0 {
        add(app, Some(0)).await?;
    }
    if app.keyring.seals() {
        seal(app).await?;
    }
    Ok(())
}

/// Makes another key if the newest cannot be opened, for the master key is lost.
pub async fn replace_lost(app: &App) -> Result<()> {
    match read(app).await? {
        (true, false) => add(app, None).await,
        _ => Ok(()),
    }
}

struct Adding {
    key: StoredSecret,
    /// Only if there are so many.
    among: Option<usize>,
    now: Time,
}

/// Of several nodes that do so at once one makes the first, and the others take it.
async fn add(app: &App, among: Option<usize>) -> Result<()> {
    let key = app.keyring.sealed_secret(StoredSecret::generate()?)?;
    let add: Work<Adding, ()> = |tx, adding| {
        Box::pin(async move {
            let there = store::lock_keys(tx).await?.len();
            if adding.among.is_none_or(|among| among == there) {
                store::insert_key(tx, &adding.key, adding.now).await?;
            }
            Ok(())
        })
    };
    app.db.write(Actor::SERVICE, Adding { key, among, now: app.clock.now() }, add).await?;
    read(app).await.map(drop)
}

async fn seal(app: &App) -> Result<()> {
    let mut open = Vec::new();
    for key in store::keys(&app.db).await?.into_iter().filter(|key| !key.sealed) {
        let before = key.secret.clone();
        let StoredSecret { kid, secret: after, .. } = app.keyring.sealed_secret(key)?;
        open.push(Resealed { kid, before, after });
    }
    if open.is_empty() {
        return Ok(());
    }
    let write: Work<Vec<Resealed>, usize> = |tx, keys| Box::pin(write_resealed(tx, keys));
    app.db.write(Actor::SERVICE, open, write).await.map(drop)
}

/// Seals anew what lies in the database otherwise than it is to. Former keys that are lost stay as they are.
pub async fn to_reseal(app: &App) -> Result<Vec<Resealed>, ResealError> {
    let mut resealed = Vec::new();
    for (number, key) in store::keys(&app.db).await?.into_iter().enumerate() {
        match app.keyring.resealed(&key.kid, &key.secret, key.sealed) {
            Err(ResealError::Locked(_)) if number > 0 => {}
            outcome => resealed.extend(outcome?),
        }
    }
    Ok(resealed)
}

/// Stores keys as they are sealed now, as part of a unit of work, and says how many; others have been changed since.
pub async fn write_resealed(tx: &mut Tx<'_>, keys: &[Resealed]) -> Result<usize> {
    store::lock_keys(tx).await?;
    let mut written = 0;
    for key in keys {
        written += usize::from(store::reseal_key(tx, key).await?);
    }
    Ok(written)
}
