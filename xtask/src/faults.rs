//! `cargo xtask faults`

use crate::machine::{HAPROXY, POSTGRESQL, PYTHON, REDIS, provide};
use crate::{Failure, Outcome, bench, help, shell};

/// The version that nodes are upgraded from.
const FORMER: &str = "440d8eb";

const HELP: &str = "\
Let what the service stands on break, and the service itself, more often and in more ways than `cargo test` does.

Usage: cargo xtask faults [--many NUMBER] [-- ARGS]

These are the tests of tests/it/faults.rs with time: the way to the database is silent, slow, refused, reset, cut or
loses answers, in many rounds; and the service is killed at every statement of every kind of write, on both engines.
Two nodes behind HAProxy come from commit 440d8eb, which is built once, to
this version under load. Beside them 64 writers note what they do for a minute while nodes chain it. 10,000 people come
from the reference service, restores and migrations are killed at every statement. A year of a shop's life, with 50,000
purchases and their refunds, is told in three ways, and compared with what a script makes of it. Whatever moves money
is done in many orders and compared with a model, with kills among it; all of it at once for a few people for a minute,
which meets no deadlock; and the service and PostgreSQL are killed for a minute of events. A host moves in with 20,000
people, codes that have expired in a night without a service are followed by others, and tables with 20,000 people are
migrated while others write. It takes an hour. More seeds are tried with REWARDS_SEEDS=NUMBER in the environment, others
with REWARDS_SEED=NUMBER.

Options:
      --many NUMBER  Only the last three, with so many people, in a build for release; the figures are printed, and a
                     write that waits for a migration for more than a second is a fault

Arguments:
  ARGS  Passed on to the tests, for example `-- --nocapture` or a part of tests' names

`FAULTS=1 cargo test --test it -- faults:: audit::chain::of_many keep:: migrations:: rewards::year rewards::crowds
rewards::random` does the same.
";

pub fn run(arguments: &[String]) -> Outcome {
    let (many, arguments) = match arguments {
        [option, rest @ ..] if option == "--many" => match rest.split_first() {
            Some((number, rest)) if number.parse::<u32>().is_ok() => (Some(number), rest),
            _ => return Err(Failure::Usage("how many people?".to_owned(), HELP)),
        },
        arguments => (None, arguments),
    };
    let passed_on = match arguments.split_first() {
        None => &[][..],
        Some((first, rest)) if first == "--" => rest,
        Some((first, _)) if first == "-h" || first == "--help" => return help(HELP),
        Some((first, _)) => return Err(Failure::Usage(format!("what is `{first}`?"), HELP)),
    };
    provide(&[POSTGRESQL, REDIS, HAPROXY, PYTHON])?;
    if let Some(many) = many {
        let words = ["test", "--release", "--locked", "--test", "it", "--", "faults::amounts", "faults::tables"];
        let words = [&words[..], &["--nocapture", "--test-threads=1"]].concat();
        return Ok(shell::run(shell::command("cargo", &words).args(passed_on).env("FAULTS_MANY", many))?);
    }
    let parts = ["faults::", "audit::chain::of_many", "keep::", "migrations::"];
    let parts = [&parts[..], &["rewards::year", "rewards::crowds", "rewards::random"]].concat();
    let mut cargo = shell::command("cargo", &["test", "--locked", "--test", "it", "--"]);
    cargo.args(parts);
    match bench::binary_of(FORMER)? {
        Some(binary) => drop(cargo.env("FAULTS_FORMER", binary)),
        None => println!("xtask: {FORMER} is no commit here, so nodes are restarted and not upgraded"),
    }
    Ok(shell::run(cargo.args(passed_on).env("FAULTS", "1"))?)
}
