//! The queue of jobs: what a job is told, how many of one kind there may be, when one is given up, and what the
//! operator does about it.

use std::time::Duration;

use referral::db::{Db, Work};
use referral::jobs::{self, Job, Kind, Outcome, Pauses, Settled};
use referral::kernel::actor::Actor;
use referral::kernel::error::{Error, Result};
use referral::kernel::time::Time;
use referral::{params, worker};
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::figures::{figures, value};
use crate::support::log;
use crate::support::process::Operator;

const FOLD: Kind = Kind::FoldReferrals;
const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

referral::sql! {
    // What nodes of the release before payloads and giving up say, to the letter.
    FORMER_ENQUEUE = "insert into jobs (kind, subject, created_at, run_at, attempts) values ($1, $2, $3, $3, 0)
               on conflict (kind, subject) where done_at is null do nothing";
    FORMER_CLAIM = {
        sqlite: "update jobs set lease_until = $2, attempts = attempts + 1 where id in (
                     select id from jobs where kind = $4 and done_at is null and run_at <= $1
                        and (lease_until is null or lease_until <= $1)
                     order by run_at limit $3)
                 returning id, subject, attempts",
        postgres: "update jobs set lease_until = $2, attempts = attempts + 1 where id in (
                     select id from jobs where kind = $4 and done_at is null and run_at <= $1
                        and (lease_until is null or lease_until <= $1)
                     order by run_at limit $3 for update skip locked)
                 returning id, subject, attempts",
    };
    FORMER_FINISH = "update jobs set done_at = $2, lease_until = null, outcome = $3
              where id = $1 and done_at is null and attempts = $4";
    FORMER_FORGET = "delete from jobs where done_at is not null and done_at < $1";
}

async fn enqueue(db: &Db, subject: &str) {
    let unit: Work<String, ()> = |tx, subject| Box::pin(jobs::enqueue(tx, FOLD, subject.clone(), Time(0)));
    db.write(Actor::SERVICE, subject.to_owned(), unit).await.expect("a job");
}

async fn enqueue_with(db: &Db, subject: &str, payload: Value) -> Result<()> {
    let unit: Work<(String, Value), ()> =
        |tx, (subject, payload)| Box::pin(jobs::enqueue_with(tx, FOLD, subject.clone(), payload, Time(0)));
    db.write(Actor::SERVICE, (subject.to_owned(), payload), unit).await
}

async fn claim(test: &TestApp, most: usize) -> Vec<Job> {
    let app = test.app();
    jobs::claim(&app.db, FOLD, most, app.clock.now()).await.expect("a claim")
}

async fn settle(test: &TestApp, job: &Job, outcome: Outcome) -> Settled {
    let app = test.app();
    jobs::settle(&app.db, job, outcome, app.clock.now()).await.expect("no fault")
}

/// A job that cannot be done, with one attempt left but one.
async fn fails(test: &TestApp) -> i64 {
    let olga = test.user("olga").await;
    enqueue(&test.app().db, &olga.id).await;
    let most = FOLD.policy().attempts.expect("a limit");
    test.sql(&format!("update jobs set attempts = {}", most - 2)).await;
    test.sql("alter table referral_marks rename to not_there").await;
    test.number("select id from jobs").await
}

async fn heals(test: &TestApp) {
    test.sql("alter table not_there rename to referral_marks").await;
}

const GIVEN_UP: &str = "select count(*) from jobs where given_up_at is not null and done_at is not null";

on_every_setup!(a_job_is_given_up_after_the_attempts_of_its_kind_and_that_is_counted_and_logged_once);
async fn a_job_is_given_up_after_the_attempts_of_its_kind_and_that_is_counted_and_logged_once(setup: Setup) {
    let test = setup.start().await;
    fails(&test).await;
    log::listen();
    assert_eq!(test.drain().await, 1);
    assert_eq!(test.number(GIVEN_UP).await, 0, "one attempt is left");
    // The pause of this attempt is minutes.
    let pause = FOLD.policy().pause(19);
    assert_eq!(test.drain().await, 0);
    test.move_clock(pause - MINUTE);
    assert_eq!(test.drain().await, 0);
    test.move_clock(2 * MINUTE);
    assert_eq!(test.drain().await, 1);
    assert_eq!(test.number(GIVEN_UP).await, 1);
    test.move_clock(DAY);
    assert_eq!(test.drain().await, 0);
    let heard = log::heard();
    assert_eq!(heard.matches("a job failed").count(), 2, "{heard}");
    assert_eq!(heard.matches("a job is given up").count(), 1, "{heard}");

    let text = figures(&test).await;
    assert_eq!(value(&text, "referral_jobs_total{kind=\"fold_referrals\",outcome=\"given_up\"}"), 1.0);
    assert_eq!(value(&text, "referral_jobs_given_up"), 1.0);
    assert_eq!(value(&text, "referral_jobs_waiting"), 0.0);
    // It bars nobody who asks anew.
    let subject = test.query("select subject from jobs").await[0][0].clone().expect("a subject");
    enqueue(&test.app().db, &subject).await;
    heals(&test).await;
    assert_eq!(test.drain().await, 1);
    assert_eq!(value(&figures(&test).await, "referral_jobs_given_up"), 1.0);
}

on_every_setup!(the_operator_sees_what_was_given_up_and_has_it_tried_again);
async fn the_operator_sees_what_was_given_up_and_has_it_tried_again(setup: Setup) {
    let test = setup.start().await;
    let id = fails(&test).await.to_string();
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", &test.database_url);
    operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
    assert_eq!(operator.run(&["admin", "jobs"]).well().stdout, "no job was given up\n");
    assert!(!operator.run(&["check"]).well().stdout.contains("jobs:"));
    operator.run(&["admin", "jobs", "retry", &id]).refused(&["no given-up job", "referral admin jobs"]);
    test.move_clock(Duration::from_secs(1));
    test.drain().await;
    test.move_clock(DAY);
    test.drain().await;
    heals(&test).await;

    let subject = test.query("select subject from jobs").await[0][0].clone().expect("a subject");
    let listed = operator.run(&["admin", "jobs"]).well().stdout;
    let line = listed.lines().nth(1).expect("a job");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[3], words[4]), (&*id, "fold_referrals", "20", &*subject), "{listed}");
    assert!(line.ends_with("failed") && listed.contains(FOLD.policy().given_up), "{listed}");
    let checked = operator.run(&["check"]).well().stdout;
    assert!(checked.contains("note  jobs: 1 given up: `referral admin jobs`"), "{checked}");

    // While the same is open it is not needed.
    enqueue(&test.app().db, &subject).await;
    operator.run(&["admin", "jobs", "retry", &id]).refused(&["fold_referrals", "asked for again since"]);
    assert_eq!(test.number(GIVEN_UP).await, 1);
    test.drain().await;
    let told = operator.run(&["admin", "jobs", "retry", &id]).well().stdout;
    assert!(told.contains("is tried again"), "{told}");
    let whole = format!(
        "select count(*) from jobs where id = {id} and attempts = 0 and done_at is null \
                         and given_up_at is null and lease_until is null"
    );
    assert_eq!(test.number(&whole).await, 1, "it has all its attempts");
    assert_eq!(test.drain().await, 1);
    assert_eq!(test.number("select count(*) from jobs where outcome = 'folded'").await, 2);
    assert_eq!(operator.run(&["admin", "jobs"]).well().stdout, "no job was given up\n");
}

on_every_setup!(work_that_no_attempt_would_help_is_given_up_at_once_and_kept_with_what_it_was_told);
async fn work_that_no_attempt_would_help_is_given_up_at_once_and_kept_with_what_it_was_told(setup: Setup) {
    let test = setup.start().await;
    enqueue_with(&test.app().db, "x", json!({"sealed": "abc"})).await.expect("a job");
    let job = claim(&test, 16).await.pop().expect("a job");
    assert_eq!(settle(&test, &job, Outcome::GiveUp("refused for ever")).await, Settled::GivenUp);
    assert_eq!(settle(&test, &job, Outcome::Done("late")).await, Settled::Lost);
    let listed = jobs::given_up(&test.app().db).await.expect("a list").pop().expect("a job");
    assert_eq!((listed.attempts, listed.outcome.as_str()), (1, "refused for ever"));
    jobs::retry(&test.app().db, job.id, test.app().clock.now()).await.expect("no fault");
    let again = claim(&test, 16).await.pop().expect("a job");
    assert_eq!(again.told::<Value>().expect("JSON"), Some(json!({"sealed": "abc"})));
    // Nobody needs it when it is done, and it may be a secret.
    assert_eq!(settle(&test, &again, Outcome::Done("sent")).await, Settled::Done);
    assert_eq!(test.number("select count(*) from jobs where payload is not null").await, 0);
}

on_every_setup!(a_job_whose_node_died_over_its_last_attempt_is_given_up);
async fn a_job_whose_node_died_over_its_last_attempt_is_given_up(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    enqueue(&test.app().db, &olga.id).await;
    test.sql("update jobs set attempts = 20, lease_until = 1").await;
    assert_eq!(test.drain().await, 1);
    assert_eq!(test.number(GIVEN_UP).await, 1);
    let listed = jobs::given_up(&test.app().db).await.expect("a list").pop().expect("a job");
    assert_eq!(listed.outcome, "the last attempt was cut off");
}

on_every_setup!(what_a_job_is_told_comes_back_as_it_went_in);
async fn what_a_job_is_told_comes_back_as_it_went_in(setup: Setup) {
    let test = setup.start().await;
    let db = &test.app().db;
    let payload = json!({
        "text": "Ольга \u{1f600} \"quoted\" \\ \u{0} line\nline", "number": i64::MIN, "none": null, "list": [1, [true]],
    });
    enqueue_with(db, "told", payload.clone()).await.expect("a job");
    // Asking twice is asking once: the first to ask is heard.
    enqueue_with(db, "told", json!("another")).await.expect("no fault");
    enqueue(db, "untold").await;
    let mut claimed = claim(&test, 16).await;
    claimed.sort_by(|one, other| one.subject.cmp(&other.subject));
    let told: Vec<(String, Option<Value>)> =
        claimed.iter().map(|job| (job.subject.clone(), job.told().expect("JSON"))).collect();
    assert_eq!(told, [("told".to_owned(), Some(payload)), ("untold".to_owned(), None)]);

    let large = enqueue_with(db, "large", json!("x".repeat(5000))).await;
    assert!(matches!(&large, Err(Error::Internal(text)) if text.contains("5002 bytes")), "{large:?}");
    let shape = claimed[0].told::<u64>();
    assert!(matches!(&shape, Err(Error::Internal(text)) if text.contains("jobs.payload")), "{shape:?}");
}

on_every_setup!(many_jobs_of_one_kind_are_under_way_at_once_when_each_has_a_subject_of_its_own);
async fn many_jobs_of_one_kind_are_under_way_at_once_when_each_has_a_subject_of_its_own(setup: Setup) {
    let test = setup.start().await;
    let db = &test.app().db;
    for number in 0..70 {
        enqueue(db, &format!("one/{number}")).await;
        enqueue(db, "the same").await;
    }
    assert_eq!(jobs::waiting(db).await.expect("a count"), 71);
    let first = claim(&test, 64).await;
    assert_eq!((first.len(), claim(&test, 64).await.len(), claim(&test, 64).await.len()), (64, 7, 0));
    for job in &first {
        assert_eq!(settle(&test, job, Outcome::Done("seen")).await, Settled::Done);
    }
    assert_eq!(jobs::waiting(db).await.expect("a count"), 7);
}

on_every_setup!(nodes_of_the_release_before_work_beside_new_ones);
async fn nodes_of_the_release_before_work_beside_new_ones(setup: Setup) {
    let test = setup.start().await;
    let db = &test.app().db;
    let olga = test.user("olga").await;
    let former: Work<String, u64> = |tx, subject| {
        Box::pin(async move { tx.run(&FORMER_ENQUEUE, &params!["fold_referrals", subject, Time(0)]).await })
    };
    // Theirs is done by us.
    assert_eq!(db.write(Actor::SERVICE, olga.id.clone(), former).await.expect("a job"), 1);
    assert_eq!(test.drain().await, 1);
    assert_eq!(test.number("select count(*) from jobs where outcome = 'folded' and payload is null").await, 1);

    // Ours is claimed and done by them; what we gave up they leave alone.
    enqueue_with(db, "given up", json!(1)).await.expect("a job");
    let job = claim(&test, 16).await.pop().expect("a job");
    settle(&test, &job, Outcome::GiveUp("refused for ever")).await;
    enqueue_with(db, "ours", json!(1)).await.expect("a job");
    let claim_and_finish: Work<(), Vec<String>> = |tx, ()| {
        Box::pin(async move {
            let claimed = tx.rows(&FORMER_CLAIM, &params![Time(1000), Time(2000), 16_i64, "fold_referrals"]).await?;
            let mut subjects = Vec::new();
            for row in &claimed {
                let (id, attempts): (i64, i64) = (row.get(0)?, row.get(2)?);
                assert_eq!(tx.run(&FORMER_FINISH, &params![id, Time(1000), "folded", attempts]).await?, 1);
                subjects.push(row.get(1)?);
            }
            Ok(subjects)
        })
    };
    assert_eq!(db.write(Actor::SERVICE, (), claim_and_finish).await.expect("no fault"), ["ours"]);
    assert_eq!(test.number(GIVEN_UP).await, 1);
    let forget: Work<Time, u64> = |tx, before| Box::pin(async move { tx.run(&FORMER_FORGET, &params![*before]).await });
    assert_eq!(db.write(Actor::SERVICE, test.app().clock.now().plus(MINUTE), forget).await.expect("no fault"), 3);
}

on_every_setup!(given_up_and_many_finished_jobs_are_removed_in_their_time);
async fn given_up_and_many_finished_jobs_are_removed_in_their_time(setup: Setup) {
    let test = setup.start().await;
    enqueue(&test.app().db, "x").await;
    let job = claim(&test, 16).await.pop().expect("a job");
    settle(&test, &job, Outcome::GiveUp("refused for ever")).await;
    test.sql(
        "insert into jobs (kind, subject, created_at, run_at, attempts, done_at) \
         with recursive numbers (number) as (select 1 union all select number + 1 from numbers where number < 2500) \
         select 'old', cast(number as text), 0, 0, 1, number from numbers",
    )
    .await;
    test.move_clock(7 * DAY - MINUTE);
    worker::clean(test.app()).await.expect("housekeeping");
    assert_eq!(test.number("select count(*) from jobs").await, 1);
    test.move_clock(2 * MINUTE);
    worker::clean(test.app()).await.expect("housekeeping");
    assert_eq!(test.number("select count(*) from jobs").await, 0);
}

/// What the guide for operators says of each kind is its policy.
#[test]
fn the_guide_tells_how_each_kind_is_worked_on() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
    let guide = guide.expect("docs/operations.md");
    for kind in Kind::ALL {
        let policy = kind.policy();
        let attempts = policy.attempts.map_or("no limit".to_owned(), |most| most.to_string());
        let pauses = match policy.pauses {
            Pauses::Doubling { most } => format!("1 s to {most} s, doubling"),
            Pauses::Listed(seconds) => format!("{seconds:?} s"),
        };
        let (word, at_once, given_up) = (kind.word(), policy.at_once, policy.given_up);
        let row = format!("| `{word}` | {attempts} | {pauses} | {at_once} | {given_up} |\n");
        assert!(guide.contains(&row), "no such row: {row}");
    }
}
