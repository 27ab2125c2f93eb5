//! Handles: drawn or chosen, never issued twice, and good wherever a code is.

use serde_json::json;

use super::helpers::{handle_of, land_on, lead};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::{Client, PASSWORD};
use crate::support::record::Record;

const ME: &str = "/api/v1/me";

async fn choose(client: &Client, handle: &str) -> crate::support::client::Answer {
    client.patch(ME, &json!({"handle": handle})).await
}

on_every_setup!(a_handle_is_drawn_when_it_is_first_needed_and_stays);
async fn a_handle_is_drawn_when_it_is_first_needed_and_stays(setup: Setup) {
    let test = setup.start_two().await;
    let owner = test.user("owner").await;
    assert_eq!(test.number("select count(*) from users where handle is not null").await, 0);
    // Of all who need it at once, on every node, each is told the same.
    let at: Vec<Client> = (0..16).map(|turn| owner.at(&test.nodes[turn % test.nodes.len()].url)).collect();
    let drawn = futures_util::future::join_all(at.iter().map(handle_of)).await;
    let handle = drawn[0].clone();
    assert!(drawn.iter().all(|other| *other == handle), "{drawn:?}");
    assert!(handle.len() == 8 && handle.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()), "{handle}");
    assert_eq!(test.number("select count(*) from handle_strings").await, 1);
    let stored = test.query("select handle from users where handle_chosen_at is null and handle is not null").await;
    assert_eq!(stored, [[Some(handle)]]);
}

on_every_setup!(a_handle_is_chosen_once_and_what_was_drawn_leads_on);
async fn a_handle_is_chosen_once_and_what_was_drawn_leads_on(setup: Setup) {
    let test = setup.start().await;
    land_on(&test, "https://shop.example/join").await;
    let (owner, other) = (test.user("owner").await, test.user("other").await);
    owner.create_code("SPRING2030AB").await.expect(201);
    let drawn = handle_of(&owner).await;
    assert_eq!(choose(&owner, " Olga-1 ").await.expect(200).json()["username"], "owner");
    assert_eq!(handle_of(&owner).await, "olga1");
    // In every spelling it is taken, by its owner alone.
    for spelling in ["olga1", "OLGAI", "o1gal", "0lga-l"] {
        choose(&other, spelling).await.expect_problem(409, "handle_taken");
        choose(&owner, spelling).await.expect(200);
    }
    choose(&owner, "olga2").await.expect_problem(409, "handle_chosen");
    choose(&other, &drawn).await.expect_problem(409, "handle_taken");
    choose(&other, "olga2").await.expect(200);
    for name in [&drawn, "olga1", "OLGA1", "o-l-g-a-1"] {
        let expected = "https://shop.example/join?ref=SPRING2030AB";
        assert_eq!(lead(&test.client(), &format!("/r/{name}")).await, expected, "{name}");
    }
    assert_eq!(test.number("select count(*) from handle_strings").await, 3);
}

on_every_setup!(of_many_who_choose_one_handle_one_gets_it);
async fn of_many_who_choose_one_handle_one_gets_it(setup: Setup) {
    let test = setup.start().await;
    let mut people = Vec::new();
    for number in 0..6 {
        people.push(test.user(&format!("person{number}")).await);
    }
    let tries = people.iter().map(|person| choose(person, "wanted"));
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(tries).await.into_iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409]);
    assert_eq!(test.number("select count(*) from users where handle = 'wanted'").await, 1);
}

on_every_setup!(what_breaks_the_rule_for_handles_is_refused);
async fn what_breaks_the_rule_for_handles_is_refused(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    for bad in ["", "abc", "abcdefghijkl", "ol_ga", "ольга", "olga@x", "admin", "4dm1n", "fuckit"] {
        let answer = choose(&owner, bad).await.expect_problem(422, "invalid");
        assert_eq!(answer.json()["errors"][0]["loc"], json!(["body", "handle"]), "{bad}");
    }
    for nothing in [json!({}), json!({"handle": null}), json!({"discoverable": null})] {
        let answer = owner.patch(ME, &nothing).await.expect_problem(422, "invalid");
        assert_eq!(answer.json()["errors"][0]["type"], "missing", "{nothing}");
    }
    // Both at once: what is refused leaves the other as it was.
    test.user("other").await.patch(ME, &json!({"handle": "taken1"})).await.expect(200);
    let both = json!({"handle": "taken1", "discoverable": false});
    owner.patch(ME, &both).await.expect_problem(409, "handle_taken");
    assert_eq!(owner.get(ME).await.json()["discoverable"], true);
    let both = json!({"handle": "mine1", "discoverable": false});
    assert_eq!(owner.patch(ME, &both).await.expect(200).json()["discoverable"], false);
    assert_eq!(handle_of(&owner).await, "mine1");
}

on_every_setup!(an_erased_persons_handle_is_gone_and_is_nobody_elses);
async fn an_erased_persons_handle_is_gone_and_is_nobody_elses(setup: Setup) {
    let test = setup.start().await;
    let (owner, other) = (test.user("owner").await, test.user("other").await);
    choose(&owner, "olga1").await.expect(200);
    owner.create_code("SPRING2030AB").await.expect(201);
    assert!(lead(&test.client(), "/r/olga1").await.ends_with("code=SPRING2030AB"));
    owner.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);
    assert_eq!(lead(&test.client(), "/r/olga1").await, "/oauth/register?invitation=ended");
    test.client().get("/r/olga1/qr.svg").await.expect_problem(404, "link_not_found");
    choose(&other, "olga1").await.expect_problem(409, "handle_taken");
    assert_eq!(test.number("select count(*) from users where handle is not null").await, 0);
    test.client().register("friend", Some("olga1")).await.expect_problem(404, "code_not_usable");
}

on_every_setup!(a_handle_stands_wherever_a_code_may);
/// Law 16: it means its owner's active code at the moment of the registration.
async fn a_handle_stands_wherever_a_code_may(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    choose(&owner, "olga1").await.expect(200);
    let client = test.client();
    client.register("early", Some("olga1")).await.expect_problem(404, "code_not_usable");
    client.register("nobody", Some("olga2")).await.expect_problem(404, "code_not_usable");
    owner.create_code("FIRST2030ABC").await.expect(201);
    client.register("first", Some("Olga-1.")).await.expect(201);
    let body = |name: &str| json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD});
    client.post("/api/v1/auth/user/OLGA1", &body("second")).await.expect(201);
    let mut spelled = body("third");
    spelled["referral_code"] = json!("o1ga1");
    client.post("/api/v1/auth/user/olga1", &spelled).await.expect(201);
    spelled["referral_code"] = json!("FIRST2030ABC");
    let mismatch = client.post("/api/v1/auth/user/olga1", &spelled).await.expect_problem(422, "invalid");
    assert_eq!(mismatch.json()["errors"][0]["type"], "code_mismatch");
    let valid = async |typed: &str| {
        let answer = client.post("/api/v1/codes/validate", &json!({"code": typed})).await.expect(200).json();
        (answer["valid"].clone(), answer["username"].clone())
    };
    assert_eq!(valid("olga1").await, (json!(true), json!("owner")));
    // The next code is as good, the one before is not.
    owner
        .post("/api/v1/codes?replace=true", &json!({"code": "SECOND2030AB", "expires_at": "2099-01-01"}))
        .await
        .expect(201);
    client.register("fourth", Some("olga1")).await.expect(201);
    client.register("late", Some("FIRST2030ABC")).await.expect_problem(404, "code_not_usable");
    owner.revoke_code("SECOND2030AB").await.expect(204);
    client.register("later", Some("olga1")).await.expect_problem(404, "code_not_usable");
    assert_eq!(valid("olga1").await, (json!(false), json!(null)));
    let joined = "select u.username, r.code_ordinal from referrals r join users u on u.id = r.referee_id order by r.id";
    let row = |name: &str, ordinal: &str| vec![Some(name.to_owned()), Some(ordinal.to_owned())];
    let expected = [row("first", "1"), row("second", "1"), row("third", "1"), row("fourth", "2")];
    assert_eq!(test.query(joined).await, expected);
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
}

on_every_setup!(a_handle_whose_code_has_expired_refers_nobody);
async fn a_handle_whose_code_has_expired_refers_nobody(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    choose(&owner, "olga1").await.expect(200);
    owner.create_code("SPRING2099AB").await.expect(201);
    test.client().register("friend", Some("olga1")).await.expect(201);
    // By the database's clock, before anybody has swept.
    test.move_database_clock(100 * 365 * 86_400_000_000).await;
    test.client().register("late", Some("olga1")).await.expect_problem(404, "code_not_usable");
    assert_eq!(test.number("select count(*) from referrals").await, 1);
}
