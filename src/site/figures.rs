//! Figures that are looked at when somebody asks for them, beside those that are counted as things happen.

use std::fmt::Write;
use std::fs;
use std::sync::atomic::Ordering;

use crate::app::App;
use crate::db::Usage;

/// In Prometheus' text format, to stand before the others.
pub fn observed(app: &App) -> String {
    let mut text = String::new();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    family(&mut text, "referral_build_info", "gauge", "What runs; the value is always 1", &[(&version, 1.0)]);
    database(&mut text, &app.db.usage());
    let answers = app.codes.answers();
    let looked_up = [("process", &answers.process), ("redis", &answers.redis), ("database", &answers.database)];
    let looked_up = looked_up.map(|(from, count)| (format!("from=\"{from}\""), count.load(Ordering::Relaxed) as f64));
    let looked_up: Vec<(&str, f64)> = looked_up.iter().map(|(labels, count)| (labels.as_str(), *count)).collect();
    family(&mut text, "referral_code_lookups", "counter", "Codes looked up by e-mail, by what answered", &looked_up);
    let room = app.hasher.room() as f64;
    family(&mut text, "referral_password_queue_limit", "gauge", "Password hashes that may wait", &[("", room)]);
    process(&mut text);
    text
}

fn database(text: &mut String, usage: &Usage) {
    if let Some([busy, idle, most]) = usage.connections {
        let states = [("state=\"busy\"", busy as f64), ("state=\"idle\"", idle as f64)];
        family(text, "referral_database_connections", "gauge", "Connections of the pool", &states);
        let most = [("", most as f64)];
        family(text, "referral_database_connections_limit", "gauge", "Connections the pool may have", &most);
    }
    let waiting: Vec<(String, f64)> =
        usage.waiting.iter().map(|(name, count)| (format!("for=\"{name}\""), *count as f64)).collect();
    let waiting: Vec<(&str, f64)> = waiting.iter().map(|(labels, count)| (labels.as_str(), *count)).collect();
    family(text, "referral_database_waiting", "gauge", "Requests and jobs that wait for the database", &waiting);
}

/// `USER_HZ`, which is 100 wherever Linux runs this.
const TICKS: f64 = 100.0;

/// Under the names that Prometheus' own client libraries have, from `/proc`. What a system does not tell is left out.
fn process(text: &mut String) {
    let mut gauge = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            family(text, name, kind, help, &[("", value)]);
        }
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let stat = read("/proc/self/stat");
    // What stands in front is the name, which may hold anything.
    let stat: Vec<&str> = stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
    let ticks = |place: usize| stat.get(place).and_then(|field| field.parse::<f64>().ok()).map(|ticks| ticks / TICKS);
    let processor = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    gauge("process_cpu_seconds", "counter", "Processor time, user and system", processor);
    let status = read("/proc/self/status");
    let kilobytes = |name: &str| number(&status, name).map(|kilobytes| kilobytes * 1024.0);
    gauge("process_resident_memory_bytes", "gauge", "Resident memory", kilobytes("VmRSS:"));
    let anonymous = kilobytes("RssAnon:");
    gauge("process_anonymous_memory_bytes", "gauge", "Resident memory that no file backs", anonymous);
    gauge("process_virtual_memory_bytes", "gauge", "Virtual memory", kilobytes("VmSize:"));
    let open = fs::read_dir("/proc/self/fd").ok().map(|descriptors| descriptors.count() as f64);
    gauge("process_open_fds", "gauge", "Open file descriptors", open);
    let most = number(&read("/proc/self/limits"), "Max open files");
    gauge("process_max_fds", "gauge", "File descriptors that may be open", most);
    let since_boot = ticks(19);
    let started = since_boot.zip(number(&read("/proc/stat"), "btime")).map(|(after, boot)| boot + after);
    gauge("process_start_time_seconds", "gauge", "When the process began, since 1970", started);
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn family(text: &mut String, name: &str, kind: &str, help: &str, samples: &[(&str, f64)]) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    let end = if kind == "counter" { "_total" } else { "" };
    for (labels, value) in samples {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{name}{end}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_tells_of_itself() {
        let mut text = String::new();
        process(&mut text);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let (anonymous, resident) = (value("process_anonymous_memory_bytes"), value("process_resident_memory_bytes"));
        assert!(0.0 < anonymous && anonymous < resident && resident < value("process_virtual_memory_bytes"), "{text}");
        assert!(2.0 < value("process_open_fds") && value("process_open_fds") < value("process_max_fds"), "{text}");
        // This process has not run for a year, and it has not begun in the future.
        let now = crate::kernel::time::Clock::default().now().0 as f64 / 1e6;
        let started = value("process_start_time_seconds");
        assert!(now - 31e6 < started && started < now + 5.0, "{started} of {now}");
    }

    #[test]
    fn a_counter_ends_in_total() {
        let mut text = String::new();
        family(&mut text, "a", "counter", "Words", &[("from=\"b\"", 2.0)]);
        assert_eq!(text, "# HELP a Words\n# TYPE a counter\na_total{from=\"b\"} 2\n");
    }
}
