//! SQLite: one writer thread with group commit, reader threads beside it.

mod file;
mod group;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use futures_util::FutureExt;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

pub use self::file::Claim;
use self::file::Files;
pub(super) use self::file::{is_held, name_complaint};
use self::group::{Unit, write_groups};
use super::damage::Damage;
use super::error::{from_sqlite, lost_thread};
use super::found;
use super::value::{Row, Sql, Value, sqlite_text};
use super::{Engine, Signer, Tx, Usage, Work};
use crate::kernel::actor::Actor;
use crate::kernel::deadline::{self, Written};
use crate::kernel::error::{Cause, Error, Result, Storage};
use crate::kernel::time::Clock;

const READERS: usize = 4;
/// Units and reads that may wait before callers are told that we are overloaded.
const QUEUE: usize = 4096;
/// How long somebody else's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A read on its way to a reader thread.
type Read = Box<dyn FnOnce(&mut Connection) + Send>;

#[derive(Clone)]
pub struct Sqlite {
    writer: Sender<Box<dyn Unit>>,
    readers: Sender<Read>,
    pub(super) clock: Arc<AtomicI64>,
    path: PathBuf,
    files: Arc<Files>,
    pub(super) damage: Arc<Damage>,
    pub(super) signer: Signer,
    pub(super) read_only: Arc<AtomicBool>,
}

struct Pending<I, T> {
    author: (Actor, Signer),
    input: Arc<I>,
    work: Work<I, T>,
    outcome: Option<Result<T>>,
    /// Set by whoever is first: the writer who begins the work, or the caller who leaves before.
    decided: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<T>>,
}

impl<I: Send + Sync, T: Send> Unit for Pending<I, T> {
    fn begin(&self) -> bool {
        !self.decided.swap(true, Ordering::AcqRel)
    }

    fn run(&mut self, connection: &mut Connection) -> Result<(), Cause> {
        let mut tx = Tx { engine: Engine::Sqlite(connection), actor: self.author.0, signer: self.author.1.clone() };
        // Every step of a unit is done when its future is polled: a unit that waits for anything else has a bug.
        let polled = catch_unwind(AssertUnwindSafe(|| (self.work)(&mut tx, &self.input).now_or_never()));
        let outcome = match polled {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(Error::Internal("a unit of work waited for something outside its transaction".into())),
            Err(_) => Err(Error::Internal("a unit of work panicked".into())),
        };
        match self.outcome.insert(outcome) {
            Ok(_) => Ok(()),
            Err(Error::Storage(Storage::Unavailable(fault))) => Err(fault.cause),
            Err(_) => Err(Cause::Unknown),
        }
    }

    fn answer(mut self: Box<Self>, commit: Result<(), Storage>) {
        let outcome = match (commit, self.outcome.take()) {
            // Even a refusal may rest on what another unit of the group wrote and the commit has lost.
            (Err(fault), _) => Err(fault.into()),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(Error::Internal("a unit of work was not run".into())),
        };
        // A caller that has left does not undo what is committed.
        let _ = self.reply.send(outcome);
    }
}

/// A caller who waits for a unit. Who leaves before it has begun keeps it from being done.
struct Waiting {
    decided: Arc<AtomicBool>,
    written: Option<Written>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.decided.swap(true, Ordering::AcqRel) {
            self.undone();
        }
    }
}

impl Waiting {
    fn undone(&mut self) {
        if let Some(written) = self.written.take() {
            written.undone();
        }
    }
}

impl Sqlite {
    /// Maps at most so many MiB of the file.
    pub fn open(path: &str, mapped_mib: u32) -> Result<Self, String> {
        let path = path_of(path)?;
        if let Some(sentence) = name_complaint(&path) {
            return Err(sentence);
        }
        leave_others_alone(&path)?;
        keep_private(&path);
        let clock = Arc::new(AtomicI64::new(0));
        let writer = connect(&path, &clock, mapped_mib, false)?;
        let files = Arc::new(Files::of(&path));
        let (units, waiting) = bounded(QUEUE);
        let written = files.clone();
        spawn("sqlite-writer", move || write_groups(writer, &written, &waiting))?;
        let (reads, waiting) = bounded::<Read>(QUEUE);
        for _ in 0..READERS {
            let mut connection = connect(&path, &clock, mapped_mib, true)?;
            let waiting = waiting.clone();
            spawn("sqlite-reader", move || {
                while let Ok(read) = waiting.recv() {
                    // The read answers its caller by dropping the channel; the thread lives on.
                    let _ = catch_unwind(AssertUnwindSafe(|| read(&mut connection)));
                }
            })?;
        }
        let (damage, signer, read_only) = Default::default();
        Ok(Self { writer: units, readers: reads, clock, path, files, damage, signer, read_only })
    }

    /// Keeps other processes from serving from the same file, until it is dropped.
    pub fn claim(path: &str) -> Result<Claim, String> {
        Claim::take(&path_of(path)?)
    }

    pub fn usage(&self) -> Usage {
        Usage { connections: None, waiting: vec![("writer", self.writer.len()), ("reader", self.readers.len())] }
    }

    pub async fn rows(&self, sql: &'static Sql, params: Vec<Value>) -> Result<Vec<Row>> {
        let (reply, answer) = oneshot::channel();
        self.read(move |connection| {
            // A caller that has left is not worth the work.
            if !reply.is_closed() {
                let _ = reply.send(rows(connection, sql, &params));
            }
        })?;
        answer.await.map_err(|_| lost_thread())?
    }

    pub async fn prepare(&self, sql: &'static Sql) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.read(move |connection| {
            let prepared = sqlite_text(sql).and_then(|text| connection.prepare_cached(text).map(drop));
            let _ = reply.send(prepared.map_err(|error| from_sqlite(&error, sql.name).into()));
        })?;
        answer.await.map_err(|_| lost_thread())?
    }

    fn read(&self, read: impl FnOnce(&mut Connection) + Send + 'static) -> Result<()> {
        self.readers.try_send(Box::new(read)).map_err(|_| Error::Busy(Duration::from_secs(1)))
    }

    pub async fn write<I, T>(&self, actor: Actor, input: Arc<I>, work: Work<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let decided = Arc::new(AtomicBool::new(false));
        let mut waiting = Waiting { decided: decided.clone(), written: Some(deadline::writing()) };
        let unit =
            Box::new(Pending { author: (actor, self.signer.clone()), input, work, outcome: None, decided, reply });
        self.writer.try_send(unit).map_err(|_| Error::Busy(Duration::from_secs(1)))?;
        let outcome = answer.await.map_err(|_| lost_thread())?;
        if !matches!(outcome, Ok(_) | Err(Error::Storage(Storage::OutcomeUnknown(_)))) {
            waiting.undone();
        }
        outcome
    }

    /// Moves what is in the log into the database, so that the one file is all there is.
    pub async fn checkpoint(&self) -> Result<()> {
        // What is there now may be somebody else's.
        self.files.check()?;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || {
            let connection = Connection::open(path)?;
            // Nobody can write while it waits for those who read.
            connection.busy_timeout(Duration::from_millis(250))?;
            connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
        });
        let written = written.await.map_err(|_| lost_thread())?;
        written.map_err(|error| from_sqlite(&error, "checkpoint").into())
    }

    /// Runs a step of the migrations in the writer thread.
    pub async fn script<T: Send + 'static>(
        &self,
        step: impl Fn(&Connection) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        type Step<T> = Box<dyn Fn(&Connection) -> Result<T> + Send + Sync>;
        let step: Step<T> = Box::new(step);
        let run: Work<Step<T>, T> = |tx, step| {
            let outcome = match &tx.engine {
                Engine::Sqlite(connection) => step(connection),
                Engine::Postgres(_) => Err(Error::Internal("a SQLite step on PostgreSQL".into())),
            };
            Box::pin(std::future::ready(outcome))
        };
        self.write(Actor::SERVICE, Arc::new(step), run).await
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(drop)
        .map_err(|error| format!("cannot start a thread for SQLite: {error}"))
}

/// What stands for a file in an address without its scheme.
pub(super) fn written(address: &str) -> &str {
    address.strip_prefix("//").unwrap_or(address)
}

/// The file that an address without its scheme names.
pub(super) fn path_of(address: &str) -> Result<PathBuf, String> {
    let path = written(address);
    if path.is_empty() || path.starts_with(":memory:") || path.starts_with("file:") || path.contains('?') {
        return Err(format!(
            "DATABASE_URL \"sqlite:{path}\" names no file: write sqlite:PATH, for example sqlite:referral.db"
        ));
    }
    let path = PathBuf::from(path);
    if path.is_dir() {
        return Err(format!(
            "DATABASE_URL names the folder {}: name a file in it, for example sqlite:{}/referral.db",
            path.display(),
            path.display().to_string().trim_end_matches('/')
        ));
    }
    if path.exists() && !path.is_file() {
        return Err(format!("DATABASE_URL names {}, which is no file but a device: name a file", path.display()));
    }
    Ok(path)
}

/// Somebody else's database is not even turned over to WAL.
fn leave_others_alone(path: &Path) -> Result<(), String> {
    if std::fs::metadata(path).map_or(0, |file| file.len()) == 0 {
        return Ok(());
    }
    let found = unopened(path).and_then(|connection| found::in_sqlite(&connection));
    found.map_err(|error| cannot_open(path, &error))?.version().map(drop)
}

fn cannot_open(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!(
        "cannot open the SQLite database {}: {error}. Does its folder exist, may this user write there, and is it a \
         SQLite file?",
        path.display()
    )
}

/// A new database is for its user alone: it holds keys and hashes. (SQLite gives its side files the same mode.)
fn keep_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    // Whether it exists, or cannot be made, is told by opening it.
    let _ = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

fn connect(path: &Path, clock: &Arc<AtomicI64>, mapped_mib: u32, read_only: bool) -> Result<Connection, String> {
    let explain = |error: rusqlite::Error| cannot_open(path, &error);
    let flags = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(explain)?;
    connection.busy_timeout(PATIENCE).map_err(explain)?;
    if !read_only {
        // FULL: an acknowledged write survives the loss of power; group commit makes it cheap. Deleted content is
        // overwritten, for what is erased must not be found in the file.
        // A checkpoint waits for the disk several times: fewer of them, of more pages (32 MB), are worth a longer WAL.
        // Who turns a new file over to WAL is not made to wait for another who does, but refused: so we wait.
        let mut tried = 0;
        // The pages of a large group stay in memory until its commit (8 MB); readers keep 2 MB each.
        let setup = "pragma journal_mode = wal; pragma synchronous = full; pragma secure_delete = on; \
                     pragma wal_autocheckpoint = 8000; pragma cache_size = -8192;";
        while let Err(error) = connection.execute_batch(setup) {
            tried += 1;
            if tried > 200 || error.sqlite_error_code() != Some(rusqlite::ErrorCode::DatabaseBusy) {
                return Err(explain(error));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // A mapped page that cannot be read, for its sector is bad or the file was cut, ends the process by a signal. A
    // page that is read into memory is an error.
    let mapped = u64::from(mapped_mib) << 20;
    connection
        .execute_batch(&format!("pragma foreign_keys = on; pragma temp_store = memory; pragma mmap_size = {mapped};"))
        .map_err(explain)?;
    connection.set_prepared_statement_cache_capacity(256);
    // A statement is planned once, not again for each new parameter that could speak for another partial index.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(explain)?;
    tell_time(&connection, clock.clone()).map_err(explain)?;
    Ok(connection)
}

/// Gives a connection the clock that judges the life of codes.
fn tell_time(connection: &Connection, shift: Arc<AtomicI64>) -> rusqlite::Result<()> {
    let wall = Clock::default();
    connection.create_scalar_function("referral_now", 0, FunctionFlags::SQLITE_UTF8, move |_| {
        Ok(wall.now().0.saturating_add(shift.load(Ordering::Relaxed)))
    })
}

/// A file that nobody has opened yet, to look into: not even its mode is changed.
pub(super) fn unopened(path: &Path) -> Result<Connection> {
    let open = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(PATIENCE)?;
        tell_time(&connection, Arc::default())?;
        Ok(connection)
    };
    open().map_err(|error| from_sqlite(&error, "open").into())
}

pub(super) fn rows(connection: &mut Connection, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
    let read = |connection: &Connection| -> rusqlite::Result<Vec<Row>> {
        let mut statement = connection.prepare_cached(sqlite_text(sql)?)?;
        bind(&mut statement, params)?;
        let width = statement.column_count();
        let mut found = statement.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let values = (0..width).map(|index| row.get_ref(index).map(value)).collect::<Result<_, _>>()?;
            rows.push(Row::Sqlite(values));
        }
        Ok(rows)
    };
    read(connection).map_err(|error| from_sqlite(&error, sql.name).into())
}

pub(super) fn run(connection: &mut Connection, sql: &'static Sql, params: &[Value]) -> Result<u64> {
    let run = |connection: &Connection| -> rusqlite::Result<usize> {
        let mut statement = connection.prepare_cached(sqlite_text(sql)?)?;
        bind(&mut statement, params)?;
        statement.raw_execute()
    };
    run(connection).map(|rows| rows as u64).map_err(|error| from_sqlite(&error, sql.name).into())
}

/// Binds by name: to SQLite `$3` is a name, and its place is where it first appears.
fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Value]) -> rusqlite::Result<()> {
    const NAMES: [&str; 16] =
        ["$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", "$16"];
    if params.len() > NAMES.len() {
        return Err(rusqlite::Error::InvalidParameterCount(params.len(), NAMES.len()));
    }
    for (name, value) in NAMES.iter().zip(params) {
        match statement.parameter_index(name)? {
            Some(index) => statement.raw_bind_parameter(index, value)?,
            None => return Err(rusqlite::Error::InvalidParameterName((*name).to_owned())),
        }
    }
    Ok(())
}

fn value(stored: rusqlite::types::ValueRef<'_>) -> Value {
    use rusqlite::types::ValueRef;
    match stored {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        // Nothing of ours is stored as a real number: read back as text it fails as the wrong type, loudly.
        ValueRef::Real(value) => Value::Text(value.to_string()),
        ValueRef::Text(value) => Value::Text(String::from_utf8_lossy(value).into_owned()),
        ValueRef::Blob(value) => Value::Bytes(value.to_vec()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    pub fn opened() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let connection = connect(&folder.path().join("some.db"), &Arc::default(), 0, false).unwrap();
        (folder, connection)
    }

    #[test]
    fn a_statement_is_planned_once_for_all_parameters() {
        let (_folder, connection) = opened();
        connection
            .execute_batch(
                "create table visits (person integer, place text); \
                 create index homes on visits (person) where place = 'home'",
            )
            .unwrap();
        let mut statement = connection.prepare("select 1 from visits where person = $1 and place = $2").unwrap();
        for place in ["home", "away", "home"] {
            assert!(!statement.exists((1, place)).unwrap());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn no_thread_waits_for_the_counting_of_memory() {
        let (_folder, connection) = opened();
        let options: String = connection
            .query_row("select group_concat(compile_options) from pragma_compile_options", [], |row| row.get(0))
            .unwrap();
        assert!(options.contains("DEFAULT_MEMSTATUS=0"), "built without .cargo/config.toml: {options}");
    }
}
