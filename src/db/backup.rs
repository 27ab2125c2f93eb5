//! A SQLite database as one file: while it is used, and with everything that was committed when the copy began.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::sqlite;

/// Pages between two words about how far it is: 16 MB.
const PAGES: i32 = 4096;
const PAUSE: Duration = Duration::from_millis(20);
const MAGIC: &[u8] = b"SQLite format 3\0";
const DUMP: &[u8] = b"PGDMP";

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Sqlite,
    /// What `pg_dump --format=custom` writes.
    Dump,
}

/// The error is a sentence: it cannot be read, is empty, or is something else.
pub fn format(file: &Path) -> Result<Format, String> {
    let name = file.display();
    let mut begin = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(MAGIC.len() as u64).read_to_end(&mut begin))
        .map_err(|error| format!("cannot read {name}: {error}"))?;
    match begin.as_slice() {
        [] => Err(format!("{name} is empty: it is no backup. Take another one")),
        begin if begin == MAGIC => Ok(Format::Sqlite),
        begin if begin.starts_with(DUMP) => Ok(Format::Dump),
        _ => Err(format!("{name} is no backup of Referral's: `referral backup` writes them")),
    }
}

/// A file by a name that SQLite does not take for an address: one that begins with `file:` it does.
pub fn plain(file: &Path) -> PathBuf {
    match file.as_os_str().as_bytes().starts_with(b"file:") {
        true => Path::new(".").join(file),
        false => file.to_owned(),
    }
}

/// Makes a file that is not there yet, for its user alone. The error is a sentence.
pub fn make(file: &Path) -> Result<(), String> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.map(drop).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            format!("{} is there already and is left as it is: name another file", file.display())
        }
        _ => format!("cannot make {}: {error}", file.display()),
    })
}

/// Waits until a file and its name are on the disk.
pub fn settle(file: &Path) -> Result<(), String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let settled = File::open(file).and_then(|file| file.sync_all()).and_then(|()| File::open(folder)?.sync_all());
    settled.map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Copies the database of one file into another that is there and empty, and tells how many of how many pages are done.
/// Everything that was committed before it begins is in it. Whoever writes meanwhile does not wait, but the log beside
/// the database grows until it is done.
pub fn copy_file(from: &Path, to: &Path, mut tell: impl FnMut(u32, u32)) -> Result<(), String> {
    if let Some(sentence) = sqlite::name_complaint(from) {
        return Err(sentence);
    }
    let mut copy = || -> rusqlite::Result<()> {
        let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        source.busy_timeout(Duration::from_secs(10))?;
        // One state of the source: by a new one each time a writer would make every step begin anew.
        source.execute_batch("begin")?;
        source.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?;
        let mut target = Connection::open(to)?;
        target.execute_batch("pragma synchronous = full")?;
        {
            let backup = Backup::new(&source, &mut target)?;
            loop {
                let step = backup.step(PAGES)?;
                let progress = backup.progress();
                let all = u32::try_from(progress.pagecount).unwrap_or(0);
                tell(all.saturating_sub(u32::try_from(progress.remaining).unwrap_or(0)), all);
                match step {
                    StepResult::Done => break,
                    StepResult::More => {}
                    _ => std::thread::sleep(PAUSE),
                }
            }
        }
        // So that the one file is all there is, and nobody who reads it makes others beside it.
        target.query_row("pragma journal_mode = delete", [], |_| Ok(()))?;
        target.close().map_err(|(_, error)| error)
    };
    copy().map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
}

/// What is wrong with the pages, indexes and references of a SQLite file, in words of SQLite's; nothing else is looked
/// at.
pub fn damage(file: &Path) -> Vec<String> {
    let look = || -> rusqlite::Result<Vec<String>> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let number = |text: &str| connection.query_row(text, [], |row| row.get::<_, i64>(0));
        let told = number("pragma page_count")?.saturating_mul(number("pragma page_size")?);
        // SQLite takes what is missing of the last page for zeros. Pages of a database that was in use may be in its
        // log.
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        let logged = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
        if !logged && std::fs::metadata(file).map_or(0, |metadata| metadata.len()) < u64::try_from(told).unwrap_or(0) {
            return Ok(vec![format!("it is shorter than the {told} bytes that it tells of")]);
        }
        let mut statement = connection.prepare("pragma integrity_check(5)")?;
        let found = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut found: Vec<String> = found.into_iter().filter(|line| line != "ok").collect();
        let mut statement =
            connection.prepare("select \"table\", count(*) from pragma_foreign_key_check group by 1")?;
        let lost = statement.query_map([], |row| {
            Ok(format!("{} rows of {} point to what is not there", row.get::<_, i64>(1)?, row.get::<_, String>(0)?))
        })?;
        found.extend(lost.collect::<rusqlite::Result<Vec<_>>>()?);
        Ok(found)
    };
    look().unwrap_or_else(|error| vec![error.to_string()])
}
