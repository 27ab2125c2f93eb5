//! Both drivers' errors in one vocabulary, so that a violated constraint has one name and a retry one meaning.

use std::io::ErrorKind;

use rusqlite::{ErrorCode, ffi};

use crate::kernel::error::{Cause, Error, Storage};

/// Named constraints and how SQLite, which names the columns of a violated key, calls them. A test violates each.
pub(super) const CONSTRAINTS: &[(&str, &str)] = &[
    ("logins_pk", "logins.login_key"),
    ("users_pk", "users.id"),
    ("code_strings_hash_unique", "code_strings.code_hash"),
    ("codes_pk", "codes.owner_id, codes.ordinal"),
    ("referrals_referee_unique", "referrals.referee_id"),
    ("referrals_not_self", "referrals_not_self"),
    ("codes_life", "codes_life"),
];

pub(super) fn from_sqlite(error: &rusqlite::Error, statement: &str) -> Storage {
    let text = format!("{statement}: {error}{}", of_sqlite(error));
    let Some(code) = error.sqlite_error_code() else { return Storage::Broken(text) };
    match code {
        ErrorCode::ConstraintViolation => {
            let message = error.to_string();
            let names = message.rsplit("failed: ").next().unwrap_or_default();
            match CONSTRAINTS.iter().find(|(_, sqlite)| *sqlite == names) {
                Some((name, _)) => Storage::Constraint(name),
                None => Storage::Broken(text),
            }
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Storage::Retry(Cause::Locked.fault(text)),
        ErrorCode::DiskFull => Storage::Unavailable(Cause::Full.fault(text)),
        ErrorCode::SystemIoFailure if is_of_reading(error) => Storage::Unavailable(Cause::Malformed.fault(text)),
        ErrorCode::SystemIoFailure => Storage::Unavailable(Cause::Io.fault(text)),
        ErrorCode::ReadOnly => Storage::Unavailable(Cause::ReadOnly.fault(text)),
        ErrorCode::CannotOpen
        | ErrorCode::PermissionDenied
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OutOfMemory => Storage::Unavailable(Cause::Unknown.fault(text)),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Storage::Unavailable(Cause::Malformed.fault(text)),
        _ => Storage::Broken(text),
    }
}

fn is_of_reading(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ, ffi::SQLITE_IOERR_DATA, ffi::SQLITE_IOERR_CORRUPTFS]
        .contains(&code)
}

pub(super) fn from_postgres(error: &tokio_postgres::Error, statement: &str) -> Storage {
    let Some(fault) = error.as_db_error() else {
        let text = format!("{statement}: {}", causes(error));
        // Closed or broken while a statement outside of commit was under way: the server rolls back.
        return if error.is_closed() || has_io(error) {
            Storage::Retry(Cause::Unknown.fault(text))
        } else {
            Storage::Broken(text)
        };
    };
    // The message of the server only: its detail quotes values.
    let text = format!("{statement}: {} ({})", fault.message(), fault.code().code());
    match fault.code().code() {
        "23505" | "23514" | "23503" => match CONSTRAINTS.iter().find(|(name, _)| Some(*name) == fault.constraint()) {
            Some((name, _)) => Storage::Constraint(name),
            None => Storage::Broken(text),
        },
        "40001" | "40P01" | "57P01" | "57P02" | "57P03" | "25006" | "25P03" => Storage::Retry(cause(error).fault(text)),
        // A lock or the statement itself took too long: so it would the next time.
        "55P03" | "57014" => Storage::TimedOut(Cause::Silent.fault(text)),
        _ if is_stale(error) => Storage::Retry(Cause::Unknown.fault(text)),
        "XX001" | "XX002" => Storage::Unavailable(cause(error).fault(text)),
        state if ["08", "53", "57", "58"].iter().any(|class| state.starts_with(class)) => {
            Storage::Unavailable(cause(error).fault(text))
        }
        _ => Storage::Broken(text),
    }
}

/// What is to be mended.
pub(super) fn cause(error: &tokio_postgres::Error) -> Cause {
    // What the driver says itself has no number of the system's.
    let of_driver =
        |error: &std::io::Error| error.kind() == ErrorKind::PermissionDenied && error.raw_os_error().is_none();
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("53100") => Cause::Full,
        Some("58030") => Cause::Io,
        Some("25006") => Cause::ReadOnly,
        Some("XX001" | "XX002") => Cause::Malformed,
        None if std::error::Error::source(error).and_then(|source| source.downcast_ref()).is_some_and(of_driver) => {
            // Asked for a server that takes writes it was led to one that does not.
            Cause::ReadOnly
        }
        _ => Cause::Unknown,
    }
}

/// What may be done about a file that is not what it should be.
fn of_sqlite(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => " (the file is damaged: restore a backup)",
        Some(ErrorCode::NotADatabase) => " (it is another file, or damaged: name the database, or restore a backup)",
        _ => "",
    }
}

/// What the operator can do about a server that lets nobody in, or not us.
pub(super) fn remedy(error: &tokio_postgres::Error) -> &'static str {
    if cause(error) == Cause::ReadOnly {
        return "it takes no writes: name the primary";
    }
    let Some(state) = error.code() else {
        let text = causes(error);
        return if text.contains("does not support TLS") {
            "it speaks no TLS here: switch ssl on in the server, or write sslmode=prefer"
        } else if text.contains("certificate") {
            "its certificate is not taken: see sslmode and sslrootcert in DATABASE_URL"
        } else if text.contains("password missing") {
            "it wants a password, and DATABASE_URL has none"
        } else {
            "check host and port in DATABASE_URL, and that the server runs"
        };
    };
    match state.code() {
        "28P01" => "check user and password in DATABASE_URL",
        "28000" => "the server lets nobody in so: check user and sslmode in DATABASE_URL, and the server's pg_hba.conf",
        "3D000" => "make the database that DATABASE_URL names: createdb --owner=ROLE NAME",
        "53300" => {
            "it has no connection left: each node uses database.connections and four more; lower that, or raise the \
             server's max_connections"
        }
        "42501" => "let the role connect: grant connect on database NAME to ROLE",
        "57P03" => "it is starting or stopping: try again shortly",
        _ => "check DATABASE_URL against what the server says",
    }
}

/// Whether a connection broke, or could not be made.
pub(super) fn has_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// Whether a server takes no writes, as one that has been replaced by its standby.
pub(super) fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "25006")
}

/// Whether the connection on which this was met has had its day: its server ends, or is not the one for writes.
pub(super) fn is_past(error: &tokio_postgres::Error) -> bool {
    is_read_only(error) || error.code().is_some_and(|code| code.code().starts_with("57P"))
}

/// Whether a statement was prepared before a migration or a fail-over changed what it means.
pub(super) fn is_stale(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|fault| match fault.code().code() {
        "26000" => true,
        "0A000" => fault.message().contains("cached plan"),
        _ => false,
    })
}

/// A fault while the commit itself was under way.
pub(super) fn at_commit(error: &tokio_postgres::Error) -> Storage {
    match from_postgres(error, "commit") {
        // The server said that it rolled back.
        Storage::Retry(fault) if error.as_db_error().is_some_and(|e| matches!(e.code().code(), "40001" | "40P01")) => {
            Storage::Retry(fault)
        }
        Storage::Retry(fault) | Storage::Unavailable(fault) => Storage::OutcomeUnknown(fault),
        other => other,
    }
}

/// An error with everything behind it, as one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

pub(super) fn lost_thread() -> Error {
    Error::Internal("a database thread has ended".into())
}
