//! Jobs: leases, and how long rows are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{join, join_all};
use referral::jobs::{self, Kind};
use referral::worker;
use serde_json::json;

use super::helpers::{DAY, MINUTE, hunter_by_name, job, log_in, open_jobs, register, verdict};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::hunter::{Hunter, Reply};

on_both_engines!(a_lease_runs_out_and_then_another_node_may_take_the_job);
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

on_both_engines!(whose_lease_has_run_out_has_no_say_in_what_another_is_at);
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

on_both_engines!(one_slow_answer_holds_up_no_other_job);
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

on_both_engines!(two_nodes_never_run_one_job_at_once);
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

on_both_engines!(kinds_that_only_a_newer_node_knows_are_left_to_it);
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

on_both_engines!(finished_jobs_are_kept_for_their_time_and_open_ones_for_ever);
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

on_both_engines!(ended_and_expired_sessions_are_kept_for_their_time);
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

on_both_engines!(changes_are_kept_as_long_as_a_node_may_need_them);
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
