//! `cargo xtask mutants`: tries the tests. Each mutant is a small change to something that decides; the tests that it
//! names must notice it.

mod copy;
mod judge;
mod list;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Instant;

use self::copy::Subject;
use self::judge::{Programs, Verdict};
use crate::machine::{POSTGRESQL, REDIS, provide};
use crate::{Failure, Outcome, help, shell};

const HELP: &str = "\
Try the tests: change one small thing that decides, and see whether the tests that should notice do.

Usage: cargo xtask mutants [--list] [--only=NAME]

Options:
  --list       Print the mutants with their tests, and change nothing
  --only=NAME  A topic, or a mutant; may be given more than once

Mutants are in xtask/src/mutants/list. All of them are compiled into one copy of the sources in target/mutants, each
behind a switch, so that most runs build once. The exit code is 1 when a mutant survives, does not apply or does not
compile. Only the tests that the mutants name are run, and once without any mutant before.
";

/// A change that the named tests must notice.
#[derive(Debug)]
pub struct Mutant {
    /// A word for `--only`, unique.
    pub name: &'static str,
    pub file: &'static str,
    pub swap: Swap,
    pub tests: Tests,
    /// What would go wrong if this came in by mistake.
    pub why: &'static str,
}

/// A text that occurs once in the file, and what stands there instead.
#[derive(Clone, Copy, Debug)]
pub enum Swap {
    /// An expression; or, if it ends with a semicolon, statements that bind nothing.
    Code(&'static str, &'static str),
    /// A part of a statement in `sql!`.
    Sql(&'static str, &'static str),
}
pub use Swap::{Code, Sql};

/// Tests by their names without the set-up. Those that start the binary cannot notice a mutant: it has an environment
/// of its own.
#[derive(Clone, Copy, Debug)]
pub enum Tests {
    /// Of `tests/it`, on SQLite and on PostgreSQL.
    Both(&'static [&'static str]),
    Sqlite(&'static [&'static str]),
    Postgres(&'static [&'static str]),
    /// Of `tests/it`, those without set-ups.
    Alone(&'static [&'static str]),
    /// Of the library.
    Unit(&'static [&'static str]),
}
pub use Tests::{Alone, Both, Postgres, Sqlite, Unit};

pub struct Topic {
    pub name: &'static str,
    pub mutants: &'static [Mutant],
}

impl Swap {
    pub fn texts(self) -> (&'static str, &'static str) {
        match self {
            Code(find, put) | Sql(find, put) => (find, put),
        }
    }
}

impl Tests {
    /// As `cargo test` calls them.
    pub fn names(self) -> Vec<String> {
        let (names, set_ups): (_, &[&str]) = match self {
            Both(names) => (names, &["::sqlite", "::postgres"]),
            Sqlite(names) => (names, &["::sqlite"]),
            Postgres(names) => (names, &["::postgres"]),
            Alone(names) | Unit(names) => (names, &[""]),
        };
        names.iter().flat_map(|name| set_ups.iter().map(move |set_up| format!("{name}{set_up}"))).collect()
    }
}

pub fn run(arguments: &[String]) -> Outcome {
    let (mut only, mut lists) = (Vec::new(), false);
    for argument in arguments {
        match argument.split_once('=') {
            Some(("--only", name)) => only.push(name),
            None if argument == "--list" => lists = true,
            None if argument == "-h" || argument == "--help" => return help(HELP),
            _ => return Err(Failure::Usage(format!("what is `{argument}`?"), HELP)),
        }
    }
    for name in &only {
        let known =
            list::TOPICS.iter().any(|topic| topic.name == *name || topic.mutants.iter().any(|m| m.name == *name));
        if !known {
            return Err(Failure::Usage(format!("there is no topic and no mutant `{name}`"), HELP));
        }
    }
    let chosen =
        |topic: &Topic, mutant: &Mutant| only.is_empty() || only.contains(&topic.name) || only.contains(&mutant.name);
    let all = list::TOPICS.iter().flat_map(|topic| topic.mutants.iter().map(move |mutant| (topic, mutant)));
    let mutants: Vec<&Mutant> = all.filter(|(topic, mutant)| chosen(topic, mutant)).map(|(_, mutant)| mutant).collect();
    if lists {
        for mutant in &mutants {
            println!("{} ({})\n  {}\n  {}", mutant.name, mutant.file, mutant.why, mutant.tests.names().join("\n  "));
        }
        println!("{} mutants", mutants.len());
        return Ok(0);
    }
    provide(&[POSTGRESQL, REDIS])?;
    let folder = shell::target()?.join("mutants");
    let told = attempt(shell::root(), &folder, &mutants, &mut |line| println!("{line}"))?;
    Ok(u8::from(!told.is_empty()))
}

/// Tries these mutants on the crate in a folder, with copies and builds in another. Returns a sentence about each that
/// is not as it should be.
fn attempt(
    root: &Path,
    folder: &Path,
    mutants: &[&Mutant],
    say: &mut dyn FnMut(String),
) -> Result<Vec<String>, String> {
    let mut told = Vec::new();
    let subject = Subject::new(root, &folder.join("tree"));
    let (rounds, wrong) = subject.rounds(mutants);
    told.extend(wrong);
    for (place, round) in rounds.iter().enumerate() {
        say(format!("building {} mutants, {} of {} builds", round.len(), place + 1, rounds.len()));
        let began = Instant::now();
        subject.write(round)?;
        let programs = match Programs::build(&subject.copy, &folder.join("target")) {
            Ok(programs) => programs,
            Err(text) => {
                // The switch stands where the compiler points to.
                let named: Vec<&str> =
                    round.iter().map(|m| m.name).filter(|name| text.contains(&quoted(name))).collect();
                say(text);
                told.push(format!("this does not compile: {}", named.join(", ")));
                continue;
            }
        };
        say(format!("built in {} s", began.elapsed().as_secs()));
        let faults = programs.faults(round);
        if !faults.is_empty() {
            let sentence = format!("without any mutant these tests do not pass: {}", faults.join(", "));
            say(sentence.clone());
            told.push(sentence);
        }
        for mutant in round.iter().filter(|mutant| !mutant.tests.names().iter().any(|name| faults.contains(name))) {
            let began = Instant::now();
            let verdict = programs.judge(mutant);
            let seconds = began.elapsed().as_secs_f32();
            let word = match &verdict {
                Verdict::Noticed(said) => format!("noticed: {said}"),
                Verdict::Hung => "noticed, for a test did not end".to_owned(),
                Verdict::Survived(tests) => format!("SURVIVES {}", tests.join(", ")),
            };
            say(format!("{:<56} {seconds:>6.1} s  {word}", mutant.name));
            if let Verdict::Survived(tests) = verdict {
                told.push(format!("{} survives {}", mutant.name, tests.join(", ")));
            }
        }
    }
    say(format!("{} mutants, {} not as they should be", mutants.len(), told.len()));
    for sentence in &told {
        say(sentence.clone());
    }
    Ok(told)
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
