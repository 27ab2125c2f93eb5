//! Listening, serving, and stopping without cutting anybody off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use super::caller::Peer;
use super::router::{router, without_slash};
use super::{guard, health};
use crate::app::{App, stopped};

/// For a header to arrive, and for a connection to stay without one.
const PATIENCE: Duration = Duration::from_secs(30);
/// After the listener has closed, before idle connections are.
const FAREWELL: Duration = Duration::from_millis(300);
const MOST_HEADERS: usize = 16 * 1024;

/// Binds an address; the error is a sentence with a remedy.
pub async fn bind(address: &str, name: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}. Is another program there? Choose another address with {name}")
    })
}

/// Serves the API until `stop` says so, then lets requests under way finish.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: watch::Receiver<bool>) {
    let limit = app.config.http.shutdown();
    let closing = app.clone();
    accept(router(app), listener, stop, limit, || closing.close()).await;
}

/// Serves the figures.
pub async fn serve_metrics(app: Arc<App>, listener: TcpListener, stop: watch::Receiver<bool>) {
    let routes = Router::new()
        .route("/metrics", get(health::metrics))
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard::guard))
        .with_state(app);
    accept(routes, listener, stop, Duration::from_secs(1), || ()).await;
}

async fn accept(
    routes: Router,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
    limit: Duration,
    closed: impl FnOnce(),
) {
    // HTTP/1.1 is what proxies speak to us, and what has a time-out for a peer that says nothing.
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(MOST_HEADERS);
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: some will come back.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        talk(&builder, &graceful, routes.clone(), stream, peer);
    }
    // Who was connected by the system before we stopped is served as well.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        talk(&builder, &graceful, routes.clone(), stream, peer);
    }
    drop(listener);
    closed();
    // Connections in use are told with their next answer; the idle ones are closed after this.
    tokio::time::sleep(FAREWELL).await;
    if tokio::time::timeout(limit, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time and are cut off");
    }
}

/// Serves one connection, beside all others.
fn talk(builder: &http1::Builder, graceful: &GracefulShutdown, routes: Router, stream: TcpStream, peer: SocketAddr) {
    // Answers are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(routes.clone(), request, peer));
    let watched = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
    tokio::spawn(async move {
        // A peer that breaks off or sends no HTTP concerns nobody else.
        let _ = watched.await;
    });
}

async fn answer(
    routes: Router,
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
) -> Result<axum::response::Response, std::convert::Infallible> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    routes.oneshot(without_slash(request)).await
}
