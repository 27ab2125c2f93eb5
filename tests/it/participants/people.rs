//! Participants as people: what others see of who has no address, how they leave, and how one becomes an account.

use referral::features::accounts::actions::administration;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::host::{PARTICIPANTS, host_of};

on_every_setup!(who_has_no_address_is_shown_without_one_wherever_addresses_are);
async fn who_has_no_address_is_shown_without_one_wherever_addresses_are(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2030CODE").await.expect(201);
    let ivan = host.tell("ivan", json!({"code": "OLGA2030CODE"})).await.expect(201).json();
    host.tell("anna", json!({"code": "OLGA2030CODE", "email": "anna@example.com"})).await.expect(201);
    let list = format!("/api/v1/users/{}", olga.id);
    let stranger = test.user("stranger").await;
    let seen = [(&olga, "anna@example.com"), (&manager, "anna@example.com"), (&stranger, "a***@e***.com")];
    for (viewer, address) in seen {
        let items = viewer.get(&list).await.expect(200).json()["items"].clone();
        assert_eq!((&items[0]["email"], &items[1]["email"]), (&Value::Null, &json!(address)));
        assert_eq!(items[0]["id"], ivan["id"]);
    }
    // An absent address is nobody's: it is not found, and nobody logs in by it.
    for nothing in ["", " "] {
        let answer = olga.post("/api/v1/codes/lookup", &json!({"email": nothing})).await;
        answer.expect_problem(422, "invalid");
        test.client().log_in(nothing, PASSWORD).await.expect_problem(401, "bad_credentials");
    }
    assert!(administration::find(test.app(), "").await.expect("a look").is_none());
    // Who has one is found by it, with the code that the service issued, if they want to be.
    test.sql("update users set discoverable = true where external_id = 'anna'").await;
    let found = olga.get("/api/v1/codes/anna@example.com").await.expect(200).json();
    let anna = host.get(&format!("{PARTICIPANTS}/anna")).await.expect(200).json();
    assert_eq!((&found["code"], &found["user"]["id"]), (&anna["code"], &anna["id"]));
    // By the new address as soon as it has changed, and not by the former.
    host.tell("anna", json!({"email": "anna@new.example"})).await.expect(200);
    olga.get("/api/v1/codes/anna@example.com").await.expect_problem(404, "no_active_code");
    assert_eq!(olga.get("/api/v1/codes/anna@new.example").await.expect(200).json()["code"], anna["code"]);
    // Nobody has a password: nobody gets in by the drawn name either.
    let name = &test.query("select username from users where external_id = 'ivan'").await[0][0];
    test.client().log_in(name.as_deref().expect("a name"), PASSWORD).await.expect_problem(401, "bad_credentials");
}

on_every_setup!(a_participant_who_was_made_an_account_logs_in_and_keeps_their_address);
async fn a_participant_who_was_made_an_account_logs_in_and_keeps_their_address(setup: Setup) {
    let test = setup.start().await;
    let host = host_of(&test.manager("manager").await).await;
    for (external, body) in [("olga", json!({"email": "olga@example.com"})), ("ivan", json!({}))] {
        host.tell(external, body).await.expect(201);
        let name = test.query(&format!("select username from users where external_id = '{external}'")).await;
        let name = name[0][0].clone().expect("a name");
        let found = administration::find(test.app(), &name).await.expect("a look").expect("somebody");
        administration::reset_password(test.app(), &found, PASSWORD).await.expect("a good password");
        let person = test.client().log_in(&name, PASSWORD).await.expect(200);
        let mut client = test.client();
        client.take_tokens(&person);
        let me = client.get("/api/v1/me").await.expect(200).json();
        assert_eq!(me["email"], host.get(&format!("{PARTICIPANTS}/{external}")).await.json()["email"]);
        assert_eq!(me["active_code"]["code"], host.get(&format!("{PARTICIPANTS}/{external}")).await.json()["code"]);
    }
    // What is theirs the host does not change; what it says beside is taken.
    let told = host.tell("olga", json!({"email": "other@example.com", "name": "Olga"})).await.expect(200).json();
    assert_eq!((&told["email"], &told["name"]), (&json!("olga@example.com"), &json!("Olga")));
    let told = host.tell("olga", json!({"email": ""})).await.expect(200).json();
    assert_eq!(told["email"], "olga@example.com");
    test.client().log_in("olga@example.com", PASSWORD).await.expect(200);
    // They can leave by themselves, and the host is told so.
    let olga = test.client().logged_in("olga@example.com").await;
    olga.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
    host.get(&format!("{PARTICIPANTS}/olga")).await.expect_problem(404, "participant_not_found");
    host.tell("olga", json!({})).await.expect_problem(409, "participant_erased");
}

on_every_setup!(an_erased_participant_leaves_numbers_and_no_trace);
async fn an_erased_participant_leaves_numbers_and_no_trace(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    let whole = json!({"email": "olga@example.com", "name": "Olga P.", "language": "sl-nedis"});
    let olga = host.tell("host-olga", whole).await.expect(201).json();
    let code = olga["code"].as_str().expect("a code").to_owned();
    host.tell("ivan", json!({"code": code})).await.expect(201);
    host.delete(&format!("{PARTICIPANTS}/host-olga")).await.expect(204);
    host.delete(&format!("{PARTICIPANTS}/host-olga")).await.expect_problem(404, "participant_not_found");
    host.get(&format!("{PARTICIPANTS}/host-olga")).await.expect_problem(404, "participant_not_found");
    host.post(&format!("{PARTICIPANTS}/host-olga/code"), &json!({})).await.expect_problem(404, "participant_not_found");
    for body in [json!({}), json!({"email": "olga@example.com"}), json!({"code": code})] {
        host.tell("host-olga", body).await.expect_problem(409, "participant_erased");
    }
    let results = host.tell_all(json!([{"external_id": "host-olga"}, {"external_id": "ivan"}])).await;
    assert_eq!(results.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [409, 200]);
    // Whom she brought keeps that; nobody comes with her code any more, and her address is free.
    let ivan = host.get(&format!("{PARTICIPANTS}/ivan")).await.expect(200).json();
    assert_eq!(ivan["referred_by"]["id"], olga["id"]);
    host.tell("late", json!({"code": code})).await.expect_problem(404, "code_not_usable");
    host.tell("anna", json!({"email": "olga@example.com"})).await.expect(201);
    let columns = "external_id is null and display_name is null and language is null and erased_at is not null";
    assert_eq!(test.number(&format!("select count(*) from users where {columns}")).await, 1);
    for trace in ["host-olga", "Olga P.", "sl-nedis", &code] {
        for (table, column) in [
            ("users", "external_id"),
            ("users", "display_name"),
            ("users", "language"),
            ("users", "username"),
            ("codes", "code"),
            ("code_slots", "code"),
            ("logins", "login_key"),
        ] {
            let count = format!("select count(*) from {table} where {column} = '{trace}'");
            assert_eq!(test.number(&count).await, 0, "{trace} in {table}.{column}");
        }
    }
}
