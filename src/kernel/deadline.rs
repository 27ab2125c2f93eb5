//! How long a piece of work may take, and whether it may have changed something when its time is up.
//!
//! Whoever begins the work says how long it may take; it is known to everything that the work's task awaits, down to
//! the database, without being handed from one to the next. Nothing here costs an allocation, and a request that never
//! waits starts no timer.

use std::cell::Cell;
use std::time::Duration;

use super::error::{Cause, Error, Result, Storage};

tokio::task_local! {
    static CURRENT: Deadline;
}

struct Deadline {
    /// For one statement, and one wait for a lock; nothing where the usual limits hold.
    statement: Option<Duration>,
    receiving: Cell<bool>,
    wrote: Cell<bool>,
}

/// How work with a deadline ended.
pub struct Ended<T> {
    /// Nothing when the time was up first: the work was dropped where it stood.
    pub outcome: Option<T>,
    /// Whether it was waiting for its caller to send the rest of the request when it ended.
    pub receiving: bool,
    /// Whether something may have been written: a commit was sent that the database has not refused.
    pub wrote: bool,
}

/// Does the work of a request.
pub async fn request<F: Future>(limit: Duration, work: F) -> Ended<F::Output> {
    within(limit, None, work).await
}

/// Does work that no caller waits for: its statements may take as long as all of it.
pub async fn job<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let ended = within(limit, Some(limit), work).await;
    let late = || Cause::Silent.fault(format!("not done after {} s", limit.as_secs_f32()));
    ended.outcome.unwrap_or_else(|| {
        Err(Error::Storage(match ended.wrote {
            true => Storage::OutcomeUnknown(late()),
            false => Storage::TimedOut(late()),
        }))
    })
}

/// Does work without a deadline, each of whose statements may take this long: an operator's commands.
pub async fn patiently<F: Future>(statement: Duration, work: F) -> F::Output {
    let deadline = Deadline { statement: Some(statement), receiving: Cell::new(false), wrote: Cell::new(false) };
    CURRENT.scope(deadline, work).await
}

async fn within<F: Future>(limit: Duration, statement: Option<Duration>, work: F) -> Ended<F::Output> {
    let deadline = Deadline { statement, receiving: Cell::new(false), wrote: Cell::new(false) };
    let counted = async {
        // Its end comes before the look at what it did: what is dropped may still take back that it wrote.
        let outcome = tokio::time::timeout(limit, work).await.ok();
        let (receiving, wrote) = CURRENT.with(|deadline| (deadline.receiving.get(), deadline.wrote.get()));
        Ended { outcome, receiving, wrote }
    };
    CURRENT.scope(deadline, counted).await
}

/// How long one statement may take, where that is not the usual time.
pub fn statement() -> Option<Duration> {
    CURRENT.try_with(|deadline| deadline.statement).ok().flatten()
}

/// Whether the work of this task may have written something.
pub fn wrote() -> bool {
    CURRENT.try_with(|deadline| deadline.wrote.get()).unwrap_or(false)
}

/// Notes that a write is about to be sent; whoever learns that it did not happen takes it back.
pub fn writing() -> Written {
    Written { before: CURRENT.try_with(|deadline| deadline.wrote.replace(true)).unwrap_or(false) }
}

/// A write that was sent.
pub struct Written {
    before: bool,
}

impl Written {
    /// Nothing came of it.
    pub fn undone(self) {
        let _ = CURRENT.try_with(|deadline| deadline.wrote.set(self.before));
    }
}

/// Waits for what the caller has still to send.
pub async fn receiving<F: Future>(rest: F) -> F::Output {
    let _ = CURRENT.try_with(|deadline| deadline.receiving.set(true));
    let received = rest.await;
    let _ = CURRENT.try_with(|deadline| deadline.receiving.set(false));
    received
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn work_without_a_deadline_has_the_usual_limits_and_notes_nothing() {
        assert_eq!(statement(), None);
        writing().undone();
        assert!(!wrote());
        assert_eq!(receiving(async { 5 }).await, 5);
    }

    #[tokio::test]
    async fn work_that_is_done_in_time_tells_whether_it_wrote() {
        for wrote in [false, true] {
            let ended = request(LONG, async {
                let first = writing();
                if !wrote {
                    first.undone();
                }
                7
            })
            .await;
            assert_eq!((ended.outcome, ended.receiving, ended.wrote), (Some(7), false, wrote));
        }
    }

    #[tokio::test]
    async fn a_write_that_is_taken_back_does_not_hide_one_before() {
        let ended = request(LONG, async {
            let _first = writing();
            writing().undone();
        })
        .await;
        assert!(ended.wrote);
    }

    #[tokio::test]
    async fn work_is_dropped_when_its_time_is_up_and_the_last_word_is_its_own() {
        struct Undone(Option<Written>);
        impl Drop for Undone {
            fn drop(&mut self) {
                if let Some(written) = self.0.take() {
                    written.undone();
                }
            }
        }
        let ended = request(SHORT, async {
            let _written = writing();
            pending::<()>().await;
        })
        .await;
        assert!(ended.outcome.is_none() && ended.wrote && !ended.receiving);
        let ended = request(SHORT, async {
            let _undone = Undone(Some(writing()));
            pending::<()>().await;
        })
        .await;
        assert!(ended.outcome.is_none() && !ended.wrote);
        let ended = request(SHORT, receiving(pending::<()>())).await;
        assert!(ended.outcome.is_none() && ended.receiving);
    }

    #[tokio::test]
    async fn the_statements_of_a_job_may_take_as_long_as_the_job() {
        assert_eq!(job(LONG, async { Ok(statement()) }).await.unwrap(), Some(LONG));
        assert_eq!(patiently(LONG, async { statement() }).await, Some(LONG));
        let late = job(SHORT, pending::<Result<()>>()).await;
        assert!(matches!(late, Err(Error::Storage(Storage::TimedOut(_)))), "{late:?}");
        let late = job(SHORT, async {
            let _written = writing();
            pending::<Result<()>>().await
        })
        .await;
        assert!(matches!(late, Err(Error::Storage(Storage::OutcomeUnknown(_)))), "{late:?}");
    }
}
