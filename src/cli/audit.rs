//! `referral admin audit`

use clap::Subcommand;

use super::say;
use crate::app::App;
use crate::features::audit::actions::verify::{self, Asked};
use crate::features::audit::actions::{chain, head};
use crate::features::audit::model::chain::{FaultKind, Head};

#[derive(Subcommand)]
pub enum Audit {
    /// Print the number and the hash of the last row, to be kept elsewhere
    Head,
    /// Read all of it, and name the first row that was changed, swapped, removed or added
    Verify {
        /// A hash that was kept elsewhere: it must be in the chain still
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

pub async fn run(app: &App, command: Audit) -> Result<(), String> {
    // So that each row has its number.
    chain::run(app).await.map_err(|error| error.to_string())?;
    match command {
        Audit::Head => {
            let head = head(app).await.map_err(|error| error.to_string())?;
            say(&format!("{}  {}", head.seq, head.hash_text()));
            Ok(())
        }
        Audit::Verify { head } => verify(app, head.as_deref()).await,
    }
}

async fn verify(app: &App, pinned: Option<&str>) -> Result<(), String> {
    let read = |text: &str| {
        Head::read_hash(text.trim()).ok_or("--head is no hash: `referral admin audit head` prints one".to_owned())
    };
    let asked = Asked { pinned: pinned.map(read).transpose()?, ..Asked::default() };
    let found = verify::run(app, asked).await.map_err(|error| error.to_string())?;
    if let Some(fault) = found.fault {
        let what = match fault.kind {
            FaultKind::Changed => "is another than was noted",
            FaultKind::Swapped => "stands where another stood",
            FaultKind::Removed => "is not there",
            FaultKind::Added => "was not written by this service",
        };
        return Err(format!(
            "row {} of the audit {what} ({}); those before it are whole",
            fault.seq,
            fault.kind.word()
        ));
    }
    if found.pinned == Some(false) {
        return Err(
            "the rows are whole, but the hash that was kept elsewhere is not among theirs: all behind some row \
                    was written anew, or cut off"
                .to_owned(),
        );
    }
    if found.unproven > 0 {
        say(&format!("{} rows are signed with a key that is lost: only their places were looked at", found.unproven));
    }
    say(&format!("{} rows, all as they were noted; the last has the hash {}", found.rows, found.place.hash_text()));
    Ok(())
}
