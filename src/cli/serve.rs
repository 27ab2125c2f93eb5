//! `referral serve`

use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::say;
use crate::app::App;
use crate::config::{Config, Policy, without_password};
use crate::db::Db;
use crate::features::links::actions::clicks;
use crate::kernel::time::Clock;
use crate::kernel::version;
use crate::log;
use crate::site::{descriptors, server};
use crate::start;
use crate::worker;

pub async fn run(config: Config, read_only: bool) -> Result<(), String> {
    // Written until the very end, also when that is a fault.
    let _log = log::start(&config.log)?;
    descriptors::raise();
    outlive_terminals()?;
    let listener = server::bind(&config.http.listen, "REFERRAL_LISTEN").await?;
    let address = listener.local_addr().map_err(|error| format!("cannot tell where we listen: {error}"))?;
    let metrics = match config.http.metrics_listen.as_str() {
        "" => None,
        listen => Some(server::bind(listen, "REFERRAL_METRICS_LISTEN").await?),
    };
    let claim = || Db::claim(&config.database.url).map_err(|fault| config.database.told(&fault));
    // Whoever copies the database has it meanwhile.
    let _claim = if read_only { None } else { claim()? };
    let app = App::connect(config, Clock::default()).await?;
    app.listens_on(address);
    introduce(&app, address).await;
    if read_only {
        start::make_readable(&app).await?;
        tracing::warn!("serve --read-only: changes are refused, and no jobs are done");
    } else {
        start::make_ready(&app).await?;
    }
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
            "the limit of open files allows fewer connections than http.connections: raise it (LimitNOFILE= in systemd, \
             ulimit -n)"
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
    worker::follow(&app);
    let (stop, stopped) = watch::channel(false);
    let (working, until) = (app.clone(), stopped.clone());
    let work = tokio::spawn(async move {
        if !read_only {
            worker::work(working, until).await;
        }
    });
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
    if read_only {
        tracing::info!("stopped");
        return Ok(());
    }
    // After the last request.
    match tokio::time::timeout(app.config.http.shutdown(), clicks::flush(&app)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the last clicks are not written"),
        Err(_) => tracing::warn!("the last clicks are not written: the database does not answer in time"),
    }
    if let Err(error) = app.db.checkpoint().await {
        tracing::warn!(%error, "the database's log stays beside it");
    }
    tracing::info!("stopped");
    Ok(())
}

/// The first line of the log: what runs here, on what, and what is off.
async fn introduce(app: &App, address: SocketAddr) {
    let config = &app.config;
    let engine = app.db.engine().await.unwrap_or_else(|error| format!("unknown: {error}"));
    let redis = if config.redis.url.is_empty() { "none".to_owned() } else { without_password(&config.redis.url) };
    let off = [
        ("limits", config.limits.enabled),
        ("redis", !config.redis.url.is_empty()),
        ("metrics", !config.http.metrics_listen.is_empty()),
        ("checks of addresses", config.email.check != Policy::Off),
        ("hunter", config.email.verifies()),
        ("master key", config.tokens.master_key().is_some()),
        ("identity providers", !config.providers.is_empty()),
        ("prepared statements", config.database.prepared_statements),
    ];
    let off: Vec<&str> = off.into_iter().filter(|(_, on)| !on).map(|(name, _)| name).collect();
    tracing::info!(
        version = version::VERSION,
        commit = version::commit(),
        engine,
        database = start::name(&config.database.url),
        redis,
        address = %address,
        off = off.join(", "),
        "Referral starts"
    );
}

/// SIGHUP, which a closed terminal sends and some send to have settings read again, ends nothing.
fn outlive_terminals() -> Result<(), String> {
    let hangup = signal(SignalKind::hangup());
    let mut hangup = hangup.map_err(|error| format!("cannot listen for signals: {error}"))?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: nothing is read again; restart the service for other settings");
        }
    });
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
