//! The bytes of a connection: a client that does not read has only so long, and what the HTTP library says for itself is
//! said in our words.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::connections::Connection;

/// Bytes a second that a client takes at least once it does not take all at once.
const LEAST_RATE: u64 = 1024;

/// Makes an answer of ours of the head that the library would send.
pub type Refuse = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

pub struct Stream<S> {
    io: S,
    connection: Arc<Connection>,
    refuse: Refuse,
    /// What of an answer in place of the library's is still to be written.
    unsent: Bytes,
    /// For a client that reads nothing at all.
    patience: Duration,
    /// Runs while the client does not take what is written.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Stream<S> {
    pub fn new(io: S, connection: Arc<Connection>, refuse: Refuse, patience: Duration) -> Self {
        Self { io, connection, refuse, unsent: Bytes::new(), patience, stall: None }
    }

    /// Watches how the client takes what is written. What it takes buys it time, so that a drop now and then is not
    /// enough to keep a connection.
    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                if let Some(stall) = &mut self.stall {
                    let bought = Duration::from_millis(bytes as u64 * 1000 / LEAST_RATE);
                    let until = (stall.deadline() + bought).min(Instant::now() + self.patience);
                    stall.as_mut().reset(until);
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.connection.stalls();
                let patience = self.patience;
                let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(patience)));
                ready!(stall.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.connection.is_idle() {
            // Nobody has been asked, so this is the library's own answer to what it could not read: a head alone.
            let head: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            self.unsent = (self.refuse)(&head).into();
            self.connection.speaks();
            return Poll::Ready(Ok(head.len()));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, parts);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let this = &mut *self;
            let written = Pin::new(&mut this.io).poll_write(cx, &this.unsent);
            match ready!(this.watch(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => this.unsent.advance(bytes),
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.stall = None;
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn connected(patience: Duration) -> (Stream<DuplexStream>, DuplexStream, Arc<Connection>) {
        let (ours, theirs) = duplex(64);
        let connection = Arc::new(Connection::new(IpAddr::V4(Ipv4Addr::LOCALHOST), std::time::Instant::now()));
        let refuse: Refuse = Arc::new(|head| [b"instead of ", head].concat());
        (Stream::new(ours, connection.clone(), refuse, patience), theirs, connection)
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_has_only_so_long() {
        let (mut stream, theirs, connection) = connected(Duration::from_millis(50));
        let _under_way = connection.request();
        let error = stream.write_all(&[b'x'; 1000]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    #[tokio::test]
    async fn a_client_that_takes_a_drop_now_and_then_has_no_longer_and_one_that_reads_has_all_the_time() {
        for (each, kept) in [(1, false), (64, true)] {
            let (mut stream, mut theirs, connection) = connected(Duration::from_secs(2));
            let _under_way = connection.request();
            let read = tokio::spawn(async move {
                let mut buffer = vec![0; each];
                let mut heard = 0;
                while let Ok(bytes @ 1..) = theirs.read(&mut buffer).await {
                    heard += bytes;
                    // The pace of a client, not a wait for anything.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                heard
            });
            let whole = stream.write_all(&[b'x'; 4000]).await;
            assert_eq!(whole.is_ok(), kept, "{each} a turn: {whole:?}");
            drop(stream);
            assert_eq!(read.await.expect("no panic") == 4000, kept);
        }
    }

    #[tokio::test]
    async fn what_is_written_unasked_is_replaced_and_answers_are_not() {
        let (mut stream, mut theirs, connection) = connected(Duration::from_secs(60));
        let under_way = connection.request();
        stream.write_all(b"an answer").await.expect("somebody reads");
        drop(under_way);
        stream.flush().await.expect("somebody reads");
        stream.write_all(b"no answer").await.expect("somebody reads");
        stream.shutdown().await.expect("somebody reads");
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).await.expect("a text");
        assert_eq!(heard, "an answerinstead of no answer");
    }
}
