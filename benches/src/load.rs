//! The load: so many connections that stay open, each with one request under way at a time (a closed loop). Every
//! answer's status and length are checked; one that is not as expected voids the run.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::http::whole;
use crate::meter::{Memory, Meter, Reading};

/// What the answer to a request must be.
pub enum Expected {
    /// Status and length of the body.
    Exactly(u16, usize),
    /// The status, where nobody can tell the length beforehand.
    Status(u16),
    /// A refusal for overload counts as well, apart, if it says when to come back.
    OrBusy(u16),
}

/// Writes a connection's next request and says what is expected.
pub type Source = Box<dyn FnMut(&mut Vec<u8>) -> Expected + Send>;

/// How long load lasts.
#[derive(Clone, Copy)]
pub struct Times {
    /// Before anything is counted: connections are made, caches and prepared statements are there.
    pub warm_up: Duration,
    pub length: Duration,
}

impl Times {
    /// For tools that cannot be asked when they are warm: as much time again after the span that is looked at.
    pub fn whole(&self) -> Duration {
        self.length + self.warm_up * 2
    }
}

/// What a span of load was like.
#[derive(Clone)]
pub struct Span {
    pub requests: f64,
    pub seconds: f64,
    /// Seconds of processor time.
    pub service: f64,
    pub database: f64,
    pub client: f64,
    /// Share of the machine's processors that somebody else used.
    pub others: f64,
    /// Of each request, in microseconds; empty where a tool does not tell.
    pub latency: Histogram<u64>,
    /// Answers to load in the background.
    pub background: f64,
    /// Refusals for overload, wherever.
    pub busy: f64,
    /// The most that the services had.
    pub memory: Memory,
}

impl Span {
    pub fn between(start: &Reading, end: &Reading, requests: f64) -> Span {
        let seconds = (end.at - start.at).as_secs_f64();
        let (service, database, client) =
            (end.service - start.service, end.database - start.database, end.client - start.client);
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let others = (end.machine - start.machine - service - database - client) / (seconds * processors);
        Span {
            requests,
            seconds,
            service,
            database,
            client,
            others: others.max(0.0),
            latency: histogram(),
            background: 0.0,
            busy: 0.0,
            memory: Memory::default(),
        }
    }

    pub fn rate(&self) -> f64 {
        self.requests / self.seconds
    }

    /// Processor time of everybody who took part, in seconds per request.
    pub fn whole_cost(&self) -> f64 {
        (self.service + self.database + self.client) / self.requests
    }

    /// Processor time of service and database, in seconds per request.
    pub fn cost(&self) -> f64 {
        (self.service + self.database) / self.requests
    }
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000, 3).expect("the bounds are in order")
}

#[derive(Default)]
struct Phase {
    measuring: Cell<bool>,
    stopping: Cell<bool>,
}

struct Counts {
    latency: RefCell<Histogram<u64>>,
    busy: Cell<u64>,
}

impl Counts {
    fn new() -> Counts {
        Counts { latency: RefCell::new(histogram()), busy: Cell::new(0) }
    }
}

/// Connections to one server that are loaded together.
pub struct Group {
    pub address: SocketAddr,
    /// One for each connection.
    pub sources: Vec<Source>,
    /// False for load in the background of what is measured: its answers are checked and counted apart.
    pub measured: bool,
    /// Whether lengths must be as expected, or only statuses: another version's answers may have other fields.
    pub exact: bool,
}

/// Loads a server with one connection for each source, on a thread of its own.
pub fn run(address: SocketAddr, sources: Vec<Source>, times: Times, meter: &Meter) -> Result<Span, String> {
    run_all(vec![Group { address, sources, measured: true, exact: true }], times, meter)
}

/// As [`run`], for several servers or kinds of request side by side.
pub fn run_all(groups: Vec<Group>, times: Times, meter: &Meter) -> Result<Span, String> {
    run_on(None, groups, times, meter)
}

/// As [`run_all`], on one processor of the machine if it is given.
pub fn run_on(processor: Option<usize>, groups: Vec<Group>, times: Times, meter: &Meter) -> Result<Span, String> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Some(processor) = processor {
                let mut own = CpuSet::new();
                own.set(processor);
                sched_setaffinity(None, &own).map_err(|error| format!("cannot choose a processor: {error}"))?;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
            let measured = LocalSet::new().block_on(&runtime, measure(groups, times, meter));
            measured.map_err(|error| format!("the run is void: {error}"))
        });
        thread.join().map_err(|_| "the load generator panicked".to_owned())?
    })
}

async fn measure(groups: Vec<Group>, times: Times, meter: &Meter) -> Result<Span, String> {
    let phase = Rc::new(Phase::default());
    let (counts, background) = (Rc::new(Counts::new()), Rc::new(Counts::new()));
    let mut talks = Vec::new();
    for group in groups {
        let counts = if group.measured { &counts } else { &background };
        for source in group.sources {
            talks.push(tokio::task::spawn_local(talk(
                group.address,
                group.exact,
                source,
                phase.clone(),
                counts.clone(),
            )));
        }
    }
    tokio::time::sleep(times.warm_up).await;
    let start = meter.read();
    phase.measuring.set(true);
    let mut memory = meter.memory();
    while start.at.elapsed() < times.length && !phase.stopping.get() {
        tokio::time::sleep(Duration::from_millis(50).min(times.length.saturating_sub(start.at.elapsed()))).await;
        memory = memory.most(meter.memory());
    }
    phase.measuring.set(false);
    let end = meter.read();
    phase.stopping.set(true);
    for talk in talks {
        talk.await.map_err(|error| format!("a connection's task: {error}"))??;
    }
    let latency = counts.latency.borrow().clone();
    let mut span = Span::between(&start, &end, latency.len() as f64);
    span.latency = latency;
    span.memory = memory;
    span.background = background.latency.borrow().len() as f64;
    span.busy = (counts.busy.get() + background.busy.get()) as f64;
    if span.requests == 0.0 {
        return Err("not one answer in time".to_owned());
    }
    Ok(span)
}

async fn talk(
    address: SocketAddr,
    exact: bool,
    source: Source,
    phase: Rc<Phase>,
    counts: Rc<Counts>,
) -> Result<(), String> {
    let talked = converse(address, exact, source, &phase, &counts).await;
    // One that fails ends all of them: the run is void.
    phase.stopping.set(true);
    talked
}

async fn converse(
    address: SocketAddr,
    exact: bool,
    mut source: Source,
    phase: &Phase,
    counts: &Counts,
) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("a connection broke: {error}");
    let mut stream = TcpStream::connect(address).await.map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let (mut question, mut answer) = (Vec::with_capacity(2048), Vec::with_capacity(32 * 1024));
    while !phase.stopping.get() {
        question.clear();
        answer.clear();
        let expected = source(&mut question);
        let began = Instant::now();
        stream.write_all(&question).await.map_err(broken)?;
        let (status, head, length) = loop {
            if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
                return Err("the server closed a connection".to_owned());
            }
            if let Some(found) = whole(&answer) {
                break found;
            }
        };
        let took = began.elapsed();
        let wrong = || Err(format!("{status} with {length} bytes: {}", String::from_utf8_lossy(&answer)));
        let busy = match expected {
            Expected::Exactly(wanted, bytes) if wanted == status && (bytes == length || !exact) => false,
            Expected::Status(wanted) | Expected::OrBusy(wanted) if wanted == status => false,
            Expected::OrBusy(_) if status == 503 && has_retry_after(&answer[..head]) => true,
            Expected::Exactly(wanted, bytes) => {
                return wrong().map_err(|answer: String| format!("expected {wanted} with {bytes} bytes, got {answer}"));
            }
            Expected::Status(_) | Expected::OrBusy(_) => return wrong(),
        };
        if phase.measuring.get() {
            match busy {
                true => counts.busy.set(counts.busy.get() + 1),
                false => counts.latency.borrow_mut().saturating_record(took.as_micros() as u64),
            }
        }
        if busy {
            // Not at once: what is looked at is what overload does to others, not how fast it can be refused.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

fn has_retry_after(head: &[u8]) -> bool {
    const NAME: &[u8] = b"\r\nretry-after: ";
    head.windows(NAME.len()).any(|window| window == NAME)
}
