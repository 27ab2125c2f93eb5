//! What the figures were measured on.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::Instant;

use crate::servers::{POSTGRES_SETTINGS, Postgres};

/// Names and values, in reading order.
pub fn describe(postgres: &Postgres) -> Vec<(String, String)> {
    let settings: Vec<String> = POSTGRES_SETTINGS.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let mut lines = vec![
        ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", commit()),
        ("processor", format!("{} x {}", processors(), field("/proc/cpuinfo", "model name"))),
        ("memory", gigabytes(&field("/proc/meminfo", "MemTotal"))),
        ("system", format!("Linux {}", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim())),
        ("virtual machine", field("/proc/cpuinfo", "flags").split(' ').any(|flag| flag == "hypervisor").to_string()),
        ("load before the run", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()),
        ("an fdatasync of 8 KiB", sync_time()),
        ("PostgreSQL", format!("{}; {}; the rest by default", postgres.version(), settings.join(", "))),
        (
            "durability",
            "fsync, full_page_writes and synchronous_commit are on; SQLite: WAL, synchronous = FULL".to_owned(),
        ),
        ("SQLite", rusqlite::version().to_owned()),
        ("Redis", output("redis-server", &["--version"])),
        ("compiler", output("rustc", &["--version"])),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn commit() -> String {
    let text = output("git", &["describe", "--always", "--dirty", "--abbrev=12"]);
    if text.is_empty() { "unknown".to_owned() } else { text }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

fn gigabytes(kilobytes: &str) -> String {
    let number = kilobytes.trim_end_matches("kB").trim().parse::<f64>().unwrap_or(0.0);
    format!("{:.0} GB", number * 1024.0 / 1e9)
}

/// What durability costs here: the median of a hundred.
fn sync_time() -> String {
    let path = std::env::temp_dir().join(format!("referral-bench-sync-{}", std::process::id()));
    let measure = || -> std::io::Result<f64> {
        let mut file = File::create(&path)?;
        let mut times = Vec::new();
        for _ in 0..100 {
            file.write_all(&[7; 8192])?;
            let began = Instant::now();
            file.sync_data()?;
            times.push(began.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        Ok(times[50])
    };
    let time = measure();
    let _ = fs::remove_file(&path);
    time.map(|seconds| format!("{:.2} ms", seconds * 1e3)).unwrap_or_default()
}
