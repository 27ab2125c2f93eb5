//! Who sees addresses and referees.

use serde_json::json;

use super::helpers::start;
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::{Answer, Client, PASSWORD};

on_every_setup!(nobody_else_sees_an_address);
/// Law 7: an address, also one that is used as a user name, is for its owner, the referrer and managers.
async fn nobody_else_sees_an_address(setup: Setup) {
    let test = start(setup).await;
    let people = People::meet(&test).await;
    let path = format!("/api/v1/users/{}", people.referrer.id);

    for privileged in [&people.referrer, &people.manager] {
        let list = privileged.get(&path).await.expect(200).json();
        assert_eq!(list["items"][0]["email"], "guest@example.com");
        assert_eq!(list["items"][1]["email"], "secret.name@example.org");
        assert_eq!(list["items"][1]["username"], "secret.name@example.org");
    }
    for stranger in [&people.stranger, &people.guest] {
        // Every way to the list: by page, by cursor, by its other name.
        let first = stranger.get(&format!("{path}?size=1")).await.expect(200);
        let cursor = first.json()["next_cursor"].as_str().expect("a second page").to_owned();
        for query in ["", "?size=1", "?size=1&page=2", "/referrals", &format!("?size=1&cursor={cursor}")] {
            let answer = stranger.get(&format!("{path}{query}")).await.expect(200);
            tells_no_address(&answer, stranger);
        }
        let list = stranger.get(&path).await.expect(200).json();
        assert_eq!((&list["total"], &list["items"][0]["username"]), (&json!(2), &json!("guest")));
        assert_eq!(list["items"][0]["email"], "g***@e***.com");
        assert_eq!(list["items"][1]["email"], "s***@e***.org");
        assert_eq!(list["items"][1]["username"], "s***@e***.org");
    }
    test.client().get(&path).await.expect_problem(401, "not_authenticated");

    // A code of somebody whose name is their address.
    let answer = test.client().post("/api/v1/codes/validate", &json!({"code": "SECRET2030AB"})).await.expect(200);
    tells_no_address(&answer, &test.client());
    assert_eq!(answer.json()["username"], "s***@e***.org");
    let referred = test.client();
    referred.register("referred", Some("SECRET2030AB")).await.expect(201);
    let referred = referred.logged_in("referred").await;
    let me = referred.get("/api/v1/me").await.expect(200);
    tells_no_address(&me, &referred);
    assert_eq!(me.json()["referred_by"]["username"], "s***@e***.org");

    // Refusals do not tell either, nor do the figures.
    let taken = json!({"username": "x", "email": "SECRET.name@example.org", "password": PASSWORD});
    tells_no_address(&test.client().post("/api/v1/auth/user", &taken).await.expect(409), &test.client());
    let figures = test.app().metrics.text(&[]).expect("figures");
    assert!(figures.contains("/api/v1/codes/validate") && !figures.contains("example.org"), "{figures}");
}

on_every_setup!(the_operator_decides_who_sees_the_list_of_referees);
/// Law 7: the operator may narrow or widen who sees a referrer's list.
async fn the_operator_decides_who_sees_the_list_of_referees(setup: Setup) {
    const SETTING: &str = "REFERRAL_ACCOUNTS_REFEREES_VISIBLE_TO";
    for value in ["owner", "masked", "all"] {
        let test = setup.start_with(&[(SETTING, value)]).await;
        let people = People::meet(&test).await;
        let path = format!("/api/v1/users/{}", people.referrer.id);
        for privileged in [&people.referrer, &people.manager] {
            let list = privileged.get(&path).await.expect(200).json();
            assert_eq!(list["items"][1]["email"], "secret.name@example.org");
        }
        let nobody = "/api/v1/users/f4a31e56-86e2-44b1-b68b-ddea734ef503";
        for stranger in [&people.stranger, &people.guest] {
            if value == "owner" {
                let refused = stranger.get(&path).await.expect_problem(403, "referees_hidden");
                tells_no_address(&refused, stranger);
                // The refusal does not tell whether there is such a referrer.
                stranger.get(nobody).await.expect_problem(403, "referees_hidden");
                continue;
            }
            let list = stranger.get(&path).await.expect(200).json();
            let shown = if value == "all" { "secret.name@example.org" } else { "s***@e***.org" };
            assert_eq!((&list["items"][1]["email"], &list["items"][1]["username"]), (&json!(shown), &json!(shown)));
        }
    }
}

/// A referrer with two referees, one of whom is called like their address, and who else may look.
struct People {
    referrer: Client,
    guest: Client,
    stranger: Client,
    manager: Client,
}

impl People {
    async fn meet(test: &TestApp) -> Self {
        let referrer = test.user("referrer").await;
        referrer.create_code("SPRING2030AB").await.expect(201);
        test.client().register("guest", Some("SPRING2030AB")).await.expect(201);
        let address = "secret.name@example.org";
        let body = json!({"username": address, "email": address, "password": PASSWORD, "code": "SPRING2030AB"});
        test.client().post("/api/v1/auth/user", &body).await.expect(201);
        test.client().logged_in(address).await.create_code("SECRET2030AB").await.expect(201);
        let manager = test.manager("manager").await;
        let (guest, stranger) = (test.client().logged_in("guest").await, test.user("stranger").await);
        Self { referrer, guest, stranger, manager }
    }
}

/// Nobody's address is in an answer but the caller's own.
#[track_caller]
fn tells_no_address(answer: &Answer, caller: &Client) {
    let mut text = answer.text.to_lowercase();
    if !caller.email.is_empty() {
        text = text.replace(&caller.email, "");
    }
    for part in ["secret", "guest@", "example.com", "example.org"] {
        assert!(!text.contains(part), "{part}: {answer:?}");
    }
}
