//! What Hunter is asked, and what each of its answers means.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use referral::features::accounts::actions::email_check::check_email;
use referral::jobs::{self, Job, Kind, Outcome};
use serde_json::json;

use super::helpers::{job, open_jobs, register, verdict};
use crate::on_both_engines;
use crate::support::app::{Setup, TestApp};
use crate::support::client::PASSWORD;
use crate::support::hunter::{Hunter, Reply};

/// Runs each question that is due once, even when the answer lets it be asked again a moment later.
async fn ask_once(test: &TestApp) -> HashMap<String, Outcome> {
    let app = test.app();
    let mut due = Vec::new();
    loop {
        let claimed = jobs::claim(&app.db, Kind::CheckEmail, 16, app.clock.now()).await.expect("a claim");
        if claimed.is_empty() {
            break;
        }
        due.extend(claimed);
    }
    let run = async |job: &Job| {
        let outcome = check_email(app, job).await.expect("no fault");
        let copy = match &outcome {
            Outcome::Done(word) => Outcome::Done(word),
            Outcome::Again { after, why } => Outcome::Again { after: *after, why },
            Outcome::GiveUp(why) => Outcome::GiveUp(why),
        };
        jobs::settle(&app.db, job, outcome, app.clock.now()).await.expect("no fault");
        (job.subject.clone(), copy)
    };
    join_all(due.iter().map(run)).await.into_iter().collect()
}

#[tokio::test]
async fn the_question_is_hunters_with_the_key_in_a_header_and_the_address_escaped() {
    let hunter = Hunter::saying(|_| Reply::verdict("valid")).await;
    let test = Setup::Sqlite.start_with(&hunter.settings("flag")).await;
    for (name, email, asked) in [
        ("plus", "a+b@asked.test", "a+b@asked.test"),
        ("apostrophe", "o'neil@asked.test", "o'neil@asked.test"),
        ("domain", "ivan@почта.рф", "ivan@xn--80a1acny.xn--p1ai"),
        ("signs", "a&b=c#d%20?e@asked.test", "a&b=c#d%20?e@asked.test"),
    ] {
        let body = json!({"username": name, "email": email, "password": PASSWORD});
        test.client().post("/api/v1/auth/user", &body).await.expect(201);
        test.drain().await;
        let question = hunter.asked().pop().expect("a question");
        assert_eq!((question.method.as_str(), question.path.as_str()), ("GET", "/v2/email-verifier"));
        assert_eq!(question.header("x-api-key"), Some("k"));
        assert_eq!(question.email(), asked, "{}", question.query);
        // Nothing but the address, which is one value: a plus would be read as a space, an ampersand as its end.
        let value = question.query.strip_prefix("email=").expect("one parameter");
        let escaped = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '*' | '%');
        assert!(value.chars().all(escaped), "{value}");
    }
    assert_eq!(hunter.asked().len(), 4, "one question for each");
}

#[tokio::test]
async fn an_address_with_letters_of_any_script_before_its_sign_is_asked_about_as_well() {
    let hunter = Hunter::saying(|_| Reply::verdict("valid")).await;
    let test = Setup::Sqlite.start_with(&hunter.settings("flag")).await;
    let body = json!({"username": "local", "email": "юзер@asked.test", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect(201);
    test.drain().await;
    assert_eq!(hunter.asked()[0].email(), "юзер@asked.test");
}

#[tokio::test]
async fn a_node_asks_no_more_than_ten_questions_a_second() {
    let hunter = Hunter::saying(|_| Reply::verdict("valid")).await;
    let test = Setup::Sqlite.start_with(&hunter.settings("flag")).await;
    for number in 0..13 {
        register(&test, &format!("user{number}"), None).await;
    }
    let began = Instant::now();
    test.drain().await;
    assert_eq!(hunter.asked().len(), 13);
    // The first may be asked at once, the thirteenth not before 1.2 s.
    assert!(began.elapsed() >= Duration::from_millis(1200), "{:?}", began.elapsed());
}

/// What an answer leads to.
enum Leads {
    To(&'static str),
    /// Asked again after so many seconds.
    Again(u64),
}

/// Each answer that Hunter documents, and those that only a broken Hunter gives; a user is named like each.
fn answers() -> Vec<(&'static str, Reply, Leads)> {
    use Leads::{Again, To};
    let status = |status| Reply::new(status, &[("content-type", "application/json")], r#"{"errors": []}"#);
    let later = |status, seconds| Reply::new(status, &[("retry-after", seconds)], "");
    let body = |body: &str| Reply::new(200, &[("content-type", "application/json")], body);
    let padded = format!(r#"{{"data": {{"status": "valid"}}, "padding": "{}"}}"#, "x".repeat(1 << 20));
    vec![
        ("valid", Reply::verdict("valid"), To("valid")),
        ("invalid", Reply::verdict("invalid"), To("invalid")),
        ("accept_all", Reply::verdict("accept_all"), To("accept_all")),
        ("webmail", Reply::verdict("webmail"), To("webmail")),
        ("disposable", Reply::verdict("disposable"), To("disposable")),
        ("unknown", Reply::verdict("unknown"), To("unknown")),
        ("a.new.word", Reply::verdict("sparkling"), To("unknown")),
        ("s202", status(202), Again(1)),
        ("s222", status(222), Again(1)),
        ("s400", status(400), To("unknown")),
        ("s401", status(401), Again(300)),
        ("s403", status(403), Again(60)),
        ("s403.later", later(403, "11"), Again(11)),
        ("s404", status(404), To("unknown")),
        ("s422", status(422), To("unknown")),
        ("s429", status(429), Again(300)),
        ("s429.later", later(429, "7"), Again(7)),
        ("s429.much.later", later(429, "99999999"), Again(3600)),
        ("s429.date", later(429, "Fri, 31 Dec 2049 23:59:59 GMT"), Again(300)),
        ("s451", status(451), To("unknown")),
        ("s500", status(500), Again(1)),
        ("s503", status(503), Again(1)),
        ("s503.later", later(503, "9"), Again(9)),
        ("s418", status(418), Again(1)),
        ("garbage", body("<html>busy</html>"), Again(1)),
        ("no.data", body("{}"), Again(1)),
        ("no.word", body(r#"{"data": {"status": null}}"#), Again(1)),
        ("not.utf8", Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe".to_vec()), Again(1)),
        ("a.megabyte", body(&padded), Again(1)),
        ("cut.off", Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"data\": {".to_vec()), Again(1)),
        ("no.http", Reply::Bytes(b"220 mail.example ESMTP\r\n".to_vec()), Again(1)),
        ("closed", Reply::Bytes(Vec::new()), Again(1)),
    ]
}

on_both_engines!(every_answer_leads_to_a_verdict_or_to_another_question);
async fn every_answer_leads_to_a_verdict_or_to_another_question(setup: Setup) {
    let by_name: HashMap<String, Reply> =
        answers().into_iter().map(|(name, reply, _)| (format!("{name}@asked.test"), reply)).collect();
    let hunter = Hunter::saying(move |asked| by_name[&asked.email()].clone()).await;
    let mut settings = hunter.settings("flag").to_vec();
    // None gives up while this test moves the clock.
    settings.push(("REFERRAL_EMAIL_GIVE_UP_MINUTES", "10000"));
    let test = setup.start_with(&settings).await;
    let mut ids = HashMap::new();
    for (name, ..) in answers() {
        ids.insert(name, register(&test, name, None).await);
    }
    let outcomes = ask_once(&test).await;
    for (name, _, leads) in answers() {
        let (open, _, why) = job(&test, &ids[name]).await;
        let verdict = verdict(&test, &ids[name]).await;
        match (leads, &outcomes[&ids[name]]) {
            (Leads::To(expected), Outcome::Done(word)) => {
                assert_eq!(
                    (*word, open, verdict.as_str(), why.as_str()),
                    (expected, false, expected, expected),
                    "{name}"
                );
            }
            (Leads::Again(seconds), Outcome::Again { after, why: said }) => {
                assert_eq!(after.as_secs(), seconds, "{name}");
                assert_eq!((open, verdict.as_str(), why.as_str()), (true, "pending", *said), "{name}");
            }
            _ => panic!("{name}: {verdict}, {why}"),
        }
    }

    // Hunter recovers, and everything drains.
    hunter.says(|_| Reply::verdict("webmail"));
    test.move_clock(Duration::from_secs(3601));
    test.drain().await;
    assert_eq!(open_jobs(&test).await, 0);
    for (name, _, leads) in answers() {
        let word = if let Leads::To(word) = leads { word } else { "webmail" };
        assert_eq!(verdict(&test, &ids[name]).await, word, "{name}");
    }
    for (name, _, leads) in answers() {
        let times = hunter.asked().iter().filter(|asked| asked.email() == format!("{name}@asked.test")).count();
        assert_eq!(times, if matches!(leads, Leads::To(_)) { 1 } else { 2 }, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_ready_is_asked_for_again_until_it_is() {
    let hunter = Hunter::saying(|_| Reply::new(202, &[], "")).await;
    let test = Setup::Sqlite.start_with(&hunter.settings("flag")).await;
    let id = register(&test, "slow", None).await;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let Outcome::Again { after, .. } = &ask_once(&test).await[&id] else { panic!("there was no answer yet") };
        let (open, run_at, _) = job(&test, &id).await;
        assert!(open && run_at <= test.app().clock.now().plus(*after).0);
        test.move_clock(*after);
        pauses.push(after.as_secs());
    }
    // Twice as long each time, but never so long that a verdict comes much later than it could.
    assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 64, 128]);
    assert!(pauses[8..].iter().all(|pause| (128..=300).contains(pause)), "{pauses:?}");
    hunter.says(|_| Reply::verdict("valid"));
    assert_eq!(test.drain().await, 1);
    assert_eq!(verdict(&test, &id).await, "valid");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Hunter::saying(|_| Reply::verdict("valid")).await;
    let target = elsewhere.url.clone();
    let hunter = Hunter::saying(move |asked| {
        let status = asked.email().trim_end_matches("@asked.test").parse().expect("named after a status");
        Reply::new(status, &[("location", &format!("{target}/v2/email-verifier?email=x"))], "")
    })
    .await;
    let test = Setup::Sqlite.start_with(&hunter.settings("flag")).await;
    for status in ["301", "302", "303", "307", "308"] {
        let id = register(&test, status, None).await;
        ask_once(&test).await;
        assert!(job(&test, &id).await.0, "{status}: the job is still open");
        assert_eq!(verdict(&test, &id).await, "pending", "{status}");
    }
    assert_eq!(hunter.asked().len(), 5);
    assert!(elsewhere.asked().is_empty(), "the key would have gone along");
}

#[tokio::test]
async fn a_hunter_that_is_not_there_is_asked_again() {
    // Nothing listens on port 1.
    let settings = [("HUNTER_URL", "http://127.0.0.1:1"), ("HUNTER_API_KEY", "k")];
    let test = Setup::Sqlite.start_with(&settings).await;
    let id = register(&test, "patient", None).await;
    assert_eq!(ask_once(&test).await.len(), 1);
    let (open, _, outcome) = job(&test, &id).await;
    assert!(open);
    assert_eq!(outcome, "the verifier cannot be reached");
}
