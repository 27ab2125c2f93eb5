//! Codes that a registration by handle renews, and those that nothing renews.

use std::time::Instant;

use referral::features::accounts::actions::administration;
use referral::features::codes;
use referral::features::codes::actions::issued;
use referral::kernel::actor::Actor;
use referral::kernel::code::Code;
use referral::kernel::ids::UserId;
use referral::kernel::time::Time;
use reqwest::Method;
use serde_json::{Value, json};

use super::helpers::{LANDING, land_on, lead};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::codes::LAG;
use crate::support::host::{PARTICIPANTS, host_of};
use crate::support::keyed::{is_replayed, request};
use crate::support::record::Record;

const DAY: i64 = 24 * 3600 * 1_000_000;
const PROGRAM: &str = "/api/v1/programs/default";
const ENDED: &str = "/oauth/register?invitation=ended";

/// A participant by their handle.
async fn referrer(host: &Client, external: &str) -> String {
    let told = host.tell(external, json!({"name": "Olga"})).await.expect(201).json();
    told["handle"].as_str().expect("a handle").to_owned()
}

fn friend(name: &str, handle: &str) -> Value {
    json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD, "code": handle})
}

async fn register(client: &Client, name: &str, handle: &str) -> Answer {
    client.post("/api/v1/auth/user", &friend(name, handle)).await
}

fn of(external: &str) -> String {
    format!("(select id from users where external_id = '{external}')")
}

/// Until then every issued code is over, and nobody has swept.
async fn expire(test: &TestApp) {
    test.move_database_clock(403 * DAY).await;
    for node in &test.nodes {
        node.app.changes.look(&node.app.db).await.expect("the feed");
    }
}

on_every_setup!(of_many_who_come_by_a_handle_at_once_one_renews_and_all_are_brought);
/// On two nodes where there are two; half of them register, the others are told of by their host.
async fn of_many_who_come_by_a_handle_at_once_one_renews_and_all_are_brought(setup: Setup) {
    let test = setup.start_two().await;
    let host = host_of(&test.manager("manager").await).await;
    let handle = referrer(&host, "olga").await;
    let first = host.get(&format!("{PARTICIPANTS}/olga")).await.expect(200).json()["code"].clone();
    expire(&test).await;
    host.tell("late", json!({"code": first})).await.expect_problem(404, "code_not_usable");
    let calls = (0..16).map(|caller: usize| {
        let url = test.nodes[caller % test.nodes.len()].url.clone();
        let (client, host, handle) = (Client::new(&url), host.at(&url), handle.clone());
        tokio::spawn(async move {
            match caller / 2 % 2 {
                0 => register(&client, &format!("friend{caller}"), &handle).await,
                _ => host.tell(&format!("friend{caller}"), json!({"handle": handle})).await,
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("an answer").expect(201);
    }
    let next = format!("select count(*) from codes where owner_id = {} and ordinal > 1 and by_service", of("olga"));
    assert_eq!(test.number(&next).await, 1);
    let brought = format!("select count(*) from referrals where referrer_id = {} and code_ordinal = 2", of("olga"));
    assert_eq!(test.number(&brought).await, 16);
    let slot = format!("select issued, version from code_slots where owner_id = {}", of("olga"));
    assert_eq!(test.query(&slot).await, [[Some("2".to_owned()), Some("2".to_owned())]]);
    let life = "select max(expires_at - created_at) from codes where ordinal = 2";
    assert!((365 * DAY * 9 / 10..=365 * DAY * 11 / 10).contains(&test.number(life).await));
    // The sweep finds nothing left of it to do.
    issued::sweep(test.app()).await.expect("a sweep");
    assert_eq!(test.number(&next).await, 1);
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
}

on_every_setup!(a_link_leads_to_a_registration_that_renews_and_then_to_the_new_code);
async fn a_link_leads_to_a_registration_that_renews_and_then_to_the_new_code(setup: Setup) {
    let test = setup.start_two().await;
    let host = host_of(&test.manager("manager").await).await;
    let handle = referrer(&host, "olga").await;
    let (client, other, link) = (test.client(), test.client_of(1 % test.nodes.len()), format!("/r/{handle}"));
    let code = |answer: &Value| answer["code"].as_str().expect("a code").to_owned();
    let first = code(&host.get(&format!("{PARTICIPANTS}/olga")).await.expect(200).json());
    assert_eq!(lead(&client, &link).await, format!("/oauth/register?code={first}"));
    let valid = async || client.post("/api/v1/codes/validate", &json!({"code": handle})).await.expect(200).json();
    assert!(valid().await["expires_at"].is_string());
    expire(&test).await;
    assert_eq!(lead(&client, &link).await, format!("/oauth/register?code={handle}"));
    assert_eq!(lead(&client, &format!("/r/{first}")).await, ENDED, "the code itself is over");
    assert_eq!(valid().await, json!({"valid": true, "username": "Olga", "expires_at": null}));
    let page = client.get(&format!("/oauth/register?code={handle}")).await.expect(200).text;
    assert!(page.contains("<bdi>Olga</bdi> invites you."), "{page}");
    land_on(&test, LANDING).await;
    for client in [&client, &other] {
        assert_eq!(lead(client, &link).await, format!("{LANDING}?ref={handle}"));
    }
    // One key, one account, one new code.
    let body = friend("friend", &handle);
    let keyed = async || client.send(request(&client, &Method::POST, "/api/v1/auth/user", Some(&body), "key")).await;
    let (made, again) = (keyed().await.expect(201), keyed().await.expect(201));
    assert!(!is_replayed(&made) && is_replayed(&again) && made.text == again.text);
    assert_eq!(test.number("select count(*) from codes where ordinal > 1").await, 1);
    let renewed = Instant::now();
    let next = code(&host.get(&format!("{PARTICIPANTS}/olga")).await.expect(200).json());
    assert_ne!(next, first);
    while lead(&other, &link).await != format!("{LANDING}?ref={next}") {
        assert!(renewed.elapsed() < LAG, "the other node has not heard");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

on_every_setup!(nothing_renews_what_was_ended_or_made_by_a_person_or_is_kept_out);
async fn nothing_renews_what_was_ended_or_made_by_a_person_or_is_kept_out(setup: Setup) {
    let test = setup.start().await;
    land_on(&test, LANDING).await;
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    let mut handles = Vec::new();
    let names = ["revoked", "own", "disabled", "erased", "renews"];
    for external in names {
        handles.push((external, referrer(&host, external).await));
    }
    let known = async |external: &str| {
        let told = host.get(&format!("{PARTICIPANTS}/{external}")).await.expect(200).json();
        let text = |field: &str| told[field].as_str().expect("a text").to_owned();
        (UserId::parse(&text("id")).expect("an id"), text("code"))
    };
    let (revoked, code) = known("revoked").await;
    codes::actions::revoke(test.app(), Actor::SERVICE.into(), revoked, &code).await.expect("revoked");
    let own = Code::parse("SPRING2030AB").expect("a code");
    let soon = Time::parse("2027-10-10").expect("a time");
    let wanted = codes::actions::Wanted { code: Some(own), expires_at: soon, replace: true, behind: None };
    let made = codes::actions::create(test.app(), Actor::SERVICE, known("own").await.0, wanted).await;
    made.expect("a code of their own");
    expire(&test).await;
    // Kept out after the end of their code, so that it is not revoked.
    test.sql("update users set disabled_at = 1 where external_id = 'disabled'").await;
    host.delete(&format!("{PARTICIPANTS}/erased")).await.expect(204);
    let person = test.user("person").await;
    person.patch("/api/v1/me", &json!({"handle": "person1"})).await.expect(200);
    handles.push(("never had one", "person1".to_owned()));
    let before = test.number("select count(*) from codes").await;
    for (turn, (whose, handle)) in handles.iter().enumerate() {
        if *whose == "renews" {
            continue;
        }
        host.tell("friend", json!({"handle": handle})).await.expect_problem(404, "code_not_usable");
        register(&test.client(), &format!("friend{turn}"), handle).await.expect_problem(404, "code_not_usable");
        let valid = test.client().post("/api/v1/codes/validate", &json!({"code": handle})).await.expect(200).json();
        assert_eq!(valid["valid"], false, "{whose}");
        assert_eq!(lead(&test.client(), &format!("/r/{handle}")).await, LANDING, "{whose}");
    }
    // Where the managers want no renewal, nothing renews, and nothing is lost by it.
    let renews = &handles[4].1;
    manager.patch(PROGRAM, &json!({"auto_renew": false})).await.expect(200);
    host.tell("friend", json!({"handle": renews})).await.expect_problem(404, "code_not_usable");
    assert_eq!(lead(&test.client(), &format!("/r/{renews}")).await, LANDING);
    let valid = test.client().post("/api/v1/codes/validate", &json!({"code": renews})).await.expect(200).json();
    assert_eq!(valid["valid"], false);
    issued::sweep(test.app()).await.expect("a sweep");
    host.tell("friend", json!({"handle": renews})).await.expect_problem(404, "code_not_usable");
    assert_eq!(test.number("select count(*) from codes").await, before);
    manager.patch(PROGRAM, &json!({"auto_renew": true})).await.expect(200);
    assert_eq!(lead(&test.client(), &format!("/r/{renews}")).await, format!("{LANDING}?ref={renews}"));
    host.tell("friend", json!({"handle": renews})).await.expect(201);
    assert_eq!(test.number("select count(*) from codes where ordinal = 2 and by_service").await, 1);
    assert_eq!(test.number("select count(*) from referrals").await, 1);
}

on_every_setup!(who_is_disabled_has_no_code_that_renews);
async fn who_is_disabled_has_no_code_that_renews(setup: Setup) {
    let test = setup.start().await;
    let host = host_of(&test.manager("manager").await).await;
    let handle = referrer(&host, "olga").await;
    let name = test.query("select username from users where external_id = 'olga'").await.remove(0).remove(0);
    let user = administration::find(test.app(), &name.expect("a name")).await.expect("a look").expect("a user").id;
    administration::disable(test.app(), user).await.expect("disabled");
    expire(&test).await;
    administration::enable(test.app(), user).await.expect("enabled");
    // Disabling has ended the code: that is no expiry.
    host.tell("friend", json!({"handle": handle})).await.expect_problem(404, "code_not_usable");
    assert_eq!(lead(&test.client(), &format!("/r/{handle}")).await, ENDED);
    // A new one is issued on the host's word, and renews.
    host.post(&format!("{PARTICIPANTS}/olga/code"), &json!({})).await.expect(200);
    host.tell("friend", json!({"handle": handle})).await.expect(201);
}

/// What was due when a registration came may not be when it has the slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_a_code_while_a_registration_waits_renews_nothing() {
    let test = Setup::Postgres.start().await;
    let host = host_of(&test.manager("manager").await).await;
    let handle = referrer(&host, "olga").await;
    expire(&test).await;
    let other = test.beside().await;
    other.batch_execute("begin; select 1 from code_slots for update").await.expect("the slots");
    let waiting = tokio::spawn({
        let host = host.clone();
        async move { host.tell("friend", json!({"handle": handle})).await }
    });
    eventually("it is at the slot", || async { test.waiting().await == 1 }).await;
    other.batch_execute("update codes set revoked_at = expires_at - 1; commit").await.expect("revoked");
    waiting.await.expect("an answer").expect_problem(404, "code_not_usable");
    assert_eq!(test.number("select count(*) from codes").await, 1);
}

/// Of those who wait for the slot at once the first renews, and the others find that it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waited_for_a_renewal_is_brought_by_it() {
    const FRIENDS: usize = 4;
    let test = Setup::Postgres.start().await;
    let host = host_of(&test.manager("manager").await).await;
    let handle = referrer(&host, "olga").await;
    expire(&test).await;
    let other = test.beside().await;
    other.batch_execute("begin; select 1 from code_slots for update").await.expect("the slots");
    let calls = (0..FRIENDS).map(|friend| {
        let (client, handle) = (test.client(), handle.clone());
        tokio::spawn(async move { register(&client, &format!("friend{friend}"), &handle).await })
    });
    let calls: Vec<_> = calls.collect();
    eventually("all of them are at the slot", || async { test.waiting().await == FRIENDS as i64 }).await;
    other.batch_execute("commit").await.expect("released");
    for call in calls {
        call.await.expect("an answer").expect(201);
    }
    assert_eq!(test.number("select count(*) from codes").await, 2);
    assert_eq!(test.number("select count(*) from referrals where code_ordinal = 2").await, FRIENDS as i64);
}
