//! A walk meets every row once, while the list grows and after people were erased.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use referral::kernel::ids::UserId;
use referral::kernel::page::Cursor;
use serde_json::{Value, json};

use super::helpers::{LENGTHS, add_referees, assert_marks, by_cursor, by_page, fold, literal, numbers, referrer, walk};
use crate::support::app::{Setup, TestApp};
use crate::support::client::{Client, PASSWORD};
use crate::{on_both_engines, on_every_setup};

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

on_every_setup!(a_walk_over_codes_meets_each_once_in_one_order_whichever_way_it_goes);
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

on_every_setup!(a_walk_over_referees_meets_each_once_in_one_order_whichever_way_it_goes);
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
    // The same under its other names, and for somebody who sees less of each.
    let expected: Vec<String> = (1..=length).map(|number| format!("user{number}")).collect();
    let other = test.user("other").await;
    assert_eq!(by_cursor(&other, &format!("{path}/referrals"), 100, 250).await, expected);
    let own = "/api/v1/me/referrals";
    assert_eq!(by_cursor(&owner, own, 100, 250).await, expected);
    assert_eq!(owner.get(own).await.expect(200).json(), owner.get(&path).await.expect(200).json());
    assert_eq!(other.get(own).await.expect(200).json()["total"], 0);
    assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["referral_count"], 250);
}

on_both_engines!(a_page_past_the_end_is_empty_and_tells_the_total);
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

on_both_engines!(what_is_no_page_is_refused_by_name);
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

on_both_engines!(totals_are_exact_and_rows_stay_while_registrations_go_on);
/// Four friends at a time register, the list is folded over and over, and a reader walks it all the while.
async fn totals_are_exact_and_rows_stay_while_registrations_go_on(setup: Setup) {
    const FRIENDS: i64 = 60;
    let test = Arc::new(setup.start().await);
    let owner = referrer(&test).await;
    add_referees(&test, &owner, 1, 180).await;
    let (begun, done, over) =
        (Arc::new(AtomicI64::new(180)), Arc::new(AtomicI64::new(180)), Arc::new(AtomicBool::new(false)));
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
        for target in [format!("{path}?page=2&size=99"), format!("{path}?cursor=AAAAAAAAAAA"), "/api/v1/me".to_owned()]
        {
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

on_both_engines!(an_erased_account_keeps_a_row_without_personal_data);
async fn an_erased_account_keeps_a_row_without_personal_data(setup: Setup) {
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
