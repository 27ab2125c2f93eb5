//! Cheap reads while log-ins keep the hashing threads busy.

use std::time::Duration;

use crate::load::{self, Group, Span, Times};
use crate::measure::{Bound, Goal, Row, Spread};
use crate::report::{Fact, Report};
use crate::run::{Bench, Place};
use crate::sources;

/// More than compute and wait at once, so that some are refused.
const LOG_INS: usize = 96;
/// One hash's.
const HASH_MEMORY: f64 = 19_456.0 * 1024.0;
/// What a connection may hold in buffers.
const CONNECTION_MEMORY: f64 = 64.0 * 1024.0;

pub fn beside_log_ins(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let people = main.people;
    let service = bench.start(main)?;
    // From another one, so that this one has not hashed yet.
    let tokens = bench.tokens(main, &bench.start(main)?)?;
    let meter = bench.meter(main, &service);
    let readers = || Group {
        address: service.address,
        sources: sources::each(|client| sources::hot_look_ups(people, &tokens[client % tokens.len()], client)),
        measured: true,
        exact: true,
    };
    let before = load::run_all(vec![readers()], bench.settings.times, &meter)?.memory.anonymous as f64;
    // A log-in that waits for all before it takes a second.
    let times = Times { length: bench.settings.times.length.max(Duration::from_millis(1500)), ..bench.settings.times };
    let (ours, theirs) = Row::alternate(
        bench.settings.rounds,
        || {
            let sources = (0..LOG_INS).map(|client| sources::log_ins(people, client)).collect();
            let log_ins = Group { address: service.address, sources, measured: false, exact: true };
            load::run_all(vec![readers(), log_ins], times, &meter)
        },
        || load::run_all(vec![readers()], times, &meter),
    )?;
    let busiest = ours.iter().map(|span| span.memory.anonymous).max().unwrap_or(0) as f64;
    let p99 = |span: &Span| span.latency.value_at_quantile(0.99) as f64;
    let slower = Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| p99(ours) / p99(theirs)));
    let log_ins = Spread::of(ours.iter().map(|span| span.background / span.seconds)).median;
    let refused = ours.iter().map(|span| span.busy).sum::<f64>() / ours.iter().map(|span| span.seconds).sum::<f64>();
    if refused == 0.0 {
        return Err("log-ins did not saturate the queue: nobody was refused".to_owned());
    }
    report.row(Row {
        work: "cheap reads while log-ins saturate hashing".to_owned(),
        yardstick: "the same alone".to_owned(),
        goal: Goal::AtLeast(0.75),
        bound: Bound::Other,
        ours,
        theirs,
        remark: format!(
            "{LOG_INS} more clients log in: {log_ins:.0}/s got a token, {refused:.0}/s were refused with 503 and \
             Retry-After and asked again after 20 ms."
        ),
    });
    report.fact(Fact {
        work: "p99 of cheap reads beside log-ins, by that alone".to_owned(),
        goal: Goal::AtMost(3.0),
        value: slower,
        unit: "",
        remark: String::new(),
    });
    let threads = (crate::machine::processors() - 1).max(1) as f64;
    report.fact(Fact {
        work: "memory that log-ins beyond the queue add to a service under cheap reads".to_owned(),
        goal: Goal::AtMost(((threads * HASH_MEMORY + LOG_INS as f64 * CONNECTION_MEMORY) / 1e6).ceil()),
        value: Spread::of([(busiest - before) / 1e6]),
        unit: "MB",
        remark: format!(
            "{threads} hashing threads with 19 MiB each, and 64 KiB for each connection more. A hash for each that waits \
             would be {:.0} MB.",
            64.0 * HASH_MEMORY / 1e6
        ),
    });
    Ok(())
}
