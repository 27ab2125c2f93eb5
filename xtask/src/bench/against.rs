//! `cargo xtask bench --against COMMIT`: builds the other commit's programs and lets both versions be measured in
//! turns.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::judge::Comparison;
use super::{HELP, build};
use crate::machine::{POSTGRESQL, provide};
use crate::{Failure, Outcome, shell};

const PROGRAMS: [&str; 2] = ["referral", "referral-bench"];

/// The commit that was asked for, and the other arguments.
pub fn asked(arguments: &[String]) -> Option<(String, Vec<String>)> {
    let at = arguments.iter().position(|argument| argument == "--against" || argument.starts_with("--against="))?;
    let mut rest = arguments.to_vec();
    let option = rest.remove(at);
    let commit = match option.split_once('=') {
        Some((_, commit)) => commit.to_owned(),
        None if at < rest.len() => rest.remove(at),
        None => String::new(),
    };
    Some((commit, rest))
}

pub fn run(commit: &str, arguments: &[String]) -> Outcome {
    for argument in arguments {
        let name = argument.split_once('=').map_or(argument.as_str(), |(name, _)| name);
        match name {
            "--quick" | "--only" | "--pairs" | "--millis" | "--scale" | "--seed" => {}
            _ => return Err(Failure::Usage(format!("what is `{argument}` beside --against?"), HELP)),
        }
    }
    let Some(hash) = resolved(commit) else {
        return Err(Failure::Usage(format!("`{commit}` is no commit of this repository"), HELP));
    };
    provide(&[POSTGRESQL])?;
    let other = programs_of(&hash)?;
    build(&mut |_| {})?;
    // Copied as the other ones were: what the linker has written runs a twentieth slower than its copy.
    let here = shell::target()?.join("against/here");
    copy_programs(&here)?;

    let mut bench = shell::command(here.join("referral-bench"), &["against"]);
    bench.arg(format!("--here={}", here.display())).arg(format!("--other={}", other.display())).args(arguments);
    let mut bench =
        bench.stdout(Stdio::piped()).spawn().map_err(|error| format!("the benchmarks cannot be run: {error}"))?;
    let mut found = Comparison::default();
    let lines = bench.stdout.take().ok_or_else(|| "the benchmarks have no output".to_owned())?;
    for line in BufReader::new(lines).lines() {
        let line = line.map_err(|error| format!("the benchmarks broke off: {error}"))?;
        found.read(&line)?;
    }
    let ended = bench.wait().map_err(|error| format!("the benchmarks were lost: {error}"))?;
    println!("\nhere: the working tree; there: {hash}\n\n{}", found.table());
    println!(
        "Processor time of service and database for a request (us), memory that no file backs (MB), or the least of \
         five starts (ms); the ratio is there by here, so that below 0.95 this version is worse.{}",
        few(arguments)
    );
    match ended.success() && found.passes() {
        true => Ok(0),
        false => Ok(1),
    }
}

/// What a reader must know when less was measured than usual.
fn few(arguments: &[String]) -> String {
    let less: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--only")).collect();
    match less.is_empty() {
        true => String::new(),
        false => format!("\n**Not a run of the usual size: {}.** Judge by one that is.", less.join(" ")),
    }
}

/// The full name of a commit.
fn resolved(commit: &str) -> Option<String> {
    let hash = shell::output(
        "git",
        &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{commit}^{{commit}}")],
    )?;
    Some(hash.trim().to_owned()).filter(|hash| !hash.is_empty())
}

/// The service as a commit has it; nothing where there is no such commit.
pub fn binary_of(commit: &str) -> Result<Option<PathBuf>, Failure> {
    resolved(commit).map(|hash| Ok(programs_of(&hash)?.join("referral"))).transpose()
}

/// The folder with a commit's programs, built now or in an earlier run: in our target folder, for most of what both
/// depend on is the same, from where they are copied. Ours are built after that.
fn programs_of(hash: &str) -> Result<PathBuf, Failure> {
    let all = shell::target()?.join("against");
    let folder = all.join(hash);
    if PROGRAMS.iter().all(|program| folder.join(program).is_file()) {
        return Ok(folder);
    }
    let source = all.join(format!("{hash}.source"));
    println!("xtask: building {hash}");
    unpack(hash, &source)?;
    let target = shell::target()?;
    build(&mut |cargo| {
        cargo.current_dir(&source).env("CARGO_TARGET_DIR", &target);
    })?;
    copy_programs(&folder)?;
    let _ = fs::remove_dir_all(&source);
    Ok(folder)
}

/// Copies what was built last.
fn copy_programs(folder: &Path) -> Result<(), String> {
    let built = shell::target()?.join("release");
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for program in PROGRAMS {
        let (from, to) = (built.join(program), folder.join(program));
        // A program that runs cannot be written over.
        let _ = fs::remove_file(&to);
        fs::copy(&from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    Ok(())
}

fn unpack(hash: &str, folder: &Path) -> Result<(), String> {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    // What a broken-off run may have left.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(fault)?;
    let archive = folder.join("archive.tar");
    let mut git = shell::command("git", &["archive", "--format=tar", "--output"]);
    if shell::run(git.arg(&archive).arg(hash))? != 0 {
        return Err(format!("`git archive {hash}` failed"));
    }
    let mut tar = shell::command("tar", &["-xf"]);
    if shell::run(tar.arg(&archive).arg("-C").arg(folder))? != 0 {
        return Err(format!("{} cannot be unpacked", archive.display()));
    }
    fs::remove_file(&archive).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(arguments: &[&str]) -> Option<(String, Vec<String>)> {
        asked(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_commit_stands_behind_a_blank_or_an_equals_sign() {
        let rest = vec!["--quick".to_owned(), "--only=page".to_owned()];
        let wanted = Some(("440d8eb".to_owned(), rest));
        assert_eq!(split(&["--quick", "--against", "440d8eb", "--only=page"]), wanted);
        assert_eq!(split(&["--against=440d8eb", "--quick", "--only=page"]), wanted);
        assert_eq!(split(&["--quick"]), None);
        assert_eq!(split(&["--against"]), Some((String::new(), Vec::new())));
    }

    #[test]
    fn less_than_usual_is_told() {
        assert_eq!(few(&["--only=page".to_owned()]), "");
        assert!(few(&["--pairs=3".to_owned()]).contains("--pairs=3"));
    }
}
