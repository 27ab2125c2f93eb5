//! What one sees of oneself, and what others see.

use referral::features::accounts::actions::administration;
use serde_json::{Value, json};

use super::helpers::{face, id};
use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::paths::{ME, USER};

on_every_setup!(me_tells_all_about_oneself);
async fn me_tells_all_about_oneself(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    owner.register("friend", Some("AMSEL2030XYZ")).await.expect(201);
    owner.register("friend2", Some("AMSEL2030XYZ")).await.expect(201);
    let friend = owner.logged_in("friend").await;

    let me = friend.get(ME).await.expect(200).json();
    let mut names: Vec<&str> = me.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "active_code",
            "created_at",
            "discoverable",
            "email",
            "email_verdict",
            "id",
            "name",
            "referral_count",
            "referred_by",
            "roles",
            "username"
        ]
    );
    assert_eq!(
        (&me["id"], &me["email"], &me["username"]),
        (&json!(friend.id), &json!("friend@example.com"), &json!("friend"))
    );
    assert_eq!(
        (&me["roles"], &me["discoverable"], &me["email_verdict"]),
        (&json!(["user"]), &json!(true), &json!("unchecked"))
    );
    assert_eq!(me["referred_by"], json!({"id": owner.id, "username": "owner", "status": "confirmed"}));
    assert_eq!((&me["referral_count"], &me["active_code"]), (&json!(0), &Value::Null));

    let me = owner.get(ME).await.expect(200).json();
    assert_eq!((&me["referral_count"], &me["referred_by"]), (&json!(2), &Value::Null));
    let code = &me["active_code"];
    assert_eq!(
        (&code["code"], &code["is_active"], &code["user_id"]),
        (&json!("AMSEL2030XYZ"), &json!(true), &json!(owner.id))
    );
    assert_eq!(code["expires_at"], "2099-01-01T00:00:00Z");

    administration::set_manager(test.app(), id(&owner), true).await.expect("promoted");
    owner.revoke_code("AMSEL2030XYZ").await.expect(204);
    let me = owner.get(ME).await.expect(200).json();
    assert_eq!(
        (&me["roles"], &me["active_code"], &me["referral_count"]),
        (&json!(["user", "manager"]), &Value::Null, &json!(2))
    );

    let body = json!({"username": "ten-minutes", "email": "someone@mailinator.com", "password": PASSWORD});
    test.client().post(USER, &body).await.expect(201);
    let flagged = owner.logged_in("ten-minutes").await.get(ME).await.expect(200).json();
    assert_eq!(flagged["email_verdict"], "disposable");
}

on_every_setup!(a_referrer_whose_name_is_their_address_is_shown_masked);
/// A name may be the person's own address; whoever they brought sees it as others see addresses.
async fn a_referrer_whose_name_is_their_address_is_shown_masked(setup: Setup) {
    let test = setup.start().await;
    let body = json!({"username": "owner@example.com", "email": "owner@example.com", "password": PASSWORD});
    test.client().post(USER, &body).await.expect(201);
    let owner = test.client().logged_in("owner@example.com").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    owner.register("friend", Some("AMSEL2030XYZ")).await.expect(201);
    let friend = owner.logged_in("friend").await;
    assert_eq!(friend.get(ME).await.expect(200).json()["referred_by"]["username"], "o***@e***.com");
}

on_every_setup!(who_does_not_want_to_be_found_is_like_nobody_to_others);
async fn who_does_not_want_to_be_found_is_like_nobody_to_others(setup: Setup) {
    let test = setup.start_two().await;
    let (owner, other) = (test.user("owner").await, test.user("other").await);
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    let afar = other.at(&test.nodes[1].url);
    let paths = ["/api/v1/codes/owner@example.com", "/api/v1/codes/OWNER@example.com"];
    let body = json!({"email": "owner@example.com"});
    // Once from the database and once from memory.
    for client in [&other, &other, &afar, &afar] {
        client.get(paths[0]).await.expect(200);
    }

    let me = owner.patch(ME, &json!({"discoverable": false})).await.expect(200).json();
    assert_eq!(me["discoverable"], false);
    let nobody = other.get("/api/v1/codes/nobody@example.com").await.expect_problem(404, "no_active_code");
    let nobody_in_body = other.post("/api/v1/codes/lookup", &json!({"email": "nobody@example.com"})).await;
    for _ in 0..2 {
        for path in paths {
            assert_eq!(face(&other.get(path).await), face(&nobody));
        }
        assert_eq!(face(&other.post("/api/v1/codes/lookup", &body).await), face(&nobody_in_body));
    }
    eventually("the other node follows", || async { afar.get(paths[0]).await.status == 404 }).await;
    assert_eq!(face(&afar.get(paths[0]).await), face(&nobody));
    // Oneself is never hidden from oneself, and the code still works.
    assert_eq!(owner.get(paths[0]).await.expect(200).json()["code"], "AMSEL2030XYZ");
    assert_eq!(owner.post("/api/v1/codes/lookup", &body).await.expect(200).json()["code"], "AMSEL2030XYZ");
    assert_eq!(face(&other.get(paths[0]).await), face(&nobody), "what the owner saw is not kept for others");
    other.register("friend", Some("AMSEL2030XYZ")).await.expect(201);

    owner.patch(ME, &json!({"discoverable": true})).await.expect(200);
    other.get(paths[0]).await.expect(200);
    eventually("the other node follows", || async { afar.get(paths[0]).await.status == 200 }).await;
}

on_every_setup!(strangers_see_no_code_of_who_does_not_want_to_be_found);
async fn strangers_see_no_code_of_who_does_not_want_to_be_found(setup: Setup) {
    let mut test = setup.start().await;
    test.add_node_with(&[("REFERRAL_ACCOUNTS_REFEREES_VISIBLE_TO", "all")]).await;
    let (olga, stranger, manager) =
        (test.user("olga").await, test.user("stranger").await, test.manager("manager").await);
    olga.create_code("OLGA2030CODE").await.expect(201);
    let friend = test.client().register("friend", Some("OLGA2030CODE")).await.expect(201);
    assert_eq!(friend.status, 201);
    for hidden in [false, true, false] {
        olga.patch(ME, &json!({"discoverable": !hidden})).await.expect(200);
        for path in ["", "/referrals", "?cursor=MA"] {
            let path = format!("/api/v1/users/{}{path}", olga.id);
            for node in &test.nodes {
                let code = async |viewer: &Client| viewer.at(&node.url).get(&path).await;
                let answer = code(&stranger).await;
                if answer.status == 422 {
                    continue;
                }
                let shown = answer.expect(200).json()["items"][0]["code"].clone();
                assert_eq!(shown, if hidden { json!(null) } else { json!("OLGA2030CODE") }, "{path}");
                for insider in [&olga, &manager] {
                    assert_eq!(code(insider).await.expect(200).json()["items"][0]["code"], json!("OLGA2030CODE"));
                }
            }
        }
    }
}
