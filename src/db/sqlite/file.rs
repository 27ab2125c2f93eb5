//! The files of a database as the file system has them: one process serves from them, and they stay the same ones.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::mem::ManuallyDrop;
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
/// Two files are locked, by `flock`. The one beside the database keeps others out also after the database was replaced.
/// The database itself is the same one by whatever name, and from whatever container, it is reached.
pub struct Claim {
    path: PathBuf,
    beside: File,
    /// Never closed: of SQLite's own locks on a file a process loses all when it closes that file anywhere else.
    database: Option<ManuallyDrop<File>>,
}

impl Claim {
    /// The error is a sentence with a remedy.
    pub(super) fn take(database: &Path) -> Result<Self, String> {
        let path = beside(&real(database), "-lock");
        let explain = |what: &str, error: std::io::Error| {
            format!(
                "cannot open the SQLite database {}: {what}{error}. Does its folder exist, may this user write there, \
                 and is it on a local disk?",
                database.display()
            )
        };
        let explain_lock = |error: std::io::Error| explain(&format!("its lock {}: ", path.display()), error);
        let taken = || {
            format!(
                "another `referral serve` serves from {}: one process at a time may. Stop it first, or give this one a \
                 database of its own (DATABASE_URL); for several nodes use PostgreSQL",
                database.display()
            )
        };
        let mut claim = loop {
            let file = open(&path).map_err(explain_lock)?;
            if !lock(&file).map_err(explain_lock)? {
                return Err(taken());
            }
            // Who has just stopped took the file away, perhaps after we had opened it: then its lock keeps nobody out.
            if is_at(&file, &path) {
                break Self { path: path.clone(), beside: file, database: None };
            }
        };
        // Elsewhere these locks and those that SQLite takes keep each other out.
        if cfg!(target_os = "linux") {
            let file = ManuallyDrop::new(open(database).map_err(|error| explain("", error))?);
            if !lock(&file).map_err(|error| explain("", error))? {
                return Err(taken());
            }
            claim.database = Some(file);
        }
        Ok(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(database) = &self.database {
            let _ = database.unlock();
        }
        // While it is locked: see `take`. What somebody else has put there is not ours.
        if is_at(&self.beside, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// False if somebody else has it. Whoever looks whether it is locked has it for a moment.
fn lock(file: &File) -> std::io::Result<bool> {
    for _ in 0..LOOKS {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(MOMENT),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

fn is_locked(path: &Path) -> bool {
    // As little to be closed as that of a claim.
    let Ok(file) = File::open(path).map(ManuallyDrop::new) else { return false };
    let locked = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    let _ = file.unlock();
    locked
}

fn is_at(file: &File, path: &Path) -> bool {
    let (file, there) = (file.metadata(), fs::metadata(path));
    file.is_ok_and(|file| there.is_ok_and(|there| identity(&file) == identity(&there)))
}

/// Whether another process serves from a file. Whoever wants to begin meanwhile is not kept from it.
pub(in crate::db) fn is_held(database: &Path) -> bool {
    is_locked(database) || is_locked(&beside(&real(database), "-lock"))
}

/// Why a file must not be opened by this name, with the remedy. SQLite's log lies beside a name: who opens the file by
/// another one does not see what is written there, and writes over it.
pub(in crate::db) fn name_complaint(database: &Path) -> Option<String> {
    let path = database.display();
    let names = fs::metadata(database).map_or(0, |file| file.nlink());
    if names > 1 {
        return Some(format!(
            "the SQLite database {path} has {names} names (hard links), and SQLite keeps a log beside each of them: what is \
             written by one name is lost by another. Remove the other names (`find -samefile` lists them), or give \
             Referral a copy (`cp`)"
        ));
    }
    let lock = beside(&real(database), "-lock");
    for _ in 0..LOOKS {
        // It is given up in this order.
        if !is_locked(database) || is_locked(&lock) {
            return None;
        }
        std::thread::sleep(MOMENT);
    }
    Some(format!(
        "a `referral serve` serves from the SQLite database {path} by another name (another mount of the file?), or its \
         lock {} was removed: what is written by two names is lost. Use the name that the service uses, or restart it",
        lock.display()
    ))
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
