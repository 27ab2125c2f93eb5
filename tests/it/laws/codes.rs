//! Codes: one at a time, with a beginning and an end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use referral::app::App;
use referral::features::accounts::actions::registration::write;
use referral::features::codes::actions::Wanted;
use referral::features::{codes, referrals};
use referral::kernel::actor::Actor;
use referral::kernel::error::{Error, Refusal};
use referral::kernel::handle::InvitationKey;
use referral::kernel::ids::UserId;
use referral::kernel::time::Clock;
use serde_json::{Value, json};

use super::helpers::{CALLERS, FAR, HOUR, spread, start, validate};
use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::clock::move_clock;
use crate::support::codes::{gone_in_time, hold, refers_nobody};
use crate::support::record::Record;
use crate::support::registration::entry;

const YEAR: i64 = 366 * 24 * 3600 * 1_000_000;

on_every_setup!(of_many_callers_at_once_one_gets_the_one_active_code);
/// Law 1, with nothing else going on.
async fn of_many_callers_at_once_one_gets_the_one_active_code(setup: Setup) {
    let test = start(setup).await;
    let owner = test.user("owner").await;
    let mut refused_string = None;
    for round in 0..25 {
        let calls = (0..CALLERS).map(|caller| {
            let owner = spread(&test, &owner, caller);
            let chosen = json!({"code": format!("CHOSEN{round:03}AND{caller:03}"), "expires_at": FAR});
            let body = if caller % 2 == 0 { chosen } else { json!({"expires_at": FAR}) };
            async move { (body["code"].clone(), owner.post("/api/v1/codes", &body).await) }
        });
        let (made, refused): (Vec<_>, Vec<_>) =
            join_all(calls).await.into_iter().partition(|(_, answer)| answer.status == 201);
        assert_eq!(made.len(), 1, "{made:?}");
        for (string, answer) in refused {
            answer.expect_problem(409, "active_code_exists");
            refused_string = string.as_str().map(str::to_owned).or(refused_string);
        }
        let code = made[0].1.json()["code"].as_str().expect("a code").to_owned();
        spread(&test, &owner, round).revoke_code(&code).await.expect(204);
    }
    // Who was refused has used nothing up.
    owner.create_code(&refused_string.expect("one of the chosen was refused")).await.expect(201);
    let record = Record::read(&test).await;
    assert_eq!(record.lives.len(), 26);
    assert_eq!(record.faults(), Vec::<String>::new());
}

on_every_setup!(an_expired_code_makes_room_and_refers_nobody);
/// Law 2: a code that has expired frees its owner's slot, and refers nobody.
async fn an_expired_code_makes_room_and_refers_nobody(setup: Setup) {
    let test = start(setup).await;
    let owner = test.user("owner").await;
    let until = Clock::default().now().plus(HOUR).to_string();
    owner.post("/api/v1/codes", &json!({"code": "FIRST2030ABC", "expires_at": until})).await.expect(201);
    owner.create_code("SECOND2030AB").await.expect_problem(409, "active_code_exists");
    test.client().register("early", Some("FIRST2030ABC")).await.expect(201);
    for node in 0..test.nodes.len() {
        let found = spread(&test, &owner, node).get("/api/v1/codes/owner@example.com").await.expect(200);
        assert_eq!(found.json()["code"], "FIRST2030ABC");
    }

    test.move_database_clock(2 * i64::try_from(HOUR.as_micros()).expect("a span")).await;
    let expired = Instant::now();
    for node in 0..test.nodes.len() {
        refers_nobody(&test.client_of(node), &format!("late{node}"), "FIRST2030ABC").await;
        assert_eq!(validate(&test.client_of(node), "FIRST2030ABC").await["valid"], false);
    }
    for node in 0..test.nodes.len() {
        gone_in_time(&spread(&test, &owner, node), "owner@example.com", expired).await;
    }
    owner.create_code("SECOND2030AB").await.expect(201);
    let list = owner.get("/api/v1/codes").await.expect(200).json();
    assert_eq!((&list["items"][0]["is_active"], &list["items"][1]["is_active"]), (&json!(false), &json!(true)));
    test.client().register("later", Some("SECOND2030AB")).await.expect(201);
    refers_nobody(&test.client(), "latest", "FIRST2030ABC").await;

    // Revoking the expired one does not touch its successor.
    owner.revoke_code("FIRST2030ABC").await.expect(204);
    test.client().register("last", Some("SECOND2030AB")).await.expect(201);
    let record = Record::read(&test).await;
    assert_eq!((record.faults(), record.joins.len()), (Vec::new(), 3));
}

on_every_setup!(an_expired_code_stays_dead_when_the_databases_clock_steps_back);
/// Law 2: what was retired, as the service does every second, does not come back with an earlier hour.
async fn an_expired_code_stays_dead_when_the_databases_clock_steps_back(setup: Setup) {
    let test = start(setup).await;
    let owner = test.user("owner").await;
    let until = Clock::default().now().plus(HOUR).to_string();
    owner.post("/api/v1/codes", &json!({"code": "FIRST2030ABC", "expires_at": until})).await.expect(201);
    let hours = 2 * i64::try_from(HOUR.as_micros()).expect("a span");
    test.move_database_clock(hours).await;
    codes::actions::sweep(test.app()).await.expect("it runs");
    // SQLite's clock moves from where it stands, PostgreSQL's from the true time.
    test.move_database_clock(if setup == Setup::Sqlite { -hours } else { 0 }).await;
    for node in 0..test.nodes.len() {
        let client = test.client_of(node);
        assert_eq!(hold(&test.nodes[node].app, "FIRST2030ABC").await, Err(Refusal::CodeNotUsable));
        assert_eq!(validate(&client, "FIRST2030ABC").await, dead());
        let owner = owner.at(&client.base);
        assert_eq!(owner.get("/api/v1/codes").await.expect(200).json()["items"][0]["is_active"], false);
        assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["active_code"], Value::Null);
        owner.get("/api/v1/codes/owner@example.com").await.expect_problem(404, "no_active_code");
    }
    owner.create_code("SECOND2030AB").await.expect(201);
    test.client().register("guest", Some("SECOND2030AB")).await.expect(201);
}

on_every_setup!(times_in_a_slot_never_go_backwards);
/// Laws 1 and 2 on paper: what is recorded in a slot is in order, also when the database's clock steps back between any
/// two of it.
async fn times_in_a_slot_never_go_backwards(setup: Setup) {
    const MINUTE: i64 = 60_000_000;
    let test = start(setup).await;
    let owner = test.user("owner").await;
    let whose = UserId::parse(&owner.id).expect("an id");
    let at = async |minutes: i64| move_clock(&test, minutes * MINUTE).await;
    let enter = async |name: &str, code: &str| {
        write(&test.app().db, entry(name, InvitationKey::of(code))).await.expect("registered");
    };
    let replace = async |code: &str, expires_at: &str| {
        owner.post("/api/v1/codes?replace=true", &json!({"code": code, "expires_at": expires_at})).await
    };
    at(600).await;
    owner.create_code("FIRST2030ABC").await.expect(201);
    at(500).await;
    test.client().register("one", Some("FIRST2030ABC")).await.expect(201);
    enter("two", "FIRST2030ABC").await;
    // Revoked after a step back since it was made, then followed by one of an hour before.
    at(450).await;
    owner.revoke_code("FIRST2030ABC").await.expect(204);
    at(400).await;
    owner.create_code("SECOND2030AB").await.expect(201);
    // Referrals of an hour that is yet to come again, and a step back before the code is replaced.
    at(700).await;
    enter("three", "SECOND2030AB").await;
    at(650).await;
    replace("THIRD2030ABC", FAR).await.expect(201);
    // The same when only the list's marks know of them.
    at(800).await;
    for guest in 0..101 {
        enter(&format!("many{guest}"), "THIRD2030ABC").await;
    }
    referrals::actions::fold(test.app(), &whose.to_string()).await.expect("it runs");
    at(750).await;
    for guest in 0..101 {
        enter(&format!("more{guest}"), "THIRD2030ABC").await;
    }
    referrals::actions::fold(test.app(), &whose.to_string()).await.expect("it runs");
    owner.revoke_code("THIRD2030ABC").await.expect(204);
    // A code that expires at an hour which is past on paper is past.
    let now = Clock::default().now();
    let in_minutes = |minutes: u64| now.plus(Duration::from_secs(60 * minutes)).to_string();
    replace("FOURTH2030AB", &in_minutes(790)).await.expect_problem(400, "expires_in_past");
    owner.post("/api/v1/codes", &json!({"code": "FOURTH2030AB", "expires_at": in_minutes(830)})).await.expect(201);
    replace("FIFTH2030ABC", &in_minutes(790)).await.expect_problem(400, "expires_in_past");
    // One that the clock has taken out of the slot before it stepped back.
    at(900).await;
    codes::actions::sweep(test.app()).await.expect("it runs");
    at(0).await;
    owner.create_code("FIFTH2030ABC").await.expect(201);
    enter("four", "FIFTH2030ABC").await;
    // An erased account's last code ends like any other.
    at(-60).await;
    owner.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);

    let record = Record::read(&test).await;
    assert_eq!((record.lives.len(), record.joins.len()), (5, 206));
    assert_eq!(record.faults(), Vec::<String>::new());
    // The checker would have seen each of them.
    for (breach, word) in [
        ("update codes set created_at = created_at - 1 where ordinal = 2", "overlap"),
        ("update codes set created_at = 1, revoked_at = null, expires_at = 2 where ordinal = 5", "before"),
        ("update referrals set joined_at = joined_at - 60000000 where code_ordinal = 1", "outside"),
        ("update referrals set joined_at = joined_at + 60000000 where code_ordinal = 3", "outside"),
    ] {
        test.sql(breach).await;
        let faults = Record::read(&test).await.faults();
        assert!(faults.iter().any(|fault| fault.contains(word)), "{breach}: {faults:?}");
    }
}

on_every_setup!(a_revoked_code_is_refused_by_every_node_at_once);
/// Law 2: from the answer on, whatever the node and however the code is spelled.
async fn a_revoked_code_is_refused_by_every_node_at_once(setup: Setup) {
    let test = setup.start_two().await;
    let owner = test.user("owner").await;
    for round in 0..4 {
        let code = format!("SPRING{round}OLD30AB");
        owner.create_code(&code).await.expect(201);
        for node in 0..2 {
            test.client_of(node).register(&format!("guest{round}of{node}"), Some(&code)).await.expect(201);
        }
        spread(&test, &owner, round).revoke_code(&code).await.expect(204);
        // No registration hides the first moment behind the time that a password hash takes.
        for node in &test.nodes {
            assert_eq!(hold(&node.app, &code).await, Err(Refusal::CodeNotUsable));
        }
        for node in 0..2 {
            let client = test.client_of(node);
            let spellings = [code.clone(), code.to_lowercase(), code.replace('O', "0").replace('I', "l")];
            for spelling in &spellings {
                assert_eq!(hold(&test.nodes[node].app, spelling).await, Err(Refusal::CodeNotUsable));
                assert_eq!(validate(&client, spelling).await, dead());
            }
            refers_nobody(&client, &format!("late{round}"), &spellings[round % 3]).await;
        }
    }
    assert_eq!(test.number("select count(*) from referrals").await, 8);
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
}

on_every_setup!(no_application_clock_revives_a_dead_code_or_ends_a_live_one);
/// Law 2: the life of codes is the database's business, whatever the application believes the year to be.
async fn no_application_clock_revives_a_dead_code_or_ends_a_live_one(setup: Setup) {
    let test = setup.start_two().await;
    let owner = test.user("owner").await;
    owner.create_code("REVOKED2030A").await.expect(201);
    owner.revoke_code("REVOKED2030A").await.expect(204);
    let until = Clock::default().now().plus(HOUR).to_string();
    owner.post("/api/v1/codes", &json!({"code": "EXPIRED2030A", "expires_at": until})).await.expect(201);
    test.move_database_clock(2 * i64::try_from(HOUR.as_micros()).expect("a span")).await;
    let until = Clock::default().now().plus(10 * HOUR).to_string();
    owner.post("/api/v1/codes", &json!({"code": "LIVING2030AB", "expires_at": until})).await.expect(201);
    // A year ahead, then a year behind.
    for (place, shift) in [YEAR, -2 * YEAR].into_iter().enumerate() {
        test.app().clock.shift(shift);
        for node in 0..2 {
            let client = test.client_of(node);
            for code in ["REVOKED2030A", "EXPIRED2030A"] {
                refers_nobody(&client, "nobody", code).await;
                assert_eq!(validate(&client, code).await, dead());
            }
            client.register(&format!("guest{place}of{node}"), Some("LIVING2030AB")).await.expect(201);
            let owner = client.logged_in("owner").await;
            let found = owner.get("/api/v1/codes/owner@example.com").await.expect(200);
            assert_eq!(found.json()["code"], "LIVING2030AB");
            owner.create_code("ANOTHER2030A").await.expect_problem(409, "active_code_exists");
        }
    }
    let record = Record::read(&test).await;
    assert_eq!((record.faults(), record.joins.len()), (Vec::new(), 4));
}

on_every_setup!(a_code_string_is_used_once_in_any_spelling_even_after_its_owner_is_gone);
/// Law 3.
async fn a_code_string_is_used_once_in_any_spelling_even_after_its_owner_is_gone(setup: Setup) {
    const SPELLINGS: [&str; 6] =
        ["HELLO2030OIL", "hello2030oiL", "HEl1O2O3OO1l", "HE11020300IL", "heIio2o3ooiL", "HEL102O30011"];
    let test = start(setup).await;
    let (owner, other) = (test.user("owner").await, test.user("other").await);
    owner.create_code(SPELLINGS[0]).await.expect(201);
    // It lives in all of its spellings.
    for (place, spelling) in SPELLINGS.iter().enumerate() {
        other.create_code(spelling).await.expect_problem(409, "code_taken");
        test.client().register(&format!("guest{place}"), Some(spelling)).await.expect(201);
    }
    owner.revoke_code(SPELLINGS[1]).await.expect(204);
    for (place, spelling) in SPELLINGS.iter().enumerate() {
        owner.create_code(spelling).await.expect_problem(409, "code_taken");
        spread(&test, &other, place).create_code(spelling).await.expect_problem(409, "code_taken");
        let body = json!({"code": spelling, "expires_at": FAR});
        other.post("/api/v1/codes?replace=true", &body).await.expect_problem(409, "code_taken");
    }
    // A code that was replaced is as dead as one that was revoked.
    owner.create_code("REPLACED2030").await.expect(201);
    owner.post("/api/v1/codes?replace=true", &json!({"code": "ACTIVE2030AB", "expires_at": FAR})).await.expect(201);
    let body = json!({"code": "REPLACED2030", "expires_at": FAR});
    owner.post("/api/v1/codes?replace=true", &body).await.expect_problem(409, "code_taken");

    owner.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
    let again = test.user("owner").await;
    for string in SPELLINGS.into_iter().chain(["REPLACED2030", "ACTIVE2030AB"]) {
        other.create_code(string).await.expect_problem(409, "code_taken");
        again.create_code(string).await.expect_problem(409, "code_taken");
        refers_nobody(&test.client(), "nobody", string).await;
    }
    // What is remembered is not the string that the erased person chose.
    assert_eq!(test.number("select count(*) from codes where code <> ''").await, 0);
    assert_eq!(test.number("select count(*) from codes").await, 3);
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
}

/// What all of law 2 rests on: whoever waited for the slot decides by the time after the wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_is_read_after_the_lock() {
    let test = Setup::Postgres.start().await;
    let owner = test.user("owner").await;
    let id = UserId::parse(&owner.id).expect("an id");
    // A clock that can be moved while a statement is under way.
    test.sql("create table clock_hand (micros bigint); insert into clock_hand values (0)").await;
    test.sql(
        "create or replace function referral_now() returns bigint language plpgsql volatile as 'begin \
         return (extract(epoch from clock_timestamp()) * 1000000)::bigint + (select micros from clock_hand); end'",
    )
    .await;
    let hour = i64::try_from(HOUR.as_micros()).expect("a span");
    let soon = |hours| json!({"expires_at": Clock::default().now().plus(hours * HOUR).to_string()});
    let code =
        owner.post("/api/v1/codes", &soon(1)).await.expect(201).json()["code"].as_str().expect("a code").to_owned();

    let mut blocker = test.beside().await;
    let lock = blocker.transaction().await.expect("a transaction");
    lock.batch_execute("select 1 from code_slots for update").await.expect("the slot is locked");
    let spawned = |app: Arc<App>, what: &'static str| {
        let code = code.clone();
        tokio::spawn(async move {
            let in_an_hour = Clock::default().now().plus(HOUR);
            let outcome = match what {
                "hold" => return hold(&app, &code).await,
                "enter" => write(&app.db, entry("guest", InvitationKey::of(&code))).await,
                _ => {
                    let wanted = Wanted { code: None, expires_at: in_an_hour, replace: false, behind: None };
                    codes::actions::create(&app, Actor::SERVICE, id, wanted).await.map(drop)
                }
            };
            match outcome {
                Ok(()) => Ok(()),
                Err(Error::Refused(refusal)) => Err(refusal),
                Err(fault) => panic!("the database failed: {fault}"),
            }
        })
    };
    let (held, entered) = (spawned(test.app().clone(), "hold"), spawned(test.app().clone(), "enter"));
    let created = spawned(test.app().clone(), "create");
    eventually("all wait for the slot", || async { test.waiting().await == 3 }).await;
    test.sql(&format!("update clock_hand set micros = {}", 2 * hour)).await;
    lock.rollback().await.expect("the slot is free");
    assert_eq!(held.await.expect("it ends"), Err(Refusal::CodeNotUsable));
    assert_eq!(entered.await.expect("it ends"), Err(Refusal::CodeNotUsable));
    assert_eq!(created.await.expect("it ends"), Err(Refusal::ExpiresInPast));

    // Nothing else kept them from it.
    owner.post("/api/v1/codes", &soon(3)).await.expect(201);
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
}

fn dead() -> Value {
    json!({"valid": false, "username": null, "expires_at": null})
}
