//! Listening, serving, and stopping without cutting anybody off.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use axum::routing::get;
use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use super::connections::{Connection, Connections, Seldom, UnderWay};
use super::cors::Cors;
use super::guard::{Guard, guard};
use super::router::{router, without_slash};
use super::stream::{Refuse, Stream};
use super::{descriptors, health, malformed};
use crate::app::{App, stopped};
use crate::web::client_address::{Peer, client_address};

/// For a header to arrive, for a connection to stay without one, and for a client to take something of its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// After the listener has closed, before idle connections are; and again, before those are that have sent a part of a
/// head.
const FAREWELL: Duration = Duration::from_millis(300);
/// EMFILE, which the standard library has no name for.
const TOO_MANY_FILES: i32 = 24;
const MOST_HEADERS: usize = 16 * 1024;
/// Connections that the system keeps until we accept them, if it allows so many: a crowd that comes at once would have
/// others wait a second otherwise, until their system tries again.
const BACKLOG: i32 = 4096;
/// Of whoever asks for the figures.
const MOST_OBSERVERS: usize = 16;
/// Bytes that the system keeps of an answer before it has sent them. Left to itself it takes megabytes for each client
/// that does not read, out of memory that all connections of the machine share.
#[cfg(target_os = "linux")]
const MOST_UNSENT: u32 = 32 * 1024;

/// Binds an address; the error is a sentence with a remedy.
pub async fn bind(address: &str, name: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => format!("Another program listens there: stop it, or choose another port with {name}"),
            io::ErrorKind::AddrNotAvailable => {
                format!("This machine has no such address: choose one of its own with {name}, or 0.0.0.0 for all")
            }
            io::ErrorKind::PermissionDenied => format!(
                "Ports below 1024 need CAP_NET_BIND_SERVICE (in systemd: AmbientCapabilities=): give the service that, or \
                 choose another port with {name}"
            ),
            _ if error.raw_os_error() == Some(TOO_MANY_FILES) => {
                "The limit of open files is too low: raise it (LimitNOFILE= in systemd, ulimit -n)".to_owned()
            }
            _ => format!("Choose another address with {name}"),
        };
        format!("cannot listen on {address}: {error}. {remedy}")
    })
}

/// Serves the API until `stop` says so, then lets requests under way finish.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: watch::Receiver<bool>) {
    is_ours(&app, &listener);
    let limit = app.config.http.shutdown();
    let server = Server::new(&app, router(app.clone()), descriptors::connections(&app.config));
    server.run(listener, stop, limit, || app.close()).await;
}

/// Serves the figures.
pub async fn serve_metrics(app: Arc<App>, listener: TcpListener, stop: watch::Receiver<bool>) {
    is_ours(&app, &listener);
    let routes = Router::new()
        .route("/metrics", get(health::metrics))
        .layer(axum::middleware::from_fn_with_state(
            Arc::new(Guard { app: app.clone(), cors: Cors::default(), described: None }),
            guard,
        ))
        .with_state(app.clone());
    Server::new(&app, routes, MOST_OBSERVERS).run(listener, stop, Duration::from_secs(1), || ()).await;
}

/// Webhooks are not sent to ourselves.
fn is_ours(app: &App, listener: &TcpListener) {
    if let Ok(address) = listener.local_addr() {
        app.receivers.are_not(address.port());
    }
}

/// A listener's connections and what they are served with.
struct Server {
    app: Arc<App>,
    routes: Router,
    builder: http1::Builder,
    graceful: GracefulShutdown,
    connections: Arc<Connections>,
    refuse: Refuse,
}

impl Server {
    fn new(app: &Arc<App>, routes: Router, most: usize) -> Self {
        // HTTP/1.1 is what proxies speak to us, and what has a time-out for a peer that says nothing.
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(MOST_HEADERS);
        let refuse: Refuse = Arc::new({
            let app = app.clone();
            move |head| malformed::refuse(&app, head)
        });
        let connections = Connections::new(app.clone(), most);
        Self { app: app.clone(), routes, builder, graceful: GracefulShutdown::new(), connections, refuse }
    }

    async fn run(self, listener: TcpListener, mut stop: watch::Receiver<bool>, limit: Duration, closed: impl FnOnce()) {
        let _ = socket2::SockRef::from(&listener).listen(BACKLOG);
        let mut failures = Seldom::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.talk(stream, address).await,
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    if let Some(times) = failures.let_through(1) {
                        tracing::warn!(%error, times, "cannot accept a connection");
                    }
                    // Out of descriptors or of memory, most likely: some come back with those who go.
                    self.connections.make_room();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        // Who was connected by the system before we stopped is served as well.
        while let Some(Ok((stream, address))) = listener.accept().now_or_never() {
            self.talk(stream, address).await;
        }
        drop(listener);
        closed();
        // Connections in use are told with their next answer; the idle ones are closed after this.
        tokio::time::sleep(FAREWELL).await;
        let mut finished = pin!(self.graceful.shutdown());
        if tokio::time::timeout(FAREWELL, &mut finished).await.is_err() {
            // The library waits for heads that have begun as for requests, and there may be no more of them to come.
            self.connections.close_idle();
            if tokio::time::timeout(limit, finished).await.is_err() {
                tracing::warn!("some requests did not finish in time and are cut off");
            }
        }
    }

    /// Serves one connection, beside all others.
    async fn talk(&self, stream: TcpStream, address: SocketAddr) {
        // Answers are small and wanted at once.
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(MOST_UNSENT);
        let peer = Peer { address, trusted: self.app.config.limits.trusts(address.ip()) };
        let place = self.connections.admit(peer).await;
        let connection = place.connection.clone();
        let served = Arc::new(Served {
            app: self.app.clone(),
            routes: self.routes.clone(),
            connections: self.connections.clone(),
            connection: connection.clone(),
            peer,
        });
        let service = service_fn(move |request| answer(served.clone(), request));
        let stream = Stream::new(stream, connection.clone(), self.refuse.clone(), PATIENCE);
        let mut builder = self.builder.clone();
        // Of a time before 1970 the library makes no header but a panic.
        builder.auto_date_header(self.app.clock.now().0 > 0);
        let watched = self.graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        let task = tokio::spawn(async move {
            // Given back after the stream is closed, so declared before.
            let _place = place;
            // A peer that breaks off or sends no HTTP concerns nobody else.
            let _ = watched.await;
        });
        connection.runs(task.abort_handle());
    }
}

/// Whether a failure concerns one caller only, who has gone before we could accept.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What the requests of one connection have in common.
struct Served {
    app: Arc<App>,
    routes: Router,
    connections: Arc<Connections>,
    connection: Arc<Connection>,
    peer: Peer,
}

async fn answer(served: Arc<Served>, request: hyper::Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
    let under_way = served.connection.request();
    let mut request: Request = request.map(Body::new);
    if served.peer.trusted {
        served.connection.speaks_for(client_address(&served.app.config.limits, served.peer, request.headers()));
    }
    served.connections.asked_by(served.peer, request.uri().path(), &served.connection);
    request.extensions_mut().insert(served.peer);
    let response = served.routes.clone().oneshot(without_slash(request)).await?;
    Ok(response.map(|body| ResponseBody { body, _under_way: under_way }))
}

/// The body of an answer. Once it has been handed over, or nobody wants it any more, the request is not under way.
struct ResponseBody {
    body: Body,
    _under_way: UnderWay,
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
