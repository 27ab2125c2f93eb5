//! Codes that come with their owner from another service.

pub use crate::features::codes::store::moving::MovedCode;

use crate::db::Tx;
use crate::features::codes::store::{self, moving};
use crate::kernel::code::CodeKey;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;

/// Writes all codes of somebody who was made in this unit of work, in the order of their lives, and opens their slot:
/// they may have brought others without a code, too. The last of them is active if nothing has ended it by now.
pub async fn bring(tx: &mut Tx<'_>, owner: UserId, codes: &[MovedCode], now: Time) -> Result<()> {
    store::open(tx, owner).await?;
    let mut last = None;
    for (ordinal, code) in (1_i64..).zip(codes) {
        let key = CodeKey::of(&code.code).ok_or_else(|| Error::Internal("a code that nobody could use".into()))?;
        let id = store::claim(tx, key, owner, ordinal).await?.ok_or(Refusal::CodeTaken)?;
        moving::insert(tx, owner, (ordinal, id), code).await?;
        last = Some((id, code));
    }
    moving::note(tx, owner, codes.len() as i64, now).await?;
    match last.filter(|(_, code)| code.revoked_at.is_none() && code.expires_at > now) {
        Some((id, code)) => moving::put(tx, owner, id, code).await,
        None => Ok(()),
    }
}
