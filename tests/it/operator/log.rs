//! What is in the log, and what never is.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::tour::{Secrets, tour};
use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::hunter::{Hunter, Reply};
use crate::support::operator::operator;
use crate::support::process::Operator;
use crate::support::servers::{Postgres, PostgresOptions, Redis};

on_every_setup!(at_level_debug_no_person_is_in_the_log);
async fn at_level_debug_no_person_is_in_the_log(setup: Setup) {
    let redis = if setup == Setup::PostgresAndRedis { Some(Redis::start().await) } else { None };
    let hunter = Hunter::saying(|_| Reply::verdict("valid")).await;
    let mut operator = operator(setup).await;
    if let Some(redis) = &redis {
        operator.set("REDIS_URL", redis.url());
    }
    operator.set("REFERRAL_LOG", "debug");
    operator.set("HUNTER_URL", &hunter.url);
    operator.set("HUNTER_API_KEY", "a-key-of-hunters");
    let serving = operator.serve();
    let mut secrets = tour(&serving).await;
    secrets.of(&["a-key-of-hunters"]);
    eventually("Hunter is asked", || async { !hunter.asked().is_empty() }).await;
    let admin =
        operator.run_with(&["admin", "create", "Quokka5", "quokka5@private-domain.example"], "xq9-unusual-pass").well();
    let ended = serving.stop().well();
    let log: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(log.iter().filter(|entry| entry["message"] == "answered").count() > 30, "every request is in the log");
    assert!(log.iter().any(|entry| entry["message"].as_str().is_some_and(|text| text.contains("used again"))));
    secrets.assert_not_in(&ended.stderr);
    secrets.assert_not_in(&ended.stdout);
    secrets.assert_not_in(&admin.stderr);
}

#[tokio::test]
async fn the_id_of_a_refused_request_is_in_the_log_at_level_debug() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_LOG", "referral=debug,warn");
    let serving = operator.serve();
    let refused = serving.client().get("/api/v1/me").await.expect(401);
    let id = refused.header("x-request-id").to_owned();
    assert_eq!(refused.json()["instance"], format!("urn:uuid:{id}"));
    eventually("it is logged", || async { serving.log().contains(&id) }).await;
    let ended = serving.stop().well();
    let entry = ended.stderr.lines().find(|line| line.contains(&id) && line.contains("refused")).expect("an entry");
    let entry: Value = serde_json::from_str(entry).expect("JSON");
    assert_eq!(
        (&entry["request"], &entry["status"], &entry["code"]),
        (&json!(id), &json!(401), &json!("not_authenticated"))
    );
}

#[tokio::test]
async fn the_id_of_a_request_that_failed_is_in_the_log_at_level_info_and_no_person_with_it() {
    let mut server = Postgres::start(PostgresOptions::default()).await;
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", server.database().await);
    let serving = operator.serve();
    server.kill();
    let failed = Mutex::new(None);
    // What is left of the server may answer for another moment.
    eventually("the database is missed", || async {
        let answer = serving.client().log_in("zebulon@private-domain.example", "xq9-unusual-pass").await;
        let missed = answer.status == 503;
        *failed.lock().expect("no panic in here") = Some(answer);
        missed
    })
    .await;
    let failed = failed.into_inner().expect("no panic in there").expect("an answer");
    assert!(!failed.header("retry-after").is_empty());
    let id = failed.header("x-request-id").to_owned();
    eventually("it is logged", || async { serving.log().contains(&id) }).await;
    let ended = serving.stop().well();
    let entry = ended.stderr.lines().find(|line| line.contains(&id)).expect("an entry");
    let entry: Value = serde_json::from_str(entry).expect("JSON");
    assert_eq!((&entry["level"], &entry["status"]), (&json!("ERROR"), &json!(503)));
    assert!(entry["context"].as_str().is_some_and(|text| !text.is_empty()), "{entry}");
    Secrets(vec!["zebulon".into(), "private-domain".into(), "xq9".into()]).assert_not_in(&ended.stderr);
}

#[tokio::test]
async fn the_first_line_of_the_log_says_what_runs_and_on_what() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REDIS_URL", "redis://:s3cr3t@127.0.0.1:1");
    let url = Postgres::shared().await.database().await;
    for database in ["sqlite:referral.db", &url] {
        operator.set("DATABASE_URL", database);
        let serving = operator.serve();
        let address = serving.url.trim_start_matches("http://").to_owned();
        let log = serving.stop().well().stderr;
        let first: Value = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["message"], "Referral starts", "{first}");
        assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
        assert!(first["commit"].as_str().is_some_and(|commit| commit.len() == 12 || commit == "unknown"), "{first}");
        let engine = first["engine"].as_str().expect("a text");
        let (name, version) = engine.split_once(' ').expect("a name and a version");
        assert_eq!(name, if database.starts_with("sqlite") { "SQLite" } else { "PostgreSQL" });
        assert!(version.starts_with(|letter: char| letter.is_ascii_digit()), "{first}");
        assert_eq!(first["redis"], "redis://:***@127.0.0.1:1");
        assert_eq!(first["address"], address);
        let off = first["off"].as_str().expect("a text");
        assert!(off.contains("limits") && off.contains("metrics") && !off.contains("redis"), "{first}");
        assert!(!log.contains("s3cr3t"), "{log}");
    }
}

/// A filter that would silence the service is no filter, and an empty one is none.
#[tokio::test]
async fn a_log_level_that_is_none_is_refused() {
    let mut operator = Operator::on_a_free_port();
    for (level, part) in [
        ("inof", "did you mean info?"),
        ("warning", "did you mean warn?"),
        ("verbose", "did you mean debug?"),
        ("referal=debug", "did you mean referral?"),
    ] {
        operator.set("REFERRAL_LOG", level);
        operator.run(&["serve"]).refused(&["log.level (REFERRAL_LOG) is not a filter", part]);
    }
    // Whoever names one part does not silence the others.
    for level in ["", "hyper=debug"] {
        operator.set("REFERRAL_LOG", level);
        let log = operator.serve().stop().well().stderr;
        assert!(log.contains("Referral starts"), "{level}: {log}");
    }
}

#[tokio::test]
async fn a_text_log_in_a_file_has_no_colours() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_LOG_FORMAT", "text");
    let log = operator.serve().stop().well().stderr;
    assert!(log.contains("Referral starts"), "{log}");
    assert!(!log.contains('\x1b'), "{log}");
}
