//! Clients that others' programs generate from the document: all that is generated compiles or can be imported, and
//! goes a way through the API.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::server::{PASSWORD, Server};
use super::{Place, http, node, python};
use crate::shell;

/// <https://openapi-ts.dev>
pub fn openapi_typescript(place: &Place) -> Result<Vec<String>, String> {
    let environment = node::environment(&place.folder)?;
    let folder = environment.join("openapi-typescript");
    let server = Server::start(place)?;
    let document = document(&server, &folder)?;
    let package = |path: &str, arguments: &[&str]| {
        let mut command = node::script(&environment, &format!("node_modules/{path}"));
        command.args(arguments).current_dir(&folder);
        command
    };
    let generate = package("openapi-typescript/bin/cli.js", &[&document, "--output", "schema.ts"]);
    let compile = package("typescript/bin/tsc", &["--project", "tsconfig.json"]);
    let journey = node::script(&environment, "openapi-typescript/client.mjs");
    all_the_way(server, [generate, compile], journey, &folder)
}

/// <https://github.com/openapi-generators/openapi-python-client>
pub fn openapi_python_client(place: &Place) -> Result<Vec<String>, String> {
    let name = "openapi-python-client";
    let folder = place.folder.join(name);
    let python = python::environment(&folder, &[name], include_str!("openapi-python-client/constraints.txt"))?;
    let server = Server::start(place)?;
    let document = document(&server, &folder)?;
    let generated = folder.join("referral_client");
    let mut generate = shell::command(python.with_file_name(name), &["generate", "--path", &document]);
    generate.args(["--meta", "none", "--overwrite", "--output-path"]).arg(&generated);
    // What it cannot make something of, it warns of and leaves out.
    generate.arg("--fail-on-warning");
    let config = shell::root().join("xtask/src/interop/openapi-python-client/config.yml");
    generate.arg("--config").arg(config);
    // What an operation was called before would be imported as well.
    let _ = fs::remove_dir_all(&generated);
    let journey = python::script(&python, "openapi-python-client/journey.py");
    all_the_way(server, [generate], journey, &folder)
}

/// Keeps the document that the server gives, and says where.
fn document(server: &Server, folder: &Path) -> Result<String, String> {
    let path = folder.join("openapi.json");
    let answer = http::get(server.address, "/openapi.json")?;
    fs::write(&path, answer.body).map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Each step, if the one before went well.
fn all_the_way<const N: usize>(
    server: Server,
    steps: [Command; N],
    mut journey: Command,
    folder: &Path,
) -> Result<Vec<String>, String> {
    for mut step in steps {
        let code = shell::run(&mut step)?;
        if code != 0 {
            return Ok(server.verdict(code));
        }
    }
    let (url, folder) = (server.url(), folder.display());
    let setting = format!(r#"{{"url":"{url}","password":"{PASSWORD}","generated":"{folder}"}}"#);
    let code = shell::run_with(&mut journey, &setting)?;
    Ok(server.verdict(code))
}
