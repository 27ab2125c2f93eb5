//! Running other programs, and where things are.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The repository's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository's root")
}

/// The target folder in use, wherever cargo was told to put it: this program is in its folder `debug`.
pub fn target() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let target = program.ancestors().nth(2).ok_or("this program is not in a target folder")?;
    Ok(target.to_owned())
}

pub fn command(program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).current_dir(root());
    command
}

/// Runs to the end, its output going where ours goes; returns its exit code, 1 when a signal ended it.
pub fn run(command: &mut Command) -> Result<u8, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("`{name}` cannot be run: {error}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The same, with this on its standard input.
pub fn run_with(command: &mut Command, input: &str) -> Result<u8, String> {
    let mut child = spawn_with(command, input)?;
    let status = child.wait().map_err(|error| format!("a program was lost: {error}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The same; returns what it prints on its standard output, whatever its exit code.
pub fn output_with(command: &mut Command, input: &str) -> Result<String, String> {
    let child = spawn_with(command.stdout(Stdio::piped()), input)?;
    let output = child.wait_with_output().map_err(|error| format!("a program was lost: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lets it run beside us, with this on its standard input.
pub fn spawn_with(command: &mut Command, input: &str) -> Result<Child, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("`{name}` cannot be run: {error}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // One that ended before it read everything tells more by its exit code than a broken pipe does.
        let _ = pipe.write_all(input.as_bytes());
    }
    Ok(child)
}

/// As [`output`], in a folder.
pub fn output_in(folder: &Path, program: &str, arguments: &[&str]) -> Option<String> {
    let output = command(program, arguments).current_dir(folder).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What it prints, or nothing when it is not there or fails.
pub fn output(program: impl AsRef<Path>, arguments: &[&str]) -> Option<String> {
    let output = command(program, arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
