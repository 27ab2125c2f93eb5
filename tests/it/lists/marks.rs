//! Marks, by which a page far down is found: they change no page and no total.

use std::sync::Arc;

use futures_util::future::join_all;
use referral::db::Work;
use referral::features::codes::actions::hold;
use referral::features::codes::model::HeldCode;
use referral::features::referrals;
use referral::features::referrals::model::Status;
use referral::jobs;
use referral::kernel::actor::Actor;
use referral::kernel::handle::InvitationKey;
use referral::kernel::ids::UserId;
use referral::kernel::time::Time;
use tokio::sync::Notify;
use uuid::Uuid;

use super::helpers::{LENGTHS, add_referees, add_users, assert_marks, by_cursor, by_page, fold, referrer, walk};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;

on_both_engines!(marks_change_no_page_and_no_total);
async fn marks_change_no_page_and_no_total(setup: Setup) {
    let test = setup.start().await;
    let owner = referrer(&test).await;
    let path = format!("/api/v1/users/{}", owner.id);
    let mut length = 0;
    for next in LENGTHS {
        add_referees(&test, &owner, length + 1, next).await;
        length = next;
        fold(&test, &owner).await;
        assert_marks(&test, length).await;
        let expected: Vec<String> = (1..=length).map(|number| format!("user{number}")).collect();
        walk(&owner, &path, &expected).await;
        assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["referral_count"], length);
    }
}

on_both_engines!(marks_are_right_after_any_number_of_folds);
async fn marks_are_right_after_any_number_of_folds(setup: Setup) {
    let test = setup.start().await;
    let (owner, other) = (referrer(&test).await, test.user("other").await);
    other.create_code("OTHER2030AB2").await.expect(201);
    fold(&test, &owner).await;
    assert_marks(&test, 0).await;
    let mut length = 0;
    for (round, more) in [99, 1, 1, 98, 100, 201, 350, 0, 150].into_iter().enumerate() {
        // Somebody else's referees lie between these.
        let others = 1_000_000 + round as i64 * 10;
        add_referees(&test, &other, others, others + 6).await;
        add_referees(&test, &owner, length + 1, length + more).await;
        length += more;
        fold(&test, &owner).await;
        assert_marks(&test, length).await;
        fold(&test, &owner).await;
        assert_marks(&test, length).await;
    }
    let path = format!("/api/v1/users/{}", owner.id);
    let expected: Vec<String> = (1..=length).map(|number| format!("user{number}")).collect();
    assert_eq!(by_page(&owner, &path, 100, expected.len()).await, expected);
    assert_eq!(by_cursor(&owner, &path, 99, expected.len()).await, expected);
}

on_both_engines!(folds_at_once_set_each_mark_once);
async fn folds_at_once_set_each_mark_once(setup: Setup) {
    let test = setup.start().await;
    let owner = referrer(&test).await;
    add_referees(&test, &owner, 1, 1050).await;
    let folds = (0..8).map(|_| referrals::actions::fold(test.app(), &owner.id));
    for fold in join_all(folds).await {
        fold.expect("the list is folded");
    }
    assert_marks(&test, 1050).await;
}

on_both_engines!(registrations_ask_for_marks_now_and_then);
/// Registrations bring the job that sets the marks with them: one in 64 does, chosen by the end of an id.
async fn registrations_ask_for_marks_now_and_then(setup: Setup) {
    let test = setup.start().await;
    let owner = referrer(&test).await;
    add_referees(&test, &owner, 1, 110).await;
    let numbered = match setup {
        Setup::Sqlite => "unhex(printf('%032x', n - 1000))",
        _ => "lpad(to_hex(n - 1000), 32, '0')::uuid",
    };
    add_users(&test, &owner, 1001, 1064, numbered).await;
    let held = HeldCode { owner: UserId::parse(&owner.id).expect("an id"), ordinal: 1, now: Time(0) };
    let unit: Work<(HeldCode, UserId), ()> =
        |tx, (held, referee)| Box::pin(referrals::actions::record(tx, *held, *referee, Status::Confirmed, Time(0)));
    for number in 1..=64 {
        let referee = UserId(Uuid::from_u128(number));
        test.app().db.write(Actor::SERVICE, (held, referee), unit).await.expect("a referral");
    }
    assert_eq!(jobs::waiting(&test.app().db).await.expect("a count"), 1);
    assert_eq!(test.drain().await, 1);
    assert_marks(&test, 110 + 64).await;
}

/// A registration that is under way when the list is folded.
struct Underway {
    code: InvitationKey,
    referee: UserId,
    recorded: Notify,
    go_on: Notify,
}

/// Numbers are given at once and seen at the commit: a mark that did not wait for who got a lower number would count
/// one too few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fold_waits_for_registrations_under_way_on_postgresql() {
    let test = Setup::Postgres.start().await;
    let owner = referrer(&test).await;
    add_referees(&test, &owner, 1, 99).await;
    add_users(&test, &owner, 1001, 1001, "'00000000-0000-0000-0000-000000000001'").await;
    let underway = Arc::new(Underway {
        code: InvitationKey::of("SPRING2030AB").expect("a code"),
        referee: UserId(Uuid::from_u128(1)),
        recorded: Notify::new(),
        go_on: Notify::new(),
    });
    let register: Work<Arc<Underway>, ()> = |tx, underway| {
        Box::pin(async move {
            let held = hold(tx, underway.code, None).await?;
            referrals::actions::record(tx, held, underway.referee, Status::Confirmed, Time(0)).await?;
            underway.recorded.notify_one();
            underway.go_on.notified().await;
            Ok(())
        })
    };
    let registering = tokio::spawn({
        let (db, underway) = (test.app().db.clone(), underway.clone());
        async move { db.write(Actor::SERVICE, underway, register).await }
    });
    underway.recorded.notified().await;
    // The next one is quicker.
    add_referees(&test, &owner, 100, 100).await;
    let folding = tokio::spawn({
        let (app, owner) = (test.app().clone(), owner.id.clone());
        async move { referrals::actions::fold(&app, &owner).await.map(drop) }
    });
    eventually("it waits, or is done without", || async { folding.is_finished() || test.waiting().await == 1 }).await;
    underway.go_on.notify_one();
    registering.await.expect("no panic").expect("no fault");
    folding.await.expect("no panic").expect("no fault");
    assert_marks(&test, 101).await;
}

/// Lists take a quarter of the connections at most, so that there is always one to write with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_wait_keep_nobody_from_writing_on_postgresql() {
    let test = Setup::Postgres.start_with(&[("REFERRAL_DATABASE_CONNECTIONS", "4")]).await;
    let owner = referrer(&test).await;
    test.user("writer").await;
    let mut blocker = test.beside().await;
    let lock = blocker.transaction().await.expect("a transaction");
    lock.batch_execute("lock table referrals in access exclusive mode").await.expect("nobody reads it");
    let path = format!("/api/v1/users/{}/referrals", owner.id);
    let lists = tokio::spawn({
        let owner = owner.clone();
        async move { futures_util::future::join_all((0..8).map(|_| owner.get(&path))).await }
    });
    eventually("a list waits", || async { test.waiting().await == 1 }).await;
    // Something that does not look at the locked table.
    for _ in 0..3 {
        test.client().log_in("writer", PASSWORD).await.expect(200);
    }
    assert_eq!(test.waiting().await, 1);
    lock.rollback().await.expect("they may go on");
    for list in lists.await.expect("no panic") {
        list.expect(200);
    }
}
