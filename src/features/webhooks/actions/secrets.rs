//! What deliveries are signed with.

use super::BOTH_FOR;
use crate::app::App;
use crate::crypto::keyring::StoredSecret;
use crate::crypto::sealing::{ResealError, Resealed};
use crate::db::{Tx, Work};
use crate::features::audit;
use crate::features::audit::model::Event;
use crate::features::webhooks::model::signature;
use crate::features::webhooks::store;
use crate::idempotency::Sent;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::EndpointId;
use crate::kernel::time::Time;

/// Gives an endpoint another secret. The one before goes on signing beside it for a day.
pub async fn replace(app: &App, sent: Sent<String>, id: EndpointId) -> Result<String> {
    let made = StoredSecret::generate()?;
    let secret = signature::told(&made.secret);
    let input = (id, app.keyring.sealed_secret(made)?, app.clock.now());
    let work: Work<(EndpointId, StoredSecret, Time), ()> = |tx, (id, new, now)| Box::pin(insert(tx, *id, new, *now));
    app.write(sent.settled(&secret)?, input, work).await?;
    Ok(secret)
}

async fn insert(tx: &mut Tx<'_>, id: EndpointId, new: &StoredSecret, now: Time) -> Result<()> {
    store::lock(tx, id).await?.ok_or(Refusal::EndpointNotFound)?;
    store::expire_secrets(tx, id, now.plus(BOTH_FOR)).await?;
    store::insert_secret(tx, id, new, now).await?;
    audit::actions::record(tx, now, Event::EndpointSecretReplaced(id)).await
}

/// Those that the master key opens.
pub fn open(app: &App, stored: &[StoredSecret]) -> Vec<Vec<u8>> {
    let opened = |one: &StoredSecret| app.keyring.unsealed(&one.kid, &one.secret, one.sealed);
    let secrets: Vec<Vec<u8>> = stored.iter().filter_map(opened).collect();
    if secrets.len() < stored.len() {
        tracing::error!("the master key does not open the secret of a webhook endpoint: nothing is signed with it");
    }
    secrets
}

/// Seals anew what lies in the database otherwise than it is to.
pub async fn to_reseal(app: &App) -> Result<Vec<Resealed>, ResealError> {
    let mut resealed = Vec::new();
    for secret in store::all_secrets(&app.db).await? {
        resealed.extend(app.keyring.resealed(&secret.kid, &secret.secret, secret.sealed)?);
    }
    Ok(resealed)
}

/// Stores them, as part of a unit of work, and says how many; others have been changed since.
pub async fn write_resealed(tx: &mut Tx<'_>, secrets: &[Resealed]) -> Result<usize> {
    let mut written = 0;
    for secret in secrets {
        written += usize::from(store::reseal_secret(tx, secret).await?);
    }
    Ok(written)
}
