//! What a task needs of the machine, and how to get it there.

use std::path::PathBuf;

use testkit::{is_root, postgresql, says};

use crate::shell;

pub struct Need {
    pub name: &'static str,
    pub is_there: fn() -> bool,
    /// The packages that hold it, as apt, dnf, apk and pacman call them.
    pub packages: [&'static str; 4],
}

pub const POSTGRESQL: Need = Need {
    name: "PostgreSQL's server",
    is_there: has_postgresql,
    packages: ["postgresql", "postgresql-server", "postgresql", "postgresql"],
};

pub const PGBOUNCER: Need = Need {
    name: "pgbouncer",
    is_there: || ["pgbouncer", "/usr/sbin/pgbouncer"].iter().any(|name| says(name, "PgBouncer")),
    packages: ["pgbouncer", "pgbouncer", "pgbouncer", "pgbouncer"],
};

pub const HAPROXY: Need = Need {
    name: "haproxy",
    is_there: || ["haproxy", "/usr/sbin/haproxy"].iter().any(|name| shell::output(name, &["-v"]).is_some()),
    packages: ["haproxy", "haproxy", "haproxy", "haproxy"],
};

pub const REDIS: Need = Need {
    name: "redis-server",
    is_there: || says("redis-server", "server v="),
    packages: ["redis-server", "redis", "redis", "valkey"],
};

pub const CHROMIUM: Need = Need {
    name: "chromium",
    is_there: || ["chromium", "chromium-browser", "google-chrome"].iter().any(|name| says(name, "Chrom")),
    packages: ["chromium", "chromium", "chromium", "chromium"],
};

pub const CHROMEDRIVER: Need = Need {
    name: "chromedriver",
    is_there: || says("chromedriver", "ChromeDriver"),
    packages: ["chromium-driver", "chromedriver", "chromium-chromedriver", "chromium"],
};

/// Comes with Prometheus.
pub const PROMTOOL: Need = Need {
    name: "promtool",
    is_there: || says("promtool", "promtool"),
    packages: ["prometheus", "golang-github-prometheus", "prometheus", "prometheus"],
};

/// Reads the QR codes of the tests.
pub const ZBARIMG: Need = Need {
    name: "zbarimg",
    is_there: || shell::output("zbarimg", &["--version"]).is_some(),
    packages: ["zbar-tools", "zbar", "zbar", "zbar"],
};

pub const PYTHON: Need = Need {
    name: "Python with venv",
    is_there: || shell::output("python3", &["-c", "import ensurepip, venv"]).is_some(),
    packages: ["python3-venv", "python3", "python3", "python"],
};

pub const NODE: Need = Need {
    name: "Node.js 20 or later with npm",
    is_there: has_node,
    packages: ["nodejs npm", "nodejs npm", "nodejs npm", "nodejs npm"],
};

/// Package managers and how they install, in the order of [`Need::packages`].
const MANAGERS: [(&str, &str); 4] = [
    ("apt-get", "apt-get update && apt-get install -y --no-install-recommends"),
    ("dnf", "dnf install -y"),
    ("apk", "apk add"),
    ("pacman", "pacman -S --needed --noconfirm"),
];

/// Makes sure of all of them: what is missing is installed where that is ours to do (apt and root, as on a
/// continuous-integration machine), else the one command that does it is told.
pub fn provide(needs: &[Need]) -> Result<(), String> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|need| need.name).collect::<Vec<_>>().join(", ");
    let manager = MANAGERS.iter().position(|(name, _)| shell::output(name, &["--version"]).is_some());
    let Some(manager) = manager else {
        return Err(format!("not on this machine: {names}; install them with your system's package manager"));
    };
    let mut packages: Vec<&str> = missing.iter().map(|need| need.packages[manager]).collect();
    packages.dedup();
    let (name, install) = MANAGERS[manager];
    let install = format!("{install} {}", packages.join(" "));
    if name != "apt-get" || !is_root() {
        let sudo = if is_root() { "" } else { "sudo " };
        return Err(format!("not on this machine: {names}; run `{sudo}sh -c '{install}'`"));
    }

    println!("xtask: not on this machine: {names}; running `{install}`");
    let mut command = shell::command("sh", &["-c", &install]);
    if shell::run(command.env("DEBIAN_FRONTEND", "noninteractive"))? != 0 {
        return Err(format!("this failed, see above: `{install}`"));
    }
    match missing.iter().find(|need| !(need.is_there)()) {
        Some(need) => Err(format!("{} does not work, although its package is installed", need.name)),
        None => Ok(()),
    }
}

fn has_postgresql() -> bool {
    postgresql_programs().is_some()
}

/// The folder that PostgreSQL's programs are in, empty when they are in PATH.
pub fn postgresql_programs() -> Option<PathBuf> {
    postgresql::programs(&["initdb", "postgres"])
}

fn has_node() -> bool {
    let version = shell::output("node", &["--version"]).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= 20) && shell::output("npm", &["--version"]).is_some()
}
