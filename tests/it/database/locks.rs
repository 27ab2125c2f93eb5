//! Statements that differ between the engines: claiming jobs, and locking a slot.

use std::sync::Arc;

use futures_util::future::join_all;
use referral::db::{Db, Work};
use referral::features::codes::store::{lock, lock_shared};
use referral::jobs::Kind;
use referral::kernel::actor::Actor;
use referral::kernel::error::Result;
use referral::kernel::ids::UserId;
use referral::kernel::time::{Clock, Time};
use referral::{jobs, params};
use serde_json::json;
use tokio::sync::Notify;

use super::helpers::{alone, waiting_for_locks};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually};

referral::sql! {
    ADD_JOB = "insert into jobs (kind, subject, created_at, run_at, attempts) values ($1, $2, 0, 0, 0)";
    NOW = "select referral_now()";
}

on_both_engines!(claiming_takes_what_is_due_and_not_leased_with_the_same_effect);
async fn claiming_takes_what_is_due_and_not_leased_with_the_same_effect(setup: Setup) {
    let test = setup.start().await;
    for row in [
        "('due', 1000, 0, null, null)",
        "('overdue', 1, 3, null, null)",
        "('early', 1001, 0, null, null)",
        "('leased', 1, 1, 1001, null)",
        "('lease ran out', 1, 1, 1000, null)",
        "('done', 1, 1, null, 5)",
    ] {
        let (subject, rest) = row.trim_start_matches('(').split_once(", ").expect("a subject");
        test.sql(&format!(
            "insert into jobs (kind, subject, created_at, run_at, attempts, lease_until, done_at)
             values ('check_email', {subject}, 0, {rest}"
        ))
        .await;
    }
    for kind in ["fold_referrals", "a kind of tomorrow"] {
        alone(&test.app().db, &ADD_JOB, params![kind, "another kind"]).await.expect("a job");
    }
    let mut taken: Vec<(String, i64)> = jobs::claim(&test.app().db, Kind::CheckEmail, 16, Time(1000))
        .await
        .expect("a claim")
        .into_iter()
        .map(|job| (job.subject, job.attempts))
        .collect();
    taken.sort();
    assert_eq!(taken, [("due".into(), 1), ("lease ran out".into(), 2), ("overdue".into(), 4)]);
    let leases = test.query("select subject, lease_until from jobs order by subject, kind").await;
    let leases: Vec<(&str, Option<&str>)> =
        leases.iter().map(|row| (row[0].as_deref().expect("a subject"), row[1].as_deref())).collect();
    // Two minutes of microseconds behind the time of the claim.
    let ours = Some("120001000");
    assert_eq!(
        leases,
        [
            ("another kind", None),
            ("another kind", None),
            ("done", None),
            ("due", ours),
            ("early", None),
            ("lease ran out", ours),
            ("leased", Some("1001")),
            ("overdue", ours)
        ]
    );
}

on_both_engines!(the_oldest_jobs_are_claimed_first_and_none_twice);
async fn the_oldest_jobs_are_claimed_first_and_none_twice(setup: Setup) {
    let test = setup.start().await;
    for number in 0..40 {
        test.sql(&format!(
            "insert into jobs (kind, subject, created_at, run_at, attempts)
             values ('check_email', '{number:02}', 0, {number}, 0)"
        ))
        .await;
    }
    let db = &test.app().db;
    let claim = async || {
        let taken = jobs::claim(db, Kind::CheckEmail, 16, Time(1000)).await.expect("a claim");
        let mut subjects: Vec<String> = taken.into_iter().map(|job| job.subject).collect();
        subjects.sort();
        subjects
    };
    let expected: Vec<String> = (0..16).map(|number| format!("{number:02}")).collect();
    assert_eq!(claim().await, expected);
    let mut rest = join_all((0..6).map(|_| claim())).await.concat();
    // On PostgreSQL a claim passes over rows that another is just taking, so some may be left for the next.
    rest.extend(claim().await);
    rest.sort();
    let expected: Vec<String> = (16..40).map(|number| format!("{number:02}")).collect();
    assert_eq!(rest, expected);
}

on_both_engines!(a_locked_slot_tells_the_same_whichever_way_it_was_locked);
async fn a_locked_slot_tells_the_same_whichever_way_it_was_locked(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    let code = owner.create_code("SPRING2030AB").await.expect(201).json();
    let id = UserId::parse(&owner.id).expect("an id");
    let db = &test.app().db;
    let before = now(db).await;
    let exclusive = db.write(Actor::SERVICE, id, |tx, id| Box::pin(lock(tx, *id))).await.expect("a slot");
    let shared =
        db.write(Actor::SERVICE, id, |tx, id| Box::pin(lock_shared(tx, *id))).await.expect("no fault").expect("a slot");
    let after = now(db).await;
    for slot in [&exclusive, &shared] {
        assert_eq!((slot.owner, slot.issued, slot.version), (id, 1, 1));
        let current = slot.active().expect("the code is alive");
        assert_eq!(json!(current.id), code["id"]);
        assert_eq!(json!(current.expires_at), code["expires_at"]);
    }
    assert!(before <= exclusive.now && exclusive.now <= shared.now && shared.now <= after);
}

on_both_engines!(a_slot_is_made_by_who_changes_it_and_not_by_who_uses_it);
async fn a_slot_is_made_by_who_changes_it_and_not_by_who_uses_it(setup: Setup) {
    let test = setup.start().await;
    let owner = UserId::parse(&test.user("owner").await.id).expect("an id");
    let db = &test.app().db;
    let none = db.write(Actor::SERVICE, owner, |tx, id| Box::pin(lock_shared(tx, *id))).await.expect("no fault");
    assert!(none.is_none());
    assert_eq!(test.number("select count(*) from code_slots").await, 0);
    let made = db.write(Actor::SERVICE, owner, |tx, id| Box::pin(lock(tx, *id))).await.expect("a slot");
    assert_eq!((made.issued, made.version), (0, 0));
    assert!(made.current.is_none());
    assert_eq!(test.number("select count(*) from code_slots").await, 1);
}

async fn now(db: &Db) -> Time {
    db.row(&NOW, params![]).await.expect("the clock").expect("a row").time(0).expect("a time")
}

/// A slot that is held by a unit until it is told to go on.
struct Holding {
    owner: UserId,
    exclusive: bool,
    held: Notify,
    go_on: Notify,
}

/// The time just before the slot is let go.
async fn hold(db: Db, holding: Arc<Holding>) -> Result<Time> {
    let unit: Work<Arc<Holding>, Time> = |tx, holding| {
        Box::pin(async move {
            if holding.exclusive {
                lock(tx, holding.owner).await?;
            } else {
                lock_shared(tx, holding.owner).await?;
            }
            holding.held.notify_one();
            holding.go_on.notified().await;
            tx.row(&NOW, &params![]).await?.expect("a row").time(0)
        })
    };
    db.write(Actor::SERVICE, holding, unit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_a_locked_slot_is_read_after_the_wait_for_it_on_postgresql() {
    let test = Setup::Postgres.start().await;
    let client = test.user("owner").await;
    client.create_code("SPRING2030AB").await.expect(201);
    let owner = UserId::parse(&client.id).expect("an id");
    let db = test.app().db.clone();
    for (holder, waiter) in [(true, true), (true, false), (false, true)] {
        let holding = Arc::new(Holding { owner, exclusive: holder, held: Notify::new(), go_on: Notify::new() });
        let held = tokio::spawn(hold(db.clone(), holding.clone()));
        holding.held.notified().await;
        let waiting = tokio::spawn({
            let db = db.clone();
            async move {
                if waiter {
                    db.write(Actor::SERVICE, owner, |tx, id| Box::pin(lock(tx, *id))).await.map(|slot| slot.now)
                } else {
                    db.write(Actor::SERVICE, owner, |tx, id| {
                        Box::pin(async move { Ok(lock_shared(tx, *id).await?.expect("it").now) })
                    })
                    .await
                }
            }
        });
        eventually("the second waits for the first", || async { waiting_for_locks(&test.database_url).await == 1 })
            .await;
        holding.go_on.notify_one();
        let let_go = held.await.expect("no panic").expect("no fault");
        let decided = waiting.await.expect("no panic").expect("no fault");
        assert!(decided >= let_go, "exclusive: {holder}, then {waiter}: {decided} is before {let_go}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_a_locked_slot_is_read_after_the_wait_for_it_on_sqlite() {
    let test = Setup::Sqlite.start().await;
    let client = test.user("owner").await;
    client.create_code("SPRING2030AB").await.expect(201);
    let owner = UserId::parse(&client.id).expect("an id");
    let other = rusqlite::Connection::open(test.database_url.trim_start_matches("sqlite:")).expect("the file");
    other.execute_batch("begin immediate").expect("the lock");
    let db = test.app().db.clone();
    let waiting = tokio::spawn(async move { db.write(Actor::SERVICE, owner, |tx, id| Box::pin(lock(tx, *id))).await });
    // Give it every chance to be wrong: the unit is on its way before the clock is read here.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let let_go = Clock::default().now();
    other.execute_batch("commit").expect("the end of the lock");
    let decided = waiting.await.expect("no panic").expect("no fault").now;
    assert!(decided >= let_go, "{decided} is before {let_go}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_share_a_slot_and_do_not_wait_for_each_other() {
    let test = Setup::Postgres.start().await;
    let client = test.user("owner").await;
    client.create_code("SPRING2030AB").await.expect(201);
    let owner = UserId::parse(&client.id).expect("an id");
    let db = test.app().db.clone();
    let holding = || Arc::new(Holding { owner, exclusive: false, held: Notify::new(), go_on: Notify::new() });
    let (one, two) = (holding(), holding());
    let first = tokio::spawn(hold(db.clone(), one.clone()));
    one.held.notified().await;
    let second = tokio::spawn(hold(db.clone(), two.clone()));
    // Reached while the first still holds it.
    two.held.notified().await;
    one.go_on.notify_one();
    two.go_on.notify_one();
    first.await.expect("no panic").expect("no fault");
    second.await.expect("no panic").expect("no fault");
}
