//! The job that gives committed rows their places. Who writes rows waits for nobody: only this job locks the head, on
//! any number of nodes, so there is one row for each place, and none is before one that was committed earlier and has a
//! place already.

use aws_lc_rs::hmac;
use uuid::Uuid;

use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::audit::model::chain::Head;
use crate::features::audit::store;
use crate::kernel::actor::Actor;
use crate::kernel::error::Result;

/// Rows in one unit of work.
const AT_ONCE: i64 = 512;

struct Chaining {
    keys: Vec<hmac::Key>,
    /// Whether there are keys that cannot be opened.
    blind: bool,
}

struct Placed {
    rows: i64,
    /// Those that the service has not written.
    alien: Vec<i64>,
}

/// Gives all rows that are committed their places, and says how the chain ends then.
pub async fn run(app: &App) -> Result<Head> {
    loop {
        let (head, waiting) = store::standing(&app.db).await?;
        if !waiting {
            app.metrics.audit_head(head.seq, &head.hash);
            return Ok(head);
        }
        let (keys, blind) = app.audit_keys.all();
        let place: Work<Chaining, Placed> = |tx, chaining| Box::pin(place(tx, chaining));
        let placed = app.db.write(Actor::SERVICE, Chaining { keys, blind }, place).await?;
        for seq in &placed.alien {
            tracing::error!(seq, "a row of the audit was not written by this service; `referral admin audit verify`");
        }
        app.metrics.audit_alien(placed.alien.len() as u64);
        // Another node may have placed them.
        if placed.rows == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn place(tx: &mut Tx<'_>, chaining: &Chaining) -> Result<Placed> {
    let mut head = store::lock_head(tx).await?;
    let (mut places, mut alien): (Vec<(Uuid, Head)>, Vec<i64>) = Default::default();
    for row in store::unchained(tx, AT_ONCE).await? {
        head = Head { hash: row.record.hash_behind(&head), seq: head.seq + 1 };
        if !chaining.blind && !row.record.is_signed_by(&chaining.keys) {
            alien.push(head.seq);
        }
        places.push((row.record.id, head));
    }
    store::chain(tx, &places).await?;
    Ok(Placed { rows: places.len() as i64, alien })
}
