//! The report: everything in it comes from the run, its prose from here.

use std::fmt::Write;

use crate::load::Span;
use crate::measure::{Bound, Goal, Row, Spread, Verdict};
use crate::meter::Memory;

#[derive(Default)]
pub struct Report {
    pub machine: Vec<(String, String)>,
    pub entries: Vec<Entry>,
    pub sections: Vec<Section>,
    pub quick: bool,
    /// Parts that could not be measured, and why.
    pub voids: Vec<(&'static str, String)>,
}

/// A line of the main table.
pub enum Entry {
    Row(Row),
    Fact(Fact),
}

/// A figure that is compared with nothing but its goal.
pub struct Fact {
    pub work: String,
    pub goal: Goal,
    pub value: Spread,
    pub unit: &'static str,
    pub remark: String,
}

/// A table of its own.
pub struct Section {
    pub title: String,
    pub text: String,
    pub head: Vec<String>,
    pub lines: Vec<Vec<String>>,
}

const ABOUT: &str = "\
Written by `cargo xtask bench`, figures and prose alike; nothing here is edited by hand. Another run on another machine
gives other figures: what carries over are the ratios, for both sides of each were measured in the same run, on the same
machine, in turns.

## How to read it

- **ratio**: what the service does for each one that the yardstick does, the median of all rounds with the least and the
  greatest. A round is a span of load on one side and then on the other (A B A B ...), after a warm-up that is not counted.
- **judged by**: `rate`, requests per second; or `CPU`, processor time per request, where the rates of the rounds lie
  further apart than 15 % of their median, or where others used a tenth of the machine. Processor time repeats better. It
  is that of everybody who took part, service, database and client, for on one machine all of them take it from the same
  processors; a yardstick without a service is given its own client's. Rows that wait for a disk or a queue are always
  judged by rate.
- **others**: how much of the machine was used by programs that have no part in the run. Beyond a few per cent, rates are
  not worth much; measure again on a quiet machine.
- 64 clients with a connection each that stays open, each with one request under way (a closed loop): the p50 is mostly
  waiting for one's turn, and the rate says the same. The status and the length of every answer are checked; one that is
  wrong voids the run.
- **CPU/request** is read from `/proc` for all threads of the service and all processes of the database, in microseconds.
- **memory** is what no file backs (`RssAnon`), the most that was seen; **resident** is all of it (`VmRSS`), the binary and
  mapped files included.

What the yardsticks are:

- *bare hyper*: an HTTP server of forty lines that verifies an HS256 token for each request and answers with a constant
  of the same length. It has no routing, no limits, no request ids, no headers but two. The service remembers verified
  tokens for 30 s, so most of its requests cost no signature: a ratio above 1 is possible and no error.
- *pgbench*: PostgreSQL's own load generator, `-M prepared`, with the service's own statement, at whichever of 1, 16 and
  64 clients was fastest. It speaks no HTTP, checks no token, builds no JSON and throws the rows away. Keys are drawn by
  chance from the same people; since pgbench has no texts, an expression over a number makes the address, at a cost of
  about a microsecond.
- *pgbench, one statement*: all of a registration as one statement with the same rows and the same lock. It is by its
  nature another thing: nobody has checked the names, no answer says which of them was taken, and the order of lock and
  clock that keeps dead codes dead is not kept.
- *bare rusqlite*: the driver alone in the service's settings, with the service's statements, in one process without
  HTTP; registrations with a commit each, look-ups on two threads.

The service is the shipped binary with its limits on, set so high that nobody reaches them; where a row says \"hashing
aside\", it is a program of the benchmarks that links the same library and does everything but compute the hash. The
shipped binary has no such switch.
";

impl Report {
    pub fn row(&mut self, row: Row) {
        let (spread, by_rate) = row.judged();
        let by = if by_rate { "rate" } else { "CPU" };
        eprintln!("  {}: {} ({by}), goal {}: {}", row.work, ratio(&spread), row.goal, row.verdict());
        self.entries.push(Entry::Row(row));
    }

    pub fn fact(&mut self, fact: Fact) {
        let verdict = fact.goal.verdict(fact.value.median);
        eprintln!("  {}: {}, goal {}: {verdict}", fact.work, with_unit(&fact.value, fact.unit), fact.goal);
        self.entries.push(Entry::Fact(fact));
    }

    pub fn markdown(&self) -> String {
        let mut text = "# Benchmarks\n\n".to_owned();
        if self.quick {
            text += "**A quick run on small data: it shows that the instrument works. Judge by a full run.**\n\n";
        }
        text += ABOUT;
        text += "\n## The machine\n\n| | |\n|---|---|\n";
        for (name, value) in &self.machine {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        if !self.voids.is_empty() {
            text += "\n## Void\n\nThese could not be measured; what they got before is in the tables all the same.\n\n";
            text +=
                &table(&["part", "why"], self.voids.iter().map(|(name, why)| vec![(*name).to_owned(), one_line(why)]));
        }
        text += "\n## Goals\n\n";
        text += &table(
            &["work (64 clients)", "goal", "measured", "judged by", "verdict", "yardstick"],
            self.entries.iter().map(Entry::goal_line),
        );
        text += "\n## Both sides\n\n";
        text += &table(
            &[
                "work",
                "side",
                "requests/s",
                "p50 ms",
                "p99 ms",
                "p99.9 ms",
                "CPU/request: service",
                "database",
                "client",
                "memory MB",
                "resident",
                "others",
            ],
            self.entries.iter().flat_map(Entry::side_lines),
        );
        let remarks: Vec<String> = self.entries.iter().filter_map(Entry::remark).collect();
        if !remarks.is_empty() {
            let _ = write!(text, "\nRemarks:\n\n{}\n", remarks.join("\n"));
        }
        for section in &self.sections {
            let _ = write!(text, "\n## {}\n\n{}\n", section.title, section.text);
            if !section.lines.is_empty() {
                let head: Vec<&str> = section.head.iter().map(String::as_str).collect();
                text += "\n";
                text += &table(&head, section.lines.iter().cloned());
            }
        }
        text
    }

    /// How many goals were met, of how many.
    pub fn met(&self) -> (usize, usize) {
        let verdicts: Vec<Verdict> = self.entries.iter().map(Entry::verdict).collect();
        (verdicts.iter().filter(|one| **one == Verdict::Met).count(), verdicts.len())
    }
}

impl Entry {
    fn verdict(&self) -> Verdict {
        match self {
            Entry::Row(row) => row.verdict(),
            Entry::Fact(fact) => fact.goal.verdict(fact.value.median),
        }
    }

    fn goal_line(&self) -> Vec<String> {
        match self {
            Entry::Row(row) => {
                let (spread, by_rate) = row.judged();
                vec![
                    row.work.clone(),
                    row.goal.to_string(),
                    ratio(&spread),
                    if by_rate { "rate" } else { "CPU" }.to_owned(),
                    row.verdict().to_string(),
                    row.yardstick.clone(),
                ]
            }
            Entry::Fact(fact) => vec![
                fact.work.clone(),
                format!("{} {}", fact.goal, fact.unit).trim().to_owned(),
                with_unit(&fact.value, fact.unit),
                String::new(),
                fact.goal.verdict(fact.value.median).to_string(),
                String::new(),
            ],
        }
    }

    fn side_lines(&self) -> Vec<Vec<String>> {
        let Entry::Row(row) = self else { return Vec::new() };
        let both = if row.bound == Bound::Processor {
            format!("rate {}, CPU {}", ratio(&row.by_rate()), ratio(&row.by_processor()))
        } else {
            format!("rate {}", ratio(&row.by_rate()))
        };
        let side = |name: &str, work: &str, spans: &[Span]| {
            let mut line = vec![work.to_owned(), name.to_owned()];
            line.extend(span_cells(spans));
            line
        };
        vec![side("service", &row.work, &row.ours), side(&row.yardstick, &both, &row.theirs)]
    }

    fn remark(&self) -> Option<String> {
        let (work, remark) = match self {
            Entry::Row(row) => (&row.work, &row.remark),
            Entry::Fact(fact) => (&fact.work, &fact.remark),
        };
        (!remark.is_empty()).then(|| format!("- *{work}*: {remark}"))
    }
}

/// Medians of a side's spans.
pub fn span_cells(spans: &[Span]) -> Vec<String> {
    let median = |value: &dyn Fn(&Span) -> f64| Spread::of(spans.iter().map(value)).median;
    let mut whole = crate::load::histogram();
    for span in spans {
        let _ = whole.add(&span.latency);
    }
    let quantile = |at: f64| match whole.is_empty() {
        true => String::new(),
        false => format!("{:.2}", whole.value_at_quantile(at) as f64 / 1e3),
    };
    let micros = |value: f64| if value > 0.0 { format!("{:.1}", value * 1e6) } else { String::new() };
    let memory = spans.iter().map(|span| span.memory).fold(Memory::default(), Memory::most);
    let megabytes = |bytes: u64| if bytes > 0 { format!("{:.0}", bytes as f64 / 1e6) } else { String::new() };
    vec![
        format!("{:.0}", median(&Span::rate)),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        micros(median(&|span| span.service / span.requests)),
        micros(median(&|span| span.database / span.requests)),
        micros(median(&|span| span.client / span.requests)),
        megabytes(memory.anonymous),
        megabytes(memory.resident),
        format!("{:.0} %", spans.iter().map(|span| span.others).fold(0.0, f64::max) * 100.0),
    ]
}

pub fn ratio(spread: &Spread) -> String {
    format!("{:.2} ({:.2}-{:.2})", spread.median, spread.least, spread.greatest)
}

fn with_unit(spread: &Spread, unit: &str) -> String {
    let digits = if spread.median < 10.0 { 2 } else { 0 };
    let (median, least, greatest) = (spread.median, spread.least, spread.greatest);
    match least == greatest {
        true => format!("{median:.digits$} {unit}").trim().to_owned(),
        false => format!("{median:.digits$} ({least:.digits$}-{greatest:.digits$}) {unit}").trim().to_owned(),
    }
}

/// For a cell: what a server says may have line ends.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/")
}

fn table(head: &[&str], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for line in lines {
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
    text
}
