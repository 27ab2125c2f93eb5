//! `referral serve`

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::say;
use crate::config::Config;
use crate::db::Db;
use crate::kernel::time::Clock;
use crate::log;
use crate::start;
use crate::web::{descriptors, server};
use crate::worker;

pub async fn run(config: Config) -> Result<(), String> {
    // Written until the very end, also when that is a fault.
    let _log = log::start(&config.log)?;
    descriptors::raise();
    let listener = server::bind(&config.http.listen, "REFERRAL_LISTEN").await?;
    let address = listener.local_addr().map_err(|error| format!("cannot tell where we listen: {error}"))?;
    let metrics = match config.http.metrics_listen.as_str() {
        "" => None,
        listen => Some(server::bind(listen, "REFERRAL_METRICS_LISTEN").await?),
    };
    let _claim = Db::claim(&config.database.url)?;
    let app = start::open(config, Clock::default()).await?;
    app.listens_on(address);
    if !app.config.limits.enabled {
        tracing::warn!(
            "REFERRAL_LIMITS=off: no limits for log-ins, registrations and look-ups. For tests and load runs only"
        );
    }
    let (most, limit) = (descriptors::connections(&app.config), descriptors::limit());
    if most < app.config.http.connections {
        tracing::warn!(
            most,
            ?limit,
            "the limit of open files allows fewer connections than http.connections: raise it"
        );
    }
    if app.config.http.public_url.is_empty() && app.config.database.url.starts_with("postgres") {
        tracing::warn!(
            "REFERRAL_PUBLIC_URL is not set: tokens name the address listened on, so other nodes refuse them. Set it to \
             the address that callers use, the same on every node"
        );
    }
    if !app.is_behind_tls() {
        tracing::info!(
            "http.public_url is not https: the log-in pages' cookie goes without the Secure attribute. Fine on this \
             machine alone; anywhere else put a TLS proxy before the service and set REFERRAL_PUBLIC_URL"
        );
    }
    app.follow();
    let (stop, stopped) = watch::channel(false);
    let work = tokio::spawn(worker::work(app.clone(), stopped.clone()));
    let mut serving: JoinSet<()> = JoinSet::new();
    if let Some(listener) = metrics {
        serving.spawn(server::serve_metrics(app.clone(), listener, stopped.clone()));
    }
    serving.spawn(server::serve(app.clone(), listener, stopped));
    // For people and for whoever waits for this line; the log may be elsewhere. Whoever reads neither holds up nothing.
    let line = format!("Referral listens on http://{address} (docs: http://{address}/docs)");
    let _ = std::thread::Builder::new().spawn(move || say(&line));
    tokio::select! {
        ended = wait_for_the_end() => ended?,
        // Nobody has told it to: a fault, and whoever supervises the process begins it again.
        _ = serving.join_next() => return Err("the server has ended by itself, which is a fault of the service".to_owned()),
    }
    // Load balancers learn from /readyz to look elsewhere before we close the door.
    app.stop();
    tracing::info!("stopping: requests under way are finished");
    tokio::time::sleep(app.config.http.drain()).await;
    // The receivers live as long as the tasks.
    let _ = stop.send(true);
    // Jobs that do not finish in time are another node's when their lease is over.
    let served = async { while serving.join_next().await.is_some() {} };
    let ((), _) = tokio::join!(served, tokio::time::timeout(app.config.http.shutdown(), work));
    if let Err(error) = app.db.settle().await {
        tracing::warn!(%error, "the database's log stays beside it");
    }
    tracing::info!("stopped");
    Ok(())
}

async fn wait_for_the_end() -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
