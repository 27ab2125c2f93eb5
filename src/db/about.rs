//! What a database is, and what may be done in it: for the log and for `referral check`. Nothing here changes anything.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{Db, migrate, sqlite};
use crate::kernel::error::{Error, Result};
use crate::{params, sql};

sql! {
    ENGINE = {
        sqlite: "select 'SQLite ' || sqlite_version()",
        postgres: "select 'PostgreSQL ' || current_setting('server_version')",
    };
    /// The schema that tables are made in (empty: none), whether they may be, which of ours there somebody else owns,
    /// which of them may not be read and written, whether nothing can be written at all, who asks, and whether our
    /// function may not be called.
    RIGHTS = {
        sqlite: "select 'main', 1, null, null, $1 is null, '', 0",
        postgres: "select coalesce(current_schema()::text, ''),
                          coalesce(has_schema_privilege(current_schema(), 'create'), false),
                          string_agg(c.relname::text, ', ') filter (where not pg_has_role(c.relowner, 'usage')),
                          string_agg(c.relname::text, ', ') filter (where
                              not (has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
                                   and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete'))),
                          pg_is_in_recovery() or current_setting('transaction_read_only') = 'on',
                          current_user::text,
                          exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                                  where n.nspname = current_schema() and p.proname = 'referral_now' and p.pronargs = 0
                                    and not has_function_privilege(p.oid, 'execute'))
                   from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where n.nspname = current_schema() and c.relname = any (string_to_array($1, ','))",
    };
}

/// The file of a SQLite database.
pub fn file(url: &str) -> Option<&Path> {
    url.strip_prefix("sqlite:").map(|address| Path::new(sqlite::written(address)))
}

/// Why the service could not write to a SQLite database, in sentences; also to one that is not there yet.
pub fn file_complaints(path: &Path) -> Vec<String> {
    if let Err(sentence) = sqlite::path_of(&path.to_string_lossy()) {
        return vec![sentence];
    }
    let path = &led(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let text = format!("its folder {} does not exist: make it, or change DATABASE_URL", folder.display());
        return vec![text];
    }
    let mut complaints = Vec::new();
    if let Err(error) = may_write(folder) {
        complaints.push(format!(
            "its folder {} cannot be written: {error}. SQLite makes files beside the database: give the folder to the \
             service's user",
            folder.display()
        ));
    }
    // The last is the lock of whoever serves.
    for end in ["", "-wal", "-shm", "-lock"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(end);
        let beside = PathBuf::from(beside);
        if beside.is_dir() {
            complaints.push(format!("{} is a folder where a file has to be: remove it", beside.display()));
        } else if beside.is_file()
            && let Err(error) = OpenOptions::new().read(true).write(true).open(&beside)
        {
            let text = format!("{} cannot be written: {error}. Give it to the service's user", beside.display());
            complaints.push(text);
        }
    }
    complaints
}

/// Whether another process serves from a SQLite database.
pub fn is_served(path: &Path) -> bool {
    sqlite::is_held(path)
}

/// Whether a file would have the name of one that SQLite, or we, have beside a database.
pub fn is_beside(database: &Path, file: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some((folder.canonicalize().ok()?, path.file_name()?.to_owned()))
    };
    let (Some((folder, name)), Some((other, wanted))) = (place(&led(database)), place(file)) else { return false };
    let ends = ["-wal", "-shm", "-journal", "-lock", ".restoring"];
    folder == other
        && ends.iter().any(|end| {
            let mut name = name.clone();
            name.push(end);
            name == wanted
        })
}

/// Where a path leads, whether there is a file or not: SQLite makes it there, and its side files beside it.
pub fn led(path: &Path) -> PathBuf {
    const MOST: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

/// Whether this user may make files in a folder, as the system sees it, without making one.
fn may_write(folder: &Path) -> std::io::Result<()> {
    Ok(accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
}

impl Db {
    /// Why the service could not do its work in a server's database, in sentences; `pending`: when it has to make or
    /// change tables first.
    pub async fn complaints(&self, pending: bool) -> Result<Vec<String>> {
        if matches!(self, Self::Sqlite(_)) {
            return Ok(Vec::new());
        }
        let row = self.row(&RIGHTS, params![migrate::tables().join(",")]).await?;
        let row = row.ok_or_else(|| Error::Internal("a statement without a row".into()))?;
        let (schema, may_create): (String, bool) = (row.get(0)?, row.get(1)?);
        let (foreign, closed): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
        let role: String = row.get(5)?;
        let mut complaints = Vec::new();
        if row.get(4)? {
            complaints.push("it takes no writes: it is a standby, or set to be read only. Name the primary".to_owned());
        }
        if pending && schema.is_empty() {
            complaints.push("its role's search_path names no schema that exists: make one, or change it".to_owned());
        } else if pending && !may_create {
            complaints.push(format!(
                "its role may not make tables in the schema {schema}: `grant create on schema {schema} to {role}`, or \
                 let the role own the database"
            ));
        }
        if let Some(tables) = foreign.filter(|_| pending) {
            complaints.push(format!(
                "somebody else owns tables of the schema {schema} that serve has to change ({tables}): `alter table \
                 {schema}.TABLE owner to {role}` for each"
            ));
        }
        if let Some(tables) = closed {
            complaints.push(format!(
                "its role may not read and write these tables: {tables}. `grant select, insert, update, delete on \
                 {tables} to {role}`"
            ));
        }
        if row.get(6)? {
            complaints.push(format!(
                "its role may not call a function: `grant execute on function {schema}.referral_now() to {role}`"
            ));
        }
        Ok(complaints)
    }

    /// Whether a connection pooler was met on the way to the database.
    pub fn is_pooled(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(postgres) => postgres.is_pooled(),
        }
    }

    /// The engine and its version.
    pub async fn engine(&self) -> Result<String> {
        let row = self.row(&ENGINE, params![]).await?;
        row.ok_or_else(|| Error::Internal("a statement without a row".into()))?.get(0)
    }
}
