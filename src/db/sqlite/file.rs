//! The files of a database as the file system has them: one process serves from them, and they stay the same ones.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::kernel::error::{Cause, Storage};

/// How often, and how long apart, a file that is taken is tried again.
const LOOKS: u32 = 10;
const MOMENT: Duration = Duration::from_millis(10);

/// Held by the one process that serves from a file. The system gives it up when the process ends, however it ends.
///
/// The lock is on a file beside the database and is `flock`'s: of SQLite's own locks on a file a process loses all when
/// it closes that file anywhere else.
pub struct Claim {
    path: PathBuf,
    _file: File,
}

impl Claim {
    /// The error is a sentence with a remedy.
    pub(super) fn take(database: &Path) -> Result<Self, String> {
        let path = beside(&real(database), "-lock");
        let mut tried = 0;
        let explain = |error: std::io::Error| {
            format!(
                "cannot open the SQLite database {}: its lock {}: {error}. Does its folder exist, may this user write \
                 there, and is it on a local disk?",
                database.display(),
                path.display()
            )
        };
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path).map_err(explain)?;
            match file.try_lock() {
                Ok(()) => {}
                // Whoever looks whether it is taken has it for a moment.
                Err(TryLockError::WouldBlock) if tried < LOOKS => {
                    tried += 1;
                    std::thread::sleep(MOMENT);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(format!(
                        "another `referral serve` serves from {}: one process at a time may. Stop it first, or give this \
                         one a database of its own (DATABASE_URL); for several nodes use PostgreSQL",
                        database.display()
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(explain(error)),
            }
            // Who has just stopped took the file away, perhaps after we had opened it: then its lock keeps nobody out.
            let locked = file.metadata().map_err(explain)?;
            if fs::metadata(&path).is_ok_and(|there| identity(&there) == identity(&locked)) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

/// Whether another process serves from a file. Whoever wants to begin meanwhile is not kept from it.
pub(in crate::db) fn is_held(database: &Path) -> bool {
    let lock = File::open(beside(&real(database), "-lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While it is locked: see `take`.
        let _ = fs::remove_file(&self.path);
    }
}

/// The files of an open database, and whether they are still where they were opened. Others would find another database
/// there, or none: what is written to ours would be gone with it.
pub(super) struct Files {
    /// Those beside the file itself are made with the first transaction, and known from then on.
    opened: [(PathBuf, OnceLock<(u64, u64)>); 3],
    lost: AtomicBool,
}

impl Files {
    /// Of a database that has just been opened.
    pub(super) fn of(database: &Path) -> Self {
        let database = real(database);
        let [wal, shm] = ["-wal", "-shm"].map(|ending| beside(&database, ending));
        Self { opened: [database, wal, shm].map(|path| (path, OnceLock::new())), lost: AtomicBool::new(false) }
    }

    /// Whether all are there, in a transaction that has begun. The log is told when that changes.
    pub(super) fn check(&self) -> Result<(), Storage> {
        let lost = self.opened.iter().find(|(path, known)| match fs::metadata(path) {
            Ok(metadata) => *known.get_or_init(|| identity(&metadata)) != identity(&metadata),
            Err(_) => known.get().is_some(),
        });
        let was_lost = self.lost.swap(lost.is_some(), Ordering::Relaxed);
        let Some((path, _)) = lost else {
            if was_lost {
                tracing::info!("the database's files are back; writing again");
            }
            return Ok(());
        };
        let path = path.display();
        if !was_lost {
            tracing::error!(
                "{path} was removed or replaced while the service runs; nothing is written until it is put back or the \
                 service is restarted"
            );
        }
        Err(Storage::Unavailable(
            Cause::Replaced.fault(format!("{path} was removed or replaced while the service runs")),
        ))
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Where a path leads: SQLite's side files lie beside the file itself, not beside a link to it.
fn real(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::canonicalize(path)
        .ok()
        // The file need not be there yet.
        .or_else(|| Some(fs::canonicalize(folder).ok()?.join(path.file_name()?)))
        .unwrap_or_else(|| path.to_owned())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
