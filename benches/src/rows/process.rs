//! Memory, the first start, and what building takes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::{Goal, Spread};
use crate::meter::{self, Memory};
use crate::report::{Entry, Fact, Report, Section};
use crate::run::{Bench, Place};
use crate::{http, machine};

pub fn memory_and_start(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    for (place, engine) in [(main, "PostgreSQL"), (file, "SQLite")] {
        let service = bench.start(place)?;
        std::thread::sleep(Duration::from_secs(2));
        let memory = meter::memory(service.pid());
        tell(report, &format!("idle, {engine}"), memory, [25.0, 60.0]);
    }
    let most = report.entries.iter().flat_map(|entry| match entry {
        Entry::Row(row) if !row.yardstick.starts_with("bare") => row.ours.iter().chain(&row.theirs).collect::<Vec<_>>(),
        Entry::Row(row) => row.ours.iter().collect(),
        Entry::Fact(_) => Vec::new(),
    });
    let most = most.map(|span| span.memory).fold(Memory::default(), Memory::most);
    if most.resident > 0 {
        tell(report, "the most under the loads above", most, [100.0, 150.0]);
    }
    for (url, engine) in [("sqlite:first.db", "SQLite"), ("", "PostgreSQL")] {
        let mut times = Vec::new();
        for turn in 0..bench.settings.rounds {
            let folder = bench.folder.join(format!("first-{engine}-{turn}"));
            std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let mut url = url.to_owned();
            if url.is_empty() {
                let name = format!("first_{turn}");
                bench.postgres.query("postgres", &format!("create database {name}"))?;
                url = bench.postgres.url(&name);
            }
            times.push(first_answer(bench, &folder, &url)? * 1e3);
        }
        report.fact(Fact {
            work: format!("first start on an empty database to the first answer, {engine}"),
            goal: Goal::AtMost(150.0),
            value: Spread::of(times),
            unit: "ms",
            remark: String::new(),
        });
    }
    Ok(())
}

/// What no file backs, and all that is resident, with a goal for each in MB.
fn tell(report: &mut Report, when: &str, memory: Memory, goals: [f64; 2]) {
    let figures = [("memory that no file backs", memory.anonymous), ("resident memory", memory.resident)];
    for ((what, bytes), goal) in figures.into_iter().zip(goals) {
        report.fact(Fact {
            work: format!("{what}, {when}"),
            goal: Goal::AtMost(goal),
            value: Spread::of([bytes as f64 / 1e6]),
            unit: "MB",
            remark: String::new(),
        });
    }
}

/// Seconds from starting the binary to its first answer.
pub fn first_answer(bench: &Bench, folder: &std::path::Path, url: &str) -> Result<f64, String> {
    let mut command = Command::new(&bench.programs.referral);
    command.current_dir(folder).env_clear().env("DATABASE_URL", url).env("REFERRAL_LISTEN", "127.0.0.1:0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("the service: {error}"))?;
    let mut answer = || -> Result<f64, String> {
        let mut line = String::new();
        let stdout = child.stdout.as_mut().ok_or("no output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split(' ').next()?.trim().parse().ok());
        http::ask(address.ok_or("it does not say where it listens")?, "GET", "/readyz", None, None)?.expect(200)?;
        Ok(began.elapsed().as_secs_f64())
    };
    let answered = answer();
    let _ = child.kill();
    let _ = child.wait();
    answered
}

/// A clean build of the binary, which takes minutes.
pub fn build(bench: &Bench, _: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let root = &bench.settings.root;
    let target = bench.folder.join("target");
    let began = Instant::now();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--quiet", "--package", "referral"]).current_dir(root);
    let status = cargo.env("CARGO_TARGET_DIR", &target).status().map_err(|error| format!("cargo: {error}"))?;
    let seconds = began.elapsed().as_secs_f64();
    if !status.success() {
        return Err("the build failed".to_owned());
    }
    let size = std::fs::metadata(target.join("release/referral")).map_err(|error| error.to_string())?.len();
    let mut cargo = Command::new("cargo");
    cargo.args(["tree", "--locked", "--package", "referral", "--edges", "normal,build", "--prefix", "none"]);
    let output = cargo.current_dir(root).output().map_err(|error| format!("cargo tree: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let crates = text.lines().map(|line| line.trim_end_matches(" (*)")).collect::<std::collections::BTreeSet<_>>();
    let line = |name: &str, value: String| vec![name.to_owned(), value];
    report.sections.push(Section {
        title: "Building".to_owned(),
        text: format!(
            "`cargo build --release` from nothing but the downloaded sources, on {} processors.",
            machine::processors()
        ),
        head: vec!["what".to_owned(), "value".to_owned()],
        lines: vec![
            line("time", format!("{seconds:.0} s")),
            line("binary", format!("{:.1} MB, not stripped", size as f64 / 1e6)),
            line(
                "crates, ours and those for building included",
                (crates.len() - usize::from(crates.contains(""))).to_string(),
            ),
        ],
    });
    Ok(())
}
