//! The ledger, balances, and the release of what is due.

use std::time::Duration;

use referral::features::rewards::actions;
use serde_json::{Value, json};

use super::helpers::{RULES, Shop, purchase, release, share, welcome};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::sources::files;

const DAY: Duration = Duration::from_secs(86_400);

on_every_setup!(a_reward_is_released_when_its_hold_is_over_and_never_before);
async fn a_reward_is_released_when_its_hold_is_over_and_never_before(setup: Setup) {
    let mut shop = Shop::open(setup, &[share()]).await;
    // More than one unit of work takes.
    for place in 0..70 {
        shop.purchase(&format!("e{place}"), 1000).await.expect(201);
    }
    shop.pass(DAY * 30 - Duration::from_secs(600)).await;
    assert_eq!(release(&shop).await, 0);
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (7000, 0, 0));
    shop.pass(Duration::from_secs(600)).await;
    assert_eq!(release(&shop).await, 70);
    assert_eq!(release(&shop).await, 0);
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 7000, 0));
    shop.adds_up().await;
}

on_every_setup!(what_is_granted_for_a_pending_referral_waits_until_it_is_confirmed);
async fn what_is_granted_for_a_pending_referral_waits_until_it_is_confirmed(setup: Setup) {
    let mut rule = share();
    rule["hold_days"] = json!(0);
    let shop = Shop::open(setup, &[rule]).await;
    shop.test.sql("update referrals set status = 'pending'").await;
    shop.purchase("a", 1000).await.expect(201);
    assert_eq!(release(&shop).await, 0);
    shop.test.sql("update referrals set status = 'confirmed'").await;
    let user = referral::kernel::ids::UserId::parse(&shop.referee).expect("an id");
    let confirm: referral::db::Work<referral::kernel::ids::UserId, ()> =
        |tx, user| Box::pin(actions::release::confirmed(tx, *user));
    let actor = referral::kernel::actor::Actor::SERVICE;
    shop.test.app().db.write(actor, user, confirm).await.expect("a confirmation");
    assert_eq!(release(&shop).await, 1);
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 100, 0));
}

on_every_setup!(what_a_node_that_knows_no_rewards_has_confirmed_is_let_go_by_housekeeping);
async fn what_a_node_that_knows_no_rewards_has_confirmed_is_let_go_by_housekeeping(setup: Setup) {
    let mut rule = share();
    rule["hold_days"] = json!(0);
    let shop = Shop::open(setup, &[rule]).await;
    shop.test.sql("update referrals set status = 'pending'").await;
    shop.purchase("a", 1000).await.expect(201);
    let clean = async || referral::worker::clean(shop.test.app()).await.expect("housekeeping");
    clean().await;
    assert_eq!(release(&shop).await, 0, "it waits for its confirmation");
    shop.test.sql("update referrals set status = 'confirmed'").await;
    for (decision, released) in [("deny", 0), ("hold", 0), ("approve", 1)] {
        shop.test.sql(&format!("update referrals set decision = '{decision}'")).await;
        clean().await;
        assert_eq!(release(&shop).await, released, "{decision}");
    }
    assert_eq!(shop.balance(&shop.referrer, "EUR").await, (0, 100, 0));
}

on_every_setup!(people_see_their_own_rewards_and_balance_and_programs_see_all);
async fn people_see_their_own_rewards_and_balance_and_programs_see_all(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2099ABCD").await.expect(201);
    let ivan = test.client().register("ivan", Some("OLGA2099ABCD")).await.expect(201).json();
    let shop = Shop::of(test, &[share(), welcome()]).await;
    let mut body = purchase("ivan", "a", 1000);
    body["participant"] = json!({"id": ivan["id"]});
    shop.host.post(super::helpers::EVENTS, &body).await.expect(201);
    shop.purchase("b", 2000).await.expect(201);
    let own = olga.get("/api/v1/me/rewards").await.expect(200).json();
    assert_eq!(own["items"].as_array().expect("it is there").len(), 1);
    assert_eq!(own["items"][0]["holder"], json!({"id": olga.id, "external_id": null}));
    let balance = olga.get("/api/v1/me/balance").await.expect(200).json();
    assert_eq!(balance, json!({"items": [{"unit": "EUR", "pending": 100, "available": 0, "paid": 0}]}));
    assert_eq!(shop.manager.get("/api/v1/me/balance").await.expect(200).json(), json!({"items": []}));
    let export = olga.get("/api/v1/me/export").await.expect(200).json();
    assert_eq!((&export["rewards"], &export["balances"]), (&own["items"], &balance["items"]));
    let count = |list: &Value| list["items"].as_array().expect("it is there").len();
    for (query, expected) in [
        (String::new(), 4),
        ("state=pending".to_owned(), 4),
        ("state=paid".to_owned(), 0),
        (format!("holder={}", olga.id), 1),
        (format!("holder={}&state=pending&program=default", olga.id), 1),
        (format!("holder={}&state=available", olga.id), 0),
        ("external_id=ivan".to_owned(), 1),
        ("external_id=ivan&state=paid".to_owned(), 0),
        ("external_id=nobody".to_owned(), 0),
        ("size=3".to_owned(), 3),
    ] {
        let list = shop.host.get(&format!("/api/v1/rewards?{query}")).await.expect(200).json();
        assert_eq!(count(&list), expected, "{query}");
        assert_eq!(list["next_cursor"].is_string(), query == "size=3");
    }
    assert_eq!(count(&shop.host.get("/api/v1/ledger?external_id=ivan").await.expect(200).json()), 1);
    let both = format!("holder={}&external_id=ivan", olga.id);
    for wrong in ["state=lost", "holder=x", "program=other", "cursor=x", "external_id=", &both] {
        shop.host.get(&format!("/api/v1/rewards?{wrong}")).await.expect_problem(422, "invalid");
    }
    let ledger = shop.manager.get("/api/v1/ledger?size=1").await.expect(200).json();
    let entry = &ledger["items"][0];
    assert_eq!((&entry["kind"], &entry["from"], &entry["to"]), (&json!("grant"), &json!("issued"), &json!("pending")));
    for wrong in ["holder=x", "cursor=x", "size=0", "external_id=", &both] {
        shop.host.get(&format!("/api/v1/ledger?{wrong}")).await.expect_problem(422, "invalid");
    }
}

on_every_setup!(sums_hold_beyond_what_an_engine_counts_to);
async fn sums_hold_beyond_what_an_engine_counts_to(setup: Setup) {
    let mut rule = share();
    rule["percent_bp"] = json!(10_000);
    let test = setup.start().await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2099ABCD").await.expect(201);
    let ivan = test.client().register("ivan", Some("OLGA2099ABCD")).await.expect(201).json();
    let shop = Shop::of(test, &[rule]).await;
    let mut body = purchase("ivan", "a", 1_000_000_000_000_000);
    body["participant"] = json!({"id": ivan["id"]});
    shop.host.post(super::helpers::EVENTS, &body).await.expect(201);
    // Ten thousand of them: 10^19, where an engine counts to 9.2 * 10^18.
    let double = |from: i64| {
        format!(
            "insert into ledger (holder_id, program_id, unit, kind, amount, reward_id, cause_id, at)
             select holder_id, program_id, unit, kind, amount, null, {}, at from ledger where id <= {from}",
            if setup == Setup::Sqlite { "randomblob(16)" } else { "gen_random_uuid()" }
        )
    };
    for _ in 0..14 {
        shop.test.sql(&double(1_000_000)).await;
    }
    let rows = shop.test.number("select count(*) from ledger").await;
    assert_eq!(rows, 1 << 14);
    let balance = olga.get("/api/v1/me/balance").await.expect(200);
    assert!(balance.text.contains("\"pending\":16384000000000000000,"), "{balance:?}");
}

on_every_setup!(no_statement_of_the_ledger_changes_or_removes_a_row);
async fn no_statement_of_the_ledger_changes_or_removes_a_row(setup: Setup) {
    for (path, text) in files("src", ".rs") {
        let text = text.to_lowercase();
        for word in ["update ledger ", "delete from ledger ", "delete from rewards", "delete from events"] {
            assert!(!text.contains(word), "{path}: {word}");
        }
    }
    // The ledger itself takes a movement once.
    let shop = Shop::open(setup, &[share()]).await;
    shop.purchase("a", 1000).await.expect(201);
    shop.manager.post(RULES, &json!({"rules": [welcome()]})).await.expect(201);
    let again = "insert into ledger (holder_id, program_id, unit, kind, amount, reward_id, cause_id, at)
                 select holder_id, program_id, unit, kind, amount, reward_id, cause_id, at from ledger";
    let refusal = shop.test.refusal(again).await.to_lowercase();
    assert!(refusal.contains("unique"), "{refusal}");
}
