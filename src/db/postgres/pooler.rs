//! Whether a connection is a server's own, or a pooler's that hands its servers around.
//!
//! Behind a pooler a statement that was prepared on one server can be asked for on another, where its name is unknown
//! or another client's: the answer is an error, or somebody else's rows. So each new connection is looked at before it
//! is used, also when the pooler comes after the start, and from the first one that is a pooler's nothing is prepared.
//!
//! A server tells each new connection by which process number it can be cancelled, which is that of the process that
//! serves it. A pooler makes up a number of its own.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::Result as IoResult;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// What is known of what stands before the database.
pub struct Pooler {
    /// Whether the operator lets statements be prepared at all.
    allowed: bool,
    seen: AtomicBool,
}

impl Pooler {
    pub fn new(allowed: bool) -> Self {
        Self { allowed, seen: AtomicBool::new(false) }
    }

    /// Whether connections keep what is prepared and set on them. Ask after a connection was taken, not before.
    pub fn keeps(&self) -> bool {
        self.allowed && !self.seen.load(Ordering::Acquire)
    }

    /// Whether a pooler has been met.
    pub fn is_there(&self) -> bool {
        self.seen.load(Ordering::Acquire)
    }

    /// Looks at a new connection.
    pub async fn meet(&self, client: &Client) -> Result<(), Error> {
        let told = told(client).await;
        let mut own = None;
        for message in client.simple_query("select pg_backend_pid()").await? {
            if let SimpleQueryMessage::Row(row) = message {
                own = row.get(0).and_then(|text| text.parse::<i32>().ok());
            }
        }
        let is_own = told.is_some() && told == own;
        if !is_own && !self.seen.swap(true, Ordering::AcqRel) && self.allowed {
            tracing::warn!(
                "DATABASE_URL leads to a connection pooler: from now on no statements are prepared and no time-outs are \
                 set in the database, for a pooler hands its connections around. Set them in the pooler, or reach the \
                 server itself"
            );
        }
        Ok(())
    }
}

/// The process number that a connection was told for its cancellation: the third of the four numbers of the request to
/// cancel, which is written here for nobody. (The driver does not give it otherwise.)
async fn told(client: &Client) -> Option<i32> {
    let mut written = Vec::new();
    client.cancel_token().cancel_query_raw(Nobody(&mut written), Plain).await.ok()?;
    let request = written.last_chunk::<16>()?;
    Some(i32::from_be_bytes(*request.get(8..)?.first_chunk()?))
}

/// Keeps what is written, and agrees to everything.
struct Nobody<'a>(&'a mut Vec<u8>);

impl AsyncRead for Nobody<'_> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<IoResult<()>> {
        // The answer to the question whether TLS may be spoken.
        buffer.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Nobody<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<IoResult<usize>> {
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<IoResult<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<IoResult<()>> {
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for Nobody<'_> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

struct Plain;

impl<'a> TlsConnect<Nobody<'a>> for Plain {
    type Stream = Nobody<'a>;
    type Error = Infallible;
    type Future = Ready<Result<Nobody<'a>, Infallible>>;

    fn connect(self, stream: Nobody<'a>) -> Self::Future {
        ready(Ok(stream))
    }
}
