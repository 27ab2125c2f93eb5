//! `referral admin ledger`

use clap::Subcommand;

use super::say;
use crate::app::App;
use crate::features::rewards::actions::check;
use crate::features::rewards::model::check::FaultKind;

#[derive(Subcommand)]
pub enum Ledger {
    /// Read all of it, and say whether every reward, balance and mark is what its rows come to
    Check,
}

pub async fn run(app: &App, command: Ledger) -> Result<(), String> {
    let Ledger::Check = command;
    let found = check::run(app).await.map_err(|error| error.to_string())?;
    for fault in &found.faults {
        let what = match fault.kind {
            FaultKind::Reward => "the reward is not what its rows come to",
            FaultKind::Balance => "the holder has less than there can be",
            FaultKind::Mark => "the holder's last mark is not what the rows up to it come to",
            FaultKind::Budget => "the budget has given something else than the rewards that it covers come to",
            FaultKind::PayoutLine => "the line of a payout is not what its rows come to",
            FaultKind::Adjustment => "the credit or debit is not what its decision says",
        };
        say(&format!("{}  {}  {what}", fault.kind.word(), fault.id));
    }
    if !found.faults.is_empty() {
        return Err(format!("{} faults: the ledger does not add up", found.faults.len()));
    }
    say(&format!("{} rewards and {} movements, all of which add up", found.rewards, found.movements));
    Ok(())
}
