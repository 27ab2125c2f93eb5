//! Ends the process at a chosen step of a write, as a loss of power would. For the tests: builds for release have none
//! of this.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::task::{self, Id};

/// Names a file. When there is the name of a statement and a number in it, the steps of the next write that begins with
/// this statement are counted; at the step of that number the file's content becomes the step's name, and the process
/// is gone. For the statement `*` all steps of all writes are counted.
const VARIABLE: &str = "FAULT_CRASH_FILE";

const ANY: &str = "*";

static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
static WRITE: Mutex<Write> = Mutex::new(Write::Awaited);

/// The write whose steps are counted.
enum Write {
    Awaited,
    UnderWay {
        /// Others write at the same time. On SQLite a thread does it, for all.
        by: Option<Id>,
        counted: u64,
        /// The last statement: a commit has no other name.
        last: &'static str,
    },
    Over,
}

/// A statement of a unit of work is next.
pub(super) fn before_statement(name: &'static str) {
    let Some((first, _)) = armed() else { return };
    {
        let mut write = WRITE.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *write {
            Write::Awaited if first == name || first == ANY => {
                *write = Write::UnderWay { by: task::try_id(), counted: 0, last: name };
            }
            Write::UnderWay { by, last, .. } if first == ANY || *by == task::try_id() => *last = name,
            _ => {}
        }
    }
    step("before");
}

/// A commit is next.
pub(super) fn before_commit() {
    step("before the commit behind");
}

/// What was written is durable, and nobody has been told.
pub(super) fn after_commit() {
    step("after the commit behind");
    if armed().is_some_and(|(first, _)| first == ANY) {
        return;
    }
    let mut write = WRITE.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(&*write, Write::UnderWay { by, .. } if *by == task::try_id()) {
        *write = Write::Over;
    }
}

fn step(place: &str) {
    let mut write = WRITE.lock().unwrap_or_else(PoisonError::into_inner);
    let Write::UnderWay { by, counted, last } = &mut *write else { return };
    let Some((_, at)) = armed().filter(|(first, _)| first == ANY || *by == task::try_id()) else { return };
    *counted += 1;
    if *counted != at {
        return;
    }
    let Some(Some(file)) = FILE.get() else { return };
    // In one step, so that nobody reads half of it.
    let beside = file.with_extension("new");
    if fs::write(&beside, format!("{place} {last}")).is_ok() && fs::rename(&beside, file).is_ok() {
        std::process::abort();
    }
}

/// Where the write begins, and at which of its steps the process ends.
fn armed() -> Option<(String, u64)> {
    #[expect(clippy::disallowed_methods, reason = "it is no setting, and no build for release reads it")]
    let file = FILE.get_or_init(|| std::env::var_os(VARIABLE).map(PathBuf::from)).as_ref()?;
    let text = fs::read_to_string(file).ok()?;
    let (first, number) = text.split_once(' ')?;
    Some((first.to_owned(), number.trim().parse().ok()?))
}
