//! What becomes of identities when time goes by and people leave.

use super::store;
use crate::app::App;
use crate::db::Tx;
use crate::kernel::error::Result;
use crate::kernel::ids::UserId;

/// Takes everything away that says who a user is elsewhere, as part of a unit of work.
pub async fn forget(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    store::unlink_all(tx, user).await.map(drop)
}

/// Removes those who have not come back in time.
pub async fn housekeeping(app: &App) -> Result<u64> {
    app.db.write(app.clock.now(), |tx, now| Box::pin(store::forget_sign_ins(tx, *now))).await
}
