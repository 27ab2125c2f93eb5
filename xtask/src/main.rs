//! `cargo xtask`: what developing this repository needs beyond plain cargo. No dependencies, so that it is there
//! in seconds on a machine that has Rust alone.

mod bench;
mod documents;
mod faults;
mod interop;
mod machine;
mod mutants;
mod package;
mod shell;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
What developing Referral needs beyond plain cargo.

Usage: cargo xtask <TASK>

Tasks:
  test     Run every test; installs the servers they need where they are missing
  interop  Let other people's clients loose on the server
  bench    Measure the service beside yardsticks
  docs     Write the documents that are made from others
  mutants  Try the tests: change what decides, and see whether they notice
  faults   Break the service and what it stands on, at length
  package  Make what others install: an archive, a Debian package, a container image

`cargo xtask <TASK> --help` tells more about a task.
";

/// How a task ends that could do its work: with the exit code to pass on.
type Outcome = Result<u8, Failure>;

enum Failure {
    /// The command line is wrong: a sentence and the task's help.
    Usage(String, &'static str),
    /// The task could not be done: a sentence.
    Task(String),
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Failure::Task(sentence)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("", &[][..]),
    };
    let outcome = match task {
        "test" => test::run(rest),
        "interop" => interop::run(rest),
        "bench" => bench::run(rest),
        "docs" => documents::run(rest),
        "mutants" => mutants::run(rest),
        "faults" => faults::run(rest),
        "package" => package::run(rest),
        "-h" | "--help" | "help" => help(HELP),
        "" => Err(Failure::Usage("which task?".to_owned(), HELP)),
        other => Err(Failure::Usage(format!("there is no task `{other}`"), HELP)),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Usage(sentence, help)) => {
            eprint!("xtask: {sentence}\n\n{help}");
            ExitCode::from(2)
        }
        Err(Failure::Task(sentence)) => {
            eprintln!("xtask: {sentence}");
            ExitCode::from(1)
        }
    }
}

fn help(text: &str) -> Outcome {
    print!("{text}");
    Ok(0)
}
