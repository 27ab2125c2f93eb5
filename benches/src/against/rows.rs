//! What two versions are compared by. Figures are such that less is better: processor time of the service, and of
//! PostgreSQL where that does the work, for a request; bytes; seconds.

use std::time::Duration;

use super::Side;
use crate::http;
use crate::load::Span;
use crate::meter::memory;
use crate::people::{BIG, MIDDLE, PASSWORD};
use crate::rows::{process, reads, registrations};
use crate::run::Place;
use crate::service::{self, Service};
use crate::sources::{self, CLIENTS};

pub struct Row {
    /// What `--only` calls it.
    pub part: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub prepare: fn(&Side) -> Result<Turn<'_>, String>,
}

impl Row {
    pub fn is(&self, part: &str) -> bool {
        self.part == part
    }
}

/// Measures once.
type Turn<'a> = Box<dyn FnMut() -> Result<f64, String> + 'a>;

const fn cost(part: &'static str, title: &'static str, prepare: fn(&Side) -> Result<Turn<'_>, String>) -> Row {
    Row { part, title, unit: "us", prepare }
}

pub const ROWS: &[Row] = &[
    cost("cached", "code by e-mail, remembered", cached),
    cost("lookup", "code by e-mail, SQLite", |side| Ok(cold(side, &side.file))),
    cost("lookup", "code by e-mail, PostgreSQL", |side| Ok(cold(side, &side.main))),
    cost("page", "page of 50 referees, SQLite", |side| page(side, &side.file)),
    cost("page", "page of 50 referees, PostgreSQL", |side| page(side, &side.main)),
    cost("validate", "is this code good, SQLite", |side| validate(side, &side.file)),
    cost("validate", "is this code good, PostgreSQL", |side| validate(side, &side.main)),
    cost("me", "one's own profile, SQLite", |side| learned(side, &side.file, "/api/v1/me")),
    cost("me", "one's own profile, PostgreSQL", |side| learned(side, &side.main, "/api/v1/me")),
    cost("codes", "one's own codes, SQLite", |side| learned(side, &side.file, "/api/v1/codes")),
    cost("codes", "one's own codes, PostgreSQL", |side| learned(side, &side.main, "/api/v1/codes")),
    cost("register", "registration, hashing aside, SQLite", |side| register(side, &side.file)),
    cost("register", "registration, hashing aside, PostgreSQL", |side| register(side, &side.main)),
    cost("login", "log-in, hashing aside, SQLite", |side| log_in(side, &side.file)),
    cost("login", "log-in, hashing aside, PostgreSQL", |side| log_in(side, &side.main)),
    cost("hash", "log-in with its hash", log_in_with_hash),
    cost("make", "code made in place of another, SQLite", |side| make(side, &side.file)),
    cost("make", "code made in place of another, PostgreSQL", |side| make(side, &side.main)),
    Row { part: "memory", title: "memory at rest, SQLite", unit: "MB", prepare: |side| Ok(idle(side, &side.file)) },
    Row { part: "memory", title: "memory at rest, PostgreSQL", unit: "MB", prepare: |side| Ok(idle(side, &side.main)) },
    Row { part: "memory", title: "memory under look-ups, SQLite", unit: "MB", prepare: |side| Ok(loaded(side)) },
    Row {
        part: "start",
        title: "first start to first answer, SQLite",
        unit: "ms",
        prepare: |side| Ok(start(side, false)),
    },
    Row {
        part: "start",
        title: "first start to first answer, PostgreSQL",
        unit: "ms",
        prepare: |side| Ok(start(side, true)),
    },
];

fn micros(span: Span) -> f64 {
    span.cost() * 1e6
}

fn cached(side: &Side) -> Result<Turn<'_>, String> {
    let (bench, place) = (&side.bench, &side.file);
    let service = bench.start(place)?;
    let tokens = bench.tokens(place, &service)?;
    Ok(Box::new(move || {
        let look_ups = |client: usize| sources::hot_look_ups(place.people, &tokens[client % tokens.len()], client);
        bench.load(place, &service, sources::each(look_ups)).map(micros)
    }))
}

fn cold<'a>(side: &'a Side, place: &'a Place) -> Turn<'a> {
    Box::new(|| reads::cold(&side.bench, place, &side.turns).map(micros))
}

fn page<'a>(side: &'a Side, place: &'a Place) -> Result<Turn<'a>, String> {
    let bench = &side.bench;
    let service = bench.start(place)?;
    let token = bench.token(place, &service, MIDDLE)?;
    let total = place.people.scale / 100;
    let pages = (1..=total / 50)
        .map(|page| sources::page(service.address, &place.people, MIDDLE, page, &token, total as i64))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move || {
        bench.load(place, &service, sources::each(|client| sources::repeat(pages.clone(), client))).map(micros)
    }))
}

fn validate<'a>(side: &'a Side, place: &'a Place) -> Result<Turn<'a>, String> {
    let bench = &side.bench;
    let service = bench.start(place)?;
    Ok(Box::new(move || {
        bench.load(place, &service, sources::each(|_| sources::validations(place.people, &side.turns))).map(micros)
    }))
}

fn learned<'a>(side: &'a Side, place: &'a Place, path: &'static str) -> Result<Turn<'a>, String> {
    let bench = &side.bench;
    let service = bench.start(place)?;
    let token = bench.token(place, &service, BIG)?;
    let request = sources::learned(service.address, path, &token)?;
    Ok(Box::new(move || {
        let clients = sources::each(|client| sources::repeat(vec![request.clone()], client));
        bench.load(place, &service, clients).map(micros)
    }))
}

fn register<'a>(side: &'a Side, place: &'a Place) -> Result<Turn<'a>, String> {
    let bench = &side.bench;
    let service = bench.start_without_hashing(place)?;
    let codes = bench.codes(place);
    Ok(Box::new(move || registrations::register(bench, place, &service, &codes).map(micros)))
}

/// People whose passwords are not hashed, one for each client.
fn newcomers(side: &Side, place: &Place, service: &Service) -> Result<Vec<String>, String> {
    let register = |_| {
        let number = side.bench.newcomers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let person = place.people.person(place.people.count() + number);
        let body = serde_json::json!({
            "username": person.username, "email": person.email, "password": PASSWORD
        });
        http::ask(service.address, "POST", "/api/v1/auth/user", None, Some(&body.to_string()))?.expect(201)?;
        Ok(person.username)
    };
    (0..CLIENTS).map(register).collect()
}

fn log_in<'a>(side: &'a Side, place: &'a Place) -> Result<Turn<'a>, String> {
    let bench = &side.bench;
    let service = bench.start_without_hashing(place)?;
    let names = newcomers(side, place, &service)?;
    Ok(Box::new(move || {
        bench.load(place, &service, sources::each(|client| sources::log_ins_of(&names, client))).map(micros)
    }))
}

/// By the shipped binary. With few clients, for those whose log-in is under way at the end are counted by neither side.
fn log_in_with_hash(side: &Side) -> Result<Turn<'_>, String> {
    let (bench, place) = (&side.bench, &side.file);
    let service = bench.start(place)?;
    let owner = |turn| place.people.person(crate::people::owner(place.people.findable_owner(turn))).username;
    let names: Vec<String> = (0..CLIENTS as u64).map(owner).collect();
    Ok(Box::new(move || {
        let clients = (0..2).map(|client| sources::log_ins_of(&names, client * CLIENTS / 2)).collect();
        bench.load(place, &service, clients).map(micros)
    }))
}

fn make<'a>(side: &'a Side, place: &'a Place) -> Result<Turn<'a>, String> {
    let bench = &side.bench;
    let service = bench.start_without_hashing(place)?;
    let names = newcomers(side, place, &service)?;
    let tokens = names.iter().map(|name| service::log_in(&service, name, PASSWORD)).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move || {
        bench.load(place, &service, tokens.iter().map(|token| sources::new_codes(token)).collect()).map(micros)
    }))
}

fn idle<'a>(side: &'a Side, place: &'a Place) -> Turn<'a> {
    Box::new(|| {
        let service = side.bench.start(place)?;
        // Whatever it begins at its start has settled.
        std::thread::sleep(Duration::from_secs(2));
        Ok(memory(service.pid()).anonymous as f64 / 1e6)
    })
}

fn loaded(side: &Side) -> Turn<'_> {
    Box::new(|| reads::cold(&side.bench, &side.file, &side.turns).map(|span| span.memory.anonymous as f64 / 1e6))
}

/// The least of five, by the clock: the process is gone before its processor time can be read finely enough.
fn start(side: &Side, on_postgres: bool) -> Turn<'_> {
    let mut turn = 0;
    Box::new(move || {
        let bench = &side.bench;
        let mut least = f64::INFINITY;
        for _ in 0..5 {
            turn += 1;
            let name = format!("first_{turn}");
            let folder = bench.folder.join(&name);
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let mut url = format!("sqlite:{name}.db");
            if on_postgres {
                bench.postgres.query("postgres", &format!("create database {name}"))?;
                url = bench.postgres.url(&name);
            }
            least = least.min(process::first_answer(bench, &folder, &url)?);
            let _ = std::fs::remove_dir_all(&folder);
            if on_postgres {
                bench.postgres.query("postgres", &format!("drop database {name} with (force)"))?;
            }
        }
        Ok(least * 1e3)
    })
}
