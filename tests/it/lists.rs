//! Lists in pages: whichever way they are walked, before and after their marks are set, everything is there once, in
//! one order, with an exact total, and any page costs what the first costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use futures_util::future::join_all;
use referral::db::{Sql, Work};
use referral::features::codes::actions::hold;
use referral::features::codes::model::HeldCode;
use referral::features::referrals;
use referral::features::referrals::model::{Status, Viewer};
use referral::jobs;
use referral::kernel::actor::Actor;
use referral::kernel::code::CodeKey;
use referral::kernel::ids::UserId;
use referral::kernel::page::{Cursor, PageRequest, Start};
use referral::kernel::time::Time;
use rusqlite::StatementStatus;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::on_both_engines;
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Client, PASSWORD};

/// A referrer with a code, so with a slot.
async fn referrer(test: &TestApp) -> Client {
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    owner
}

/// An id as the engine's SQL has it.
fn literal(test: &TestApp, id: &str) -> String {
    match test.setup {
        Setup::Sqlite => format!("x'{}'", id.replace('-', "")),
        _ => format!("'{id}'::uuid"),
    }
}

/// Numbers from one to another, as a table `n` with a column `n`.
fn numbers(test: &TestApp, from: i64, to: i64) -> String {
    match test.setup {
        Setup::Sqlite => format!(
            "(with recursive n(n) as (select {from} where {from} <= {to} union all select n + 1 from n where n < {to}) \
             select n from n) n"
        ),
        _ => format!("generate_series({from}::bigint, {to}::bigint) n(n)"),
    }
}

/// Adds users number `from` to `to` without hashing a password for each: copies of somebody, with names and addresses of
/// their own, and with ids of this SQL, in which `n` is the number.
async fn add_users(test: &TestApp, whom: &Client, from: i64, to: i64, id: &str) {
    let columns = match test.setup {
        Setup::Sqlite => "select name from pragma_table_info('users')",
        _ => "select column_name from information_schema.columns where table_name = 'users'",
    };
    let columns: Vec<String> =
        test.query(columns).await.into_iter().map(|row| row[0].clone().expect("a name")).collect();
    let values: Vec<String> = columns
        .iter()
        .map(|column| match column.as_str() {
            "id" => id.to_owned(),
            "username" | "name_key" => "'user' || n".to_owned(),
            "email" | "email_key" => "'user' || n || '@example.com'".to_owned(),
            "created_at" => "n".to_owned(),
            other => format!("u.{other}"),
        })
        .collect();
    let (whom, numbers) = (literal(test, &whom.id), numbers(test, from, to));
    let (columns, values) = (columns.join(", "), values.join(", "));
    test.sql(&format!("insert into users ({columns}) select {values} from users u, {numbers} where u.id = {whom}"))
        .await;
}

/// Adds referees number `from` to `to` to the end of a referrer's list.
async fn add_referees(test: &TestApp, referrer: &Client, from: i64, to: i64) {
    let id = if test.setup == Setup::Sqlite { "randomblob(16)" } else { "gen_random_uuid()" };
    add_users(test, referrer, from, to, id).await;
    test.sql(&format!(
        "insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status)
         select {}, id, 1, created_at, 'confirmed' from users
         where created_at between {from} and {to} order by created_at",
        literal(test, &referrer.id)
    ))
    .await;
}

/// Gives an owner codes number `from` to `to`, all of them revoked.
async fn add_codes(test: &TestApp, owner: &Client, from: i64, to: i64) {
    let owner = literal(test, &owner.id);
    let hash = if test.setup == Setup::Sqlite { "randomblob(32)" } else { "sha256(n::text::bytea)" };
    let numbers = numbers(test, from, to);
    for sql in [
        format!("insert into code_strings (code_hash, owner_id, ordinal) select {hash}, {owner}, n from {numbers}"),
        format!(
            "insert into codes (owner_id, ordinal, id, code, created_at, expires_at, revoked_at)
             select owner_id, ordinal, id, 'CODE' || ordinal, 1, 2, 1 from code_strings
             where owner_id = {owner} and ordinal between {from} and {to}"
        ),
        format!(
            "insert into code_slots (owner_id, issued, version) values ({owner}, {to}, {to})
             on conflict (owner_id) do update set issued = {to}, version = {to}"
        ),
    ] {
        test.sql(&sql).await;
    }
}

/// What tells an item of either list from the others.
fn name(item: &Value) -> String {
    let name = item.get("username").or(item.get("code")).and_then(Value::as_str);
    name.expect("a name").to_owned()
}

fn names(page: &Value) -> Vec<String> {
    page["items"].as_array().expect("items").iter().map(name).collect()
}

/// Walks a list by page numbers, past its end, and checks every envelope.
async fn by_page(client: &Client, path: &str, size: usize, total: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let pages = total.div_ceil(size);
    for number in 1..=pages + 1 {
        let answer = client.get(&format!("{path}?page={number}&size={size}")).await.expect(200);
        let page = answer.json();
        let envelope = json!([page["total"], page["page"], page["size"], page["pages"]]);
        assert_eq!(envelope, json!([total, number, size, pages]), "{path}, size {size}");
        let names = names(&page);
        let full = if number <= total / size { size } else { total.saturating_sub((number - 1) * size) };
        assert_eq!(names.len(), full, "{path}: page {number} of size {size}");
        assert_eq!(page["next_cursor"].is_null(), number >= pages, "{path}: page {number} of size {size}");
        seen.extend(names);
    }
    seen
}

/// Walks a list by cursors, and by the links that say the same.
async fn by_cursor(client: &Client, path: &str, size: usize, total: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut target = format!("{path}?size={size}");
    loop {
        let answer = client.get(&target).await.expect(200);
        let page = answer.json();
        assert_eq!((&page["total"], &page["size"]), (&json!(total), &json!(size)), "{target}");
        if target.contains("cursor") {
            assert_eq!(page["page"], Value::Null, "{target}");
        }
        seen.extend(names(&page));
        assert!(seen.len() <= total, "{path}: the walk does not end");
        let Some(cursor) = page["next_cursor"].as_str() else {
            assert_eq!(answer.header("link"), "", "{target}: there is nothing next");
            return seen;
        };
        let next = format!("{path}?cursor={cursor}&size={size}");
        assert_eq!(answer.header("link"), format!("<{next}>; rel=\"next\""));
        target = next;
    }
}

/// Walks a list in pages of many sizes, both ways.
async fn walk(client: &Client, path: &str, expected: &[String]) {
    for size in [1, 2, 3, 7, 25, 49, 50, 51, 99, 100] {
        // A long list one by one says no more than a short one.
        if expected.len() > 100 * size {
            continue;
        }
        assert_eq!(by_page(client, path, size, expected.len()).await, expected, "{path}: pages of {size}");
        assert_eq!(by_cursor(client, path, size, expected.len()).await, expected, "{path}: cursors of {size}");
    }
}

const LENGTHS: [i64; 7] = [0, 1, 50, 51, 100, 101, 250];

async fn fold(test: &TestApp, referrer: &Client) {
    referrals::actions::fold(test.app(), &referrer.id).await.expect("the list is folded");
}

/// Every mark says of its row what counting says, and each hundredth row has one.
async fn assert_marks(test: &TestApp, marked: i64) {
    let wrong = "select count(*) from referral_marks m where ordinal <> (select count(*) from referrals r
                 where r.referrer_id = m.referrer_id and r.id <= m.referral_id)";
    assert_eq!(test.number(wrong).await, 0, "a mark is wrong");
    let rows = test.query("select ordinal from referral_marks order by ordinal").await;
    let ordinals: Vec<i64> = rows.iter().map(|row| row[0].as_deref().expect("it").parse().expect("a number")).collect();
    assert_eq!(ordinals, (1..=marked / 100).map(|hundred| hundred * 100).collect::<Vec<_>>());
}

// ----------------------------------------------------------------------------------------------------- every row

on_every_setup! {
    async fn a_walk_over_codes_meets_each_once_in_one_order_whichever_way_it_goes(setup: Setup) {
        let test = setup.start().await;
        let owner = test.user("owner").await;
        let mut length = 0;
        for next in LENGTHS {
            add_codes(&test, &owner, length + 1, next).await;
            length = next;
            let expected: Vec<String> = (1..=length).map(|number| format!("CODE{number}")).collect();
            walk(&owner, "/api/v1/codes", &expected).await;
        }
    }

    async fn a_walk_over_referees_meets_each_once_in_one_order_whichever_way_it_goes(setup: Setup) {
        let test = setup.start().await;
        let owner = referrer(&test).await;
        let path = format!("/api/v1/users/{}", owner.id);
        let mut length = 0;
        for next in LENGTHS {
            add_referees(&test, &owner, length + 1, next).await;
            length = next;
            let expected: Vec<String> = (1..=length).map(|number| format!("user{number}")).collect();
            walk(&owner, &path, &expected).await;
        }
        // The same under its other name, and for somebody who sees less of each.
        let expected: Vec<String> = (1..=length).map(|number| format!("user{number}")).collect();
        let other = test.user("other").await;
        assert_eq!(by_cursor(&other, &format!("{path}/referrals"), 100, 250).await, expected);
        assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["referral_count"], 250);
    }
}

on_both_engines! {
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
        let unit: Work<(HeldCode, UserId), ()> = |tx, (held, referee)| {
            Box::pin(referrals::actions::record(tx, *held, *referee, Status::Confirmed, Time(0)))
        };
        for number in 1..=64 {
            let referee = UserId(Uuid::from_u128(number));
            test.app().db.write(Actor::SERVICE, (held, referee), unit).await.expect("a referral");
        }
        assert_eq!(jobs::waiting(&test.app().db).await.expect("a count"), 1);
        assert_eq!(test.drain().await, 1);
        assert_marks(&test, 110 + 64).await;
    }
}

/// A registration that is under way when the list is folded.
struct Underway {
    code: CodeKey,
    referee: UserId,
    recorded: Notify,
    go_on: Notify,
}

/// Numbers are given at once and seen at the commit: a mark that did not wait for who got a lower number would count one
/// too few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fold_waits_for_registrations_under_way_on_postgresql() {
    let test = Setup::Postgres.start().await;
    let owner = referrer(&test).await;
    add_referees(&test, &owner, 1, 99).await;
    add_users(&test, &owner, 1001, 1001, "'00000000-0000-0000-0000-000000000001'").await;
    let underway = Arc::new(Underway {
        code: CodeKey::of("SPRING2030AB").expect("a code"),
        referee: UserId(Uuid::from_u128(1)),
        recorded: Notify::new(),
        go_on: Notify::new(),
    });
    let register: Work<Arc<Underway>, ()> = |tx, underway| {
        Box::pin(async move {
            let held = hold(tx, underway.code).await?;
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

// ---------------------------------------------------------------------------------------------------- past the end

on_both_engines! {
    async fn a_page_past_the_end_is_empty_and_tells_the_total(setup: Setup) {
        let test = setup.start().await;
        let owner = referrer(&test).await;
        add_codes(&test, &owner, 2, 120).await;
        add_referees(&test, &owner, 1, 120).await;
        let referees = format!("/api/v1/users/{}", owner.id);
        for folded in [false, true] {
            if folded {
                fold(&test, &owner).await;
            }
            for path in ["/api/v1/codes", &referees] {
                for page in ["4", "1000", "9223372036854775807"] {
                    let answer = owner.get(&format!("{path}?page={page}")).await.expect(200);
                    let body = answer.json();
                    assert_eq!((&body["items"], &body["total"], &body["pages"]), (&json!([]), &json!(120), &json!(3)));
                    assert_eq!(body["page"].to_string(), page);
                    assert_eq!((&body["next_cursor"], answer.header("link")), (&Value::Null, ""));
                }
                let end = Cursor(i64::MAX).to_string();
                let body = owner.get(&format!("{path}?cursor={end}")).await.expect(200).json();
                assert_eq!((&body["items"], &body["total"]), (&json!([]), &json!(120)));
                assert_eq!(body["next_cursor"], Value::Null);
            }
        }
        // A stranger's list is as empty as that of nobody.
        let nobody = UserId::new();
        let body = owner.get(&format!("/api/v1/users/{nobody}?page=7")).await.expect(200).json();
        assert_eq!((&body["items"], &body["total"], &body["pages"]), (&json!([]), &json!(0), &json!(0)));
    }

    async fn what_is_no_page_is_refused_by_name(setup: Setup) {
        let test = setup.start().await;
        let owner = referrer(&test).await;
        for path in ["/api/v1/codes", &format!("/api/v1/users/{}", owner.id)] {
            for (query, field) in [
                ("page=0", "page"),
                ("page=-1", "page"),
                ("page=x", "page"),
                ("page=9223372036854775808", "page"),
                ("page=1.5", "page"),
                ("page=", "page"),
                ("size=0", "size"),
                ("size=101", "size"),
                ("size=x", "size"),
                ("cursor=x", "cursor"),
                ("cursor=", "cursor"),
                ("cursor=__________8", "cursor"),
                ("cursor=AAAAAAAAAAA&page=1", "cursor"),
            ] {
                let refused = owner.get(&format!("{path}?{query}")).await.expect_problem(422, "invalid").json();
                assert_eq!(refused["errors"][0]["loc"], json!(["query", field]), "{query}");
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------ while it grows

on_both_engines! {
    /// Four friends at a time register, the list is folded over and over, and a reader walks it all the while.
    async fn totals_are_exact_and_rows_stay_while_registrations_go_on(setup: Setup) {
        const FRIENDS: i64 = 60;
        let test = Arc::new(setup.start().await);
        let owner = referrer(&test).await;
        add_referees(&test, &owner, 1, 180).await;
        let (begun, done, over) = (Arc::new(AtomicI64::new(180)), Arc::new(AtomicI64::new(180)), Arc::new(AtomicBool::new(false)));
        let folding = tokio::spawn({
            let (test, owner, over) = (test.clone(), owner.clone(), over.clone());
            async move {
                while !over.load(Ordering::SeqCst) {
                    fold(&test, &owner).await;
                }
            }
        });
        let registering: Vec<_> = (0..4)
            .map(|who| {
                let (client, begun, done) = (test.client(), begun.clone(), done.clone());
                tokio::spawn(async move {
                    for number in 0..FRIENDS / 4 {
                        begun.fetch_add(1, Ordering::SeqCst);
                        client.register(&format!("friend{who}x{number}"), Some("SPRING2030AB")).await.expect(201);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let path = format!("/api/v1/users/{}", owner.id);
        let (mut walks, mut longest) = (0, 0);
        while registering.iter().any(|task| !task.is_finished()) || walks == 0 {
            for target in [format!("{path}?page=2&size=99"), format!("{path}?cursor=AAAAAAAAAAA"), "/api/v1/me".to_owned()] {
                let least = done.load(Ordering::SeqCst);
                let body = owner.get(&target).await.expect(200).json();
                let most = begun.load(Ordering::SeqCst);
                let total = body.get("total").or(body.get("referral_count")).and_then(Value::as_i64).expect("a total");
                assert!((least..=most).contains(&total), "{target}: {total} is not {least} to {most}");
                assert!(total >= longest, "{target}: {total} after {longest}");
                longest = total;
            }
            walks += 1;
        }
        for task in registering {
            task.await.expect("everybody registers");
        }
        over.store(true, Ordering::SeqCst);
        folding.await.expect("the list is folded");
        fold(&test, &owner).await;
        assert_marks(&test, 180 + FRIENDS).await;
        let ways = [by_page(&owner, &path, 7, 240).await, by_cursor(&owner, &path, 11, 240).await];
        assert_eq!(ways[0], ways[1]);
        let mut sorted = ways[0].clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 240, "each once");
    }
}

// --------------------------------------------------------------------------------------------------- erased people

on_both_engines! {
    async fn who_is_erased_keeps_a_row_without_a_face(setup: Setup) {
        let test = setup.start().await;
        let owner = referrer(&test).await;
        add_referees(&test, &owner, 1, 60).await;
        test.client().register("friend", Some("SPRING2030AB")).await.expect(201);
        add_referees(&test, &owner, 61, 150).await;
        fold(&test, &owner).await;
        let path = format!("/api/v1/users/{}", owner.id);
        let before = by_page(&owner, &path, 50, 151).await;
        assert_eq!(before[60], "friend");
        let friend = test.client().logged_in("friend").await;
        friend.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);

        let page = owner.get(&format!("{path}?page=61&size=1")).await.expect(200).json();
        let row = &page["items"][0];
        assert_eq!((&row["username"], &row["email"]), (&json!("erased"), &json!("erased@erased.invalid")));
        assert_eq!((&row["id"], &row["code"]), (&json!(friend.id), &json!("SPRING2030AB")));
        let mut expected = before;
        expected[60] = "erased".to_owned();
        assert_eq!(by_page(&owner, &path, 50, 151).await, expected);
        assert_eq!(by_cursor(&owner, &path, 50, 151).await, expected);
        assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["referral_count"], 151);

        // The list of a referrer who is erased stays as well; the code that tells who they were does not.
        let other = test.user("other").await;
        owner.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
        assert_eq!(by_cursor(&other, &path, 50, 151).await, expected);
        let page = other.get(&path).await.expect(200).json();
        assert!(page["items"].as_array().expect("items").iter().all(|item| item["code"] == Value::Null));
    }
}

// ------------------------------------------------------------------------------------------------ what a page costs

const MANY: i64 = 100_000;

/// The statements of the referees' list, by name.
fn statement(name: &str) -> &'static Sql {
    referrals::store::STATEMENTS.iter().find(|sql| sql.name == name).expect("the statement is still named so")
}

/// The reads of the list, each at its beginning and at its end: name, what $2 is there. The rows of the list are
/// numbered from 1 in an otherwise empty database.
const READS: [(&str, i64); 5] = [("PAGE", 0), ("PAGE", MANY - 50), ("AFTER", 0), ("AFTER", MANY - 50), ("COUNT", 0)];

async fn long_list(setup: Setup) -> (TestApp, Client) {
    let test = setup.start().await;
    let owner = referrer(&test).await;
    add_referees(&test, &owner, 1, MANY).await;
    fold(&test, &owner).await;
    // A few that have come since.
    add_referees(&test, &owner, MANY + 1, MANY + 30).await;
    (test, owner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_page_of_a_long_list_touches_as_few_rows_as_the_first_on_postgresql() {
    let (test, owner) = long_list(Setup::Postgres).await;
    let client = test.beside().await;
    client.batch_execute("analyze").await.expect("statistics");
    for (name, start) in READS {
        // As the service does it: prepared, and executed often enough that PostgreSQL may choose a generic plan.
        let types = if name == "COUNT" { "uuid" } else { "uuid, bigint, bigint, uuid" };
        let text = statement(name).postgres;
        client.batch_execute(&format!("deallocate all; prepare p({types}) as {text}")).await.expect("it prepares");
        let id = &owner.id;
        let execute = match name {
            "COUNT" => format!("execute p('{id}')"),
            _ => format!("execute p('{id}', {start}, 51, '{id}')"),
        };
        for _ in 0..10 {
            client.simple_query(&execute).await.expect("it runs");
        }
        let messages = client.simple_query(&format!("explain (analyze, format json) {execute}")).await.expect("a plan");
        let plan = messages
            .iter()
            .find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            })
            .expect("a plan");
        let plan: Value = serde_json::from_str(plan).expect("JSON");
        let mut scans = Vec::new();
        collect_scans(&plan[0]["Plan"], &mut scans);
        assert!(scans.iter().any(|scan| scan.0.contains("referrals")), "{name}: {plan}");
        let rows: f64 = scans.iter().map(|(_, rows)| rows).sum();
        assert!(rows <= 400.0, "{name} at {start}: {rows} rows: {scans:?}");
        for large in ["referrals", "referral_marks", "users"] {
            assert!(
                !scans.iter().any(|(scan, _)| *scan == format!("Seq Scan on {large}")),
                "{name} at {start}: {scans:?}"
            );
        }
    }
}

/// The nodes of a plan that read a table: which, and how many rows they looked at.
fn collect_scans(node: &Value, scans: &mut Vec<(String, f64)>) {
    if let Some(table) = node["Relation Name"].as_str() {
        let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
        let looked_at =
            number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
        let kind = node["Node Type"].as_str().unwrap_or_default();
        scans.push((format!("{kind} on {table}"), looked_at * number("Actual Loops")));
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect_scans(child, scans);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_page_of_a_long_list_costs_sqlite_as_few_steps_as_the_first() {
    let (test, owner) = long_list(Setup::Sqlite).await;
    let connection = rusqlite::Connection::open(test.database_url.trim_start_matches("sqlite:")).expect("the file");
    let id = UserId::parse(&owner.id).expect("an id").0.into_bytes();
    for (name, start) in READS {
        let text = statement(name).sqlite;
        let mut plan = connection.prepare(&format!("explain query plan {text}")).expect("a plan");
        let mut rows = plan.raw_query();
        let mut lines: Vec<String> = Vec::new();
        while let Some(row) = rows.next().expect("a row") {
            lines.push(row.get(3).expect("a line"));
        }
        assert!(lines.iter().any(|line| line.starts_with("SEARCH r")), "{name}: {lines:?}");
        // Whole passes only over what the statement itself has made.
        for line in lines.iter().filter(|line| line.starts_with("SCAN")) {
            let made = ["SCAN last_mark", "SCAN near_mark", "SCAN head", "SCAN p", "SCAN page", "SCAN CONSTANT ROW"];
            assert!(made.contains(&line.trim_end_matches(" LEFT-JOIN")), "{name}: {lines:?}");
        }
        let mut statement = connection.prepare(text).expect("it prepares");
        // By name, as the seam does: their places are where they first appear.
        let values: [(&str, &dyn rusqlite::ToSql); 4] = [("$1", &id), ("$2", &start), ("$3", &51), ("$4", &id)];
        let values = if name == "COUNT" { &values[..1] } else { &values[..] };
        let rows = count_rows(&mut statement, values);
        assert_eq!(rows, if name == "COUNT" { 1 } else { 51 }, "{name} at {start}");
        // Some 100 steps a row; a hundred thousand rows would be millions.
        let steps = statement.get_status(StatementStatus::VmStep);
        assert!(steps < 10_000, "{name} at {start}: {steps} steps");
        let passed = statement.get_status(StatementStatus::FullscanStep);
        assert!(passed <= 100, "{name} at {start}: {passed} rows passed over");
    }
}

fn count_rows(statement: &mut rusqlite::Statement<'_>, values: &[(&str, &dyn rusqlite::ToSql)]) -> usize {
    let mut rows = statement.query(values).expect("it runs");
    let mut count = 0;
    while rows.next().expect("a row").is_some() {
        count += 1;
    }
    count
}

on_both_engines! {
    async fn a_long_list_is_whole_at_both_ends(setup: Setup) {
        let (test, owner) = long_list(setup).await;
        let id = UserId::parse(&owner.id).expect("an id");
        let list = async |start: Start| {
            let viewer = Viewer::Person { user: id, may_manage: false, may_read_codes: true };
            let page = referrals::actions::list(test.app(), id, viewer, PageRequest { start, size: 50 }).await;
            let page = page.expect("a page");
            assert_eq!(page.total, MANY + 30);
            (page.items.iter().map(|item| item.joined_at).collect::<Vec<_>>(), page.next)
        };
        let times = |from: i64, to: i64| (from..=to).map(Time).collect::<Vec<_>>();
        assert_eq!(list(Start::Page(1)).await.0, times(1, 50));
        assert_eq!(list(Start::Page(1001)).await.0, times(50_001, 50_050));
        let (items, next) = list(Start::Page(MANY / 50)).await;
        assert_eq!(items, times(MANY - 49, MANY));
        assert_eq!(list(Start::After(next.expect("there are more"))).await, (times(MANY + 1, MANY + 30), None));
        assert_eq!(list(Start::Page(MANY / 50 + 1)).await, (times(MANY + 1, MANY + 30), None));
    }
}
