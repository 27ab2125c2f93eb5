//! <https://schemathesis.readthedocs.io>: reads the OpenAPI document, makes requests up from it, and checks each
//! answer against it.

use std::fs;

use super::registered::{self, MANAGER, Person};
use super::server::Server;
use super::{Place, http, python};
use crate::shell;

/// These end the caller's session or account, so whatever follows would only be told 401. Each gets a run of its
/// own, as somebody freshly signed in.
const ENDINGS: [&str; 4] = [
    "POST /api/v1/auth/logout",
    "POST /api/v1/me/password",
    "DELETE /api/v1/me/sessions/{session_id}",
    "DELETE /api/v1/me",
];

/// Programs call these in their own name.
const IN_THEIR_NAME: [&str; 3] = ["POST /oauth/token", "POST /oauth/revoke", "POST /oauth/introspect"];

/// These take a token with the scope `openid`, which programs alone get.
const WITH_THEIR_TOKEN: [&str; 2] = ["GET /oauth/userinfo", "POST /oauth/userinfo"];

/// Clients alone may call these, with the scope `program:write`.
const HOSTS: &str = "^/api/v1/(participants|events)";

/// An item that breaks a rule is refused in its place of the answer, which is 200: what the document says of items,
/// they are measured by alone.
const BATCHES: [&str; 2] = ["POST /api/v1/participants", "POST /api/v1/events/batch"];

/// Before checks that do not apply.
const BUT: &str = "--exclude-checks";

pub fn run(place: &Place) -> Result<Vec<String>, String> {
    let folder = place.folder.join("schemathesis");
    let python = python::environment(&folder, &["schemathesis"], include_str!("schemathesis/constraints.txt"))?;
    let server = Server::start(place)?;
    let setting = registered::setting(&server, Person::register(&server, "olga")?, "")?;
    let mut command = python::script(&python, "schemathesis/sign_in.py");
    let told = shell::output_with(&mut command, &setting)?;
    let told: Vec<&str> = told.split_whitespace().collect();
    let &[client, given, own] = told.as_slice() else { return Err("no tokens came, see above".to_owned()) };
    let reports = folder.join("reports");
    let _ = fs::remove_dir_all(&reports);
    fs::create_dir_all(&reports).map_err(|error| format!("{} cannot be made: {error}", reports.display()))?;
    let mut faults = Vec::new();
    let mut pass = |who: &[&str], name: &str, phases: &str, operations: &[&str]| -> Result<(), String> {
        println!("\nxtask: schemathesis, {name}");
        let mut command = shell::command(&python, &["-m", "schemathesis.cli", "run"]);
        command.arg(format!("http://{}/openapi.json", server.address));
        command.args(who).args(operations);
        command.args(["--phases", phases, "--max-examples", "30", "--workers", "1"]);
        command.args(["--checks", "all"]);
        if !operations.contains(&BUT) {
            // Our rules (a code that is taken, an address that is registered) rightly refuse requests that the
            // document allows: the one check that does not apply.
            command.args([BUT, "positive_data_acceptance"]);
        }
        // The same requests in every run, whatever the machine's speed and earlier runs.
        command.args(["--seed", "2030", "--generation-database", "none", "--suppress-health-check", "too_slow"]);
        let report = reports.join(name.replace([' ', '/'], "-"));
        command.args(["--request-timeout", "10", "--report", "html", "--report-html-path"]).arg(&report);
        // Settings files are looked for from here upwards.
        command.current_dir(&reports);
        let code = shell::run(&mut command)?;
        if code != 0 {
            faults.push(format!("{name}: exit code {code}; each failure is above, and in {}", report.display()));
        }
        Ok(())
    };

    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let named = |flag, names: &[&'static str]| names.iter().flat_map(|name| [flag, *name]).collect::<Vec<&str>>();
    // One operation alone, or a few that share nothing, have no sequences to go through.
    let plain = "examples,coverage,fuzzing";
    pass(&["--auth", client], "as a client", plain, &named("--include-name", &IN_THEIR_NAME))?;
    pass(&["--header", &bearer(given)], "for a client", plain, &named("--include-name", &WITH_THEIR_TOKEN))?;
    // A host's app with its people.
    let mut singles = vec!["--include-path-regex", HOSTS];
    singles.extend(named("--exclude-name", &BATCHES));
    pass(&["--header", &bearer(own)], "as a host", "examples,coverage,fuzzing,stateful", &singles)?;
    let mut batches = named("--include-name", &BATCHES);
    batches.extend([BUT, "positive_data_acceptance,negative_data_rejection"]);
    pass(&["--header", &bearer(own)], "batches of a host", plain, &batches)?;
    // Managers may do all that anybody may, and more.
    let token = server.sign_in(MANAGER)?;
    let others = named("--exclude-name", &ENDINGS);
    pass(&["--header", &bearer(&token)], "all but endings", "examples,coverage,fuzzing,stateful", &others)?;
    // Asked now, told below: was the token good to the end?
    let alive = http::get_as(server.address, "/api/v1/me", &token)?.status;
    for name in ENDINGS {
        let token = server.sign_in(MANAGER)?;
        pass(&["--header", &bearer(&token)], name, plain, &["--include-name", name])?;
    }

    if alive != 200 {
        // 401 is an answer that the document allows everywhere: with a dead token the run has proven little.
        faults.push(format!("the access token died during the run: GET /api/v1/me was answered {alive} after it"));
    }
    if !faults.is_empty() {
        faults.push(format!("what the server wrote\n{}", server.log()));
    }
    faults.extend(server.stop());
    Ok(faults)
}
