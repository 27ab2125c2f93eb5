//! Cheap reads while log-ins keep the hashing threads busy.

use crate::load::{self, Group, Span};
use crate::measure::{Bound, Goal, Row, Spread};
use crate::meter::anonymous_memory;
use crate::report::{Fact, Report};
use crate::run::{Bench, Place};
use crate::sources;

/// More than compute and wait at once, so that some are refused.
const LOG_INS: usize = 96;
/// One hash's.
const HASH_MEMORY: f64 = 19_456.0 * 1024.0;

pub fn beside_log_ins(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let people = main.people;
    let service = bench.start(main)?;
    let tokens = bench.tokens(main, &service)?;
    let meter = bench.meter(main, &service);
    let readers = || Group {
        address: service.address,
        sources: sources::each(|client| sources::hot_look_ups(people, &tokens[client % tokens.len()], client)),
        measured: true,
    };
    let (ours, theirs) = Row::alternate(
        bench.settings.rounds,
        || {
            let sources = (0..LOG_INS).map(|client| sources::log_ins(people, client)).collect();
            let log_ins = Group { address: service.address, sources, measured: false };
            load::run_all(vec![readers(), log_ins], bench.settings.length, &meter)
        },
        || load::run_all(vec![readers()], bench.settings.length, &meter),
    )?;
    let busiest = ours.iter().map(|span| span.memory).max().unwrap_or(0) as f64;
    let p99 = |span: &Span| span.latency.value_at_quantile(0.99) as f64;
    let slower = Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| p99(ours) / p99(theirs)));
    let log_ins = Spread::of(ours.iter().map(|span| span.background / span.seconds)).median;
    let refused = Spread::of(ours.iter().map(|span| span.busy / span.seconds)).median;
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
    // A service that has hashed before anything else was asked of it has the threads' scratch memory as well.
    let threads = (crate::machine::processors() - 1).max(1) as f64;
    let quiet = bench.start(main)?;
    let idle = anonymous_memory(quiet.pid()) as f64;
    report.fact(Fact {
        work: "memory while log-ins are refused, beyond an idle service's".to_owned(),
        goal: Goal::AtMost(((threads * HASH_MEMORY + 64e6) / 1e6).round()),
        value: Spread::of([(busiest - idle) / 1e6]),
        unit: "MB",
        remark: format!(
            "{threads} hashing threads with 19 MiB each; 64 MB are what connections, caches and the allocator may take \
             under any load. A hash for each waiting log-in would be {:.0} MB.",
            64.0 * HASH_MEMORY / 1e6
        ),
    });
    Ok(())
}
