//! The log of one thread, for tests that run on one thread and look at what was logged.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

thread_local! {
    /// What this thread has logged; nothing is kept of threads that do not ask for it.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct OwnLog;

impl Write for OwnLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.as_mut().map(|log| log.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// From here on this thread's log is kept.
pub fn listen() {
    static SUBSCRIBER: Once = Once::new();
    // For the whole process: of a subscriber of one thread the others' first use of a line would make it silent.
    SUBSCRIBER.call_once(|| {
        let subscriber =
            tracing_subscriber::fmt().with_env_filter("referral=trace,warn").with_writer(|| OwnLog).finish();
        tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
    });
    LOG.set(Some(Vec::new()));
}

/// What this thread has logged since it began to listen.
pub fn heard() -> String {
    String::from_utf8(LOG.take().expect("a log")).expect("a text")
}
