//! What mails cost a registration, and whether answers tell by their time who has an account.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rusqlite::Connection;

use crate::http;
use crate::measure::{Bound, Goal, Row, Spread};
use crate::people::{PASSWORD, People, owner};
use crate::report::{Fact, Report};
use crate::rows::registrations::{copied, register};
use crate::run::{Bench, Place};
use crate::service::{Options, Service};

/// A registration that sends a mail, beside one that sends none.
pub fn registrations(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    let silent = silent_mail_server()?;
    for (place, engine) in [(main.clone(), "PostgreSQL"), (copied(bench, file, "mails")?, "SQLite")] {
        let plain = Options { without_hashing: true, ..place.options.clone() };
        let without = Service::start(&bench.programs, &plain)?;
        let codes = bench.codes(&place);
        let times = bench.settings.rounds;
        // One process serves from a file, so there the two take turns by the round.
        let (ours, theirs) = if place.name.is_some() {
            let mailed = Options { mail: Some(silent.port), ..plain };
            let with = Service::start(&bench.programs, &mailed)?;
            Row::alternate(
                times,
                || register(bench, &place, &with, &codes),
                || register(bench, &place, &without, &codes),
            )?
        } else {
            drop(without);
            let turn = |mail: Option<u16>| {
                let service = Service::start(&bench.programs, &Options { mail, ..plain.clone() })?;
                register(bench, &place, &service, &codes)
            };
            Row::alternate(times, || turn(Some(silent.port)), || turn(None))?
        };
        report.row(Row {
            work: format!("registration with a mail, hashing aside, {engine}"),
            yardstick: "registration without one".to_owned(),
            goal: Goal::AtLeast(0.8),
            bound: Bound::Processor,
            ours,
            theirs,
            remark: "the mail server is silent, so that what is measured is the registration and not the sending."
                .to_owned(),
        });
    }
    Ok(())
}

struct MailServer {
    port: u16,
    /// Takes connections and says nothing.
    _listener: TcpListener,
}

fn silent_mail_server() -> Result<MailServer, String> {
    let fault = |error: std::io::Error| format!("no port for a mail server: {error}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(fault)?;
    let port = listener.local_addr().map_err(fault)?.port();
    Ok(MailServer { port, _listener: listener })
}

/// Of each kind of question: one about somebody who is there, and one about nobody.
const PAIRS: u64 = 300;
/// A hash as the reference service has them; whose password it is makes no difference.
const BCRYPT: &str = "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde";
/// People enough for the pairs.
const SCALE: u64 = 10_000;

/// Whether the time of an answer tells who has an account: pairs of questions in turns, compared by their medians.
pub fn enumeration(bench: &Bench, _: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let pairs = if bench.settings.quick { PAIRS / 6 } else { PAIRS };
    for (engine, place) in [
        ("PostgreSQL", bench.fill_postgres("enumeration", SCALE)?),
        ("SQLite", bench.fill_sqlite("enumeration", SCALE)?),
    ] {
        have_other_hashes(bench, &place, pairs)?;
        prove_addresses(bench, &place)?;
        let silent = silent_mail_server()?;
        let options = Options { mail: Some(silent.port), quiet: true, unlimited: true, ..place.options.clone() };
        let service = Service::start(&bench.programs, &options)?;
        let asked = Asked { people: place.people, token: bench.token(&place, &service, owner(0))? };
        for question in [Question::LogIn, Question::LookUp, Question::Reset, Question::Registration] {
            let pairs = if question.is_hashed() { pairs } else { PAIRS };
            let apart = compare(service.address, pairs, |turn, known| asked.about(question, turn, known))?;
            report.fact(Fact {
                work: format!("{}, {engine}", question.described()),
                goal: Goal::AtMost(1.05),
                value: apart.value,
                unit: "",
                remark: apart.remark,
            });
        }
        // Where an answer does tell, this has to show.
        let apart = compare(service.address, pairs, |turn, known| asked.control(turn, known))?;
        report.fact(Fact {
            work: format!("control: log-in that fails and one that is refused before it is hashed, {engine}"),
            goal: Goal::AtLeast(1.05),
            value: apart.value,
            unit: "",
            remark: apart.remark,
        });
    }
    Ok(())
}

/// Every second one of those who are asked for has a hash of another kind.
fn have_other_hashes(bench: &Bench, place: &Place, pairs: u64) -> Result<(), String> {
    for turn in (0..pairs).step_by(2) {
        let name = place.people.person(somebody(turn)).username;
        execute(bench, place, &format!("update users set password_hash = '{BCRYPT}' where username = '{name}'"))?;
    }
    Ok(())
}

/// Where a registration is quiet, people log in once they have shown that the address is theirs.
fn prove_addresses(bench: &Bench, place: &Place) -> Result<(), String> {
    execute(bench, place, "update users set email_proven_at = created_at where erased_at is null")
}

/// Runs a statement beside the service.
pub fn execute(bench: &Bench, place: &Place, sql: &str) -> Result<(), String> {
    match &place.name {
        Some(name) => bench.postgres.query(name, sql).map(drop),
        None => {
            let connection = Connection::open(place.path()).map_err(|error| format!("the file: {error}"))?;
            connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(|error| format!("the file: {error}"))?;
            connection.execute(sql, []).map(drop).map_err(|error| format!("{sql}: {error}"))
        }
    }
}

/// Somebody with an account and without a code.
fn somebody(turn: u64) -> u64 {
    // Of every four people one owns codes, and of fifty one was erased: of those that are asked for, the first.
    let number = 1001 + turn * 4;
    if number % 50 == 1 { number + 2 } else { number }
}

#[derive(Clone, Copy)]
enum Question {
    LogIn,
    LookUp,
    Reset,
    Registration,
}

impl Question {
    /// Then it takes long, and a quick run has fewer.
    fn is_hashed(self) -> bool {
        matches!(self, Self::LogIn | Self::Registration)
    }

    fn described(self) -> &'static str {
        match self {
            Self::LogIn => "log-in that fails, for a name that is there and one that is not",
            Self::LookUp => "look-up by e-mail that finds no code, for an address that is there and one that is not",
            Self::Reset => "reset, for an address that is there and one that is not",
            Self::Registration => "quiet registration, with an address that is there and one that is not",
        }
    }
}

struct Asked {
    people: People,
    token: String,
}

/// Names that nobody has had.
static NAMES: AtomicU64 = AtomicU64::new(0);

impl Asked {
    /// A request, and the status that it must be answered with.
    fn about(&self, question: Question, turn: u64, known: bool) -> (Vec<u8>, u16) {
        let person = self.people.person(somebody(turn));
        let new = NAMES.fetch_add(1, Ordering::Relaxed);
        let (name, email) = match known {
            true => (person.username, person.email),
            // As long as those that are there.
            false => (format!("{}-{new}", person.username), format!("{new}-{}", person.email)),
        };
        match question {
            Question::LogIn => (log_in(&name, "not the password 2031"), 401),
            Question::LookUp => {
                let body = format!(r#"{{"email":"{email}"}}"#);
                (http::request("POST", "/api/v1/codes/lookup", Some(&self.token), Some(&body)), 404)
            }
            Question::Reset => {
                let body = format!(r#"{{"email":"{email}"}}"#);
                (http::request("POST", "/api/v1/auth/reset", None, Some(&body)), 202)
            }
            Question::Registration => {
                let body = format!(r#"{{"username":"newcomer-{new}","email":"{email}","password":"{PASSWORD}"}}"#);
                (http::request("POST", "/api/v1/auth/user", None, Some(&body)), 202)
            }
        }
    }

    /// A log-in of which a service without care would hash the one and not the other.
    fn control(&self, turn: u64, known: bool) -> (Vec<u8>, u16) {
        let person = self.people.person(somebody(turn));
        match known {
            true => (log_in(&person.username, "not the password 2031"), 401),
            false => {
                let body = format!(r#"{{"username":"{}"}}"#, person.username);
                (http::request("POST", "/api/v1/auth/token", None, Some(&body)), 422)
            }
        }
    }
}

fn log_in(name: &str, password: &str) -> Vec<u8> {
    let body = format!(r#"{{"username":"{name}","password":"{password}"}}"#);
    http::request("POST", "/api/v1/auth/token", None, Some(&body))
}

struct Apart {
    /// The greater of the two medians by the other one.
    value: Spread,
    remark: String,
}

/// Asks in pairs, of which the one begins with who is there and the next with who is not.
fn compare(address: SocketAddr, pairs: u64, ask: impl Fn(u64, bool) -> (Vec<u8>, u16)) -> Result<Apart, String> {
    let mut micros = [Vec::new(), Vec::new()];
    for turn in 0..pairs {
        for known in [turn.is_multiple_of(2), !turn.is_multiple_of(2)] {
            let (request, status) = ask(turn, known);
            let began = Instant::now();
            http::send(address, &request)?.expect(status)?;
            micros[usize::from(known)].push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    let [unknown, known] = micros.map(|side| Spread::of(side).median);
    let ratio = (known / unknown).max(unknown / known);
    Ok(Apart {
        value: Spread { median: ratio, least: ratio, greatest: ratio },
        remark: format!("{pairs} pairs, medians {known:.0} and {unknown:.0} us."),
    })
}
