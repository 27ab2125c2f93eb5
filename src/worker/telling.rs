//! Messages to others get their numbers, and are delivered.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{GRACE, PERIOD, SETTLING, until_stopped};
use crate::app::App;
use crate::features::webhooks::actions::{fan_out, lanes};
use crate::kernel::error::Result;
use crate::kernel::ids::EndpointId;

/// Gives messages their numbers, and makes deliveries of them: at once when somebody of this node has written one.
pub async fn number(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let work = async {
        loop {
            if let Err(error) = fan_out::run(&app).await {
                tracing::warn!(%error, "cannot take up what is to be told to others; trying again");
            }
            let _ = tokio::time::timeout(PERIOD, app.to_tell.notified()).await;
        }
    };
    until_stopped(&mut stop, work).await;
}

/// Keeps a lane open for each endpoint for which there is something to do.
pub async fn deliver(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut lanes: JoinSet<()> = JoinSet::new();
    let told = stop.clone();
    until_stopped(&mut stop, open_lanes(&app, &told, &mut lanes)).await;
    // Each of them knows of the stop.
    let ended = async { while lanes.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE + SETTLING, ended).await;
}

async fn open_lanes(app: &Arc<App>, stop: &watch::Receiver<bool>, lanes: &mut JoinSet<()>) {
    let mut open: HashMap<tokio::task::Id, EndpointId> = HashMap::new();
    loop {
        let due = lanes::due(app).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for deliveries that are due; trying again");
            Vec::new()
        });
        for endpoint in due {
            if !open.values().any(|known| *known == endpoint) {
                open.insert(lanes.spawn(keep_to(app.clone(), endpoint, stop.clone())).id(), endpoint);
            }
        }
        tokio::select! {
            Some(ended) = lanes.join_next_with_id() => {
                // One that has panicked is begun again, too.
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                open.remove(&id);
            }
            () = app.to_deliver.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn keep_to(app: Arc<App>, endpoint: EndpointId, stop: watch::Receiver<bool>) {
    if let Err(error) = lanes::run(&app, endpoint, stop).await {
        tracing::warn!(%endpoint, %error, "cannot make deliveries; trying again");
        tokio::time::sleep(PERIOD).await;
    }
}

/// Makes all deliveries that are due.
pub async fn drain(app: &App) -> Result<()> {
    fan_out::run(app).await?;
    let (_going_on, stop) = watch::channel(false);
    loop {
        let due = lanes::due(app).await?;
        if due.is_empty() {
            return Ok(());
        }
        let lanes = due.into_iter().map(|endpoint| lanes::run(app, endpoint, stop.clone()));
        futures_util::future::try_join_all(lanes).await?;
    }
}
