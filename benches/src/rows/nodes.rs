//! Two nodes with a processor each against one with one.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::load::{self, Group, Source, Span};
use crate::measure::{Goal, Spread};
use crate::meter::Meter;
use crate::people::MIDDLE;
use crate::report::{Fact, Report, Section, ratio};
use crate::run::{Bench, Place};
use crate::servers::Redis;
use crate::service::{Options, Service};
use crate::{machine, sources};

struct Nodes {
    services: Vec<Service>,
    meter: Meter,
}

impl Nodes {
    /// So many, each on a processor of its own.
    fn start(bench: &Bench, main: &Place, redis: &Redis, count: usize, without_hashing: bool) -> Result<Nodes, String> {
        let node = |core| {
            let options = main.options.clone();
            let options = Options { redis: Some(redis.url()), pinned: Some(core), without_hashing, ..options };
            Service::start(&bench.programs, &options)
        };
        let services = (0..count).map(node).collect::<Result<Vec<_>, _>>()?;
        let pids = services.iter().map(Service::pid).collect();
        let meter = Meter {
            services: pids,
            postmaster: Some(bench.postgres.pid()),
            redis: Some(redis.pid()),
            ..Meter::default()
        };
        Ok(Nodes { services, meter })
    }

    /// The clients are spread over the nodes.
    fn load(&self, bench: &Bench, source: &dyn Fn(usize) -> Source) -> Result<Span, String> {
        let mut groups: Vec<Group> = Vec::new();
        for service in &self.services {
            groups.push(Group { address: service.address, sources: Vec::new(), measured: true, exact: true });
        }
        for client in 0..sources::CLIENTS {
            let turn = client % self.services.len();
            if let Some(group) = groups.get_mut(turn) {
                group.sources.push(source(client));
            }
        }
        load::run_all(groups, bench.settings.times, &self.meter)
    }
}

pub fn two_nodes(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    if machine::processors() < 2 {
        return Err("two nodes with a processor each need two processors".to_owned());
    }
    let people = main.people;
    let redis = Redis::start()?;
    let mut lines = Vec::new();
    let mut capacity = None;
    for work in ["code by e-mail, cached", "is this code good", "page of 50 referees", "registration, hashing aside"] {
        let without_hashing = work.starts_with("registration");
        // A token for the owner of the list has to be made by a service that hashes.
        let service = bench.start(main)?;
        let token = bench.token(main, &service, MIDDLE)?;
        // Of several people: nodes that go on for all rounds would reach the limit of one.
        let tokens = bench.tokens(main, &service)?;
        drop(service);
        let one = Nodes::start(bench, main, &redis, 1, without_hashing)?;
        let two = Nodes::start(bench, main, &redis, 2, without_hashing)?;
        let turns = Arc::new(AtomicU64::new(0));
        let codes = bench.codes(main);
        let total = (people.scale / 100) as i64;
        let pages = (1..=10)
            .map(|page| sources::page(one.services[0].address, &people, MIDDLE, page, &token, total))
            .collect::<Result<Vec<_>, _>>()?;
        let source = |client: usize| match work {
            "code by e-mail, cached" => sources::hot_look_ups(people, &tokens[client % tokens.len()], client),
            "is this code good" => sources::validations(people, &turns),
            "page of 50 referees" => sources::repeat(pages.clone(), client),
            _ => sources::registrations(people, codes.clone(), client, &bench.newcomers),
        };
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        for _ in 0..if bench.settings.quick { 2 } else { bench.settings.rounds } {
            alone.push(one.load(bench, &source)?);
            together.push(two.load(bench, &source)?);
        }
        let pairs = || together.iter().zip(&alone);
        let rate = Spread::of(pairs().map(|(two, one)| two.rate() / one.rate()));
        // What a request takes of a node's processor does not grow when there are two: so much more they could do.
        let nodes =
            Spread::of(pairs().map(|(two, one)| 2.0 * (one.service / one.requests) / (two.service / two.requests)));
        capacity.get_or_insert((nodes, rate));
        let micros =
            |value: &dyn Fn(&Span) -> f64| format!("{:.1}", Spread::of(together.iter().map(value)).median * 1e6);
        let used = Spread::of(together.iter().map(|span| {
            let whole = span.seconds * machine::processors() as f64;
            (span.service + span.database + span.client) / whole + span.others
        }));
        lines.push(vec![
            work.to_owned(),
            format!("{:.0}", Spread::of(alone.iter().map(Span::rate)).median),
            format!("{:.0}", Spread::of(together.iter().map(Span::rate)).median),
            ratio(&rate),
            ratio(&nodes),
            micros(&|span| span.service / span.requests),
            micros(&|span| span.database / span.requests),
            micros(&|span| span.client / span.requests),
            format!("{:.0} %", used.median * 100.0),
        ]);
    }
    if let Some((nodes, rate)) = capacity {
        // Client and database run on the nodes' own processors unless there are more of them.
        let roomy = machine::processors() >= 6;
        report.fact(Fact {
            work: "cached look-ups of two nodes with a processor each, by those of one".to_owned(),
            goal: Goal::AtLeast(1.6),
            value: if roomy { rate } else { nodes },
            unit: "",
            remark: format!(
                "by {}; see \"Several nodes\".",
                if roomy {
                    "rate"
                } else {
                    "what a request takes of the nodes' processors, which client and database share here"
                }
            ),
        });
    }
    report.sections.push(Section {
        title: "Several nodes".to_owned(),
        text: format!(
            "One PostgreSQL, one Redis, and one node that may use one processor, against two nodes with a processor \
             each; this machine has {}, and client, PostgreSQL and Redis run on them as well. Where that leaves them \
             idle, the limit is elsewhere. \"Could\" is twice the CPU per request of one node by that of two: what two \
             nodes would answer if everything else were on other machines.",
            machine::processors()
        ),
        head: [
            "work",
            "one node, requests/s",
            "two nodes, requests/s",
            "ratio",
            "could",
            "CPU/request: nodes",
            "PostgreSQL and Redis",
            "client",
            "machine busy with two",
        ]
        .map(str::to_owned)
        .to_vec(),
        lines,
    });
    Ok(())
}
