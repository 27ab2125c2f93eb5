//! What the writer thread does: units in groups, each group one transaction.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rusqlite::Connection;

use super::file::Files;
use crate::db::error::from_sqlite;
use crate::kernel::error::{Cause, Storage};

/// Units in one group: enough that the fsync is shared by all who wait, few enough that nobody waits long.
const GROUP: usize = 256;
/// When a group has worked so long, it is committed, and the rest of it goes into the next: so nobody waits behind much
/// of what others do at length.
const WORK: Duration = Duration::from_millis(20);

/// A unit of work on its way through the writer thread.
pub(super) trait Unit: Send {
    /// Whether somebody still waits for the work; from then on it is under way, whoever leaves.
    fn begin(&self) -> bool;
    /// Runs the work; an error asks for its savepoint to be rolled back.
    fn run(&mut self, connection: &mut Connection) -> Result<(), Cause>;
    /// Answers the caller, after the commit that the work was part of.
    fn answer(self: Box<Self>, commit: Result<(), Storage>);
}

/// The writer thread: takes whatever waits, runs it as one transaction, answers.
pub(super) fn write_groups(mut connection: Connection, files: &Files, waiting: &Receiver<Box<dyn Unit>>) {
    let mut group = Vec::with_capacity(GROUP);
    loop {
        // What the group before has left over comes first, and has begun.
        let left = group.len();
        if left == 0 {
            let Ok(first) = waiting.recv() else { return };
            group.push(first);
        }
        group.extend(waiting.try_iter().take(GROUP.saturating_sub(group.len())));
        let mut place = 0;
        group.retain(|unit| {
            place += 1;
            place <= left || unit.begin()
        });
        if group.is_empty() {
            continue;
        }
        let run = run_group(&mut connection, files, &mut group, WORK);
        // Whatever failed, the next group begins outside of any transaction; nobody of this one waits for it.
        let (ran, commit) = match run {
            Ok(ran) => (ran, Ok(())),
            Err(fault) => {
                let _ = connection.execute_batch("rollback");
                (group.len(), Err(fault))
            }
        };
        for unit in group.drain(..ran) {
            unit.answer(commit.clone());
        }
    }
}

/// Runs units of a group, in their order, until they have worked for long enough, and commits; says how many it ran.
fn run_group(
    connection: &mut Connection,
    files: &Files,
    group: &mut [Box<dyn Unit>],
    work: Duration,
) -> Result<usize, Storage> {
    let fault = |error: rusqlite::Error| match from_sqlite(&error, "group commit") {
        // To retry the whole group at once would only repeat the collision.
        Storage::Retry(fault) => Storage::Unavailable(fault),
        other => other,
    };
    let run = |connection: &mut Connection, sql: &str| {
        connection.prepare_cached(sql).and_then(|mut statement| statement.raw_execute())
    };
    let step = |connection: &mut Connection, sql: &str| run(connection, sql).map_err(fault);
    // Another process has had the file for too long: nothing was done.
    run(connection, "begin immediate").map_err(|error| match from_sqlite(&error, "group commit") {
        Storage::Retry(fault) => Storage::TimedOut(fault),
        other => other,
    })?;
    let began = Instant::now();
    let mut ran = 0;
    for unit in group.iter_mut() {
        if ran > 0 && began.elapsed() >= work {
            break;
        }
        ran += 1;
        step(connection, "savepoint unit")?;
        let done = unit.run(connection);
        if connection.is_autocommit() {
            // A full disk and the like make SQLite roll back everything at once.
            let cause = done.err().unwrap_or(Cause::Unknown);
            return Err(Storage::Unavailable(cause.fault("SQLite rolled the group back")));
        }
        if done.is_err() {
            step(connection, "rollback to unit")?;
        }
        step(connection, "release unit")?;
    }
    files.check()?;
    #[cfg(debug_assertions)]
    crate::db::crash::before_commit();
    step(connection, "commit")?;
    #[cfg(debug_assertions)]
    crate::db::crash::after_commit();
    Ok(ran)
}

#[cfg(test)]
mod tests {
    use super::super::tests::opened;
    use super::*;

    /// A unit that adds a row.
    struct Adding(i64);

    impl Unit for Adding {
        fn begin(&self) -> bool {
            true
        }

        fn run(&mut self, connection: &mut Connection) -> Result<(), Cause> {
            connection.execute("insert into visits values (?1)", [self.0]).map(drop).map_err(|_| Cause::Unknown)
        }

        fn answer(self: Box<Self>, _: Result<(), Storage>) {}
    }

    #[test]
    fn a_group_that_has_worked_for_long_is_committed_and_the_rest_waits_for_the_next() {
        let (folder, mut connection) = opened();
        connection.execute_batch("create table visits (number integer)").unwrap();
        let files = Files::of(&folder.path().join("some.db"));
        let count = |connection: &Connection| {
            connection.query_row("select count(*) from visits", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        let mut group: Vec<Box<dyn Unit>> = (0..5).map(|number| Box::new(Adding(number)) as Box<dyn Unit>).collect();
        // However short the time, one is run: else none ever were.
        assert_eq!(run_group(&mut connection, &files, &mut group, Duration::ZERO), Ok(1));
        assert!(connection.is_autocommit());
        assert_eq!(count(&connection), 1);
        assert_eq!(run_group(&mut connection, &files, &mut group[1..], Duration::MAX), Ok(4));
        assert_eq!(count(&connection), 5);
    }
}
