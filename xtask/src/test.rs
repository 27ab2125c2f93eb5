//! `cargo xtask test`

use crate::interop::python;
use crate::machine::{CHROMEDRIVER, CHROMIUM, PGBOUNCER, POSTGRESQL, PROMTOOL, REDIS, ZBARIMG, provide};
use crate::{Failure, Outcome, help, shell};

const HELP: &str = "\
Run every test of the workspace, with `cargo test --workspace --locked`.

Usage: cargo xtask test [-- ARGS]

The tests start real servers of their own, in temporary folders and on free ports: PostgreSQL, PgBouncer, Redis,
ChromeDriver with Chromium, and aiosmtpd, which is installed from PyPI into target/mail-server. Prometheus' promtool
reads the alerts, and zbarimg the QR codes. What else is missing is installed from the system's packages where apt-get
is there and we are root; elsewhere the command that installs it is told.

Arguments:
  ARGS  Passed on to the test binaries, for example `-- --nocapture` or a part of tests' names

Once everything is installed, plain `cargo test` does as well.
";

pub fn run(arguments: &[String]) -> Outcome {
    let passed_on = match arguments.split_first() {
        None => &[][..],
        Some((first, rest)) if first == "--" => rest,
        Some((first, _)) if first == "-h" || first == "--help" => return help(HELP),
        Some((first, _)) => return Err(Failure::Usage(format!("what is `{first}`?"), HELP)),
    };
    provide(&[POSTGRESQL, PGBOUNCER, REDIS, CHROMIUM, CHROMEDRIVER, PROMTOOL, ZBARIMG])?;
    let mail_server = shell::root().join("target/mail-server");
    python::environment(&mail_server, &["aiosmtpd"], include_str!("mail_server.txt"))?;
    let mut cargo = shell::command("cargo", &["test", "--workspace", "--locked", "--"]);
    Ok(shell::run(cargo.args(passed_on))?)
}
