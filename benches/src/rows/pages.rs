//! A person's own pages, with as many people as there are.

use crate::http::{self, Answer};
use crate::load::{Expected, Source};
use crate::measure::{Goal, Spread};
use crate::people::{BIG, PASSWORD, owner};
use crate::report::{Fact, Report};
use crate::run::{Bench, Place};
use crate::service::{Options, Service};

/// Browsers that ask at the same time: so few that what is measured is the answer and not the line before it.
const BROWSERS: usize = 2;

pub fn own(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    for (place, engine) in [(main, "PostgreSQL"), (file, "SQLite")] {
        let service = Service::start(&bench.programs, &Options { unlimited: true, ..place.options.clone() })?;
        // Who has brought most, and others.
        let people = [BIG, 0, 1, 2, 3, 4, 5, 6].map(|number| place.people.person(owner(number)).username);
        let cookies = people.iter().map(|name| logged_in(&service, name)).collect::<Result<Vec<_>, _>>()?;
        for path in ["/share", "/share/account"] {
            let ask = |browser: usize| -> Source {
                let cookies = cookies.clone();
                let mut turn = browser;
                Box::new(move |question| {
                    turn += 1;
                    question.extend_from_slice(&get(path, &cookies[turn % cookies.len()]));
                    Expected::Status(200)
                })
            };
            let mut slowest = Vec::new();
            for _ in 0..bench.settings.rounds {
                let span = bench.load(place, &service, (0..BROWSERS).map(ask).collect())?;
                slowest.push(span.latency.value_at_quantile(0.95) as f64 / 1000.0);
            }
            report.fact(Fact {
                work: format!("{path}, {engine}, the slowest of twenty"),
                goal: Goal::AtMost(20.0),
                value: Spread::of(slowest),
                unit: "ms",
                remark: format!("of {BROWSERS} browsers, by people of whom one has brought most."),
            });
        }
    }
    Ok(())
}

fn get(path: &str, cookie: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: referral.bench\r\ncookie: {cookie}\r\n\r\n").into_bytes()
}

/// The cookies of a browser in which somebody has logged in.
fn logged_in(service: &Service, name: &str) -> Result<String, String> {
    let page = http::send(service.address, &get("/share", ""))?.expect(200)?;
    let (cookie, text) = (cookie(&page)?, String::from_utf8_lossy(&page.body).into_owned());
    let field = |name: &str| -> Result<String, String> {
        let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).ok_or("no form")?;
        rest.split('"').next().map(str::to_owned).ok_or_else(|| "no value".to_owned())
    };
    let body = [("csrf", field("csrf")?), ("next", field("next")?), ("username", name.to_owned())]
        .into_iter()
        .chain([("password", PASSWORD.to_owned())])
        .map(|(name, value)| format!("{name}={}", value.replace("&#38;", "&").replace('%', "%25").replace('+', "%2B")))
        .collect::<Vec<_>>()
        .join("&");
    let request = format!(
        "POST /oauth/login HTTP/1.1\r\nhost: referral.bench\r\norigin: http://referral.bench\r\ncookie: {cookie}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    self::cookie(&http::send(service.address, request.as_bytes())?.expect(303)?)
}

/// What an answer sets, as the next request sends it.
fn cookie(answer: &Answer) -> Result<String, String> {
    let lines = answer.head.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    let pairs: Vec<&str> = lines.filter_map(|line| line.split(';').next()).collect();
    if pairs.is_empty() { Err(format!("no cookie: {}", answer.head)) } else { Ok(pairs.join("; ")) }
}
