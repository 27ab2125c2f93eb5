//! PostgreSQL's own programs, which write a database into a file and bring it back, and the one state of a database
//! that is written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::postgres::Lease;
use super::schema::Table;
use super::value::{Row, Sql, Value};
use super::{Db, postgres};
use crate::kernel::error::{Error, Result};

/// Where packages put the programs of one version: Debian's, and those of PostgreSQL's own for Red Hat.
const FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];

/// One state of a PostgreSQL database, for as long as it is kept.
pub struct Snapshot {
    lease: Lease,
    /// As `pg_dump` is told it.
    pub id: String,
    pub schema: String,
    /// The server's major version.
    pub server: u32,
}

impl Snapshot {
    pub async fn of(db: &Db) -> Result<Self> {
        const BEGIN: &str = "start transaction isolation level repeatable read read only; \
                             set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0";
        let Db::Postgres(postgres) = db else {
            return Err(Error::Internal("a snapshot of a SQLite file".into()));
        };
        let mut lease = postgres.connection().await?;
        lease.begin(BEGIN).await?;
        let row = lease
            .value(
                "select pg_export_snapshot(), current_schema()::text, \
                        current_setting('server_version_num')::bigint / 10000",
            )
            .await?;
        let (id, schema) = (row.get(0)?, row.get::<Option<String>>(1)?.unwrap_or_default());
        let server = u32::try_from(row.get::<i64>(2)?).unwrap_or(0);
        Ok(Self { lease, id, schema, server })
    }

    pub async fn rows(&mut self, sql: &'static Sql, params: &[Value]) -> Result<Vec<Row>> {
        self.lease.rows(sql, params).await
    }

    /// The rows of each table.
    pub async fn counts(&mut self, tables: &[Table]) -> Result<BTreeMap<String, i64>> {
        let mut counts = BTreeMap::new();
        for table in tables {
            let row = self.lease.value(&format!("select count(*) from \"{}\"", table.name)).await?;
            counts.insert(table.name.clone(), row.get(0)?);
        }
        Ok(counts)
    }
}

/// A program of PostgreSQL's that is here, and of which major version it is.
#[derive(Clone, Debug)]
struct Program {
    path: PathBuf,
    version: u32,
}

/// Those of a name, the oldest first.
fn programs(name: &str) -> Vec<Program> {
    let mut paths = vec![PathBuf::from(name)];
    for (folder, begin) in FOLDERS {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let of_a_version = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(begin));
        paths.extend(of_a_version.map(|entry| entry.path().join("bin").join(name)).filter(|path| path.is_file()));
    }
    let mut found: Vec<Program> = paths.into_iter().filter_map(|path| Program::at(name, path)).collect();
    found.sort_by_key(|program| program.version);
    found
}

impl Program {
    fn at(name: &str, path: PathBuf) -> Option<Self> {
        let told = Command::new(&path).arg("--version").stdin(Stdio::null()).output().ok()?;
        let version = version(name, &String::from_utf8_lossy(&told.stdout))?;
        Some(Self { path, version })
    }
}

/// The major version in `pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn version(name: &str, told: &str) -> Option<u32> {
    let rest = told.trim().strip_prefix(name)?.trim_start().strip_prefix("(PostgreSQL) ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The oldest `pg_dump` that a server of this version lets write it.
fn dumper(server: u32) -> Result<PathBuf, String> {
    fit(&programs("pg_dump"), server)
}

/// Of those that are here, the oldest first.
fn fit(found: &[Program], server: u32) -> Result<PathBuf, String> {
    if let Some(program) = found.iter().find(|program| program.version >= server) {
        return Ok(program.path.clone());
    }
    let there = match found.last() {
        Some(newest) => format!("the newest pg_dump here is of PostgreSQL {}", newest.version),
        None => "there is no pg_dump here".to_owned(),
    };
    Err(format!(
        "{there}, and the server is PostgreSQL {server}: a pg_dump must not be older than its server. Install the \
         clients of that version (Debian: postgresql-client-{server})"
    ))
}

/// Writes one state of a database into a file, and tells which table is under way.
pub fn write(url: &str, snapshot: &Snapshot, file: &Path, tell: impl FnMut(&str)) -> Result<(), String> {
    let mut command = Command::new(dumper(snapshot.server)?);
    command.args(["--format=custom", "--no-owner", "--no-privileges", "--verbose"]);
    command
        .arg(format!("--schema=\"{}\"", snapshot.schema.replace('"', "\"\"")))
        .arg(format!("--snapshot={}", snapshot.id));
    command.arg("--file").arg(file);
    run(connected(&mut command, url), "pg_dump", None, tell)
}

/// What a file of `pg_dump`'s holds.
pub struct Dumped {
    program: PathBuf,
    pub schema: String,
    pub rows: BTreeMap<String, i64>,
    /// The newest step that had been applied; nothing where there is no table of ours.
    pub version: Option<i64>,
    list: String,
}

/// Reads all of it. The error is a sentence: it is cut off, damaged, or of a version that nothing here reads.
pub fn read(file: &Path) -> Result<Dumped, String> {
    let name = file.display();
    let mut refused = "there is no pg_restore here: install PostgreSQL's clients".to_owned();
    let mut listed = None;
    for program in programs("pg_restore") {
        let listing = Command::new(&program.path).arg("--list").arg(file).stdin(Stdio::null()).output();
        let output = listing.map_err(|error| format!("cannot run pg_restore: {error}"))?;
        if output.status.success() {
            listed = Some((program.path, String::from_utf8_lossy(&output.stdout).into_owned()));
            break;
        }
        refused = last_word(&String::from_utf8_lossy(&output.stderr));
    }
    let damaged = |why: &str| format!("{name} is cut off or damaged, or written by a newer pg_dump: {why}");
    let (program, list) = listed.ok_or_else(|| damaged(&refused))?;
    let mut command = Command::new(&program);
    command.args(["--file", "-"]).arg(file);
    let mut child = spawn(&mut command, "pg_restore")?;
    let told = child.stderr.take().map(collected);
    let text = BufReader::new(child.stdout.take().ok_or("pg_restore has no output")?);
    let mut found = Dumped { program, schema: String::new(), rows: BTreeMap::new(), version: None, list };
    found.take(text).map_err(|error| format!("cannot read {name}: {error}"))?;
    let ended = child.wait().map_err(|error| format!("cannot run pg_restore: {error}"))?;
    let told = told.and_then(|told| told.join().ok()).unwrap_or_default();
    if ended.success() { Ok(found) } else { Err(damaged(&last_word(&told))) }
}

impl Dumped {
    /// Counts the rows of a script, which stand between `COPY … FROM stdin;` and `\.`.
    fn take(&mut self, mut text: impl BufRead) -> std::io::Result<()> {
        let (mut line, mut table) = (Vec::new(), None::<String>);
        while text.read_until(b'\n', &mut line)? > 0 {
            match &table {
                None => table = self.begin(&line),
                Some(_) if line == b"\\.\n" => table = None,
                Some(name) => {
                    *self.rows.entry(name.clone()).or_default() += 1;
                    if name == "schema_migrations" {
                        let text = String::from_utf8_lossy(&line);
                        let number = text.split('\t').next().and_then(|number| number.parse().ok());
                        self.version = self.version.max(number);
                    }
                }
            }
            line.clear();
        }
        Ok(())
    }

    fn begin(&mut self, line: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(line.strip_prefix(b"COPY ")?).ok()?;
        let (schema, rest) = identifier(text.strip_suffix(" FROM stdin;\n")?)?;
        let (name, _) = identifier(rest.strip_prefix('.')?)?;
        self.schema = schema;
        self.rows.entry(name.clone()).or_default();
        Some(name)
    }

    /// What is to be brought back of what the file lists: not the schema itself, which is there, nor whose database it
    /// was.
    fn wanted(&self) -> String {
        let whose = format!("TABLE DATA {} installation ", self.schema);
        let unwanted = |line: &&str| {
            let what = line.splitn(4, ' ').nth(3).unwrap_or_default();
            line.starts_with(';')
                || what.starts_with(&whose)
                || ["SCHEMA ", "COMMENT ", "ACL "].iter().any(|kind| what.starts_with(kind))
        };
        self.list.lines().filter(|line| !unwanted(line)).map(|line| format!("{line}\n")).collect()
    }

    /// Brings all of it into an empty database, in one transaction.
    pub fn bring_back(&self, file: &Path, url: &str, tell: impl FnMut(&str)) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--verbose"]);
        command.args(["--use-list", "/dev/stdin"]);
        connected(&mut command, url).arg(file);
        run(&mut command, "pg_restore", Some(self.wanted()), tell)
    }
}

/// The name that a text begins with, in quotes or not, and what is behind it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (name, behind) = text.split_at(text.find(['.', ' ']).unwrap_or(text.len()));
        return Some((name.to_owned(), behind));
    };
    let mut name = String::new();
    loop {
        let (part, behind) = rest.split_once('"')?;
        name.push_str(part);
        let Some(more) = behind.strip_prefix('"') else { return Some((name, behind)) };
        name.push('"');
        rest = more;
    }
}

/// Tells a program of PostgreSQL's where the database is: its password not as an argument, which everybody can see.
fn connected<'a>(command: &'a mut Command, url: &str) -> &'a mut Command {
    let (url, password) = postgres::without_password(url);
    if let Some(password) = password {
        command.env("PGPASSWORD", OsString::from_vec(password));
    }
    command.arg(format!("--dbname={url}"))
}

fn spawn(command: &mut Command, name: &str) -> Result<Child, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("cannot run {name}: {error}"))
}

/// Runs a program to its end, with this on its standard input, and tells the tables that it tells.
fn run(command: &mut Command, name: &str, input: Option<String>, mut tell: impl FnMut(&str)) -> Result<(), String> {
    let mut child = spawn(command, name)?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        // Who does not read it says why by its exit code.
        let _ = pipe.write_all(input.as_bytes());
    }
    let mut told = String::new();
    for line in BufReader::new(child.stderr.take().ok_or("a program without an output")?).lines().map_while(Result::ok)
    {
        if let Some((_, table)) = line.split_once("contents of table ").or_else(|| line.split_once("data for table ")) {
            tell(table.trim_matches('"'));
        }
        told.push_str(&line);
        told.push('\n');
    }
    let ended = child.wait().map_err(|error| format!("cannot run {name}: {error}"))?;
    if ended.success() { Ok(()) } else { Err(format!("{name} has failed: {}", last_word(&told))) }
}

fn collected(pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).map(|line| line + "\n").collect::<String>()
    })
}

/// What a program has told of an error; else its last line.
fn last_word(told: &str) -> String {
    let error = told.lines().find(|line| line.contains("error: "));
    error.or(told.lines().last()).unwrap_or("it says nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_tell_their_version() {
        for (told, expected) in [
            ("pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15)),
            ("pg_dump (PostgreSQL) 18.0\n", Some(18)),
            ("pg_dump (PostgreSQL) 19devel\n", Some(19)),
            ("pg_restore (PostgreSQL) 15.1\n", None),
            ("", None),
        ] {
            assert_eq!(version("pg_dump", told), expected, "{told}");
        }
    }

    #[test]
    fn a_pg_dump_is_not_older_than_its_server() {
        let program = |version| Program { path: format!("/{version}/pg_dump").into(), version };
        let found = [program(13), program(15), program(17)];
        assert_eq!(fit(&found, 15), Ok("/15/pg_dump".into()));
        assert_eq!(fit(&found, 16), Ok("/17/pg_dump".into()));
        let told = fit(&found, 18).unwrap_err();
        assert!(told.contains("the newest pg_dump here is of PostgreSQL 17") && told.contains("client-18"), "{told}");
        assert!(fit(&[], 15).unwrap_err().contains("there is no pg_dump here"));
    }

    #[test]
    fn names_are_read_with_their_quotes() {
        for (text, expected) in [
            ("users (id)", Some(("users", " (id)"))),
            ("public.users", Some(("public", ".users"))),
            ("\"Odd.\"\"na me\".users", Some(("Odd.\"na me", ".users"))),
            ("\"without an end", None),
        ] {
            let expected = expected.map(|(name, rest)| (name.to_owned(), rest));
            assert_eq!(identifier(text), expected, "{text}");
        }
    }

    #[test]
    fn rows_of_a_dump_are_counted_and_the_schema_itself_is_not_brought_back() {
        let list = ";\n; Archive\n;\n5; 2615 2200 SCHEMA - public postgres\n\
                    201; 1259 16386 TABLE public users postgres\n\
                    3400; 0 16386 TABLE DATA public users postgres\n3401; 0 16400 TABLE DATA public installation postgres\n";
        let (schema, list, program) = (String::new(), list.to_owned(), PathBuf::new());
        let mut dumped = Dumped { program, schema, rows: BTreeMap::new(), version: None, list };
        let script = "--\nCOPY public.users (id, name) FROM stdin;\n1\ta\n2\tb\\\\.\n\\.\n\n\
                      COPY public.empty (id) FROM stdin;\n\\.\n\
                      COPY public.schema_migrations (version, name, applied_at) FROM stdin;\n1\tfirst\t0\n12\tx\t0\n\\.\n";
        dumped.take(script.as_bytes()).unwrap();
        assert_eq!((dumped.schema.as_str(), dumped.version), ("public", Some(12)));
        assert_eq!((dumped.rows["users"], dumped.rows["empty"]), (2, 0));
        assert_eq!(
            dumped.wanted(),
            "201; 1259 16386 TABLE public users postgres\n3400; 0 16386 TABLE DATA public users postgres\n"
        );
    }
}
