//! Registrations with a code, hashing aside.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;

use referral::kernel::code::CodeKey;

use crate::load::Span;
use crate::measure::{Bound, Goal, Row};
use crate::pgbench::{self, Script};
use crate::programs::bare_sqlite;
use crate::report::Report;
use crate::rows::reads::write;
use crate::run::{Bench, Place};
use crate::service::{Options, Service};
use crate::sources;

/// A round of registrations with these codes, in turn.
pub fn register(bench: &Bench, place: &Place, service: &Service, codes: &[String]) -> Result<Span, String> {
    let clients =
        sources::each(|client| sources::registrations(place.people, codes.to_vec(), client, &bench.newcomers));
    bench.load(place, service, clients)
}

pub fn on_postgres(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let name = main.name.as_deref().ok_or("not on PostgreSQL")?;
    let codes = bench.codes(main);
    let script = write(bench, "register", &Script::new(VARIABLES, &one_statement(&codes)?, &[]))?;
    let times = bench.settings.times;
    let before = bench.postgres.query(name, "select count(*) from referrals")?;
    let best = pgbench::best_clients(&bench.postgres, name, &script, times)?;
    if bench.postgres.query(name, "select count(*) from referrals")? == before {
        return Err("the yardstick registers nobody".to_owned());
    }
    let service = bench.start_without_hashing(main)?;
    let (ours, theirs) = Row::alternate(
        bench.settings.rounds,
        || register(bench, main, &service, &codes),
        || pgbench::run(&bench.postgres, name, &script, best, times),
    )?;
    report.row(Row {
        work: "registration, hashing aside, PostgreSQL".to_owned(),
        yardstick: format!("pgbench, one statement, {best} clients"),
        goal: Goal::AtLeast(0.85),
        bound: Bound::Processor,
        ours,
        theirs,
        remark: "with 64 codes of different owners in turn; each commit is durable.".to_owned(),
    });
    Ok(())
}

const VARIABLES: &str =
    "\\set n random(1, 1000000000000000)\n\\set m random(1, 1000000000000000)\n\\set k random(1, 64)";

/// All rows of a registration in one statement: pgbench's form of it, which nobody has shown to be race-free.
fn one_statement(codes: &[String]) -> Result<String, String> {
    let key = |code: &String| CodeKey::of(code).ok_or_else(|| "a code of ours is none".to_owned());
    let hex = |key: CodeKey| key.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let keys = codes
        .iter()
        .map(|code| key(code).map(|key| format!("'\\x{}'::bytea", hex(key))))
        .collect::<Result<Vec<_>, _>>()?;
    let hash = format!("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA${}", "A".repeat(43));
    Ok(format!(
        "with person as (
            insert into users (id, username, email, name_key, email_key, password_hash, created_at, is_manager,
                               discoverable, email_verdict)
            values ((lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' ||
                     substr(md5(:n::text), 1, 3) || '8' || substr(md5(:m::text), 1, 15))::uuid,
                    'petrova' || :n, 'olga.petrova' || :n || '@mail.example',
                    'petrova' || :n, 'olga.petrova' || :n || '@mail.example',
                    '{hash}', referral_now(), false, true, 'unchecked')
            returning id, name_key, email_key
        ), login as (
            insert into logins (login_key, user_id)
            select key, id from person, lateral (values (name_key), (email_key)) as keys (key)
            on conflict (login_key) do nothing
        ), held as materialized (
            select s.owner_id, c.ordinal from code_strings c
            join code_slots s on s.owner_id = c.owner_id and s.code_id = c.id
            where c.code_hash = (array[{}])[:k] and s.expires_at > referral_now() for share of s
        )
        insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status)
        select held.owner_id, person.id, held.ordinal, referral_now(), 'confirmed' from held, person",
        keys.join(",")
    ))
}

pub fn on_sqlite(bench: &Bench, _: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    let slow = slow_disk(bench)?;
    for (preload, goal, what) in [(None, 3.0, ""), (Some(slow), 15.0, ", fsync takes 2 ms")] {
        // Both sides write, so each has a file of its own.
        let ours = copied(bench, file, "ours")?;
        let theirs = copied(bench, file, "theirs")?;
        let options = Options { without_hashing: true, preload: preload.clone(), ..ours.options.clone() };
        let service = Service::start(&bench.programs, &options)?;
        let codes = bench.codes(file);
        let (ours, theirs) = Row::alternate(
            bench.settings.rounds,
            || register(bench, &ours, &service, &codes),
            || {
                // Far more than are registered in a round.
                let from = file.people.count() + bench.newcomers.fetch_add(1_000_000, Ordering::Relaxed);
                let command = bare_sqlite::Command::Write { from, codes: sources::CLIENTS as u64 };
                let times = bench.settings.times;
                bare_sqlite::start(bench, command, theirs.path(), preload.as_deref(), &theirs.people, times)
            },
        )?;
        report.row(Row {
            work: format!("registration, hashing aside, SQLite FULL{what}"),
            yardstick: "bare rusqlite, a commit each".to_owned(),
            goal: Goal::AtLeast(goal),
            bound: Bound::Other,
            ours,
            theirs,
            remark: match preload {
                None => "with 64 codes of different owners in turn; each answer is durable.".to_owned(),
                Some(_) => {
                    "a library loaded before the C library makes fsync and fdatasync wait for 2 ms, on both sides."
                        .to_owned()
                }
            },
        });
    }
    Ok(())
}

/// A copy of a database's file that nobody has open.
pub fn copied(bench: &Bench, place: &Place, name: &str) -> Result<Place, String> {
    let path = bench.folder.join(format!("{name}.db"));
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(bench.folder.join(format!("{name}.db{end}")));
    }
    std::fs::copy(place.path(), &path).map_err(|error| format!("{}: {error}", path.display()))?;
    let options = Options { database: format!("sqlite:{}", path.display()), ..place.options.clone() };
    Ok(Place { options, ..place.clone() })
}

/// Compiles the library that makes a disk slow.
fn slow_disk(bench: &Bench) -> Result<PathBuf, String> {
    let path = bench.folder.join("slow_fsync.so");
    let source = bench.folder.join("slow_fsync.c");
    std::fs::write(&source, include_str!("../slow_fsync.c"))
        .map_err(|error| format!("{}: {error}", source.display()))?;
    let mut compiler = Command::new("cc");
    let output = compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&path).arg(&source).arg("-ldl").output();
    let output = output.map_err(|error| format!("cc: {error}"))?;
    match output.status.success() {
        true => Ok(path),
        false => Err(format!("cc: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Everybody registers with one code, or with 64.
pub fn hot_referrer(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    for (place, engine) in [(main.clone(), "PostgreSQL"), (copied(bench, file, "hot")?, "SQLite")] {
        let service = bench.start_without_hashing(&place)?;
        let many = bench.codes(&place);
        let one = many[..1].to_vec();
        let (ours, theirs) = Row::alternate(
            bench.settings.rounds,
            || register(bench, &place, &service, &many),
            || register(bench, &place, &service, &one),
        )?;
        report.row(Row {
            work: format!("registrations with 64 codes for each with one code, {engine}"),
            yardstick: "one code for all".to_owned(),
            goal: Goal::AtMost(2.0),
            bound: Bound::Other,
            ours,
            theirs,
            remark: String::new(),
        });
    }
    Ok(())
}
