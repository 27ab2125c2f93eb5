//! Keys of tokens under another master key.

use crate::app::App;
use crate::crypto::sealing::{ResealError, Resealed};
use crate::db::Tx;
use crate::features::tokens::store;
use crate::kernel::error::Result;

/// The keys that are to be sealed anew.
pub struct ResealedKeys {
    signing: Vec<Resealed>,
    refresh: Vec<Resealed>,
}

impl ResealedKeys {
    pub fn count(&self) -> usize {
        self.signing.len() + self.refresh.len()
    }
}

/// Seals anew what lies in the database otherwise than it is to.
pub async fn prepare(app: &App) -> Result<ResealedKeys, ResealError> {
    let (mut signing, mut refresh) = (Vec::new(), Vec::new());
    for stored in store::keys(&app.db).await?.into_iter().filter(|stored| stored.retired_at.is_none()) {
        signing.extend(app.keyring.resealed(&stored.key.kid, &stored.key.private_key, stored.key.sealed)?);
    }
    for key in store::refresh_keys(&app.db).await? {
        refresh.extend(app.keyring.resealed(&key.kid, &key.secret, key.sealed)?);
    }
    Ok(ResealedKeys { signing, refresh })
}

/// Stores them, as part of a unit of work, and says how many; others have been changed since.
pub async fn write(tx: &mut Tx<'_>, keys: &ResealedKeys) -> Result<usize> {
    store::lock_keys(tx).await?;
    let mut written = 0;
    for key in &keys.signing {
        written += usize::from(store::reseal_key(tx, key).await?);
    }
    for key in &keys.refresh {
        written += usize::from(store::reseal_refresh_key(tx, key).await?);
    }
    Ok(written)
}
