//! Ends the process at a chosen step of a write, as a loss of power would. For the tests: builds for release have none
//! of this.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Names a file. From when there is the name of a statement and a number in it, the steps from that statement on are
/// counted; at the step of that number its content becomes the step's name, and the process is gone.
const VARIABLE: &str = "FAULT_CRASH_FILE";

static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
static COUNTED: AtomicU64 = AtomicU64::new(0);
/// The last statement: a commit has no other name.
static LAST: Mutex<&str> = Mutex::new("");

/// A statement of a unit of work is next.
pub(super) fn before_statement(name: &'static str) {
    let Some((_, first, _)) = armed() else { return };
    if first == name || COUNTED.load(Ordering::Relaxed) > 0 {
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = name;
        step("before");
    }
}

/// A commit is next.
pub(super) fn before_commit() {
    if COUNTED.load(Ordering::Relaxed) > 0 {
        step("before the commit behind");
    }
}

/// What was written is durable, and nobody has been told.
pub(super) fn after_commit() {
    if COUNTED.load(Ordering::Relaxed) > 0 {
        step("after the commit behind");
    }
}

fn step(place: &str) {
    let Some((file, _, at)) = armed() else { return };
    if COUNTED.fetch_add(1, Ordering::Relaxed) + 1 != at {
        return;
    }
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    // In one step, so that nobody reads half of it.
    let beside = file.with_extension("new");
    if fs::write(&beside, format!("{place} {last}")).is_ok() && fs::rename(&beside, file).is_ok() {
        std::process::abort();
    }
}

fn armed() -> Option<(&'static PathBuf, String, u64)> {
    #[expect(clippy::disallowed_methods, reason = "it is no setting, and no build for release reads it")]
    let file = FILE.get_or_init(|| std::env::var_os(VARIABLE).map(PathBuf::from)).as_ref()?;
    let text = fs::read_to_string(file).ok()?;
    let (first, number) = text.split_once(' ')?;
    Some((file, first.to_owned(), number.trim().parse().ok()?))
}
