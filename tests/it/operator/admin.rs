//! `referral admin` and `serve` beside each other.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::operator::operator;
use crate::support::process::{Ended, Operator};

async fn roles(client: &Client) -> Value {
    client.get("/api/v1/me").await.expect(200).json()["roles"].clone()
}

on_both_engines!(accounts_are_managed_from_the_machine_beside_the_running_service);
async fn accounts_are_managed_from_the_machine_beside_the_running_service(setup: Setup) {
    let operator = operator(setup).await;
    let serving = operator.serve();
    let admin =
        |arguments: &[&str], input: &str| -> Ended { operator.run_with(&[&["admin"], arguments].concat(), input) };

    let made = admin(&["create", "boss", "boss@example.com"], "Q123werty!23\n").well();
    assert!(made.stdout.contains("boss is a manager"), "{made:?}");
    assert!(!made.stdout.contains(PASSWORD) && !made.stderr.contains(PASSWORD), "{made:?}");
    let boss = serving.client().logged_in("boss").await;
    assert_eq!(roles(&boss).await, json!(["user", "manager"]));

    let user = serving.client().signed_up("user").await;
    user.create_code("SPRING2030AB").await.expect(201);
    assert_eq!(roles(&user).await, json!(["user"]));
    admin(&["promote", "user@example.com"], "").well();
    assert_eq!(roles(&user).await, json!(["user", "manager"]));
    admin(&["demote", "USER"], "").well();
    assert_eq!(roles(&user).await, json!(["user"]));

    // A new password ends every session of the old one.
    admin(&["reset-password", "user"], "quite another one").well();
    eventually("the session ends", || async { user.get("/api/v1/me").await.status == 401 }).await;
    user.refresh(user.refresh_token.as_deref().expect("a token")).await.expect(401);
    user.log_in("user", PASSWORD).await.expect_problem(401, "bad_credentials");
    let mut user = serving.client();
    user.take_tokens(&user.log_in("user", "quite another one").await.expect(200));

    admin(&["disable", "user"], "").well();
    eventually("the session ends", || async { user.get("/api/v1/me").await.status == 401 }).await;
    user.log_in("user", "quite another one").await.expect_problem(401, "bad_credentials");
    let friend = serving.client().register("friend", Some("SPRING2030AB")).await;
    friend.expect_problem(404, "code_not_usable");
    admin(&["enable", "user"], "").well();
    user.log_in("user", "quite another one").await.expect(200);
    // Dead is dead: letting the owner in again does not revive the code.
    serving.client().register("friend", Some("SPRING2030AB")).await.expect_problem(404, "code_not_usable");
    serving.stop().well();
}

#[test]
fn wrong_uses_of_admin_are_told_in_a_sentence() {
    let operator = Operator::on_a_free_port();
    operator.run(&["migrate"]).well();
    operator.run_with(&["admin", "create", "boss", "boss@example.com"], "Q123werty!23\n").well();
    for (arguments, input, part) in [
        (&["create", "boss", "other@example.com"][..], PASSWORD, "Username already taken"),
        (&["create", "other", "boss@example.com"], PASSWORD, "Email already registered"),
        (&["create", "a b", "other@example.com"], PASSWORD, "letters, digits"),
        (&["create", "other", "nonsense"], PASSWORD, "@-sign"),
        (&["create", "third@example.com", "other@example.com"], PASSWORD, "your own address"),
        (&["create", "other", "other@example.com"], "short", "12"),
        (&["create", "other", "other@example.com"], "passwordpassword", "common"),
        (&["create", "other", "other@example.com"], "", "standard input"),
        (&["create", "other", "other@example.com"], "\n", "standard input"),
        (&["reset-password", "boss"], "short", "12"),
        (&["reset-password", "boss"], "", "standard input"),
        (&["reset-password", "nobody"], PASSWORD, "no user nobody"),
        (&["promote", "nobody"], "", "no user nobody"),
        (&["demote", "nobody@example.com"], "", "no user nobody@example.com"),
        (&["disable", "nobody"], "", "no user nobody"),
        (&["enable", "no body"], "", "no user no body"),
    ] {
        let ended = operator.run_with(&[&["admin"], arguments].concat(), input).refused(&[part]);
        assert!(input.trim().is_empty() || !ended.stderr.contains(input), "{ended:?}");
    }
    let connection = rusqlite::Connection::open(operator.path("referral.db")).expect("the file");
    let users: i64 = connection.query_row("select count(*) from users", [], |row| row.get(0)).expect("a row");
    assert_eq!(users, 1);
}
