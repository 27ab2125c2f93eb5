//! The account: names, being found, the password, and the end.

use std::time::Duration;

use serde_json::{Value, json};

use super::helpers::{logged_in, send};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::visit::Visit;

const ACCOUNT: &str = "/share/account";
const NAME: &str = "/share/account/name";
const HANDLE: &str = "/share/account/handle";
const FOUND: &str = "/share/account/discoverable";
const SECRET: &str = "/share/account/password";
const SESSIONS: &str = "/share/account/sessions";
const EXPORT: &str = "/share/account/export";
const ERASE: &str = "/share/account/erase";

on_every_setup!(a_handle_is_chosen_once_on_the_page);
async fn a_handle_is_chosen_once_on_the_page(setup: Setup) {
    let test = setup.start().await;
    test.user("ivan").await.patch("/api/v1/me", &json!({"handle": "taken7"})).await.expect(200);
    let olga = test.user("olga").await;
    let (mut visit, _) = logged_in(&test, "olga").await;
    let page = visit.get(ACCOUNT).await.expect(200);
    for (typed, status, said) in [
        ("", 422, "A handle is 4 to 11"),
        ("SPRING2030AB", 422, "A handle is 4 to 11"),
        ("<b>", 422, "A handle is 4 to 11"),
        ("taken7", 409, "This handle is taken"),
    ] {
        let told = visit.submit(&page.form(HANDLE), &[("handle", typed)]).await.expect(status);
        assert!(told.text.contains(said) && told.text.contains("<details open>"), "{typed}: {told:?}");
    }
    // As somebody types it, and the same form again.
    for _ in 0..2 {
        assert_eq!(send(&mut visit, &page, HANDLE, &[("handle", "Olga 7")]).await, "/share/account?done=handle");
    }
    let share = olga.get("/api/v1/me/share").await.expect(200).json();
    assert_eq!(share["handle"], "olga7");
    let told = visit.submit(&page.form(HANDLE), &[("handle", "olga8")]).await.expect(409);
    assert!(told.text.contains("a handle is chosen once"), "{told:?}");
    for page in [told, visit.get(ACCOUNT).await.expect(200)] {
        assert!(page.forms().iter().all(|form| form.action != HANDLE), "{page:?}");
        assert!(page.text.contains("id=\"handle\">You have chosen this name."), "{page:?}");
    }
}

on_every_setup!(the_name_that_people_show_is_theirs_to_choose);
async fn the_name_that_people_show_is_theirs_to_choose(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2030ABCD").await.expect(201);
    let (mut visit, _) = logged_in(&test, "olga").await;
    let mut stranger = Visit::new(&test.nodes[0].url);
    for (typed, name, seen) in [
        ("Olga  Őry", json!("Olga  Őry"), "<bdi>Olga  Őry</bdi> invites you"),
        (" <b>Olga</b> ", json!("<b>Olga</b>"), "<bdi>&#60;b&#62;Olga&#60;/b&#62;</bdi> invites you"),
        ("", Value::Null, "<bdi>olga</bdi> invites you"),
        (" ", Value::Null, "<bdi>olga</bdi> invites you"),
    ] {
        let page = visit.get(ACCOUNT).await.expect(200);
        assert_eq!(send(&mut visit, &page, NAME, &[("name", typed)]).await, "/share/account?done=name");
        assert_eq!(olga.get("/api/v1/me").await.expect(200).json()["name"], name);
        let invitation = stranger.get("/oauth/register?code=OLGA2030ABCD").await.expect(200);
        assert!(invitation.text.contains(seen), "{seen}: {invitation:?}");
        let fields = visit.get(ACCOUNT).await.expect(200).form(NAME).fields;
        let shown = fields.iter().find(|(field, _)| field == "name").map(|(_, value)| value.as_str());
        assert_eq!(shown, Some(name.as_str().unwrap_or_default()));
    }
    let page = visit.get(ACCOUNT).await.expect(200);
    let told = visit.submit(&page.form(NAME), &[("name", "a\u{202e}b")]).await.expect(422);
    assert!(told.text.contains("A name has no control or invisible characters"), "{told:?}");
    // The same by the API: null leaves it as it is.
    let answer = olga.patch("/api/v1/me", &json!({"name": "Olga", "discoverable": false})).await.expect(200).json();
    assert_eq!((&answer["name"], &answer["discoverable"]), (&json!("Olga"), &json!(false)));
    olga.patch("/api/v1/me", &json!({"name": null, "discoverable": true})).await.expect(200);
    assert_eq!(olga.get("/api/v1/me").await.expect(200).json()["name"], "Olga");
    for (name, kind) in [(json!(7), "string_type"), (json!("x".repeat(101)), "value_error")] {
        let refused = olga.patch("/api/v1/me", &json!({"name": name})).await.expect_problem(422, "invalid").json();
        assert_eq!(refused["errors"][0]["loc"], json!(["body", "name"]), "{refused}");
        assert_eq!(refused["errors"][0]["type"], kind, "{refused}");
    }
}

on_every_setup!(being_found_is_switched_off_and_on);
async fn being_found_is_switched_off_and_on(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    let (mut visit, _) = logged_in(&test, "olga").await;
    for (expected, value) in [(false, "no"), (false, "no"), (true, "yes")] {
        let page = visit.get(ACCOUNT).await.expect(200);
        assert_eq!(
            send(&mut visit, &page, FOUND, &[("discoverable", value)]).await,
            "/share/account?done=discoverable"
        );
        assert_eq!(olga.get("/api/v1/me").await.expect(200).json()["discoverable"], expected);
    }
}

on_every_setup!(the_password_is_changed_with_the_present_one_and_everybody_is_logged_out);
async fn the_password_is_changed_with_the_present_one_and_everybody_is_logged_out(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    let (mut visit, _) = logged_in(&test, "olga").await;
    let page = visit.get(ACCOUNT).await.expect(200);
    let form = page.form(SECRET);
    let new = "another long password";
    let told = visit.submit(&form, &[("current_password", "not this"), ("new_password", new)]).await.expect(403);
    assert!(told.text.contains("The password is not right"), "{told:?}");
    let told = visit.submit(&form, &[("current_password", PASSWORD), ("new_password", "short")]).await.expect(422);
    assert!(told.text.contains("A password has at least 12 characters"), "{told:?}");
    olga.get("/api/v1/me").await.expect(200);
    let right = [("current_password", PASSWORD), ("new_password", new)];
    let told = visit.submit(&form, &right).await.expect(200);
    assert!(told.text.contains("Your password is set"), "{told:?}");
    olga.get("/api/v1/me").await.expect(401);
    // The form once more, by the back button: it belongs to a browser that was logged in.
    visit.submit(&form, &right).await.expect(403);
    test.client().log_in("olga", PASSWORD).await.expect_problem(401, "bad_credentials");
    test.client().log_in("olga", new).await.expect(200);
}

on_every_setup!(sessions_are_listed_and_ended);
async fn sessions_are_listed_and_ended(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    let (mut here, _) = logged_in(&test, "olga").await;
    let (mut elsewhere, _) = logged_in(&test, "olga").await;
    let page = here.get(ACCOUNT).await.expect(200);
    let ids: Vec<&str> = page.text.split("<button class=\"link\" name=\"id\" value=\"").skip(1).collect();
    assert_eq!((ids.len(), page.text.matches("This browser").count()), (3, 2), "{page:?}");
    assert_eq!(page.text.matches(" UTC</span>").count(), 3, "each tells the time of its last use: {page:?}");
    let others = ids.iter().filter(|part| !part.contains(": <bdi>This browser")).count();
    assert_eq!(others, 2, "{page:?}");
    for part in ids.iter().filter(|part| !part.split("</li>").next().expect("a row").contains("This browser")) {
        let (id, _) = part.split_once('"').expect("an id");
        // The same form twice.
        for _ in 0..2 {
            assert_eq!(send(&mut here, &page, SESSIONS, &[("id", id)]).await, "/share/account?done=ended");
        }
    }
    olga.get("/api/v1/me").await.expect(401);
    elsewhere.get(ACCOUNT).await.expect(200).form("/oauth/login");
    here.get(ACCOUNT).await.expect(200).form(SESSIONS);
    // Those of others are nobody's business.
    test.user("ivan").await;
    let (mut ivans, page) = logged_in(&test, "ivan").await;
    drop(page);
    let page = ivans.get(ACCOUNT).await.expect(200);
    let row = test.query("select cast(id as text) from browser_sessions where ended_at is null").await;
    assert!(row.len() >= 2, "{row:?}");
    let hers = here.get(ACCOUNT).await.expect(200).form(SESSIONS);
    drop(hers);
    for id in row.iter().flatten().flatten() {
        ivans.clone().submit(&page.form(SESSIONS), &[("id", id)]).await.expect(303);
    }
    here.get(ACCOUNT).await.expect(200).form(SESSIONS);
}

on_every_setup!(what_is_kept_of_a_person_is_given_as_a_file_once_an_hour);
async fn what_is_kept_of_a_person_is_given_as_a_file_once_an_hour(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
    test.user("olga").await;
    let (mut visit, _) = logged_in(&test, "olga").await;
    let page = visit.get(ACCOUNT).await.expect(200);
    let file = visit.submit(&page.form(EXPORT), &[]).await.expect(200);
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"referral.json\"");
    let data: serde_json::Value = serde_json::from_str(&file.text).expect("JSON");
    assert!(file.text.contains("olga@example.com"), "{data}");
    let told = visit.submit(&page.form(EXPORT), &[]).await.expect(429);
    assert!(told.text.contains("Too many attempts. Please try again in 60 minutes."), "{told:?}");
}

on_every_setup!(an_account_is_erased_in_a_second_step);
async fn an_account_is_erased_in_a_second_step(setup: Setup) {
    let test = setup.start().await;
    test.user("olga").await;
    let (mut visit, _) = logged_in(&test, "olga").await;
    let page = visit.get(ACCOUNT).await.expect(200);
    assert!(page.forms().iter().all(|form| form.action != ERASE), "{page:?}");
    let page = visit.get(ERASE).await.expect(200);
    let form = page.form(ERASE);
    for wrong in ["", "not this"] {
        let told = visit.submit(&form, &[("password", wrong)]).await.expect(403);
        assert!(told.text.contains("The password is not right"), "{told:?}");
    }
    let told = visit.submit(&form, &[("password", PASSWORD)]).await.expect(200);
    assert!(told.text.contains("Your account is erased"), "{told:?}");
    visit.submit(&form, &[("password", PASSWORD)]).await.expect(403);
    test.client().log_in("olga", PASSWORD).await.expect_problem(401, "bad_credentials");
    assert_eq!(test.number("select count(*) from users where erased_at is not null").await, 1);
}

on_every_setup!(the_last_manager_is_told_why_their_account_stays);
async fn the_last_manager_is_told_why_their_account_stays(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let (mut visit, _) = logged_in(&test, "manager").await;
    let form = visit.get(ERASE).await.expect(200).form(ERASE);
    let told = visit.submit(&form, &[("password", PASSWORD)]).await.expect(409);
    assert!(told.text.contains("Make somebody else a manager first"), "{told:?}");
    told.form(ERASE);
    manager.get("/api/v1/me").await.expect(200);
    test.manager("another").await;
    visit.submit(&form, &[("password", PASSWORD)]).await.expect(200);
}

on_every_setup!(without_a_password_a_log_in_of_a_moment_ago_is_the_proof);
async fn without_a_password_a_log_in_of_a_moment_ago_is_the_proof(setup: Setup) {
    let test = setup.start().await;
    for name in ["olga", "ivan"] {
        test.user(name).await;
    }
    let ((mut olgas, _), (mut ivans, _)) = (logged_in(&test, "olga").await, logged_in(&test, "ivan").await);
    // As of people who came with another identity provider.
    test.sql("update users set password_hash = null").await;
    let page = olgas.get(ACCOUNT).await.expect(200);
    assert!(page.text.contains("Set a password"), "{page:?}");
    assert!(page.form(SECRET).fields.iter().all(|(name, _)| name != "current_password"), "{page:?}");
    let new = [("new_password", "another long password")];
    olgas.submit(&page.form(SECRET), &new).await.expect(200);
    test.client().log_in("olga", "another long password").await.expect(200);
    let (page, erase) = (ivans.get(ACCOUNT).await.expect(200), ivans.get(ERASE).await.expect(200));
    test.move_clock(Duration::from_secs(301));
    for (form, typed) in [(page.form(SECRET), &new[..]), (erase.form(ERASE), &[])] {
        let told = ivans.submit(&form, typed).await.expect(403);
        assert!(told.text.contains("log out and in again first"), "{told:?}");
    }
    assert_eq!(test.number("select count(*) from users where password_hash is null and erased_at is null").await, 1);
}
