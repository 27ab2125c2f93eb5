//! What runs for as long as the process does: a loop that ends, whatever the reason, is begun again.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;

/// How patient one is with a loop that ends.
#[derive(Clone, Copy)]
struct Pace {
    /// Before it is begun again the first time; twice as long each time it ends soon after.
    first: Duration,
    most: Duration,
    /// A loop that has run for so long is well again.
    steady: Duration,
}

const PACE: Pace =
    Pace { first: Duration::from_secs(1), most: Duration::from_secs(60), steady: Duration::from_secs(5) };

/// The background loops of a node, as far as they are not well.
#[derive(Default)]
pub struct Loops {
    down: Mutex<BTreeSet<&'static str>>,
}

impl Loops {
    /// Runs a loop, and runs it again when it panics or returns, until `over` says that its end is wanted.
    pub async fn keep<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        over: impl Fn() -> bool,
        begin: impl Fn() -> F,
    ) {
        self.keep_at(PACE, name, over, begin).await;
    }

    async fn keep_at<F: Future<Output = ()>>(
        &self,
        pace: Pace,
        name: &'static str,
        over: impl Fn() -> bool,
        begin: impl Fn() -> F,
    ) {
        let mut pause = pace.first;
        loop {
            // Begun inside, so that a panic before its first step is caught as well.
            let mut running = pin!(AssertUnwindSafe(async { begin().await }).catch_unwind());
            let ended = match tokio::time::timeout(pace.steady, &mut running).await {
                Ok(ended) => ended,
                Err(_) => {
                    self.known().remove(name);
                    pause = pace.first;
                    running.await
                }
            };
            if over() {
                return;
            }
            self.known().insert(name);
            let panicked = ended.is_err();
            let seconds = pause.as_secs();
            tracing::error!(name, panicked, seconds, "a background loop has ended; it begins again after a pause");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(pace.most);
        }
    }

    /// A loop that has ended and does not run steadily again yet.
    pub fn down(&self) -> Option<&'static str> {
        self.known().first().copied()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const BRIEF: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(3600);

    /// A loop that panics the first time, returns the second, and then runs until it is told to return.
    async fn kept(steady: Duration, until: impl AsyncFn(&Loops, u32)) {
        let (loops, begun) = (Loops::default(), AtomicU32::new(0));
        let begin = || async {
            match begun.fetch_add(1, Ordering::Relaxed) {
                0 => panic!("the first time"),
                1 => {}
                _ => std::future::pending().await,
            }
        };
        let keeping = loops.keep_at(Pace { first: BRIEF, most: BRIEF, steady }, "some", || false, begin);
        let watching = async {
            loop {
                tokio::time::sleep(BRIEF).await;
                if begun.load(Ordering::Relaxed) >= 3 {
                    break until(&loops, begun.load(Ordering::Relaxed)).await;
                }
            }
        };
        tokio::select! {
            () = keeping => panic!("it is kept for ever"),
            () = watching => {}
        }
    }

    #[tokio::test]
    async fn a_loop_that_panics_or_returns_is_begun_again_and_is_down_until_it_runs_steadily() {
        kept(LONG, async |loops, begun| {
            assert_eq!(begun, 3);
            assert_eq!(loops.down(), Some("some"));
        })
        .await;
        kept(BRIEF, async |loops, _| {
            while loops.down().is_some() {
                tokio::time::sleep(BRIEF).await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_loop_whose_end_is_wanted_ends() {
        let loops = Loops::default();
        loops.keep("some", || true, || async {}).await;
        assert_eq!(loops.down(), None);
    }
}
