//! Participants' links: what they are called, what there is to share them with, and whom they bring.

use referral::db::Work;
use referral::features::accounts::actions::participants::{self as people, Told};
use referral::features::accounts::model::participant::{Brought, Details, ExternalId};
use referral::features::codes::actions::issued;
use referral::kernel::actor::Actor;
use referral::kernel::handle::Handle;
use referral::kernel::ids::UserId;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::host::{PARTICIPANTS, host_of};

const DAY: i64 = 24 * 3600 * 1_000_000;

on_every_setup!(a_participant_has_a_link_and_texts_in_their_language);
async fn a_participant_has_a_link_and_texts_in_their_language(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    let texts = json!({"share_texts": {"ru": "{name} зовёт: {link}"}});
    manager.patch("/api/v1/programs/default", &texts).await.expect(200);
    let olga = host.tell("olga", json!({"name": "Ольга", "language": "ru-RU"})).await.expect(201).json();
    let link = olga["link"].as_str().expect("a link").to_owned();
    assert!(link.ends_with(olga["handle"].as_str().expect("a handle")));
    let channels: Vec<&str> =
        olga["texts"].as_array().expect("texts").iter().filter_map(|text| text["channel"].as_str()).collect();
    assert_eq!(channels, ["whatsapp", "telegram", "x", "sms", "email"]);
    assert_eq!(olga["texts"][0]["text"], json!(format!("Ольга зовёт: {link}")));
    let results = host.tell_all(json!([{"external_id": "ivan", "language": "pt-BR"}, {"external_id": "olga"}])).await;
    assert_eq!(results[1].1, olga);
    let said = results[0].1["texts"][0]["text"].as_str().expect("a text");
    assert!(said.starts_with("Join me here: http://referral.test/r/"), "{said}");
    let listed = host.get(PARTICIPANTS).await.expect(200).json()["items"].clone();
    assert!(listed.as_array().expect("items").contains(&olga));
}

on_every_setup!(a_handle_brings_people_whatever_becomes_of_issued_codes);
async fn a_handle_brings_people_whatever_becomes_of_issued_codes(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    let olga = host.tell("olga", json!({})).await.expect(201).json();
    let (handle, first) = (olga["handle"].as_str().expect("a handle").to_owned(), olga["code"].clone());
    let ivan = host.tell("ivan", json!({"handle": handle})).await.expect(201).json();
    assert_eq!(ivan["referred_by"]["id"], olga["id"]);
    // The same, however it is said; another is not.
    for same in [json!({"handle": handle.to_uppercase()}), json!({"code": handle}), json!({"code": first})] {
        host.tell("ivan", same).await.expect(200);
    }
    host.tell("ivan", json!({"handle": ivan["handle"]})).await.expect_problem(409, "already_joined");
    let both = host.tell("new", json!({"handle": handle, "code": first})).await.expect_problem(422, "invalid").json();
    assert_eq!(both["errors"][0]["loc"], json!(["body", "handle"]));
    host.tell("new", json!({"handle": "nobody1"})).await.expect_problem(404, "code_not_usable");
    // Its time is over and the sweep has not come by: who comes by the handle renews it, who has the code is too late.
    test.move_database_clock(403 * DAY).await;
    host.tell("late", json!({"code": first})).await.expect_problem(404, "code_not_usable");
    let body = json!({"username": "anna", "email": "anna@example.com", "password": PASSWORD, "code": handle});
    test.client().post("/api/v1/auth/user", &body).await.expect(201);
    let next = host.get(&format!("{PARTICIPANTS}/olga")).await.expect(200).json()["code"].clone();
    assert!(next.is_string() && next != first);
    // Another code of the same referrer is not the one that somebody came with.
    host.tell("ivan", json!({"code": next})).await.expect_problem(409, "already_joined");
    host.tell("ivan", json!({"code": first})).await.expect(200);
    host.tell("boris", json!({"handle": handle})).await.expect(201);
    assert_eq!(test.number("select count(*) from referrals where code_ordinal = 2").await, 2);
    assert_eq!(test.number("select count(*) from codes where ordinal = 2 and by_service").await, 1);
    // Nothing follows a revoked one, nor any where the managers want none.
    manager.patch("/api/v1/programs/default", &json!({"auto_renew": false})).await.expect(200);
    test.move_database_clock(900 * DAY).await;
    host.tell("late", json!({"handle": handle})).await.expect_problem(404, "code_not_usable");
    manager.patch("/api/v1/programs/default", &json!({"auto_renew": true})).await.expect(200);
    test.sql("update codes set revoked_at = expires_at - 1 where ordinal = 2").await;
    host.tell("late", json!({"handle": handle})).await.expect_problem(404, "code_not_usable");
    assert_eq!(host.get(&format!("{PARTICIPANTS}/olga")).await.expect(200).json()["code"], Value::Null);
}

on_every_setup!(who_was_made_without_a_link_gets_one);
/// A node of the release before knows no handles.
async fn who_was_made_without_a_link_gets_one(setup: Setup) {
    let test = setup.start().await;
    let host = host_of(&test.manager("manager").await).await;
    for external in ["olga", "disabled"] {
        host.tell(external, json!({})).await.expect(201);
    }
    test.sql("update users set handle = null").await;
    test.sql("delete from handle_strings").await;
    test.sql("update users set disabled_at = 1 where external_id = 'disabled'").await;
    for external in ["olga", "disabled"] {
        let told = host.get(&format!("{PARTICIPANTS}/{external}")).await.expect(200).json();
        let share = ["handle", "link", "qr", "texts"].map(|field| told[field].clone());
        assert_eq!(share, [Value::Null, Value::Null, Value::Null, json!([])]);
    }
    let olga = host.tell("olga", json!({})).await.expect(200).json();
    assert!(olga["link"].as_str().is_some_and(|link| link.ends_with(olga["handle"].as_str().expect("a handle"))));
    assert_eq!(host.tell("olga", json!({})).await.expect(200).json(), olga);
    assert_eq!(host.tell("disabled", json!({})).await.expect(200).json()["handle"], Value::Null);
    assert_eq!(test.number("select count(*) from handle_strings").await, 1);
}

on_every_setup!(a_drawn_handle_that_is_taken_is_followed_by_another);
async fn a_drawn_handle_that_is_taken_is_followed_by_another(setup: Setup) {
    let test = setup.start().await;
    let host = host_of(&test.manager("manager").await).await;
    host.tell("olga", json!({})).await.expect(201);
    let taken = test.query("select handle from users where external_id = 'olga'").await.remove(0).remove(0);
    let taken = Handle::parse(&taken.expect("a handle")).expect("a handle");
    let free = Handle::parse("k3j9x2mq").expect("a handle");
    let told = Told {
        external: ExternalId::parse("ivan").expect("an id"),
        details: Details::default(),
        brought: Brought::Unsaid,
        id: UserId::new(),
        code: issued::draw(test.app()).expect("a draw"),
        handles: vec![taken, free.clone()],
        renewal: None,
        code_days: 365,
        tells: false,
        sign_up: false,
        now: test.app().clock.now(),
    };
    let work: Work<Told, ()> = |tx, told| Box::pin(async move { people::upsert(tx, told).await.map(drop) });
    test.app().db.write(Actor::SERVICE, told, work).await.expect("made");
    let ivan = host.get(&format!("{PARTICIPANTS}/ivan")).await.expect(200).json();
    assert_eq!(ivan["handle"], free.as_str());
    assert_eq!(test.number("select count(distinct handle) from users where handle is not null").await, 2);
}
