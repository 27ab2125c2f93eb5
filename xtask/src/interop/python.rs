//! Python programs in a virtual environment of our own, every version pinned.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{PYTHON, provide};
use crate::shell;

/// Returns the `python` of the environment in this folder, with the packages installed in it.
pub fn environment(folder: &Path, packages: &[&str], constraints: &str) -> Result<PathBuf, String> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    // Written last, so that an environment left half made is made again.
    let (list, made) = (folder.join("constraints.txt"), venv.join("made-of.txt"));
    if fs::read_to_string(&made).is_ok_and(|text| text == constraints) && shell::output(&python, &["-V"]).is_some() {
        return Ok(python);
    }

    provide(&[PYTHON])?;
    let file_error = |error| format!("{} cannot be written: {error}", folder.display());
    fs::create_dir_all(folder).and_then(|()| fs::write(&list, constraints)).map_err(file_error)?;
    let (venv, list) = (venv.to_string_lossy(), list.to_string_lossy());
    if shell::run(&mut shell::command("python3", &["-m", "venv", "--clear", &venv]))? != 0 {
        return Err("Python could not make a virtual environment, see above".to_owned());
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", &list];
    if shell::run(shell::command(&python, &pip).args(packages))? != 0 {
        let packages = packages.join(", ");
        return Err(format!("pip could not install {packages}, see above (it needs Python 3.11 or later)"));
    }
    fs::write(&made, constraints).map_err(file_error)?;
    Ok(python)
}

/// A script of ours, by its path under `xtask/src/interop`.
pub fn script(python: &Path, path: &str) -> Command {
    let scripts = shell::root().join("xtask/src/interop");
    let mut command = shell::command(python, &[]);
    command.arg(scripts.join(path)).env("PYTHONPATH", scripts.join("python"));
    // Nothing is written beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONWARNINGS", "ignore");
    command
}
