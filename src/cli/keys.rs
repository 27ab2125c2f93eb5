//! `referral keys`

use std::sync::Arc;

use clap::Subcommand;

use super::say;
use crate::app::App;
use crate::crypto::sealing::ResealError;
use crate::features::tokens::actions::keys::{self, AFTERLIFE, Listed, State};
use crate::features::{mails, managers};
use crate::kernel::time::Time;

/// Run them with the settings of the service, its master key included. Nodes that run follow within seconds.
#[derive(Subcommand)]
pub enum Keys {
    /// Print all keys: name, algorithm, state (next, signing, verifying, retired), since when
    List,
    /// Replace the keys that sign: new ones are published at once and sign five minutes later
    ///
    /// Nobody notices. The former keys go on verifying what they have signed; `retire` them afterwards.
    Rotate {
        /// The keys are in wrong hands: the new ones sign at once, and no token signed by a former one is believed
        ///
        /// Programs refresh their access tokens; nobody has to log in again. Works also when the former keys cannot be
        /// opened because the master key is lost.
        #[arg(long)]
        emergency: bool,
    },
    /// Seal all keys under another master key
    ///
    /// Give the new one as tokens.master_key and the one of before as tokens.former_master_key. Nodes that run go on;
    /// each needs the new one at its next start.
    Reseal,
    /// Take a former key out of what is published and believed, once nothing that it has signed is good any more
    Retire {
        /// The key's name, as `list` prints it
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

pub async fn run(app: Arc<App>, command: Keys) -> Result<(), String> {
    match command {
        Keys::List => list(&app).await,
        Keys::Rotate { emergency } => rotate(&app, emergency).await,
        Keys::Reseal => reseal(&app).await,
        Keys::Retire { kid } => {
            keys::retire(&app, &kid).await.map_err(text)?;
            say(&format!("{kid} is retired"));
            Ok(())
        }
    }
}

async fn list(app: &App) -> Result<(), String> {
    let listed = keys::list(app).await.map_err(text)?;
    if listed.is_empty() {
        say("there are no keys yet: `referral serve` makes the first");
        return Ok(());
    }
    say(&format!("{:<16}  {:<9}  {:<9}  since", "key", "algorithm", "state"));
    for Listed { kid, algorithm, state, since } in listed {
        let since = Time(since.seconds() * 1_000_000);
        let from = if state == State::Next { "from " } else { "" };
        say(&format!("{kid:<16}  {:<9}  {:<9}  {from}{since}", algorithm.word(), state.word()));
    }
    Ok(())
}

async fn rotate(app: &App, emergency: bool) -> Result<(), String> {
    let rotated = keys::rotate(app, emergency).await.map_err(text)?;
    if emergency {
        mails::actions::keys::replace(app).await.map_err(text)?;
    }
    let from = if emergency { "signs now".to_owned() } else { format!("signs from {} on", rotated.signs_from) };
    for (kid, algorithm) in rotated.made {
        say(&format!("{kid} ({}) is published and {from}", algorithm.word()));
    }
    if emergency {
        say("all former keys are retired: nodes refuse what they have signed within 5 seconds, and programs refresh");
        say("links in mails that were sent before do nothing any more");
    } else {
        let until = rotated.signs_from.plus(AFTERLIFE);
        say(&format!("the former keys may be retired from {until} on: `referral keys retire KEY`"));
    }
    if let Some(kid) = rotated.locked {
        say(&format!(
            "{kid} could not be opened: nodes that run with another master key than this command did cannot sign with \
             the new keys. Restart them with this one"
        ));
    }
    Ok(())
}

async fn reseal(app: &App) -> Result<(), String> {
    let count = managers::actions::reseal::run(app).await.map_err(|error| match error {
        ResealError::NoMasterKey => "there is no master key to seal them under: give the new one as tokens.master_key \
                                     (REFERRAL_MASTER_KEY or REFERRAL_MASTER_KEY_FILE)"
            .to_owned(),
        ResealError::Locked(kid) => format!(
            "neither master key opens the key {kid}: give the one that it was sealed under as tokens.former_master_key \
             (REFERRAL_FORMER_MASTER_KEY or REFERRAL_FORMER_MASTER_KEY_FILE). Nothing was changed"
        ),
        ResealError::Failed(error) => text(error),
    })?;
    match count {
        0 => say("all keys are sealed under this master key already"),
        count => say(&format!(
            "{count} keys are sealed under the new master key: restart each node with it, one after the other, and \
             take tokens.former_master_key away then"
        )),
    }
    Ok(())
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
