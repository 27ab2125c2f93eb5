//! The codes that the service issues to participants: how long they live, what follows them, and what does not.

use referral::features::codes;
use referral::features::codes::actions::issued;
use referral::kernel::caller::Subject;
use referral::kernel::email::Email;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;
use crate::support::host::{PARTICIPANTS, host_of};

const DAY: i64 = 24 * 3600 * 1_000_000;
const PROGRAM: &str = "/api/v1/programs/default";

async fn sweep(test: &TestApp) {
    issued::sweep(test.app()).await.expect("a sweep");
}

async fn code_of(host: &Client, external: &str) -> Value {
    host.get(&format!("{PARTICIPANTS}/{external}")).await.expect(200).json()["code"].clone()
}

on_every_setup!(an_issued_code_that_expires_is_followed_by_the_next);
async fn an_issued_code_that_expires_is_followed_by_the_next(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    for external in ["olga", "revoked", "disabled", "erased"] {
        host.tell(external, json!({})).await.expect(201);
    }
    let lives = "select min(expires_at - created_at), max(expires_at - created_at) from codes";
    let lives = test.query(lives).await.remove(0);
    let lives: Vec<i64> = lives.into_iter().map(|life| life.expect("a life").parse().expect("a number")).collect();
    assert!(lives[0] >= 365 * DAY * 9 / 10 && lives[1] <= 365 * DAY * 11 / 10 && lives[0] < lives[1], "{lives:?}");
    let first = code_of(&host, "olga").await;
    sweep(&test).await;
    assert_eq!(code_of(&host, "olga").await, first, "nothing is done before its time");
    // One that a person has made themselves is theirs to follow up.
    manager.post("/api/v1/codes", &json!({"code": "OWN2030MANAGER", "expires_at": "2028-01-01"})).await.expect(201);
    // What is revoked, and whose owner is kept out, has no next.
    test.sql("update users set disabled_at = 1 where external_id = 'disabled'").await;
    host.delete(&format!("{PARTICIPANTS}/erased")).await.expect(204);
    let revoked = "update codes set revoked_at = expires_at - 1
                   where owner_id = (select id from users where external_id = 'revoked')";
    test.sql(revoked).await;
    test.sql(
        "update code_slots set code_id = null, code = null, expires_at = null \
              where owner_id = (select id from users where external_id = 'revoked')",
    )
    .await;
    manager.patch(PROGRAM, &json!({"code_days": 10})).await.expect(200);
    test.move_database_clock(403 * DAY).await;
    assert_eq!(code_of(&host, "olga").await, Value::Null, "its time is over");
    sweep(&test).await;
    let next = code_of(&host, "olga").await;
    assert!(next.is_string() && next != first);
    for external in ["revoked", "disabled"] {
        assert_eq!(code_of(&host, external).await, Value::Null, "{external}");
    }
    assert_eq!(manager.get("/api/v1/me").await.expect(200).json()["active_code"], Value::Null);
    assert_eq!(test.number("select count(*) from codes").await, 6, "one each, the manager's, and olga's next");
    // It lives as the program says now, was issued by the service as well, and refers people.
    let life = test.number("select max(expires_at - created_at) from codes where ordinal = 2 and by_service").await;
    assert!((9 * DAY..=11 * DAY).contains(&life), "{life}");
    host.tell("ivan", json!({"code": next})).await.expect(201);
    host.tell("late", json!({"code": first})).await.expect_problem(404, "code_not_usable");
    // And so on, until the managers say otherwise.
    test.move_database_clock(415 * DAY).await;
    sweep(&test).await;
    let third = code_of(&host, "olga").await;
    assert!(third.is_string() && third != next);
    manager.patch(PROGRAM, &json!({"auto_renew": false})).await.expect(200);
    test.move_database_clock(430 * DAY).await;
    sweep(&test).await;
    assert_eq!(code_of(&host, "olga").await, Value::Null);
    assert_eq!(test.number("select count(*) from code_slots where code_id is not null").await, 0);
}

on_every_setup!(of_very_many_expired_codes_a_unit_takes_a_few);
/// So nobody waits long for a slot, or for the writer of SQLite.
async fn of_very_many_expired_codes_a_unit_takes_a_few(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    let all: Vec<Value> = (0..100).map(|number| json!({"external_id": format!("p{number:03}")})).collect();
    assert!(host.tell_all(json!(all)).await.iter().all(|(status, _)| *status == 201));
    manager.post("/api/v1/codes", &json!({"code": "OWN2030MANAGER", "expires_at": "2028-01-01"})).await.expect(201);
    test.move_database_clock(500 * DAY).await;
    let mut taken = Vec::new();
    loop {
        let swept = issued::sweep_once(test.app()).await.expect("a unit");
        if swept == 0 {
            break;
        }
        taken.push(swept);
    }
    assert_eq!(taken, [32, 32, 32, 5]);
    assert_eq!(test.number("select count(*) from codes where ordinal = 2 and by_service").await, 100);
    assert_eq!(test.number("select count(*) from code_slots where issued = 2 and version = 2").await, 100);
}

on_every_setup!(a_code_that_has_leaked_is_replaced_at_once);
async fn a_code_that_has_leaked_is_replaced_at_once(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_CODES_PER_USER_AND_DAY", "3")]).await;
    let host = host_of(&test.manager("manager").await).await;
    let path = format!("{PARTICIPANTS}/olga/code");
    host.post(&path, &json!({})).await.expect_problem(404, "participant_not_found");
    let olga = host.tell("olga", json!({"email": "olga@example.com"})).await.expect(201).json();
    test.sql("update users set discoverable = true where external_id = 'olga'").await;
    let found = async || host_sees(&test, "olga@example.com").await;
    assert_eq!(found().await, olga["code"]);
    let next = host.post(&path, &json!({})).await.expect(200).json();
    assert_ne!(next["code"], olga["code"]);
    assert_eq!(code_of(&host, "olga").await, next["code"]);
    assert_eq!(found().await, next["code"], "look-ups follow");
    host.tell("ivan", json!({"code": olga["code"]})).await.expect_problem(404, "code_not_usable");
    host.tell("ivan", json!({"code": next["code"]})).await.expect(201);
    assert_eq!(test.number("select count(*) from codes where revoked_at is not null").await, 1);
    host.post(&path, &json!({})).await.expect(200);
    host.post(&path, &json!({})).await.expect_problem(429, "rate_limited");
    // Who is kept out gets none.
    host.tell("anna", json!({})).await.expect(201);
    test.sql("update users set disabled_at = 1 where external_id = 'anna'").await;
    let anna = host.post(&format!("{PARTICIPANTS}/anna/code"), &json!({})).await.expect(200).json();
    assert_eq!(anna["code"], code_of(&host, "anna").await);
    assert_eq!(
        test.number("select count(*) from codes c join users u on u.id = c.owner_id where u.external_id = 'anna'")
            .await,
        1
    );
}

async fn host_sees(test: &TestApp, email: &str) -> Value {
    let email = Email::parse(email).expect("an address");
    let found = codes::actions::find_by_email(test.app(), Subject::Program(Uuid::nil()), &email).await;
    json!(found.expect("a code").code)
}
