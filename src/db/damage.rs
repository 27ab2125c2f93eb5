//! What requests and jobs have met of a database that does not give back what was written to it: a look at some of its
//! pages may find nothing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::kernel::error::{Cause, Error, Result, Storage};

/// For so long it is remembered. A node that is asked for nothing any more meets nothing, and has to come back.
const LATELY: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Damage(Mutex<Option<Instant>>);

impl Damage {
    /// Hands an outcome on, and remembers what it tells.
    pub(super) fn seen_in<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(Error::Storage(Storage::Unavailable(fault) | Storage::OutcomeUnknown(fault))) = &outcome
            && fault.cause == Cause::Malformed
        {
            *self.last() = Some(Instant::now());
        }
        outcome
    }

    pub(super) fn is_recent(&self) -> bool {
        self.last().is_some_and(|at| at.elapsed() < LATELY)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_is_remembered_for_a_while_and_other_faults_are_not() {
        let damage = Damage::default();
        for cause in [Cause::Full, Cause::Io, Cause::ReadOnly, Cause::Replaced, Cause::Locked, Cause::Silent] {
            damage.seen_in::<()>(Err(Storage::Unavailable(cause.fault("some")).into())).unwrap_err();
        }
        damage.seen_in(Ok(())).unwrap();
        assert!(!damage.is_recent());
        damage.seen_in::<()>(Err(Storage::Unavailable(Cause::Malformed.fault("some")).into())).unwrap_err();
        damage.seen_in(Ok(())).unwrap();
        assert!(damage.is_recent());
        *damage.last() = Instant::now().checked_sub(LATELY);
        assert!(!damage.is_recent());
    }
}
