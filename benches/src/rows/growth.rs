//! What a request costs as the data grow.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::load::{self, Source, Span};
use crate::measure::{Goal, Spread};
use crate::people::{BIG, People, mix};
use crate::report::{Fact, Report, Section};
use crate::run::{Bench, Place};
use crate::service::Service;
use crate::{http, sources};

const WORKS: [&str; 9] = [
    "code by e-mail, cached",
    "code by e-mail, a miss, database",
    "is this code good, database",
    "first page of the longest list",
    "middle page of it",
    "last page of it",
    "profile of its owner, with the total",
    "one's own codes",
    "registration with its owner's code, hashing aside",
];

pub fn table(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    let smaller: &[u64] = if bench.settings.quick { &[10_000] } else { &[10_000, 100_000] };
    let rounds = if bench.settings.quick { 1 } else { bench.settings.rounds.div_ceil(3) };
    let mut lines = Vec::new();
    let mut worst = (0.0, String::new());
    let mut scales: Vec<u64> = smaller.iter().copied().filter(|scale| *scale < bench.settings.scale).collect();
    for (engine, large) in [("PostgreSQL", main), ("SQLite", file)] {
        let mut places = Vec::new();
        for scale in &scales {
            let name = format!("growth_{scale}");
            places.push(if large.name.is_some() {
                bench.fill_postgres(&name, *scale)?
            } else {
                bench.fill_sqlite(&name, *scale)?
            });
        }
        places.push(large.clone());
        // A round on each size in turn, so that what else the machine does hits all of them alike.
        let mut spans: Vec<Vec<Vec<Span>>> = vec![vec![Vec::new(); places.len()]; WORKS.len()];
        for (work, spans) in WORKS.iter().zip(&mut spans) {
            for _ in 0..rounds {
                for (place, spans) in places.iter().zip(spans.iter_mut()) {
                    spans.push(measure(bench, place, work)?);
                }
            }
        }
        for (work, spans) in WORKS.iter().zip(&spans) {
            let costs: Vec<f64> = spans.iter().map(|spans| Spread::of(spans.iter().map(Span::cost)).median).collect();
            let middle: Vec<f64> = spans
                .iter()
                .map(|spans| Spread::of(spans.iter().map(|span| span.latency.value_at_quantile(0.5) as f64)).median)
                .collect();
            let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
            let growth = costs.last().copied().unwrap_or(f64::NAN) / costs.first().copied().unwrap_or(f64::NAN);
            let widest = costs.iter().copied().fold(0.0, f64::max) / costs.first().copied().unwrap_or(least);
            if widest > worst.0 {
                worst = (widest, format!("{work}, {engine}"));
            }
            let mut line = vec![(*work).to_owned(), engine.to_owned()];
            line.extend(costs.iter().map(|cost| format!("{:.1}", cost * 1e6)));
            line.push(format!("{growth:.2}"));
            line.push(Goal::AtMost(1.5).verdict(widest).to_string());
            line.push(middle.iter().map(|micros| format!("{:.2}", micros / 1e3)).collect::<Vec<_>>().join(", "));
            lines.push(line);
        }
    }
    report.fact(Fact {
        work: "growth: the most that a request costs at any size, by its cost at the smallest".to_owned(),
        goal: Goal::AtMost(1.5),
        value: Spread::of([worst.0]),
        unit: "",
        remark: format!("the worst is \"{}\"; all are in \"Growth\".", worst.1),
    });
    scales.push(bench.settings.scale);
    let mut head = vec!["work".to_owned(), "engine".to_owned()];
    head.extend(scales.iter().map(|scale| format!("{scale} referees, us")));
    head.extend(["largest by smallest", "flat within 1.5", "p50 ms at each size"].map(str::to_owned));
    report.sections.push(Section {
        title: "Growth".to_owned(),
        text: "Processor time of service and database for a request, in microseconds, with so many referees of one \
               referrer and a tenth more people; one person in fifty has been erased."
            .to_owned(),
        head,
        lines,
    });
    Ok(())
}

fn measure(bench: &Bench, place: &Place, work: &str) -> Result<Span, String> {
    let people = place.people;
    let service = bench.start(place)?;
    let token = bench.token(place, &service, BIG)?;
    let pages = people.scale / 50;
    // Who registered here in an earlier round is in the list as well.
    let total = total(&service, &people, &token)?;
    let page = |page| sources::page(service.address, &people, BIG, page, &token, total);
    let same = |request: (Vec<u8>, usize)| sources::each(|client| sources::repeat(vec![request.clone()], client));
    let turns = Arc::new(AtomicU64::new(0));
    let clients = match work {
        "code by e-mail, cached" => sources::each(|client| sources::hot_look_ups(people, &token, client)),
        "code by e-mail, a miss, database" => {
            let length = http::ask(service.address, "GET", "/api/v1/codes/nobody@mail.example", Some(&token), None)?
                .expect(404)?
                .body
                .len();
            sources::each(|client| misses(people, token.clone(), client, length))
        }
        "is this code good, database" => sources::each(|_| sources::validations(people, &turns)),
        "first page of the longest list" => same(page(1)?),
        "middle page of it" => same(page(pages / 2)?),
        "last page of it" => same(page(pages)?),
        "profile of its owner, with the total" => same(sources::learned(service.address, "/api/v1/me", &token)?),
        "one's own codes" => same(sources::learned(service.address, "/api/v1/codes", &token)?),
        _ => {
            drop(service);
            let service = bench.start_without_hashing(place)?;
            let code = vec![people.code(BIG, 1)];
            let clients =
                sources::each(|client| sources::registrations(people, code.clone(), client, &bench.newcomers));
            return bench.load(place, &service, clients);
        }
    };
    bench.load(place, &service, clients)
}

fn total(service: &Service, people: &People, token: &str) -> Result<i64, String> {
    let path = format!("/api/v1/users/{}?size=1", people.id(BIG));
    let json = http::ask(service.address, "GET", &path, Some(token), None)?.json(200)?;
    json["total"]
        .as_i64()
        .filter(|total| *total >= people.scale as i64)
        .ok_or_else(|| "the total is too small".to_owned())
}

/// Look-ups of people who have no code.
fn misses(people: People, token: String, client: usize, length: usize) -> Source {
    let mut turn = client as u64;
    Box::new(move |question| {
        turn = mix(turn);
        // Every fourth person has had a code, and this is another.
        let number = 3 + turn % (people.count() / 4 - 1) * 4;
        let path = format!("/api/v1/codes/{}", people.email(number));
        question.extend_from_slice(&http::request("GET", &path, Some(&token), None));
        load::Expected::Exactly(404, length)
    })
}
