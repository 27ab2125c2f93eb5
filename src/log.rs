//! The log of the service. Whoever logs never waits for whoever reads and never fails: lines that find no room, or that
//! cannot be written, are lost and counted.

use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Lines that wait for a slow reader: half a megabyte or so.
const WAITING: usize = 2048;
/// How long the last words of a process wait for their reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines that found no room because their reader is too slow.
static CROWDED: OnceLock<ErrorCounter> = OnceLock::new();
/// Lines that the system did not take: the disk is full, or the reader is gone.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// While it lives the log is written; at its end the lines that still wait are, for a second at most.
pub struct Writing(Option<WorkerGuard>);

/// Starts the log of this process, on the standard error. The error is a sentence with a remedy.
pub fn start(settings: &Log) -> Result<Writing, String> {
    // Who names one part of the program does not mean to silence the others. The driver says little that is not in our
    // own errors, and at debug it says too much.
    let level = settings.level.replace(char::is_whitespace, "");
    let filter = EnvFilter::try_new(format!("info,tokio_postgres=warn,{level}"))
        .map_err(|error| format!("log.level (REFERRAL_LOG) is not a filter: {error}"))?;
    let terminal = io::stderr().is_terminal();
    let text = match settings.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .lossy(true)
        .thread_name("log")
        .finish(Counting(io::stderr()));
    let _ = CROWDED.set(writer.error_counter());
    // What goes wrong in the log would be told on the standard error, by a macro that panics when it cannot be written.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(terminal)
        .log_internal_errors(false)
        .with_writer(writer);
    let started = if text { builder.try_init() } else { builder.json().flatten_event(true).try_init() };
    started.map_err(|error| format!("cannot start the log: {error}"))?;
    // The standard library's own hook waits for the reader of the standard error.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // A text that was put together may quote what a caller has sent: only what stands in the source is told.
        let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(place, thread, text, "a fault of the service: a panic");
    }));
    Ok(Writing(Some(guard)))
}

/// Lines of this process that nobody will read.
pub fn lost_lines() -> u64 {
    let crowded = CROWDED.get().map_or(0, ErrorCounter::dropped_lines);
    REFUSED.load(Ordering::Relaxed).saturating_add(u64::try_from(crowded).unwrap_or(u64::MAX))
}

/// A last sentence on the standard error. Whoever has stopped reading does not keep the process from its end.
pub fn last_words(text: &str) {
    let text = format!("{text}\n");
    let (written, done) = mpsc::channel();
    let writing = std::thread::Builder::new().name("last-words".to_owned()).spawn(move || {
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = written.send(());
    });
    if writing.is_ok() {
        let _ = done.recv_timeout(PATIENCE);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // It tells the standard output when it gives up, which panics if that is closed.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.0.take())));
    }
}

/// A writer that counts what it cannot write, and goes on.
struct Counting<W>(W);

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.0.write_all(bytes).is_err() {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
