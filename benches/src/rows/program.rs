//! What host apps ask for: links that are opened, people who come, one by one and many at once.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::load::{Expected, Source, Span};
use crate::measure::{Bound, Goal, Row};
use crate::report::Report;
use crate::rows::registrations::{copied, register};
use crate::run::{Bench, Place};
use crate::service::{Options, Service};
use crate::{http, sources};

/// People in one call.
const BATCH: u64 = 500;
/// Programs that send batches: each has one under way at a time.
const SENDERS: usize = 4;
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

/// A link that is opened, beside a look-up that is remembered.
pub fn links(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let people = main.people;
    let service = bench.start(main)?;
    let tokens = bench.tokens(main, &service)?;
    let codes = bench.codes(main);
    let open = |client: usize| -> Source {
        let codes = codes.clone();
        let mut turn = client;
        Box::new(move |question| {
            turn = (turn + 1) % 16;
            let code = &codes[turn];
            let text = format!("GET /r/{code} HTTP/1.1\r\nhost: referral.bench\r\nuser-agent: {AGENT} {turn}\r\n\r\n");
            question.extend_from_slice(text.as_bytes());
            Expected::Status(302)
        })
    };
    let (ours, theirs) = Row::alternate(
        bench.settings.rounds,
        || bench.load(main, &service, sources::each(open)),
        || {
            let look_up = |client: usize| sources::hot_look_ups(people, &tokens[client % tokens.len()], client);
            bench.load(main, &service, sources::each(look_up))
        },
    )?;
    report.row(Row {
        work: "link that is opened, and counted".to_owned(),
        yardstick: "code by e-mail, cached".to_owned(),
        goal: Goal::AtLeast(0.8),
        bound: Bound::Processor,
        ours,
        theirs,
        remark: "both from what the service remembers; clicks are written once a second.".to_owned(),
    });
    Ok(())
}

/// People of a host app, with a code each.
pub fn participants(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    for (place, engine, faster) in
        [(main.clone(), "PostgreSQL", 2.0), (copied(bench, file, "participants")?, "SQLite", 1.2)]
    {
        let senders = (0..SENDERS).map(|_| client(bench, &place)).collect::<Result<Vec<_>, _>>()?;
        let options = Options { without_hashing: true, unlimited: true, ..place.options.clone() };
        let service = Service::start(&bench.programs, &options)?;
        let tokens = senders.iter().map(|sender| token(&service, sender)).collect::<Result<Vec<_>, _>>()?;
        let codes = bench.codes(&place);
        let numbers = Arc::new(AtomicU64::new(bench.newcomers.fetch_add(1 << 32, Ordering::Relaxed)));
        let one_by_one = || {
            let put = |client: usize| upserts(&tokens[client % SENDERS], &codes, client, &numbers);
            bench.load(&place, &service, sources::each(put))
        };
        let (ours, theirs) =
            Row::alternate(bench.settings.rounds, one_by_one, || register(bench, &place, &service, &codes))?;
        report.row(Row {
            work: format!("participant with a code, {engine}"),
            yardstick: "registration with a code, hashing aside".to_owned(),
            goal: Goal::AtLeast(0.4),
            bound: Bound::Other,
            ours,
            theirs,
            remark: "each is made, gets a code and a handle, and is somebody's referee.".to_owned(),
        });
        let many = || -> Result<Span, String> {
            let batches = (0..SENDERS).map(|sender| batches(&tokens[sender], &codes, sender, &numbers)).collect();
            let mut span = bench.load(&place, &service, batches)?;
            span.requests *= BATCH as f64;
            Ok(span)
        };
        let (ours, theirs) = Row::alternate(bench.settings.rounds, many, one_by_one)?;
        report.row(Row {
            work: format!("participants with a code, {BATCH} at once, {engine}"),
            yardstick: "the same one by one".to_owned(),
            goal: Goal::AtLeast(faster),
            bound: Bound::Other,
            ours,
            theirs,
            remark: format!("{SENDERS} programs, each with one batch under way; the rate is of people."),
        });
    }
    Ok(())
}

/// A program that may write, registered by the operator: its id and secret.
pub fn client(bench: &Bench, place: &Place) -> Result<(String, String), String> {
    let mut command = Command::new(&bench.programs.referral);
    command
        .args(["admin", "client", "create", "host", "--confidential", "--grant", "client_credentials"])
        .args(["--scope", "program:read program:write"])
        .env_clear()
        .env("DATABASE_URL", &place.options.database);
    let output = command.output().map_err(|error| format!("{}: {error}", bench.programs.referral.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let word = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|rest| rest.trim().to_owned())
    };
    match (word("client_id"), word("client_secret")) {
        (Some(id), Some(secret)) => Ok((id, secret)),
        _ => Err(format!("no client was made: {text}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

pub fn token(service: &Service, (id, secret): &(String, String)) -> Result<String, String> {
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nhost: referral.bench\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let json = http::send(service.address, request.as_bytes())?.json(200)?;
    json["access_token"].as_str().map(str::to_owned).ok_or_else(|| "no access token in the answer".to_owned())
}

/// New people, each with one of these codes in turn.
fn upserts(token: &str, codes: &[String], client: usize, numbers: &Arc<AtomicU64>) -> Source {
    let (token, codes, numbers) = (token.to_owned(), codes.to_vec(), numbers.clone());
    let mut turn = client;
    Box::new(move |question| {
        turn += 1;
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"name":"Olga","code":"{}"}}"#, codes[turn % codes.len()]);
        let path = format!("/api/v1/participants/{number}");
        question.extend_from_slice(&http::request("PUT", &path, Some(&token), Some(&body)));
        Expected::Status(201)
    })
}

/// As [`upserts`], many in one call.
fn batches(token: &str, codes: &[String], sender: usize, numbers: &Arc<AtomicU64>) -> Source {
    let (token, codes, numbers) = (token.to_owned(), codes.to_vec(), numbers.clone());
    let mut turn = sender;
    Box::new(move |question| {
        let first = numbers.fetch_add(BATCH, Ordering::Relaxed);
        let items: Vec<String> = (first..first + BATCH)
            .map(|number| {
                turn += 1;
                let code = &codes[turn % codes.len()];
                format!(r#"{{"external_id":"{number}","name":"Olga","code":"{code}"}}"#)
            })
            .collect();
        let body = format!(r#"{{"participants":[{}]}}"#, items.join(","));
        question.extend_from_slice(&http::request("POST", "/api/v1/participants", Some(&token), Some(&body)));
        Expected::Status(200)
    })
}
