//! Sealing every key anew when the master key changes. Nodes that run have their keys opened and go on.

use crate::app::App;
use crate::crypto::sealing::{ResealError, Resealed};
use crate::db::{Tx, Work};
use crate::features::audit::model::Event;
use crate::features::tokens::actions::reseal::{self, ResealedKeys};
use crate::features::{audit, mails, webhooks};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Cause, Result, Storage};
use crate::kernel::time::Time;

/// Somebody may rotate keys meanwhile.
const TRIES: usize = 5;

struct Resealing {
    tokens: ResealedKeys,
    audit: Vec<Resealed>,
    mails: Option<Resealed>,
    webhooks: Vec<Resealed>,
    now: Time,
}

impl Resealing {
    fn count(&self) -> usize {
        self.tokens.count() + self.audit.len() + usize::from(self.mails.is_some()) + self.webhooks.len()
    }
}

/// Seals all that is sealed under today's master key, in one unit of work, and says how many keys that were.
pub async fn run(app: &App) -> Result<usize, ResealError> {
    for _ in 0..TRIES {
        let resealing = Resealing {
            tokens: reseal::prepare(app).await?,
            audit: audit::actions::keys::to_reseal(app).await?,
            mails: mails::actions::keys::to_reseal(app).await?,
            webhooks: webhooks::actions::secrets::to_reseal(app).await?,
            now: app.clock.now(),
        };
        let count = resealing.count();
        if count == 0 {
            return Ok(0);
        }
        let work: Work<Resealing, bool> = |tx, resealing| Box::pin(write(tx, resealing));
        if app.db.write(Actor::OPERATOR, resealing, work).await? {
            return Ok(count);
        }
    }
    let fault = Cause::Unknown.fault("keys were changed again and again while they were sealed");
    Err(ResealError::Failed(Storage::Unavailable(fault).into()))
}

/// False when not all of them are as they were; then what was written is good all the same, and the rest is looked at
/// again.
async fn write(tx: &mut Tx<'_>, resealing: &Resealing) -> Result<bool> {
    let tokens = reseal::write(tx, &resealing.tokens).await?;
    let mut written = tokens + audit::actions::keys::write_resealed(tx, &resealing.audit).await?;
    if let Some(key) = &resealing.mails {
        written += usize::from(mails::actions::keys::write_resealed(tx, key).await?);
    }
    written += webhooks::actions::secrets::write_resealed(tx, &resealing.webhooks).await?;
    audit::actions::record(tx, resealing.now, Event::KeysResealed(written as i64)).await?;
    Ok(written == resealing.count())
}
