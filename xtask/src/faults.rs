//! `cargo xtask faults`

use crate::machine::{POSTGRESQL, REDIS, provide};
use crate::{Failure, Outcome, help, shell};

const HELP: &str = "\
Let what the service stands on break, and the service itself, more often and in more ways than `cargo test` does.

Usage: cargo xtask faults [-- ARGS]

These are the tests of tests/it/faults.rs with time: the way to the database is silent, slow, refused, reset, cut or
loses answers, in many rounds; and the service is killed at every statement of every kind of write, on both engines.
It takes some minutes.

Arguments:
  ARGS  Passed on to the tests, for example `-- --nocapture` or a part of tests' names

`FAULTS=1 cargo test --test it faults::` does the same.
";

pub fn run(arguments: &[String]) -> Outcome {
    let passed_on = match arguments.split_first() {
        None => &[][..],
        Some((first, rest)) if first == "--" => rest,
        Some((first, _)) if first == "-h" || first == "--help" => return help(HELP),
        Some((first, _)) => return Err(Failure::Usage(format!("what is `{first}`?"), HELP)),
    };
    provide(&[POSTGRESQL, REDIS])?;
    let mut cargo = shell::command("cargo", &["test", "--locked", "--test", "it", "--", "faults::"]);
    Ok(shell::run(cargo.args(passed_on).env("FAULTS", "1"))?)
}
