//! Builds the copy and runs the tests that mutants name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::copy::VARIABLE;
use super::{Mutant, Tests};

/// Longer than any of the named tests takes, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(600);

/// The built tests, and where they are to run.
pub struct Programs {
    it: PathBuf,
    unit: PathBuf,
    copy: PathBuf,
}

pub enum Verdict {
    /// What the first test said, for a statement that does not run is noticed for the wrong reason.
    Noticed(String),
    /// A test did not come to its end.
    Hung,
    /// These tests pass.
    Survived(Vec<String>),
}

/// How the named tests went, by their names; those that are missing did not end.
struct Went {
    passed: BTreeMap<String, bool>,
    /// Of the first that failed.
    said: String,
    hung: bool,
}

impl Programs {
    /// Builds the tests of the copy; what the compiler says when that does not go.
    pub fn build(copy: &Path, target: &Path) -> Result<Self, String> {
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--lib", "--test", "it", "--no-run", "--message-format=json-render-diagnostics"]);
        cargo.current_dir(copy).env("CARGO_TARGET_DIR", target).stdin(Stdio::null());
        let output = cargo.output().map_err(|error| format!("`cargo` cannot be run: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let program = |kind: &str| {
            let mut lines = lines.lines().filter(|line| line.contains(&format!("\"kind\":[\"{kind}\"]")));
            let path = lines.find_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next())?;
            Some(PathBuf::from(path))
        };
        let (Some(it), Some(unit)) = (program("test"), program("lib")) else {
            return Err("cargo does not say where the tests are".to_owned());
        };
        Ok(Self { it, unit, copy: copy.to_owned() })
    }

    /// The tests of these mutants that do not pass when no mutant is active, or are not there.
    pub fn faults(&self, mutants: &[&Mutant]) -> Vec<String> {
        let mut faults = Vec::new();
        for unit in [false, true] {
            let of_kind = mutants.iter().filter(|mutant| matches!(mutant.tests, Tests::Unit(_)) == unit);
            let names: BTreeSet<String> = of_kind.flat_map(|mutant| mutant.tests.names()).collect();
            let names: Vec<String> = names.into_iter().collect();
            let went = self.run(unit, &names, None);
            faults.extend(names.into_iter().filter(|name| went.passed.get(name) != Some(&true)));
        }
        faults
    }

    /// Whether each of a mutant's tests notices it.
    pub fn judge(&self, mutant: &Mutant) -> Verdict {
        let went = self.run(matches!(mutant.tests, Tests::Unit(_)), &mutant.tests.names(), Some(mutant.name));
        let survived: Vec<String> =
            went.passed.into_iter().filter(|(_, passed)| *passed).map(|(name, _)| name).collect();
        match survived.is_empty() {
            false => Verdict::Survived(survived),
            true if went.hung => Verdict::Hung,
            true => Verdict::Noticed(went.said),
        }
    }

    fn run(&self, unit: bool, names: &[String], mutant: Option<&str>) -> Went {
        let mut went = Went { passed: BTreeMap::new(), said: String::new(), hung: false };
        if names.is_empty() {
            return went;
        }
        // In a file, for nobody may have to read a pipe while the program is waited for.
        let path = self.copy.join("target-output");
        let Ok(file) = fs::File::create(&path) else { return went };
        let mut program = Command::new(if unit { &self.unit } else { &self.it });
        program.args(names).arg("--exact").current_dir(&self.copy).env_remove(VARIABLE);
        program.envs(mutant.map(|name| (VARIABLE, name)));
        program.stdin(Stdio::null()).stderr(Stdio::null()).stdout(file);
        let Ok(mut child) = program.spawn() else { return went };
        let began = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                went.hung = true;
                let _ = child.kill();
                let _ = child.wait();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let said = fs::read(&path).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let mut after = said.lines().skip_while(|line| !line.contains("panicked at ")).skip(1);
        // An assertion, what it compares, and no more of a long answer than fits.
        let sentence = after.by_ref().take_while(|line| !line.is_empty() && *line != "stack backtrace:");
        went.said = sentence.map(str::trim).collect::<Vec<_>>().join(" ").chars().take(160).collect();
        for line in said.lines() {
            let line = line.strip_prefix("test ").and_then(|line| line.split_once(" ... "));
            if let Some((name, word)) = line {
                went.passed.insert(name.to_owned(), word == "ok");
            }
        }
        let _ = fs::remove_file(&path);
        went
    }
}
