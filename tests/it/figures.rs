//! What `/metrics` counts, and that the dashboard, the alerts and the guide for operators speak of nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use axum::extract::State;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};

/// What the listener for figures answers.
pub async fn figures(test: &TestApp) -> String {
    let Ok(answer) = referral::site::health::metrics(State(test.app().clone())).await else { panic!("no figures") };
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("a text")
}

/// The value of a sample, by its name with its labels.
#[track_caller]
pub fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {sample} in {text}"))
}

on_every_setup! {
    async fn what_people_do_is_counted(setup: Setup) {
        let test = setup.start().await;
        let olga = test.user("olga").await;
        olga.create_code("SPRING2030AB").await.expect(201);
        let client = test.client();
        client.register("ivan", Some("SPRING2030AB")).await.expect(201);
        client.register("ivan", None).await.expect(409);
        client.log_in("ivan", "a wrong password").await.expect(401);
        client.log_in("nobody-of-that-name", "a wrong password").await.expect(401);
        let disposable = json!({"username": "petr", "email": "petr@mailinator.com", "password": "stone-bridge-19"});
        client.post("/api/v1/auth/user", &disposable).await.expect(201);
        let text = figures(&test).await;
        assert_eq!(value(&text, "referral_registrations_total{way=\"password\"}"), 3.0);
        assert_eq!(value(&text, "referral_registrations_total{way=\"provider\"}"), 0.0);
        assert_eq!(value(&text, "referral_referrals_total{status=\"confirmed\"}"), 1.0);
        assert_eq!(value(&text, "referral_log_ins_total{outcome=\"ok\"}"), 1.0);
        assert_eq!(value(&text, "referral_log_ins_total{outcome=\"bad_credentials\"}"), 2.0);
        assert_eq!(value(&text, "referral_email_verdicts_total{verdict=\"disposable\"}"), 1.0);
        // Olga's token: its signature was looked at once, and remembered from then on.
        assert_eq!(value(&text, "referral_tokens_verified_total{from=\"signature\"}"), 1.0);
        assert!(value(&text, "referral_tokens_verified_total{from=\"memory\"}") >= 1.0, "{text}");
        assert_eq!(value(&text, "referral_password_queue_limit"), 64.0);

        let count = |text: &str, from| value(text, &format!("referral_code_lookups_total{{from=\"{from}\"}}"));
        assert_eq!(count(&text, "database") + count(&text, "redis") + count(&text, "process"), 0.0);
        olga.get(&format!("/api/v1/codes/{}", olga.email)).await.expect(200);
        assert_eq!(count(&figures(&test).await, "database"), 1.0);
        // A node that has not kept up with the feed for a moment asks the database again.
        eventually("a look-up from memory", || async {
            olga.get(&format!("/api/v1/codes/{}", olga.email)).await.expect(200);
            count(&figures(&test).await, "process") >= 1.0
        })
        .await;
    }

    async fn what_the_dashboard_and_the_alerts_ask_for_is_served(setup: Setup) {
        let test = setup.start().await;
        test.user("olga").await;
        // Jobs are counted from the first one on.
        test.app().metrics.job("check_email", "done");
        let text = figures(&test).await;
        let served: BTreeSet<&str> = samples(&text).collect();
        let (rules, dashboard) = (read("deploy/alerts.yml"), expressions(&read("deploy/grafana.json")));
        let asked: BTreeSet<&str> = dashboard.iter().chain([&rules]).flat_map(|text| names(text)).collect();
        assert!(asked.len() > 20, "{asked:?}");
        // SQLite has threads where PostgreSQL has connections.
        let known = |name: &str| served.contains(name) || (matches!(setup, Setup::Sqlite) && name.contains("database_connections"));
        let missing: Vec<&&str> = asked.iter().filter(|name| !known(name)).collect();
        assert!(missing.is_empty(), "{missing:?} are not among {served:?}");
        // A name that nobody serves would be found.
        assert!(!known("referral_http_request_total") && known("referral_http_requests_total"));

        let guide = read("docs/operations.md");
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).map(|(name, _)| name);
        let untold: Vec<&str> = families.clone().filter(|name| !guide.contains(&format!("`{name}"))).collect();
        assert!(untold.is_empty(), "{untold:?} are not in the guide for operators");
        let shown: BTreeSet<&str> = dashboard.iter().flat_map(|text| names(text)).collect();
        let is_shown = |name: &&str| ["", "_total", "_bucket", "_info"].iter().any(|end| shown.contains(format!("{name}{end}").as_str()));
        let unseen: Vec<&str> = families.filter(|name| !is_shown(name)).collect();
        assert!(unseen.is_empty(), "{unseen:?} are not on the dashboard");
    }
}

/// Prometheus itself reads the rules, tries them on made-up figures, and reads what the dashboard asks.
#[test]
fn prometheus_understands_the_alerts_and_the_dashboard() {
    promtool(&["check", "rules"], &path("deploy/alerts.yml"));
    promtool(&["test", "rules"], &path("deploy/alerts.test.yml"));
    let folder = tempfile::tempdir().expect("a folder");
    let rules: Vec<Value> = expressions(&read("deploy/grafana.json"))
        .iter()
        .enumerate()
        .map(|(place, expression)| json!({"record": format!("panel:{place}"), "expr": expression}))
        .collect();
    let file = folder.path().join("panels.yml");
    // JSON is YAML.
    std::fs::write(&file, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()).expect("a file");
    promtool(&["check", "rules"], &file);
}

fn promtool(arguments: &[&str], file: &Path) {
    let output = Command::new("promtool").args(arguments).arg(file).output();
    let output = output.expect("promtool is not on this machine: run `cargo xtask test`, which installs it");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

/// What the panels of a dashboard ask, with its variables filled in as Grafana does.
fn expressions(dashboard: &str) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions: Vec<String> = targets
        .map(|target| target["expr"].as_str().expect("an expression"))
        .map(|text| text.replace("$__rate_interval", "5m").replace("$instance", ".*"))
        .collect();
    assert!(expressions.len() > 20 && expressions.iter().all(|text| !text.contains('$')), "{expressions:?}");
    expressions
}

/// The names of our figures, and of the process's, in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("referral_") || word.starts_with("process_"))
}

fn samples(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next())
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the guide says of PostgreSQL's limits is what a request gets.
#[test]
fn the_guide_tells_the_limits_that_a_request_has() {
    let code = read("src/db/postgres.rs");
    // Shares of a request's time, and what they are of the ten seconds that a request has by default.
    for share in ["place: request / 10", "lock: request / 5", "statement: request * 3 / 10"] {
        assert!(code.contains(share), "{share}");
    }
    assert!(read("referral.default.toml").contains("\nrequest_seconds = 10\n"));
    let guide = read("docs/operations.md").replace('\n', " ");
    let told = "it waits 1 s for a connection, 2 s for a lock and 3 s for a statement at most";
    assert!(guide.contains(told), "the guide does not say: {told}");
}
