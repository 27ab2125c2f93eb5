//! Look-ups and pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use referral::features::{codes, referrals};

use crate::load::{self, Span, Times};
use crate::measure::{Bound, Goal, Row};
use crate::meter::Meter;
use crate::people::{BIG, MIDDLE, owner};
use crate::pgbench::{self, Script};
use crate::programs::{bare_hyper, bare_sqlite};
use crate::report::Report;
use crate::run::{Bench, Place};
use crate::service::start_yardstick;
use crate::{http, sources};

/// Everybody asks for the same codes, and the service remembers them.
pub fn cached(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let people = main.people;
    let service = bench.start(main)?;
    let tokens = bench.tokens(main, &service)?;
    let (_, length) = sources::look_up(&people, people.findable_owner(0), &tokens[0]);
    let bare = start_yardstick(&bench.programs, &format!("bare-hyper {length}"))?;
    let bare_token = bare_hyper::token()?;
    let bare_meter = Meter { services: vec![bare.pid()], ..Meter::default() };
    let meter = bench.meter(main, &service);
    let (ours, theirs) = Row::alternate(
        bench.settings.rounds,
        || {
            let clients = sources::each(|client| sources::hot_look_ups(people, &tokens[client % tokens.len()], client));
            load::run(service.address, clients, bench.settings.times, &meter)
        },
        || {
            let request = |turn| {
                let address = people.email(owner(people.findable_owner(turn)));
                (http::request("GET", &format!("/api/v1/codes/{address}"), Some(&bare_token), None), length)
            };
            let clients = sources::each(|client| sources::repeat((0..16).map(request).collect(), client));
            load::run(bare.address, clients, bench.settings.times, &bare_meter)
        },
    )?;
    report.row(Row {
        work: "code by e-mail, cached, token verified".to_owned(),
        yardstick: "bare hyper".to_owned(),
        goal: Goal::AtLeast(0.9),
        bound: Bound::Processor,
        ours,
        theirs,
        remark: String::new(),
    });
    Ok(())
}

/// A service that remembers no codes yet, asked for each of them at most once.
pub fn cold(bench: &Bench, place: &Place, turns: &Arc<AtomicU64>) -> Result<Span, String> {
    let service = bench.start(place)?;
    let tokens = bench.tokens(place, &service)?;
    let before = turns.load(Ordering::Relaxed);
    let people = place.people;
    let clients = sources::each(|client| sources::cold_look_ups(people, &tokens[client % tokens.len()], turns));
    let span = bench.load(place, &service, clients)?;
    match turns.load(Ordering::Relaxed) - before > people.findable() {
        true => Err("there are too few codes to ask for each of them once: set --scale or --millis".to_owned()),
        false => Ok(span),
    }
}

pub fn from_postgres(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let people = main.people;
    let name = main.name.as_deref().ok_or("not on PostgreSQL")?;
    let variables = format!(
        "\\set turn random(0, {})\n\\set owner 16 + :turn / 15 * 16 + :turn % 15\n\\set n 2 + (:owner - 2) * 4",
        people.findable() - 1
    );
    let sql = bare_sqlite::statement(codes::store::STATEMENTS, "FIND_BY_EMAIL")?.postgres;
    // The expression finds the people that the service is asked for.
    for turn in [0, people.findable() / 2, people.findable() - 1] {
        let person = owner(people.findable_owner(turn));
        let question = sql.replace("$1", &people.email_in_sql(&person.to_string()));
        if bench.postgres.query(name, &question)? != [people.id(person).to_string()] {
            return Err("the yardstick looks up somebody else".to_owned());
        }
    }
    let script = write(bench, "code", &Script::new(&variables, sql, &[&people.email_in_sql(":n")]))?;
    let times = bench.settings.times;
    let best = pgbench::best_clients(&bench.postgres, name, &script, times)?;
    let turns = Arc::new(AtomicU64::new(0));
    let (ours, theirs) = Row::alternate(
        bench.settings.rounds,
        || cold(bench, main, &turns),
        || pgbench::run(&bench.postgres, name, &script, best, times),
    )?;
    report.row(Row {
        work: "code by e-mail from PostgreSQL".to_owned(),
        yardstick: format!("pgbench, {best} clients"),
        goal: Goal::AtLeast(0.9),
        bound: Bound::Processor,
        ours,
        theirs,
        remark: "every request asks for another code, and each round begins with a service that has just started, so \
                 that nothing is remembered; what storing the answer in the cache costs is part of it."
            .to_owned(),
    });
    Ok(())
}

pub fn page(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let people = main.people;
    let name = main.name.as_deref().ok_or("not on PostgreSQL")?;
    let total = people.scale / 100;
    let service = bench.start(main)?;
    let token = bench.token(main, &service, MIDDLE)?;
    let pages = total / 50;
    let requests = (1..=pages)
        .map(|page| sources::page(service.address, &people, MIDDLE, page, &token, total as i64))
        .collect::<Result<Vec<_>, _>>()?;
    let sql = bare_sqlite::statement(referrals::store::STATEMENTS, "PAGE")?.postgres;
    let referrer = format!("'{}'::uuid", people.id(MIDDLE));
    let variables = format!("\\set skip random(0, {}) * 50\n\\set wanted 51", pages - 1);
    let script = Script::new(&variables, sql, &[&referrer, ":skip", ":wanted", &referrer]);
    let script = write(bench, "page", &script)?;
    let times = bench.settings.times;
    let best = pgbench::best_clients(&bench.postgres, name, &script, times)?;
    let meter = bench.meter(main, &service);
    let (ours, theirs) = Row::alternate(
        bench.settings.rounds,
        || {
            let clients = sources::each(|client| sources::repeat(requests.clone(), client));
            load::run(service.address, clients, times, &meter)
        },
        || pgbench::run(&bench.postgres, name, &script, best, times),
    )?;
    report.row(Row {
        work: "page of 50 referees from PostgreSQL".to_owned(),
        yardstick: format!("pgbench, {best} clients"),
        goal: Goal::AtLeast(0.7),
        bound: Bound::Processor,
        ours,
        theirs,
        remark: format!("all {pages} pages of a list of {total}, each with its total."),
    });
    Ok(())
}

pub fn last_page(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let people = main.people;
    let service = bench.start(main)?;
    let token = bench.token(main, &service, BIG)?;
    let total = people.scale;
    let of = |page| sources::page(service.address, &people, BIG, page, &token, total as i64);
    let (first, last) = (of(1)?, of(total / 50)?);
    let meter = bench.meter(main, &service);
    let load = |request: &(Vec<u8>, usize)| {
        let clients = sources::each(|client| sources::repeat(vec![request.clone()], client));
        load::run(service.address, clients, bench.settings.times, &meter)
    };
    let (ours, theirs) = Row::alternate(bench.settings.rounds, || load(&first), || load(&last))?;
    report.row(Row {
        work: format!("page 1 for each last page, referrer with {total} referees"),
        yardstick: "the last page".to_owned(),
        goal: Goal::AtMost(1.5),
        bound: Bound::Processor,
        ours,
        theirs,
        remark: "the total of both pages was exact.".to_owned(),
    });
    Ok(())
}

pub fn from_sqlite(bench: &Bench, _: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    let turns = Arc::new(AtomicU64::new(0));
    let times = bench.settings.times;
    let (ours, theirs) =
        Row::alternate(bench.settings.rounds, || cold(bench, file, &turns), || bare_read(bench, file, times))?;
    report.row(Row {
        work: "code by e-mail from SQLite".to_owned(),
        yardstick: "bare rusqlite, 2 threads".to_owned(),
        goal: Goal::AtLeast(0.65),
        bound: Bound::Processor,
        ours,
        theirs,
        remark: "the yardstick has no client and no HTTP: on a machine of two processors its two threads have both of \
                 them, ours share them with the client."
            .to_owned(),
    });
    Ok(())
}

fn bare_read(bench: &Bench, file: &Place, times: Times) -> Result<Span, String> {
    bare_sqlite::start(bench, bare_sqlite::Command::Read, file.path(), None, &file.people, times)
}

pub fn write(bench: &Bench, name: &str, script: &Script) -> Result<std::path::PathBuf, String> {
    let path = bench.folder.join(format!("{name}.sql"));
    std::fs::write(&path, &script.text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}
