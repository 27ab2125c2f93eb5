//! The clock of a database, which a test sets.

use super::app::{Setup, TestApp};

/// Sets the database's clock to so much ahead of the true time.
pub async fn move_clock(test: &TestApp, micros: i64) {
    match test.setup {
        Setup::Sqlite => {
            for node in &test.nodes {
                let clock = node.app.db.sqlite_clock().expect("SQLite's clock");
                clock.store(micros, std::sync::atomic::Ordering::Relaxed);
            }
        }
        _ => test.move_database_clock(micros).await,
    }
}
