//! Codes that are not the newest of their owner. Tests that use the newest one only would not notice if an older one
//! did as well.

use std::time::Duration;

use referral::db::Work;
use referral::features::{codes, referrals};
use referral::kernel::actor::Actor;
use referral::kernel::error::Refusal;
use referral::kernel::ids::UserId;
use referral::kernel::time::{Clock, Time};
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::Client;
use crate::support::codes::{hold, refers_nobody};
use crate::support::record::Record;
use crate::support::registration::id_of;

const HOUR: Duration = Duration::from_secs(3600);
const HOURS: i64 = 3_600_000_000;
const CODES: &str = "/api/v1/codes";

async fn replace(owner: &Client, code: &str) {
    let body = json!({"code": code, "expires_at": "2099-01-01"});
    owner.post("/api/v1/codes?replace=true", &body).await.expect(201);
}

async fn validate(client: &Client, code: &str) -> Value {
    client.post("/api/v1/codes/validate", &json!({"code": code})).await.expect(200).json()["valid"].clone()
}

/// What the owner's list says of each code, oldest first.
async fn active(owner: &Client) -> Vec<bool> {
    let list = owner.get(CODES).await.expect(200).json();
    list["items"].as_array().expect("items").iter().map(|item| item["is_active"] == true).collect()
}

on_every_setup!(a_code_that_was_replaced_refers_nobody);
/// Law 2, while the owner has another that is active: what is asked is whether it is this very one.
async fn a_code_that_was_replaced_refers_nobody(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    let former = ["FIRST2030ABC", "SECOND2030AB"];
    owner.create_code(former[0]).await.expect(201);
    test.client().register("early", Some(former[0])).await.expect(201);
    replace(&owner, former[1]).await;
    replace(&owner, "THIRD2030ABC").await;
    for (turn, code) in former.into_iter().enumerate() {
        assert_eq!(hold(test.app(), code).await, Err(Refusal::CodeNotUsable));
        refers_nobody(&test.client(), &format!("late{turn}"), code).await;
        assert_eq!(validate(&test.client(), code).await, false, "{code}");
    }
    assert_eq!(validate(&test.client(), "THIRD2030ABC").await, true);
    assert_eq!(active(&owner).await, [false, false, true]);
    test.client().register("later", Some("THIRD2030ABC")).await.expect(201);

    let joined = "select u.username, r.code_ordinal from referrals r join users u on u.id = r.referee_id order by 2";
    let row = |name: &str, ordinal: &str| vec![Some(name.to_owned()), Some(ordinal.to_owned())];
    assert_eq!(test.query(joined).await, [row("early", "1"), row("later", "3")]);
    let ended = "select ordinal from codes where revoked_at is not null and revoked_at >= created_at order by 1";
    assert_eq!(test.query(ended).await, [[Some("1".to_owned())], [Some("2".to_owned())]]);
    assert_eq!(test.number("select count(*) from users").await, 3);
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
}

on_every_setup!(a_code_ends_once);
/// The end of a code is noted once: a later one would let referrals seem to be within its life.
async fn a_code_ends_once(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("FIRST2030ABC").await.expect(201);
    replace(&owner, "SECOND2030AB").await;
    let ends = "select ordinal, revoked_at from codes order by ordinal";
    let before = test.query(ends).await;
    owner.revoke_code("FIRST2030ABC").await.expect_problem(404, "code_not_found");
    assert_eq!(test.query(ends).await, before);
    owner.revoke_code("SECOND2030AB").await.expect(204);
    let before = test.query(ends).await;
    owner.revoke_code("SECOND2030AB").await.expect_problem(404, "code_not_found");
    assert_eq!(test.query(ends).await, before);
}

on_every_setup!(an_expired_code_is_shown_as_active_nowhere);
/// Nobody has taken it out of its slot yet.
async fn an_expired_code_is_shown_as_active_nowhere(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    let until = Clock::default().now().plus(HOUR).to_string();
    owner.post(CODES, &json!({"code": "FIRST2030ABC", "expires_at": until})).await.expect(201);
    assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["active_code"]["code"], "FIRST2030ABC");
    assert_eq!(active(&owner).await, [true]);
    test.move_database_clock(2 * HOURS).await;
    assert_eq!(test.number("select count(*) from code_slots where code_id is not null").await, 1);
    assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["active_code"], Value::Null);
    assert_eq!(active(&owner).await, [false]);
    assert_eq!(validate(&test.client(), "FIRST2030ABC").await, false);
}

on_every_setup!(the_sweep_leaves_the_living_alone);
async fn the_sweep_leaves_the_living_alone(setup: Setup) {
    let test = setup.start().await;
    let until = Clock::default().now().plus(HOUR).to_string();
    for (name, code, until) in [
        ("brief", "BRIEF2030ABC", &*until),
        ("lasting", "LASTING2030A", "2099-01-01"),
        ("other", "OTHER2030ABC", &until),
    ] {
        let owner = test.user(name).await;
        owner.post(CODES, &json!({"code": code, "expires_at": until})).await.expect(201);
    }
    let kept = "select code from code_slots where code_id is not null order by code";
    codes::actions::sweep(test.app()).await.expect("it runs");
    assert_eq!(test.query(kept).await.len(), 3);
    test.move_database_clock(2 * HOURS).await;
    codes::actions::sweep(test.app()).await.expect("it runs");
    assert_eq!(test.query(kept).await, [[Some("LASTING2030A".to_owned())]]);
    test.client().register("guest", Some("LASTING2030A")).await.expect(201);
}

on_every_setup!(a_verdict_confirms_its_own_referral_alone);
async fn a_verdict_confirms_its_own_referral_alone(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("FIRST2030ABC").await.expect(201);
    for name in ["one", "two"] {
        test.client().register(name, Some("FIRST2030ABC")).await.expect(201);
    }
    test.sql("update referrals set status = 'pending'").await;
    let one = id_of(&test, "one").await;
    let confirm: Work<UserId, bool> = |tx, user| Box::pin(referrals::actions::confirm(tx, *user, Time(1)));
    assert!(test.app().db.write(Actor::SERVICE, one, confirm).await.expect("it is noted"));
    let confirmed = "select u.username from referrals r join users u on u.id = r.referee_id \
                     where r.status = 'confirmed'";
    assert_eq!(test.query(confirmed).await, [[Some("one".to_owned())]]);
}
