//! What it costs to keep the answer to a write for those who send it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::load::{Expected, Source};
use crate::measure::{Bound, Goal, Row};
use crate::people::owner;
use crate::report::Report;
use crate::rows::registrations::copied;
use crate::run::{Bench, Place};
use crate::service::{Options, Service};
use crate::sources;

/// The same change with a key and without one.
pub fn writes(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    for (place, engine) in [(main.clone(), "PostgreSQL"), (copied(bench, file, "keyed")?, "SQLite")] {
        let service = Service::start(&bench.programs, &Options { unlimited: true, ..place.options.clone() })?;
        let tokens = (0..sources::CLIENTS as u64)
            .map(|turn| bench.token(&place, &service, owner(place.people.findable_owner(turn))))
            .collect::<Result<Vec<_>, _>>()?;
        let keys = Arc::new(AtomicU64::new(bench.newcomers.fetch_add(1 << 32, Ordering::Relaxed)));
        let change = |keyed: bool| bench.load(&place, &service, sources::each(|at| changes(&tokens[at], &keys, keyed)));
        let (ours, theirs) = Row::alternate(bench.settings.rounds, || change(true), || change(false))?;
        report.row(Row {
            work: format!("write with an Idempotency-Key, {engine}"),
            yardstick: "the same without".to_owned(),
            goal: Goal::AtLeast(0.77),
            bound: Bound::Processor,
            ours,
            theirs,
            remark: "each of 64 people changes whether others find them: at most 30 % dearer.".to_owned(),
        });
    }
    Ok(())
}

/// Changes whether others find somebody, to and fro.
fn changes(token: &str, keys: &Arc<AtomicU64>, keyed: bool) -> Source {
    let (token, keys) = (token.to_owned(), keys.clone());
    let mut discoverable = true;
    Box::new(move |question| {
        discoverable = !discoverable;
        let number = keys.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"discoverable":{discoverable}}}"#);
        let key = if keyed { format!("idempotency-key: bench-{number}\r\n") } else { String::new() };
        let text = format!(
            "PATCH /api/v1/me HTTP/1.1\r\nhost: referral.bench\r\nauthorization: Bearer {token}\r\n{key}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        question.extend_from_slice(text.as_bytes());
        Expected::Status(200)
    })
}
