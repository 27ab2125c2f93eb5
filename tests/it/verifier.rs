//! Checking addresses with Hunter: what is asked, what each answer means under each policy, and that registrations
//! complete whatever Hunter does. With it the queue that carries the questions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use referral::features::accounts::actions::email_check::check_email;
use referral::jobs::{self, Job, Kind, Outcome};
use referral::worker;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::hunter::{Hunter, Reply};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Registers NAME with an address at a domain that is on no list, and returns the id.
async fn register(test: &TestApp, name: &str, code: Option<&str>) -> String {
    let body = json!({"username": name, "email": format!("{name}@asked.test"), "password": PASSWORD, "code": code});
    let answer = test.client().post("/api/v1/auth/user", &body).await.expect(201).json();
    answer["id"].as_str().expect("an id").to_owned()
}

async fn log_in(test: &TestApp, name: &str) -> Answer {
    test.client().log_in(name, PASSWORD).await
}

/// What the database knows about an address.
async fn verdict(test: &TestApp, id: &str) -> String {
    let user = match test.setup {
        Setup::Sqlite => format!("x'{}'", id.replace('-', "")),
        _ => format!("'{id}'"),
    };
    let rows = test.query(&format!("select email_verdict from users where id = {user}")).await;
    rows[0][0].clone().expect("a verdict")
}

/// The job that asks about a user: whether it is open, since when it may run next, how the last try went.
async fn job(test: &TestApp, id: &str) -> (bool, i64, String) {
    let rows = test
        .query(&format!(
            "select case when done_at is null then 1 else 0 end, run_at, coalesce(outcome, '') from jobs \
             where kind = 'check_email' and subject = '{id}'"
        ))
        .await;
    let text = |index: usize| rows[0][index].clone().expect("a value");
    (text(0) == "1", text(1).parse().expect("a number"), text(2))
}

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

/// Questions that were ever to be asked. (Referrals bring jobs of another kind now and then.)
async fn questions(test: &TestApp) -> i64 {
    test.number("select count(*) from jobs where kind = 'check_email'").await
}

async fn open_jobs(test: &TestApp) -> i64 {
    jobs::waiting(&test.app().db).await.expect("a count")
}

// ------------------------------------------------------------------------------------------------ the question

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

// ------------------------------------------------------------------------------------------------- the answers

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

on_both_engines! {
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
                    assert_eq!((*word, open, verdict.as_str(), why.as_str()), (expected, false, expected, expected), "{name}");
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

// --------------------------------------------------------------------------------------- a Hunter that is silent

on_both_engines! {
    /// Half-open: connections are taken and nothing is ever said.
    async fn while_hunter_is_silent_registrations_complete_and_other_work_goes_on(setup: Setup) {
        let hunter = Hunter::saying(|_| Reply::Silence).await;
        let test = setup.start_with(&hunter.settings("flag")).await;
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let working = tokio::spawn(worker::work(test.app().clone(), stopped));
        let first = register(&test, "first", None).await;
        eventually("Hunter is asked", || async { hunter.asked().len() == 1 }).await;

        let second = register(&test, "second", None).await;
        log_in(&test, "second").await.expect(200);
        test.sql(&format!(
            "insert into jobs (kind, subject, created_at, run_at, attempts) values ('fold_referrals', '{first}', 0, 0, 0)"
        ))
        .await;
        eventually("other jobs are done", || async {
            test.number("select count(*) from jobs where kind = 'fold_referrals' and done_at is not null").await == 1
        })
        .await;
        for id in [&first, &second] {
            assert!(job(&test, id).await.0, "the job is still open");
            assert_eq!(verdict(&test, id).await, "pending");
        }

        // The node dies over it. When its lease has run out another one asks, and by then Hunter speaks.
        working.abort();
        let _ = working.await;
        hunter.says(|_| Reply::verdict("valid"));
        test.move_clock(Duration::from_secs(121));
        test.drain().await;
        assert_eq!(open_jobs(&test).await, 0);
        for id in [&first, &second] {
            assert_eq!(verdict(&test, id).await, "valid");
        }
    }
}

// ------------------------------------------------------------------------------------------------- the policies

/// An owner whose address is good, logged in, with a code.
async fn owner(test: &TestApp) -> Client {
    register(test, "owner", None).await;
    test.drain().await;
    let owner = test.client().logged_in("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    owner
}

/// The status of each referee in the owner's list, by name.
async fn statuses(owner: &Client) -> HashMap<String, String> {
    let list = owner.get(&format!("/api/v1/users/{}", owner.id)).await.expect(200).json();
    let items = list["items"].as_array().expect("items").clone();
    assert_eq!(list["total"], json!(items.len()));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    items.iter().map(|item| (text(&item["username"]), text(&item["status"]))).collect()
}

/// Says what the name of the user in the address says; the owner's is good.
async fn hunter_by_name() -> Hunter {
    Hunter::saying(|asked| match asked.email().trim_end_matches("@asked.test") {
        "owner" => Reply::verdict("valid"),
        word => Reply::verdict(word),
    })
    .await
}

const WORDS: [&str; 6] = ["valid", "invalid", "accept_all", "webmail", "disposable", "unknown"];

on_both_engines! {
    async fn under_off_nothing_is_asked_and_nobody_waits(setup: Setup) {
        let hunter = hunter_by_name().await;
        let test = setup.start_with(&hunter.settings("off")).await;
        let owner = owner(&test).await;
        register(&test, "invalid", Some("SPRING2030AB")).await;
        let me = test.client().logged_in("invalid").await;
        assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "unchecked");
        let body = json!({"username": "short", "email": "short@mailinator.com", "password": PASSWORD});
        test.client().post("/api/v1/auth/user", &body).await.expect(201);
        let me = test.client().logged_in("short").await;
        assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "unchecked");
        test.drain().await;
        assert_eq!(questions(&test).await, 0);
        assert!(hunter.asked().is_empty());
        assert_eq!(statuses(&owner).await["invalid"], "confirmed");
    }

    async fn under_flag_the_verdict_is_shown_and_bars_nobody(setup: Setup) {
        let hunter = hunter_by_name().await;
        let test = setup.start_with(&hunter.settings("flag")).await;
        let owner = owner(&test).await;
        for word in WORDS {
            register(&test, word, Some("SPRING2030AB")).await;
            let me = test.client().logged_in(word).await;
            assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "pending");
            assert_eq!(statuses(&owner).await[word], "confirmed");
        }
        test.drain().await;
        for word in WORDS {
            let me = test.client().logged_in(word).await;
            assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], word);
            assert_eq!(statuses(&owner).await[word], "confirmed");
        }
        // A domain on our own list is flagged without a question.
        let asked = hunter.asked().len();
        let body = json!({"username": "short", "email": "short@mailinator.com", "password": PASSWORD, "code": "SPRING2030AB"});
        test.client().post("/api/v1/auth/user", &body).await.expect(201);
        test.drain().await;
        assert_eq!(questions(&test).await as usize, asked);
        assert_eq!(hunter.asked().len(), asked);
        let me = test.client().logged_in("short").await;
        assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "disposable");
        assert_eq!(statuses(&owner).await["short"], "confirmed");
    }

    async fn under_block_log_in_and_the_referral_wait_for_the_verdict(setup: Setup) {
        let hunter = hunter_by_name().await;
        let test = setup.start_with(&hunter.settings("block")).await;
        let owner = owner(&test).await;
        for word in WORDS {
            register(&test, word, Some("SPRING2030AB")).await;
            log_in(&test, word).await.expect_problem(403, "email_check_pending");
            test.client().log_in(&format!("{word}@asked.test"), PASSWORD).await.expect(403);
            // Why somebody does not get in is told only to who has the password.
            test.client().log_in(word, "not the password").await.expect_problem(401, "bad_credentials");
            assert_eq!(statuses(&owner).await[word], "pending");
        }
        test.drain().await;
        assert_eq!(open_jobs(&test).await, 0);
        let after = async || {
            for word in WORDS {
                if matches!(word, "invalid" | "disposable") {
                    log_in(&test, word).await.expect_problem(403, "email_refused");
                    test.client().log_in(word, "not the password").await.expect_problem(401, "bad_credentials");
                } else {
                    log_in(&test, word).await.expect(200);
                }
            }
            let owner = test.client().logged_in("owner").await;
            for (word, status) in statuses(&owner).await {
                let bad = matches!(word.as_str(), "invalid" | "disposable");
                assert_eq!(status, if bad { "pending" } else { "confirmed" }, "{word}");
            }
        };
        after().await;
        // Bad addresses do not become good by waiting.
        test.move_clock(2 * DAY);
        assert_eq!(test.drain().await, 0);
        after().await;
        assert_eq!(hunter.asked().len(), 1 + WORDS.len());
    }

    async fn under_block_an_address_without_a_verdict_passes_when_the_time_is_up(setup: Setup) {
        let hunter = hunter_by_name().await;
        let test = setup.start_with(&hunter.settings("block")).await;
        let owner = owner(&test).await;
        hunter.says(|_| Reply::new(500, &[], ""));
        let id = register(&test, "waits", Some("SPRING2030AB")).await;
        test.drain().await;
        test.move_clock(59 * MINUTE);
        test.drain().await;
        log_in(&test, "waits").await.expect_problem(403, "email_check_pending");
        assert_eq!(verdict(&test, &id).await, "pending");
        test.move_clock(MINUTE);
        // Nobody waits for the job to say so.
        let waits = log_in(&test, "waits").await.expect(200).json();
        assert!(waits["access_token"].is_string());
        let owner = test.client().logged_in(&owner.username).await;
        assert_eq!(statuses(&owner).await["waits"], "pending");
        let asked = hunter.asked().len();
        assert_eq!(test.drain().await, 1, "the job is due at the end of the time, however long its last pause was");
        assert_eq!(hunter.asked().len(), asked, "it is too late to ask");
        assert_eq!(verdict(&test, &id).await, "unknown");
        assert_eq!(statuses(&owner).await["waits"], "confirmed");
        assert_eq!(open_jobs(&test).await, 0);
    }

    async fn the_time_after_which_an_address_passes_is_a_setting(setup: Setup) {
        let hunter = Hunter::saying(|_| Reply::new(429, &[("retry-after", "3000")], "")).await;
        let mut settings = hunter.settings("block").to_vec();
        settings.push(("REFERRAL_EMAIL_GIVE_UP_MINUTES", "5"));
        let test = setup.start_with(&settings).await;
        let id = register(&test, "waits", None).await;
        test.drain().await;
        test.move_clock(4 * MINUTE);
        log_in(&test, "waits").await.expect_problem(403, "email_check_pending");
        test.move_clock(MINUTE);
        log_in(&test, "waits").await.expect(200);
        assert_eq!(test.drain().await, 1, "Retry-After is not waited for past the end of the time");
        assert_eq!(verdict(&test, &id).await, "unknown");
    }

    async fn under_block_a_disposable_domain_is_refused_at_registration(setup: Setup) {
        let hunter = hunter_by_name().await;
        let test = setup.start_with(&hunter.settings("block")).await;
        for email in ["short@mailinator.com", "short@MAILINATOR.com"] {
            let body = json!({"username": "short", "email": email, "password": PASSWORD});
            let refused = test.client().post("/api/v1/auth/user", &body).await.expect_problem(422, "invalid").json();
            assert_eq!(refused["errors"][0]["loc"], json!(["body", "email"]));
            assert_eq!(refused["errors"][0]["type"], "disposable_address");
        }
        assert_eq!(test.number("select count(*) from users").await, 0);
        assert_eq!(test.number("select count(*) from jobs").await, 0);
        assert!(hunter.asked().is_empty());
    }

    /// `block` with nobody to ask: only our own list speaks.
    async fn without_a_key_nobody_is_asked_and_nobody_waits(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_EMAIL_CHECK", "block")]).await;
        let owner = owner(&test).await;
        register(&test, "friend", Some("SPRING2030AB")).await;
        let me = test.client().logged_in("friend").await;
        assert_eq!(me.get("/api/v1/me").await.expect(200).json()["email_verdict"], "unchecked");
        assert_eq!(statuses(&owner).await["friend"], "confirmed");
        let body = json!({"username": "short", "email": "short@mailinator.com", "password": PASSWORD});
        test.client().post("/api/v1/auth/user", &body).await.expect_problem(422, "invalid");
        assert_eq!(questions(&test).await, 0);
    }

    async fn nothing_is_asked_about_who_was_erased_meanwhile(setup: Setup) {
        let hunter = hunter_by_name().await;
        let test = setup.start_with(&hunter.settings("flag")).await;
        let id = register(&test, "valid", None).await;
        let me = test.client().logged_in("valid").await;
        me.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
        assert_eq!(test.drain().await, 1);
        assert!(hunter.asked().is_empty());
        assert!(!job(&test, &id).await.0, "the job is done");
    }
}

// ----------------------------------------------------------------------------------------------------- the queue

on_both_engines! {
    async fn a_lease_runs_out_and_then_another_node_may_take_the_job(setup: Setup) {
        let hunter = hunter_by_name().await;
        let test = setup.start_with(&hunter.settings("flag")).await;
        let id = register(&test, "valid", None).await;
        let claim = async || {
            let taken = jobs::claim(&test.app().db, Kind::CheckEmail, 16, test.app().clock.now()).await.expect("a claim");
            taken.into_iter().map(|job| (job.subject, job.attempts)).collect::<Vec<_>>()
        };
        assert_eq!(claim().await, [(id.clone(), 1)]);
        assert_eq!(claim().await, []);
        test.move_clock(Duration::from_secs(119));
        assert_eq!(claim().await, []);
        test.move_clock(Duration::from_secs(2));
        assert_eq!(claim().await, [(id, 2)]);
        assert_eq!(claim().await, []);
    }

    async fn whose_lease_has_run_out_has_no_say_in_what_another_is_at(setup: Setup) {
        let hunter = hunter_by_name().await;
        let test = setup.start_with(&hunter.settings("flag")).await;
        let id = register(&test, "valid", None).await;
        let (db, clock) = (&test.app().db, &test.app().clock);
        let slow = jobs::claim(db, Kind::CheckEmail, 16, clock.now()).await.expect("a claim").pop().expect("a job");
        test.move_clock(Duration::from_secs(121));
        let other = jobs::claim(db, Kind::CheckEmail, 16, clock.now()).await.expect("a claim").pop().expect("a job");
        let again = jobs::Outcome::Again { after: Duration::ZERO, why: "slow" };
        jobs::settle(db, &slow, again, clock.now()).await.expect("nothing fails");
        jobs::give_back(db, &slow).await.expect("nothing fails");
        assert!(jobs::claim(db, Kind::CheckEmail, 16, clock.now()).await.expect("a claim").is_empty());
        jobs::settle(db, &other, jobs::Outcome::Done("valid"), clock.now()).await.expect("nothing fails");
        let (open, _, outcome) = job(&test, &id).await;
        assert_eq!((open, outcome.as_str()), (false, "valid"));
    }

    /// More of them than one claim takes, behind one that is not answered.
    async fn one_slow_answer_holds_up_no_other_job(setup: Setup) {
        let hunter = Hunter::saying(|asked| match asked.email().starts_with("slow") {
            true => Reply::Silence,
            false => Reply::verdict("valid"),
        })
        .await;
        let test = setup.start_with(&hunter.settings("flag")).await;
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let slow = register(&test, "slow", None).await;
        let working = tokio::spawn(worker::work(test.app().clone(), stopped));
        eventually("Hunter is asked", || async { hunter.asked().len() == 1 }).await;
        let names: Vec<String> = (0..12).map(|number| format!("user{number}")).collect();
        join_all(names.iter().map(|name| register(&test, name, None))).await;
        eventually("all others are done", || async { open_jobs(&test).await == 1 }).await;
        // Still the first question, and nobody else's.
        let leased = "select count(*) from jobs where done_at is null and lease_until is not null and attempts = 1";
        assert_eq!(test.number(leased).await, 1);
        assert_eq!(verdict(&test, &slow).await, "pending");
        working.abort();
    }

    async fn two_nodes_never_run_one_job_at_once(setup: Setup) {
        // Each question is noted before it is answered: an address that is asked about twice is noted twice.
        let noted: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
        let notes = noted.clone();
        let hunter = Hunter::saying(move |asked| {
            *notes.lock().expect("no panic in here").entry(asked.email()).or_default() += 1;
            Reply::verdict("valid")
        })
        .await;
        let mut test = setup.start_with(&hunter.settings("flag")).await;
        test.add_node().await;
        let names: Vec<String> = (0..24).map(|number| format!("user{number}")).collect();
        join_all(names.iter().map(|name| register(&test, name, None))).await;
        let drain = async |node: usize| {
            let app = &test.nodes[node].app;
            let mut ran = 0;
            // Until nothing is open anywhere: who finds nothing due looks again while the other still has some.
            while jobs::waiting(&app.db).await.expect("a count") > 0 {
                ran += worker::drain(app).await.expect("the jobs run");
            }
            ran
        };
        let (one, two) = join(drain(0), drain(1)).await;
        assert_eq!(one + two, names.len(), "{one} and {two}");
        let noted = noted.lock().expect("no panic in here").clone();
        assert_eq!(noted.len(), names.len());
        assert!(noted.values().all(|times| *times == 1), "{noted:?}");
    }

    async fn kinds_that_only_a_newer_node_knows_are_left_to_it(setup: Setup) {
        let test = setup.start().await;
        test.sql(
            "insert into jobs (kind, subject, created_at, run_at, attempts) values ('a kind of tomorrow', 'x', 0, 0, 0)",
        )
        .await;
        assert_eq!(test.drain().await, 0);
        test.move_clock(400 * DAY);
        assert_eq!(test.drain().await, 0);
        worker::clean(test.app()).await.expect("housekeeping");
        let untouched = "select count(*) from jobs where attempts = 0 and run_at = 0 and lease_until is null \
                         and done_at is null and outcome is null";
        assert_eq!(test.number(untouched).await, 1);
    }

    async fn finished_jobs_are_kept_for_their_time_and_open_ones_for_ever(setup: Setup) {
        for (days, settings) in [(7, &[][..]), (2, &[("REFERRAL_RETENTION_JOBS_DAYS", "2")])] {
            let hunter = hunter_by_name().await;
            let settings = [&hunter.settings("flag"), settings].concat();
            let test = setup.start_with(&settings).await;
            register(&test, "valid", None).await;
            test.drain().await;
            test.sql("insert into jobs (kind, subject, created_at, run_at, attempts) values ('open', 'x', 0, 0, 0)").await;
            let done = "select count(*) from jobs where done_at is not null";
            test.move_clock(days * DAY - MINUTE);
            worker::clean(test.app()).await.expect("housekeeping");
            assert_eq!(test.number(done).await, 1);
            test.move_clock(2 * MINUTE);
            worker::clean(test.app()).await.expect("housekeeping");
            assert_eq!(test.number(done).await, 0);
            assert_eq!(test.number("select count(*) from jobs where kind = 'open'").await, 1);
        }
    }

    async fn ended_and_expired_sessions_are_kept_for_their_time(setup: Setup) {
        let test = setup.start().await;
        let ended = test.user("owner").await;
        log_in(&test, "owner").await.expect(200);
        ended.post("/api/v1/auth/logout", &json!({})).await.expect(204);
        let families = async || test.number("select count(*) from token_families").await;
        let clean = async || worker::clean(test.app()).await.expect("housekeeping");
        test.move_clock(30 * DAY - MINUTE);
        clean().await;
        assert_eq!(families().await, 2);
        // Thirty days after its end the first goes; the second has only just expired.
        test.move_clock(2 * MINUTE);
        clean().await;
        assert_eq!(families().await, 1);
        test.move_clock(30 * DAY - 2 * MINUTE);
        clean().await;
        assert_eq!(families().await, 1);
        test.move_clock(2 * MINUTE);
        clean().await;
        assert_eq!(families().await, 0);
    }

    async fn changes_are_kept_as_long_as_a_node_may_need_them(setup: Setup) {
        let test = setup.start().await;
        let owner = test.user("owner").await;
        owner.create_code("SPRING2030AB").await.expect(201);
        owner.revoke_code("SPRING2030AB").await.expect(204);
        let changes = async || test.number("select count(*) from changes").await;
        let clean = async || worker::clean(test.app()).await.expect("housekeeping");
        clean().await;
        // The first key, the code, its end.
        assert_eq!(changes().await, 3);
        // By the database's clock, on which they are dated.
        test.move_clock(DAY);
        clean().await;
        assert_eq!(changes().await, 3);
        test.move_database_clock(14 * 60 * 1_000_000).await;
        clean().await;
        assert_eq!(changes().await, 3);
        test.move_database_clock(16 * 60 * 1_000_000).await;
        clean().await;
        assert_eq!(changes().await, 0);
    }
}
