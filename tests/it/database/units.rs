//! Units of work: they fail alone, end with their caller, and are tried again where that helps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use futures_util::future::join_all;
use referral::db::Work;
use referral::kernel::actor::Actor;
use referral::kernel::error::{Error, Refusal, Storage};
use referral::params;
use tokio::sync::{Barrier, Notify};

use super::helpers::{Fate, alone, number, run};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually};

referral::sql! {
    ADD_JOB = "insert into jobs (kind, subject, created_at, run_at, attempts) values ($1, $2, 0, 0, 0)";
    TOUCH_JOB = "update jobs set attempts = attempts + 1 where kind = $1";
    COUNT_JOBS = "select count(*) from jobs where kind = $1";
    ALL_JOBS = "select subject from jobs";
    STRICTLY = { sqlite: "select 1", postgres: "set transaction isolation level serializable" };
}

/// Runs so many units at once, every third of which fails in the ways given, and looks at what is left of each.
async fn every_third_fails(setup: Setup, fates: &'static [Fate]) {
    // Several groups of SQLite's; on PostgreSQL each waits for a connection, and none should give up.
    let count = if setup == Setup::Sqlite { 600 } else { 150 };
    let test = setup.start().await;
    let db = test.app().db.clone();
    let fate = |number: usize| if number.is_multiple_of(3) { fates[number / 3 % fates.len()] } else { Fate::Fine };
    // While somebody else writes, the units gather, so that they do run in groups.
    let other = (setup == Setup::Sqlite).then(|| {
        let other = rusqlite::Connection::open(test.database_url.trim_start_matches("sqlite:")).expect("the file");
        other.execute_batch("begin immediate").expect("the lock");
        other
    });
    let units: Vec<_> = (0..count).map(|number| tokio::spawn(run(db.clone(), number, fate(number)))).collect();
    if let Some(other) = other {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        other.execute_batch("commit").expect("the end of the lock");
    }
    let mut expected = Vec::new();
    for (number, unit) in units.into_iter().enumerate() {
        let outcome = unit.await.expect("no panic reaches the caller");
        match (fate(number), outcome) {
            (Fate::Fine, Ok(answer)) => {
                assert_eq!(answer, number, "each caller gets the answer of its own unit");
                expected.push(number.to_string());
            }
            (Fate::Refused, Err(Error::Refused(Refusal::CodeTaken)))
            | (Fate::Violates, Err(Error::Storage(Storage::Broken(_))))
            | (Fate::Panics | Fate::Waits, Err(Error::Internal(_))) => {}
            (fate, outcome) => panic!("unit {number}, {fate:?}: {outcome:?}"),
        }
    }
    expected.sort();
    for kind in ["first", "second"] {
        let rows = test.query(&format!("select subject from jobs where kind = '{kind}'")).await;
        let mut rows: Vec<String> = rows.into_iter().map(|row| row[0].clone().expect("a subject")).collect();
        rows.sort();
        assert_eq!(rows, expected, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_fails_rolls_back_alone_while_its_group_commits() {
    every_third_fails(Setup::Sqlite, &[Fate::Refused, Fate::Violates, Fate::Panics, Fate::Waits]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_fails_rolls_back_alone_on_postgresql() {
    every_third_fails(Setup::Postgres, &[Fate::Refused, Fate::Violates]).await;
}

on_both_engines!(after_a_unit_that_panicked_the_next_ones_run);
/// On PostgreSQL it panics in its caller's task, where the server's guard catches it.
async fn after_a_unit_that_panicked_the_next_ones_run(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_DATABASE_CONNECTIONS", "1")]).await;
    let db = test.app().db.clone();
    for number in 0..5 {
        let outcome = tokio::spawn(run(db.clone(), number, Fate::Panics)).await;
        match (setup, outcome) {
            (Setup::Sqlite, Ok(Err(Error::Internal(text)))) => assert!(text.contains("panicked"), "{text}"),
            (Setup::Postgres, Err(failed)) => assert!(failed.is_panic()),
            (_, outcome) => panic!("{outcome:?}"),
        }
        assert_eq!(run(db.clone(), 100 + number, Fate::Fine).await.expect("the next one runs"), 100 + number);
    }
    assert_eq!(test.number("select count(*) from jobs").await, 10);
}

#[tokio::test]
async fn a_unit_that_waits_for_something_outside_is_an_internal_error_on_sqlite() {
    let test = Setup::Sqlite.start().await;
    match run(test.app().db.clone(), 1, Fate::Waits).await {
        Err(Error::Internal(text)) => assert!(text.contains("outside its transaction"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(test.number("select count(*) from jobs").await, 0);
}

/// Polls a future at most so many times and drops it then: a caller that leaves at each point where it could wait.
async fn leaving_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut polled = 0;
    std::future::poll_fn(move |context| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

on_both_engines!(a_caller_that_leaves_leaves_no_transaction_open);
async fn a_caller_that_leaves_leaves_no_transaction_open(setup: Setup) {
    for connections in ["1", "2"] {
        let test = setup.start_with(&[("REFERRAL_DATABASE_CONNECTIONS", connections)]).await;
        let db = &test.app().db;
        let (mut left, mut answered) = (0, Vec::new());
        for number in 0..200 {
            match leaving_after(number % 25, run(db.clone(), number, Fate::Fine)).await {
                Some(outcome) => answered.push(outcome.expect("no fault").to_string()),
                None => left += 1,
            }
            // Readers leave as well, and their connection goes back to the same pool.
            let _ = leaving_after(number % 7, db.scan(&ALL_JOBS, params![])).await;
        }
        assert!(left > 10, "some callers left: {left}");
        // With a transaction still open on the only connections this would wait for one and fail.
        for number in 1000..1010 {
            let answer = run(db.clone(), number, Fate::Fine).await.expect("a write still works");
            answered.push(answer.to_string());
        }
        let halves = "select count(*) from (select subject from jobs group by subject having count(*) <> 2) halves";
        assert_eq!(test.number(halves).await, 0, "each unit happened or did not");
        let rows = test.query("select distinct subject from jobs").await;
        for number in answered {
            assert!(rows.iter().any(|row| row[0].as_deref() == Some(&number)), "{number} was answered");
        }
        if setup == Setup::Postgres {
            eventually("no transaction is open", || async { open_transactions(&test.database_url).await == 0 }).await;
        }
    }
}

async fn open_transactions(url: &str) -> i64 {
    number(
        url,
        "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'",
    )
    .await
}

/// Reached in a unit, after its first statement, where it then stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_in_the_middle_of_a_unit_rolls_it_back_on_postgresql() {
    let test = Setup::Postgres.start_with(&[("REFERRAL_DATABASE_CONNECTIONS", "1")]).await;
    let db = test.app().db.clone();
    for _ in 0..20 {
        let reached = Arc::new(Notify::new());
        let stays: Work<Arc<Notify>, ()> = |tx, reached| {
            Box::pin(async move {
                tx.run(&ADD_JOB, &params!["stays", "1"]).await?;
                reached.notify_one();
                std::future::pending().await
            })
        };
        tokio::select! {
            outcome = db.write(Actor::SERVICE, reached.clone(), stays) => panic!("it stays: {outcome:?}"),
            () = reached.notified() => {}
        }
        run(db.clone(), 1, Fate::Fine).await.expect("the connection is free again");
        test.sql("delete from jobs where kind <> 'stays'").await;
    }
    assert_eq!(test.number("select count(*) from jobs").await, 0);
}

struct Collision {
    kinds: [&'static str; 2],
    /// Where both meet at their first attempt, so that they do collide.
    meet: Arc<Barrier>,
    tries: Arc<AtomicU32>,
    tried: AtomicU32,
}

impl Collision {
    /// Two that need the same rows in opposite order, and the count of their attempts together.
    fn pair() -> ([Collision; 2], Arc<AtomicU32>) {
        let (meet, tries) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
        let one = |kinds| Collision { kinds, meet: meet.clone(), tries: tries.clone(), tried: AtomicU32::new(0) };
        ([one(["left", "right"]), one(["right", "left"])], tries)
    }

    async fn meet_at_first(&self) {
        self.tries.fetch_add(1, Ordering::Relaxed);
        if self.tried.fetch_add(1, Ordering::Relaxed) == 0 {
            self.meet.wait().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_units_that_deadlock_both_succeed() {
    let test = Setup::Postgres.start().await;
    let db = &test.app().db;
    for kind in ["left", "right"] {
        alone(db, &ADD_JOB, params![kind, "1"]).await.expect("a row");
    }
    let (pair, tries) = Collision::pair();
    let unit: Work<Collision, ()> = |tx, collision| {
        Box::pin(async move {
            tx.run(&TOUCH_JOB, &params![collision.kinds[0]]).await?;
            collision.meet_at_first().await;
            tx.run(&TOUCH_JOB, &params![collision.kinds[1]]).await.map(drop)
        })
    };
    for outcome in join_all(pair.map(|collision| db.write(Actor::SERVICE, collision, unit))).await {
        outcome.expect("both succeed");
    }
    // Once more for each time that the second attempt is quicker than the end of the first.
    assert!(tries.load(Ordering::Relaxed) >= 3, "one was rolled back and tried again");
    assert_eq!(test.number("select sum(attempts) from jobs").await, 4, "each touched both once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_units_that_cannot_be_serialized_both_succeed() {
    let test = Setup::Postgres.start().await;
    let db = &test.app().db;
    let (pair, tries) = Collision::pair();
    // Each adds to its own kind as many as it saw of the other: in either order one of them sees the other's row.
    let unit: Work<Collision, i64> = |tx, collision| {
        Box::pin(async move {
            let [mine, others] = collision.kinds;
            tx.run(&STRICTLY, &params![]).await?;
            let seen: i64 = tx.row(&COUNT_JOBS, &params![others]).await?.expect("a row").get(0)?;
            collision.meet_at_first().await;
            tx.run(&ADD_JOB, &params![mine, "1"]).await?;
            Ok(seen)
        })
    };
    let mut seen: Vec<i64> = join_all(pair.map(|collision| db.write(Actor::SERVICE, collision, unit)))
        .await
        .into_iter()
        .map(|o| o.expect("both"))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1], "as if one had come after the other");
    // Once more for each time that the second attempt is quicker than the end of the first.
    assert!(tries.load(Ordering::Relaxed) >= 3, "one was rolled back and tried again");
}
