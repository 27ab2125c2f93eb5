//! `referral serve --read-only`: reads are answered, changes are refused with a reason.

use serde_json::json;

use super::helpers::{contents, differing, operator, people, url, with_the_first_schema};
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::host::host_of;
use crate::support::witness;
use crate::{on_both_engines, on_every_setup};

on_both_engines!(reads_are_answered_and_changes_refused_with_a_reason);
async fn reads_are_answered_and_changes_refused_with_a_reason(setup: Setup) {
    let operator = operator(setup).await;
    let serving = operator.serve();
    let people = people(&serving).await;
    let host = host_of(&people.boss).await;
    serving.stop().well();
    let before = contents(&url(&operator)).await;
    let serving = operator.serve_with(&["serve", "--read-only"]);
    let (olga, boss) = (people.olga.at(&serving.url), people.boss.at(&serving.url));
    let me = olga.get("/api/v1/me").await.expect(200);
    assert_eq!(me.json()["username"], "olga");
    boss.get(&format!("/api/v1/users/{}", people.olga.id)).await.expect(200);
    boss.get("/api/v1/codes/olga@example.com").await.expect(200);
    serving.client().get("/r/olga7").await;
    assert_eq!(serving.client().get("/readyz").await.expect(200).json()["status"], "read_only");
    let refused = [
        serving.client().register("late", None).await,
        serving.client().log_in("olga", PASSWORD).await,
        olga.refresh(olga.refresh_token.as_deref().expect("a token")).await,
        olga.revoke_code("OLGAS2NDCODE").await,
        olga.patch("/api/v1/me", &json!({"discoverable": false})).await,
        boss.delete_with(&format!("/api/v1/users/{}", people.olga.id), &json!({"reason": "request"})).await,
        host.at(&serving.url).tell("hosts-8", json!({})).await,
    ];
    for answer in refused {
        let answer = answer.expect_problem(503, "read_only");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let ended = serving.stop().well();
    assert!(ended.stderr.contains("serve --read-only"), "{ended:?}");
    assert_eq!(differing(&before, &contents(&url(&operator)).await), Vec::<&str>::new());
    // What waits to be done is done by the next.
    operator.serve().client().logged_in("olga").await;
}

on_both_engines!(an_older_schema_is_not_migrated_by_who_only_reads);
async fn an_older_schema_is_not_migrated_by_who_only_reads(setup: Setup) {
    let (operator, url) = with_the_first_schema(setup).await;
    operator.run(&["serve", "--read-only"]).refused(&["has schema 1", "serve it without --read-only first"]);
    let there = witness::number(&url, "select max(version) from schema_migrations").await;
    assert_eq!(there, 1);
}

on_every_setup!(a_node_that_takes_no_changes_is_ready_and_refuses_each_way_of_writing);
async fn a_node_that_takes_no_changes_is_ready_and_refuses_each_way_of_writing(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    olga.create_code("OLGAS1STCODE").await.expect(201);
    let people = test.number("select count(*) from users").await;
    test.app().db.refuse_writes();
    // One that is one statement on PostgreSQL, and one that is a unit everywhere.
    test.client().register("late", Some("OLGAS1STCODE")).await.expect_problem(503, "read_only");
    olga.patch("/api/v1/me", &json!({"discoverable": false})).await.expect_problem(503, "read_only");
    assert_eq!(test.number("select count(*) from users").await, people);
    assert_eq!(test.number("select count(*) from probes").await, 0);
    assert_eq!(test.client().get("/readyz").await.expect(200).json()["status"], "read_only");
    assert_eq!(test.number("select count(*) from probes").await, 0, "not even that is written");
}
