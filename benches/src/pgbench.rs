//! PostgreSQL's own load generator, as the yardstick of what the database can do.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::load::{Span, Times};
use crate::meter::Meter;
use crate::servers::Postgres;

/// A script of pgbench with the one statement that the service runs, or would run at best.
pub struct Script {
    pub text: String,
}

impl Script {
    /// A statement of the service, whose parameters are replaced by expressions over variables set before.
    pub fn new(variables: &str, statement: &str, parameters: &[&str]) -> Script {
        let mut text = statement.to_owned();
        // From the last, so that $1 does not find the beginning of $10.
        for (place, parameter) in parameters.iter().enumerate().rev() {
            text = text.replace(&format!("${}", place + 1), parameter);
        }
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Script { text: format!("{variables}\n{one_line};\n") }
    }
}

/// Loads a database with so many clients and looks at a span in the middle, where all are connected and prepared.
pub fn run(postgres: &Postgres, database: &str, script: &Path, clients: usize, times: Times) -> Result<Span, String> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let whole = times.whole().as_secs_f64().ceil() as u64;
    let mut command = Command::new(postgres.pgbench());
    // As the service does it: a plan made for one long list may walk through everybody's.
    command.env("PGOPTIONS", "-c plan_cache_mode=force_generic_plan");
    command.args(["-n", "-M", "prepared", "-U", "postgres", "-h", "127.0.0.1"]);
    command.args(["-p", &postgres.port.to_string(), "-c", &clients.to_string()]);
    command.args(["-j", &clients.min(processors).to_string(), "-T", &whole.to_string(), "-f"]).arg(script);
    command.arg(database).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("pgbench: {error}"))?;
    let meter = Meter { postmaster: Some(postgres.pid()), client: Some(child.id()), ..Meter::default() };
    std::thread::sleep(times.warm_up);
    let start = meter.read();
    std::thread::sleep(times.length);
    let end = meter.read();
    let output = child.wait_with_output().map_err(|error| format!("pgbench: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let failed = figure("number of failed transactions: ");
    match figure("tps = ") {
        Some(rate) if output.status.success() && failed == Some(0.0) => {
            let seconds = (end.at - start.at).as_secs_f64();
            Ok(Span::between(&start, &end, rate * seconds))
        }
        _ => Err(format!("the run is void: pgbench: {text}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// The number of clients, of 1, 16 and 64, with which it is fastest.
pub fn best_clients(postgres: &Postgres, database: &str, script: &Path, times: Times) -> Result<usize, String> {
    let mut best = (0.0, 1);
    for clients in [1, 16, 64] {
        let rate = run(postgres, database, script, clients, times)?.rate();
        if rate > best.0 {
            best = (rate, clients);
        }
    }
    Ok(best.1)
}
