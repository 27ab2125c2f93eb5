//! `cargo xtask bench`

mod against;
mod judge;

pub use against::binary_of;

use std::fs;
use std::process::Command;

use crate::machine::{POSTGRESQL, REDIS, provide};
use crate::{Failure, Outcome, help, shell};

const HELP: &str = "\
Measure the service beside yardsticks on this machine, and write what was found.

Usage: cargo xtask bench [PART] [--quick] [OPTIONS]
       cargo xtask bench --against COMMIT [--quick] [OPTIONS]

Builds the binary and the programs in `benches/`, starts a PostgreSQL and a Redis of its own, fills them with people,
and measures each row in turns with its yardstick. The full run takes the better part of an hour and writes
`docs/benchmarks.md`; the others write to `target/bench/`. Nothing else should run on the machine meanwhile.

Options:
  --quick         The same tables on small data, in about two minutes
  --only=A,B      Some parts: cached, database, page, register, sqlite, raw, last, logins, memory, hot, mails,
                  enumeration, keyed, own, links, participants, audit, verify, rewards, movements, signups, nodes,
                  plans, growth, build. PART alone is one
  --bless         Keep the query plans found, in `benches/plans`, rather than compare them (full size only)
  --rounds=N      Rounds of each row
  --millis=N      Milliseconds of load on one side in a round
  --scale=N       Referees of the greatest referrer
  --seed=N        What names, ids and codes are drawn from

With --against, another commit's programs are built as well, once, and both versions are measured in turns, by the
processor time of the service, and of PostgreSQL where that does the work. A row is worse when the median of the pairs'
ratios is below 0.95; then the exit code is 1. It takes about twenty minutes, and --quick about five.

Options beside --against:
  --pairs=N       Pairs of each row, 9 when nothing is said
  --only=A,B      Some rows: cached, lookup, page, validate, me, codes, register, login, hash, make, memory, start
  --quick, --millis=N, --scale=N, --seed=N
";

pub fn run(arguments: &[String]) -> Outcome {
    if let Some((commit, rest)) = against::asked(arguments) {
        return against::run(&commit, &rest);
    }
    let arguments: Vec<String> = arguments.iter().map(|argument| part(argument)).collect();
    for argument in &arguments {
        let name = argument.split_once('=').map_or(argument.as_str(), |(name, _)| name);
        match name {
            "-h" | "--help" => return help(HELP),
            "--quick" | "--only" | "--bless" | "--rounds" | "--millis" | "--scale" | "--seed" => {}
            _ => return Err(Failure::Usage(format!("what is `{argument}`?"), HELP)),
        }
    }
    provide(&[POSTGRESQL, REDIS])?;
    build(&mut |_| {})?;
    let folder = shell::target()?.join("bench");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    // Only a whole run of the usual size is worth keeping.
    let report = match arguments.iter().find(|argument| *argument != "--bless") {
        None => shell::root().join("docs/benchmarks.md"),
        Some(_) if arguments.iter().any(|argument| argument == "--quick") => folder.join("quick.md"),
        Some(_) => folder.join("part.md"),
    };
    let mut bench = shell::command(shell::target()?.join("release/referral-bench"), &["run"]);
    bench.arg(format!("--report={}", report.display())).arg(format!("--root={}", shell::root().display()));
    Ok(shell::run(bench.args(arguments))?)
}

/// A part's name alone asks for it: `enumeration` is `--only=enumeration`.
fn part(argument: &str) -> String {
    match argument.starts_with('-') {
        true => argument.to_owned(),
        false => format!("--only={argument}"),
    }
}

/// Builds the binary and the programs of the benchmarks; `here` says where, if not in this tree.
fn build(here: &mut dyn FnMut(&mut Command)) -> Result<(), Failure> {
    // One after the other: built together, each would have the features that the other asks of a crate they share.
    for package in ["referral", "referral-bench"] {
        let mut cargo = shell::command("cargo", &["build", "--release", "--locked", "--package", package]);
        here(&mut cargo);
        if shell::run(&mut cargo)? != 0 {
            return Err(Failure::Task(format!("`{package}` does not build")));
        }
    }
    Ok(())
}
