//! The yardsticks on SQLite: the driver alone, without HTTP, in the settings that the service has.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use referral::db::Sql;
use referral::features::{accounts, codes, referrals};
use referral::kernel::ids::UserId;
use referral::kernel::name::Username;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, functions::FunctionFlags, params};

use crate::load::{Span, Times};
use crate::meter::Meter;
use crate::people::{People, mix, owner};
use crate::run::Bench;

#[derive(Clone, Copy)]
pub enum Command {
    Read,
    /// Registers people from this number on, with one of so many codes.
    Write {
        from: u64,
        codes: u64,
    },
}

/// Runs one of these yardsticks as a process and looks at a span in its middle.
pub fn start(
    bench: &Bench,
    command: Command,
    path: &Path,
    preload: Option<&Path>,
    people: &People,
    times: Times,
) -> Result<Span, String> {
    let mut process = std::process::Command::new(&bench.programs.bench);
    process.arg(match command {
        Command::Read => "bare-sqlite-read",
        Command::Write { .. } => "bare-sqlite-write",
    });
    process
        .arg(path)
        .args([people.scale, people.seed, times.whole().as_millis() as u64].map(|number| number.to_string()));
    if let Command::Write { from, codes } = command {
        process.args([from.to_string(), codes.to_string()]);
    }
    if let Some(library) = preload {
        process.env("LD_PRELOAD", library);
    }
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = process.spawn().map_err(|error| format!("a yardstick: {error}"))?;
    let meter = Meter { services: vec![child.id()], ..Meter::default() };
    std::thread::sleep(times.warm_up);
    let start = meter.read();
    std::thread::sleep(times.length);
    let end = meter.read();
    let output = child.wait_with_output().map_err(|error| format!("a yardstick: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut figures = text.split_whitespace().skip(1).filter_map(|word| word.parse::<f64>().ok());
    match (figures.next(), figures.next()) {
        (Some(done), Some(seconds)) if output.status.success() && done > 0.0 => {
            Ok(Span::between(&start, &end, done / seconds * (end.at - start.at).as_secs_f64()))
        }
        _ => Err(format!("the run is void: a yardstick: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn connect(path: &Path) -> Result<Connection, String> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "pragma journal_mode = wal; pragma synchronous = full; pragma secure_delete = on; \
             pragma foreign_keys = on; pragma temp_store = memory; pragma cache_size = -8192; \
             pragma wal_autocheckpoint = 8000;",
        )?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.set_prepared_statement_cache_capacity(256);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.create_scalar_function("referral_now", 0, FunctionFlags::SQLITE_UTF8, |_| Ok(now()))?;
        Ok(connection)
    };
    open().map_err(|error| format!("{}: {error}", path.display()))
}

/// Microseconds since 1970.
pub fn now() -> i64 {
    referral::kernel::time::Clock::default().now().0
}

/// One of the service's statements, so that the yardstick cannot fall behind.
pub fn statement(list: &'static [&'static Sql], name: &str) -> Result<&'static Sql, String> {
    let found = list.iter().find(|sql| sql.name == name);
    found.copied().ok_or_else(|| format!("the service has no statement {name} any more: the yardstick must follow"))
}

/// As [`statement`], in SQLite's words.
fn text(list: &'static [&'static Sql], name: &str) -> Result<&'static str, String> {
    statement(list, name)?.sqlite.ok_or_else(|| format!("{name} is not for SQLite"))
}

/// Looks codes up by e-mail on two threads and prints how many in how many seconds.
pub fn read(path: &Path, people: People, length: Duration) -> Result<(), String> {
    let sql = text(codes::store::STATEMENTS, "FIND_BY_EMAIL")?;
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let look = |thread: u64| -> Result<(), String> {
        let connection = connect(path)?;
        let fault = |error: rusqlite::Error| error.to_string();
        let mut turn = mix(thread);
        while !stop.load(Ordering::Relaxed) {
            turn = turn.wrapping_add(1);
            let number = owner(people.findable_owner(mix(turn) % people.findable()));
            let mut statement = connection.prepare_cached(sql).map_err(fault)?;
            let code: String = statement.query_row(params![people.email(number)], |row| row.get(5)).map_err(fault)?;
            std::hint::black_box(code);
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads = [scope.spawn(|| look(1)), scope.spawn(|| look(2))];
        std::thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    println!("done {} {}", done.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    Ok(())
}

/// Registers people with one commit each and prints how many in how many seconds. The codes are those of the first so
/// many owners; `from` is the number of the first person.
pub fn write(path: &Path, people: People, from: u64, code_count: u64, length: Duration) -> Result<(), String> {
    let fault = |error: rusqlite::Error| error.to_string();
    let connection = connect(path)?;
    let account = |name| text(accounts::store::STATEMENTS, name);
    let code = |name| text(codes::store::STATEMENTS, name);
    let (insert_user, insert_login) = (account("INSERT_USER")?, account("INSERT_LOGIN")?);
    let (find_string, lock) = (code("FIND_STRING")?, code("LOCK_SLOT_SHARED")?);
    let refer = text(referrals::store::STATEMENTS, "INSERT")?;
    let keys: Vec<[u8; 32]> = (0..code_count)
        .map(|turn| {
            let owner = people.findable_owner(turn);
            people.code_key(owner, people.codes(owner).issued).map(|key| key.0)
        })
        .collect::<Result<_, _>>()?;
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$".to_owned() + &"A".repeat(66);
    let prepare = |sql| connection.prepare_cached(sql).map_err(fault);
    let (mut begin, mut commit) = (prepare("begin immediate")?, prepare("commit")?);
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < length {
        let person = people.person(from + done);
        let id = UserId::new().0.into_bytes().to_vec();
        let key = keys[(done % code_count) as usize];
        let mut one = || -> rusqlite::Result<()> {
            begin.raw_execute()?;
            let name_key = Username::parse(&person.username).map(|name| name.key().to_owned()).unwrap_or_default();
            connection.prepare_cached(insert_user)?.execute(params![
                id,
                person.username,
                person.email,
                name_key,
                person.email,
                hash,
                now(),
                "unchecked",
                None::<i64>
            ])?;
            connection.prepare_cached(insert_login)?.execute(params![name_key, id])?;
            connection.prepare_cached(insert_login)?.execute(params![person.email, id])?;
            let (owner, ordinal): (Vec<u8>, i64) = connection
                .prepare_cached(find_string)?
                .query_row(params![key], |row| Ok((row.get(1)?, row.get(2)?)))?;
            let at: i64 = connection.prepare_cached(lock)?.query_row(params![owner], |row| row.get(4))?;
            connection.prepare_cached(refer)?.execute(params![owner, id, ordinal, at, "confirmed"])?;
            commit.raw_execute().map(drop)
        };
        one().map_err(|error| format!("a registration: {error}"))?;
        done += 1;
    }
    println!("done {done} {}", began.elapsed().as_secs_f64());
    Ok(())
}
