//! The benchmarks of Referral. `cargo xtask bench` builds and runs this; the other commands are started by `run`.

mod against;
mod fill;
mod http;
mod load;
mod machine;
mod measure;
mod meter;
mod people;
mod pgbench;
mod programs;
mod report;
mod rows;
mod run;
mod servers;
mod service;
mod sources;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use people::People;
use programs::{bare_hyper, bare_sqlite, without_hashing};

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["run", options @ ..] => run::run(options),
        ["against", options @ ..] => against::run(options),
        ["without-hashing"] => without_hashing::run(),
        ["bare-hyper", length] => number(length).and_then(|length| bare_hyper::run(length as usize)),
        ["bare-sqlite-read", path, scale, seed, millis] => numbers([scale, seed, millis]).and_then(|given| {
            let [scale, seed, millis] = given;
            bare_sqlite::read(Path::new(path), People { scale, seed }, Duration::from_millis(millis))
        }),
        ["bare-sqlite-write", path, scale, seed, millis, from, codes] => numbers([scale, seed, millis, from, codes])
            .and_then(|given| {
                let [scale, seed, millis, from, codes] = given;
                let people = People { scale, seed };
                bare_sqlite::write(Path::new(path), people, from, codes, Duration::from_millis(millis))
            }),
        _ => Err("this is run by `cargo xtask bench`".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("bench: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn numbers<const N: usize>(texts: [&&str; N]) -> Result<[u64; N], String> {
    let mut numbers = [0; N];
    for (to, text) in numbers.iter_mut().zip(texts) {
        *to = number(text)?;
    }
    Ok(numbers)
}
