//! `referral admin webhook`

use clap::Subcommand;

use super::say;
use crate::app::App;
use crate::features::webhooks::actions::{self, NewEndpoint, is_good, recovery, secrets};
use crate::features::webhooks::model::{Endpoint, Types, parse_description, parse_url};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal};
use crate::kernel::ids::EndpointId;
use crate::kernel::time::Time;
use crate::outbound::receivers::Receipt;

#[derive(Subcommand)]
pub enum Webhook {
    /// Make an endpoint and print its id and, this once, its secret
    Create {
        /// Where messages go: https, at a public address
        url: String,
        /// A type of message, such as referral.created; may be given several times [default: all of them]
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the endpoints: id, state, since when it is so or fails, types, address
    List,
    /// Give an endpoint another secret and print it, this once; for a day messages are signed with both
    NewSecret {
        /// The endpoint's id
        endpoint_id: String,
    },
    /// Send an endpoint a message that tells of nothing, and say how that went
    Test {
        /// The endpoint's id
        endpoint_id: String,
    },
    /// Send to a disabled endpoint again
    Enable {
        /// The endpoint's id
        endpoint_id: String,
    },
    /// Send an endpoint all that it has missed since a time, at most 30 days ago
    Recover {
        /// The endpoint's id
        endpoint_id: String,
        /// Such as 2026-11-29 or 2026-11-29T12:00:00Z
        #[arg(long, value_name = "TIME")]
        since: String,
    },
    /// Remove an endpoint: nothing is sent to it any more
    Remove {
        /// The endpoint's id
        endpoint_id: String,
    },
}

pub async fn run(app: &App, command: Webhook) -> Result<(), String> {
    match command {
        Webhook::Create { url, types, description } => {
            let types = if types.is_empty() { Types::All } else { Types::parse(&types)? };
            let new = NewEndpoint { url: parse_url(&url)?, types, description: parse_description(&description)? };
            let made = actions::create(app, Actor::OPERATOR.into(), new).await.map_err(text)?;
            say(&format!("endpoint_id  {}", made.endpoint.id));
            say(&format!("secret       {}", made.secret));
        }
        Webhook::List => {
            for endpoint in actions::list(app).await.map_err(text)? {
                say(&line(&endpoint));
            }
        }
        Webhook::NewSecret { endpoint_id } => {
            let secret = secrets::replace(app, Actor::OPERATOR.into(), id(&endpoint_id)?).await.map_err(text)?;
            say(&format!("secret  {secret}"));
            say("the one before signs beside it for a day");
        }
        Webhook::Test { endpoint_id } => {
            let answered = actions::ping(app, id(&endpoint_id)?).await.map_err(text)?;
            let said = match &answered.receipt {
                Receipt::Answered(status, _) => format!("it has answered {status}, after {} ms", answered.millis),
                Receipt::Failed(failure) => format!("no answer: {}, after {} ms", failure.word(), answered.millis),
            };
            if !is_good(&answered.receipt) {
                return Err(format!("{said}. A receiver answers with 200 to 299 within 15 seconds"));
            }
            say(&said);
        }
        Webhook::Enable { endpoint_id } => {
            actions::enable(app, Actor::OPERATOR.into(), id(&endpoint_id)?).await.map_err(text)?;
            say("enabled; `referral admin webhook recover` sends what it has missed");
        }
        Webhook::Recover { endpoint_id, since } => {
            let since = Time::parse(&since).ok_or("--since is no time: write 2026-11-29 or 2026-11-29T12:00:00Z")?;
            recovery::recover(app, Actor::OPERATOR.into(), id(&endpoint_id)?, since).await.map_err(text)?;
            say("a node sends it within seconds");
        }
        Webhook::Remove { endpoint_id } => {
            actions::remove(app, Actor::OPERATOR.into(), id(&endpoint_id)?).await.map_err(text)?;
            say("removed; nothing is sent to it any more");
        }
    }
    Ok(())
}

fn id(given: &str) -> Result<EndpointId, String> {
    EndpointId::parse(given).ok_or_else(|| text(Refusal::EndpointNotFound.into()))
}

fn line(endpoint: &Endpoint) -> String {
    let at = |time: Time| Time(time.seconds() * 1_000_000).to_string();
    let state = match (endpoint.disabled_at, endpoint.failing_since) {
        (Some(since), _) => format!(
            "{} since {} ({})",
            endpoint.state.word(),
            at(since),
            endpoint.reason.map_or("", |reason| reason.word())
        ),
        (None, Some(since)) => format!("fails since {}", at(since)),
        (None, None) => endpoint.state.word().to_owned(),
    };
    format!("{}  {state}  {}  {}", endpoint.id, endpoint.types.words().join(","), endpoint.url)
}

fn text(error: Error) -> String {
    match error {
        Error::Refused(refusal @ Refusal::EndpointNotFound) => {
            format!("{}: `referral admin webhook list` shows those there are", refusal.sentence())
        }
        Error::Refused(refusal @ Refusal::EndpointBlocked) => format!(
            "{}: it is https at a public address and a port of webhooks.ports, or in one of webhooks.allow_networks",
            refusal.sentence()
        ),
        error => error.to_string(),
    }
}
