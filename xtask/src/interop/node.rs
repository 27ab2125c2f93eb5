//! Programs for Node.js, every version pinned.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{NODE, provide};
use crate::shell;

const PACKAGE: &str = include_str!("npm/package.json");
const LOCK: &str = include_str!("npm/package-lock.json");

/// Returns the folder that holds our scripts beside the packages they import: Node looks for packages from a script's
/// own folder upwards, and ours are in the repository, where nothing is installed.
pub fn environment(folder: &Path) -> Result<PathBuf, String> {
    let folder = folder.join("npm");
    install(&folder, PACKAGE, LOCK)?;
    let copied = copy_scripts(&shell::root().join("xtask/src/interop"), &folder);
    copied.map_err(|error| format!("{} cannot be written: {error}", folder.display()))?;
    Ok(folder)
}

/// Installs in a folder what a `package.json` asks for, at the versions of its lock.
pub fn install(folder: &Path, package: &str, lock: &str) -> Result<(), String> {
    provide(&[NODE])?;
    let file_error = |error| format!("{} cannot be written: {error}", folder.display());
    fs::create_dir_all(folder).map_err(file_error)?;
    // Written last, so that what was left half installed is installed again.
    let made = folder.join("made-of.txt");
    if fs::read_to_string(&made).is_ok_and(|text| text == lock) {
        return Ok(());
    }
    let files = [("package.json", package), ("package-lock.json", lock)];
    files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text)).map_err(file_error)?;
    // No package may run anything while it is installed.
    let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"];
    if shell::run(shell::command("npm", &npm).current_dir(folder))? != 0 {
        return Err("npm could not install the packages, see above".to_owned());
    }
    fs::write(&made, lock).map_err(file_error)
}

/// A script of ours, by its path under `xtask/src/interop`.
pub fn script(environment: &Path, path: &str) -> Command {
    let mut command = shell::command("node", &[]);
    // Experiments of Node's and advice to whoever runs a provider for good are not our findings.
    command.arg("--no-warnings").arg(environment.join(path)).current_dir(environment);
    command
}

fn copy_scripts(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let (from, to) = match entry {
            Ok(entry) => (entry.path(), to.join(entry.file_name())),
            Err(error) => return Err(error),
        };
        if from.is_dir() {
            fs::create_dir_all(&to)?;
            copy_scripts(&from, &to)?;
        } else if from.extension().is_some_and(|extension| extension == "mjs" || extension == "json") {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
