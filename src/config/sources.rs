//! Where settings come from.

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{dotenv, names};

/// The environment, as a list, so that tests need not touch the process's own.
pub type Environment = Vec<(String, String)>;

/// Everything that is merged into the defaults, later wins: the file, then the variables.
pub struct Sources {
    pub file: Option<PathBuf>,
    pub variables: Vec<Variable>,
    /// What could not be read, in sentences.
    pub faults: Vec<String>,
}

/// A variable of the environment, or of `.env` with its line there.
pub struct Variable {
    pub name: String,
    pub value: String,
    pub line: Option<usize>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        path: PathBuf,
        line: usize,
    },
    /// A variable, the line of `.env` that has it, and the file that it names.
    Variable {
        name: String,
        line: Option<usize>,
        file: Option<String>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable { name, line, file } => {
                f.write_str(name)?;
                if let Some(line) = line {
                    write!(f, " at .env:{line}")?;
                }
                if let Some(file) = file {
                    write!(f, " naming {file}")?;
                }
                Ok(())
            }
        }
    }
}

impl Sources {
    /// A file and an environment alone.
    pub fn of(file: Option<&Path>, environment: &Environment) -> Self {
        let variable =
            |(name, value): &(String, String)| Variable { name: name.clone(), value: value.clone(), line: None };
        Self {
            file: file.map(Path::to_owned),
            variables: environment.iter().map(variable).collect(),
            faults: Vec::new(),
        }
    }

    /// What a process is given: its environment, with `./.env` beneath it.
    pub fn of_process(file: Option<&Path>, environment: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut process = Self::of(file, &Vec::new());
        for (name, value) in environment {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => process.variables.push(Variable { name, value, line: None }),
                Err(_) if names::is_setting(&name) => {
                    process.faults.push(format!("{name} is not text: write it in UTF-8"));
                }
                Err(_) => {}
            }
        }
        // This folder's alone: what lies above it is somebody else's.
        process.read_beneath(Path::new("./.env"));
        process
    }

    /// The value of a variable.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|variable| variable.name == name).map(|variable| variable.value.as_str())
    }

    fn read_beneath(&mut self, path: &Path) {
        // A folder that may not be read, or is gone, has none for us.
        if path.symlink_metadata().is_err() {
            return;
        }
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => return self.faults.push(format!("cannot read .env: {error}. Remove it or make it readable")),
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
                let line = 1 + good.filter(|byte| **byte == b'\n').count();
                return self.faults.push(format!(".env:{line} is not text: write it in UTF-8"));
            }
        };
        let (entries, slips) = dotenv::parse(&text);
        self.faults.extend(slips.into_iter().map(|slip| format!(".env:{} {}", slip.line, slip.text)));
        let mut beneath: Vec<Variable> = entries
            .into_iter()
            // An empty variable is as good as none.
            .filter(|entry| self.value(&entry.name).is_none_or(|value| value.trim().is_empty()))
            .map(|entry| Variable { name: entry.name, value: entry.value, line: Some(entry.line) })
            .collect();
        beneath.append(&mut self.variables);
        self.variables = beneath;
    }
}
