//! What `/metrics` counts, and that the dashboard, the alerts and the guide for operators speak of nothing else.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use super::tour::tour;
use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::figures::{figures, value};
use crate::support::process::Operator;
use crate::support::servers::free_port;

/// A family of figures, as the text exposition has it.
struct Family {
    name: String,
    kind: String,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: String,
    value: f64,
}

fn read_metrics(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').expect("a word");
            let (name, rest) = rest.split_once(' ').expect("a name");
            if word == "TYPE" {
                assert!(!families.iter().any(|family| family.name == name), "{name} comes twice");
                families.push(Family { name: name.to_owned(), kind: rest.to_owned(), samples: Vec::new() });
            } else {
                assert!(matches!(word, "HELP" | "UNIT"), "{line}");
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = sample
            .split_once('{')
            .map_or((sample, ""), |(name, rest)| (name, rest.strip_suffix('}').expect("the end of the labels")));
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(name.chars().all(plain), "{line}");
        for label in labels.split_terminator("\",") {
            let (key, value) = label.split_once("=\"").expect("a label");
            assert!(key.chars().all(plain) && !value.trim_end_matches('"').contains('"'), "{line}");
        }
        let family = families.last_mut().expect("a TYPE comes first");
        let end = name.strip_prefix(family.name.as_str()).expect("a sample of its family");
        let known: &[&str] = match family.kind.as_str() {
            "gauge" => &[""],
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        assert!(known.contains(&end), "{line} is no {}", family.kind);
        let value = value.parse().expect("a number");
        family.samples.push(Sample { name: name.to_owned(), labels: labels.to_owned(), value });
    }
    families
}

#[tokio::test]
async fn figures_are_on_a_listener_of_their_own_by_route_and_without_persons() {
    let mut operator = Operator::on_a_free_port();
    let figures = format!("127.0.0.1:{}", free_port());
    operator.set("REFERRAL_METRICS_LISTEN", &figures);
    let serving = operator.serve();
    let secrets = tour(&serving).await;
    for method in ["XYZZY", "ZEBULON"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        serving.client().request(method, "/api/v1/me").send().await.expect("an answer");
    }
    let answer = reqwest::get(format!("http://{figures}/metrics")).await.expect("figures");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().expect("a type").to_owned();
    assert!(kind.starts_with("application/openmetrics-text") || kind.starts_with("text/plain"), "{kind}");
    let text = answer.text().await.expect("a text");
    let families = read_metrics(&text);
    let family = |name: &str| {
        let found = families.iter().find(|family| family.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let requests = family("referral_http_requests");
    assert_eq!(requests.kind, "counter");
    let count = |method: &str, route: &str, status: u16| -> f64 {
        let wanted = [("method", method), ("route", route), ("status", &status.to_string())];
        let wanted = wanted.map(|(name, value)| format!("{name}=\"{value}\""));
        let of = requests.samples.iter().filter(|sample| wanted.iter().all(|label| sample.labels.contains(label)));
        of.map(|sample| sample.value).sum()
    };
    assert_eq!(count("GET", "/api/v1/codes/{code}", 200), 2.0, "{text}");
    assert_eq!(count("DELETE", "/api/v1/codes/{code}", 204), 1.0);
    assert_eq!(count("DELETE", "/api/v1/codes/{code}", 404), 1.0);
    assert_eq!(count("POST", "/api/v1/auth/user/{code}", 201), 1.0);
    // Methods that callers make up would be labels without end.
    assert!(!text.contains("XYZZY") && !text.contains("ZEBULON"), "{text}");
    secrets.assert_not_in(&text);
    let mut series = HashMap::new();
    for family in families.iter().filter(|family| family.kind == "histogram") {
        for bucket in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            // All labels but the bound name the series; each bucket holds those before it.
            let labels: Vec<&str> = bucket.labels.split(',').filter(|label| !label.starts_with("le=")).collect();
            let before = series.insert(labels.join(","), bucket.value).unwrap_or(0.0);
            assert!(bucket.value >= before, "{}{{{}}} is less than the one before", bucket.name, bucket.labels);
        }
    }
    assert!(series.len() > 10, "{series:?}");
    for gauge in ["referral_jobs_waiting", "referral_password_queue", "referral_redis_up"] {
        assert_eq!(family(gauge).kind, "gauge");
    }

    // Each listener has its own, and nothing of the other.
    serving.client().get("/metrics").await.expect_problem(404, "not_found");
    for path in ["/livez", "/docs", "/api/v1/me"] {
        assert_eq!(reqwest::get(format!("http://{figures}{path}")).await.expect("an answer").status(), 404, "{path}");
    }
    serving.stop().well();
}

#[tokio::test]
async fn no_figures_are_served_unless_they_are_asked_for() {
    let serving = Operator::on_a_free_port().serve();
    serving.client().get("/metrics").await.expect_problem(404, "not_found");
}

on_every_setup!(what_people_do_is_counted);
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

on_every_setup!(what_the_dashboard_and_the_alerts_ask_for_is_served);
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
    let known =
        |name: &str| served.contains(name) || (matches!(setup, Setup::Sqlite) && name.contains("database_connections"));
    let missing: Vec<&&str> = asked.iter().filter(|name| !known(name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not among {served:?}");
    // A name that nobody serves would be found.
    assert!(!known("referral_http_request_total") && known("referral_http_requests_total"));

    let guide = read("docs/operations.md");
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).map(|(name, _)| name);
    let untold: Vec<&str> = families.clone().filter(|name| !guide.contains(&format!("`{name}"))).collect();
    assert!(untold.is_empty(), "{untold:?} are not in the guide for operators");
    let shown: BTreeSet<&str> = dashboard.iter().flat_map(|text| names(text)).collect();
    let is_shown = |name: &&str| {
        ["", "_total", "_bucket", "_info"].iter().any(|end| shown.contains(format!("{name}{end}").as_str()))
    };
    let unseen: Vec<&str> = families.filter(|name| !is_shown(name)).collect();
    assert!(unseen.is_empty(), "{unseen:?} are not on the dashboard");
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
