//! Whether the audit is as it was written.

use crate::app::App;
use crate::features::audit::model::chain::{Fault, FaultKind, Head, Verifier};
use crate::features::audit::store;
use crate::kernel::error::Result;

/// Rows that are read at a time.
const PART: i64 = 2000;

/// What was found.
pub struct Verified {
    pub rows: i64,
    /// The last place that was found good.
    pub place: Head,
    pub head: Head,
    /// Rows whose MAC is of a key that cannot be opened.
    pub unproven: i64,
    pub fault: Option<Fault>,
    /// Whether the head that was pinned elsewhere is in the chain, if one was given.
    pub pinned: Option<bool>,
    /// Whether there are rows left.
    pub more: bool,
}

/// What is to be looked at.
#[derive(Default)]
pub struct Asked {
    /// From this number on; the row before is believed.
    pub from: Option<i64>,
    pub most: Option<i64>,
    pub pinned: Option<[u8; 32]>,
}

/// Reads rows in their order, and compares each with what was noted and with the one before.
pub async fn run(app: &App, asked: Asked) -> Result<Verified> {
    let (keys, blind) = app.audit_keys.all();
    // First the head: what is chained meanwhile is behind it.
    let head = store::head(&app.db).await?;
    let begin = asked.from.filter(|from| *from > 1).map_or(0, |from| from - 1).min(head.seq);
    let place = if begin == 0 { Some(Head::NONE) } else { store::place(&app.db, begin).await? };
    let Some(place) = place else {
        let fault = Some(Fault { seq: begin, kind: FaultKind::Removed });
        return Ok(Verified { rows: 0, place: Head::NONE, head, unproven: 0, fault, pinned: None, more: false });
    };
    let mut verifier = Verifier::new(keys, blind, place);
    let mut pinned = asked.pinned.map(|hash| hash == Head::NONE.hash);
    // Rows below the first number are none of ours.
    let mut behind = if begin == 0 { i64::MIN } else { begin };
    let (mut rows, mut fault, mut more) = (0, None, false);
    loop {
        let size = asked.most.map_or(PART, |most| PART.min(most - rows));
        if size <= 0 {
            more = verifier.place.seq < head.seq;
            break;
        }
        let part = store::chained(&app.db, behind, head.seq, size).await?;
        let Some(last) = part.last().and_then(|row| row.seq) else { break };
        for row in &part {
            fault = verifier.take(row).err();
            if fault.is_some() {
                break;
            }
            rows += 1;
            pinned = pinned.map(|found| found || asked.pinned == Some(verifier.place.hash));
        }
        if fault.is_some() {
            break;
        }
        behind = last;
        // Hashing is work: others have their turn.
        tokio::task::yield_now().await;
    }
    if fault.is_none() && !more {
        fault = verifier.ends_at(&head).err();
    }
    if fault.is_none() && !more {
        fault = store::behind_head(&app.db).await?.map(|seq| Fault { seq, kind: FaultKind::Added });
    }
    Ok(Verified { rows, place: verifier.place, head, unproven: verifier.unproven, fault, pinned, more })
}
