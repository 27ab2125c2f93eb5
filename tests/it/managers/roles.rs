//! Managers make and unmake managers, and one stays.

use std::time::Duration;

use referral::features::accounts::actions::management;
use referral::kernel::actor::Actor;
use referral::kernel::error::{Error, Refusal};
use referral::kernel::ids::UserId;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::{Client, PASSWORD};
use crate::support::host::host_of;

fn path(user: &Client) -> String {
    format!("/api/v1/users/{}/manager", user.id)
}

async fn managers(test: &TestApp) -> i64 {
    test.number("select count(*) from users where is_manager and disabled_at is null and erased_at is null").await
}

on_every_setup!(a_manager_gives_the_role_with_their_password_and_takes_it_and_one_stays);
async fn a_manager_gives_the_role_with_their_password_and_takes_it_and_one_stays(setup: Setup) {
    let test = setup.start().await;
    let boss = test.manager("boss").await;
    let olga = test.user("olga").await;
    let mine = json!({"password": PASSWORD});
    for (body, status, word) in [
        (json!({}), 422, "invalid"),
        (json!({"password": ""}), 403, "wrong_password"),
        (json!({"password": "not the password"}), 403, "wrong_password"),
    ] {
        boss.post(&path(&olga), &body).await.expect_problem(status, word);
        boss.delete_with(&path(&boss), &body).await.expect_problem(status, word);
    }
    olga.post(&path(&olga), &mine).await.expect_problem(403, "managers_only");
    // The last one neither lays the role down nor goes.
    let why = json!({"reason": "other"});
    let own = format!("/api/v1/users/{}", boss.id);
    boss.delete_with(&path(&boss), &mine).await.expect_problem(409, "last_manager");
    boss.post(&format!("{own}/disable"), &why).await.expect_problem(409, "last_manager");
    boss.delete_with(&own, &why).await.expect_problem(409, "last_manager");
    boss.delete_with("/api/v1/me", &mine).await.expect_problem(409, "last_manager");
    assert_eq!(managers(&test).await, 1);

    boss.post(&path(&olga), &mine).await.expect(204);
    boss.post(&path(&olga), &mine).await.expect(204);
    assert_eq!(managers(&test).await, 2);
    // One who is kept out is none who could run the program.
    let olga = test.client().logged_in("olga").await;
    olga.post(&format!("{own}/disable"), &why).await.expect(204);
    olga.delete_with(&path(&olga), &mine).await.expect_problem(409, "last_manager");
    olga.post(&format!("{own}/enable"), &why).await.expect(204);
    olga.delete_with(&path(&boss), &mine).await.expect(204);
    olga.delete_with(&path(&boss), &mine).await.expect(204);
    let boss = test.client().logged_in("boss").await;
    boss.post(&path(&boss), &mine).await.expect_problem(403, "managers_only");
    assert_eq!(managers(&test).await, 1);
    let noted = olga.get("/api/v1/audit?action=manager_unmade").await.expect(200).json();
    assert_eq!(noted["items"].as_array().map(Vec::len), Some(1));
}

on_every_setup!(of_managers_who_take_each_others_role_at_once_one_stays);
async fn of_managers_who_take_each_others_role_at_once_one_stays(setup: Setup) {
    let test = setup.start_two().await;
    let (mine, why) = (json!({"password": PASSWORD}), json!({"reason": "other"}));
    for round in 0..4 {
        let mut all = Vec::new();
        for name in ["a", "b", "c"] {
            all.push(test.manager(&format!("{name}{round}")).await);
        }
        test.sql(&format!("update users set is_manager = false where username not like '_{round}'")).await;
        // Each acts on the next, in every way there is, at different nodes.
        let acts = all.iter().enumerate().map(|(number, manager)| {
            let manager = manager.at(&test.nodes[number % 2].url);
            let next = &all[(number + 1) % all.len()];
            let (mine, why) = (&mine, &why);
            async move {
                match number + round {
                    0 | 3 | 6 => manager.delete_with(&path(next), mine).await,
                    1 | 4 => manager.post(&format!("/api/v1/users/{}/disable", next.id), why).await,
                    _ => manager.delete_with(&format!("/api/v1/users/{}", next.id), why).await,
                }
            }
        });
        let answers = futures_util::future::join_all(acts).await;
        for answer in &answers {
            // Who was unmade before their turn came may do nothing any more.
            assert!(matches!(answer.status, 204 | 401 | 403 | 409), "{answer:?}");
        }
        assert!(managers(&test).await >= 1, "{answers:?}");
    }
}

on_every_setup!(who_has_ceased_to_be_a_manager_while_waiting_does_nothing);
async fn who_has_ceased_to_be_a_manager_while_waiting_does_nothing(setup: Setup) {
    let test = setup.start().await;
    let (boss, olga) = (test.manager("boss").await, test.user("olga").await);
    let id = |client: &Client| UserId::parse(&client.id).expect("an id");
    // As when the role was looked at, and then taken.
    let (app, actor) = (test.app(), Actor::anonymous(None).manager(id(&olga)));
    let outcomes = [
        management::disable(app, actor.into(), id(&boss), None).await,
        management::enable(app, actor.into(), id(&boss), None).await,
        management::revoke_code(app, actor.into(), id(&boss), None).await,
        management::set_manager(app, actor.into(), id(&olga), true, None).await,
        management::erase(app, actor.into(), id(&boss), None).await,
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::Refused(Refusal::ManagersOnly))), "{outcome:?}");
    }
    boss.get("/api/v1/me").await.expect(200);
    assert_eq!(managers(&test).await, 1);
}

on_every_setup!(nobody_but_the_operator_erases_the_last_manager);
async fn nobody_but_the_operator_erases_the_last_manager(setup: Setup) {
    let test = setup.start().await;
    let boss = test.manager("boss").await;
    let host = host_of(&boss).await;
    boss.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect_problem(409, "last_manager");
    boss.get("/api/v1/me").await.expect(200);
    // A participant who has been made a manager is not the host's to take away either.
    host.tell("42", json!({"name": "Olga"})).await.expect(201);
    test.sql("update users set is_manager = external_id is not null").await;
    host.delete("/api/v1/participants/42").await.expect_problem(409, "last_manager");
    assert_eq!(managers(&test).await, 1);
    test.sql("update users set is_manager = true").await;
    host.delete("/api/v1/participants/42").await.expect(204);
    boss.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect_problem(409, "last_manager");
    let id = UserId::parse(&boss.id).expect("an id");
    management::erase(test.app(), Actor::OPERATOR.into(), id, None).await.expect("the operator may");
    assert_eq!(managers(&test).await, 0);
}

on_every_setup!(who_asks_for_a_role_without_a_password_has_just_logged_in);
async fn who_asks_for_a_role_without_a_password_has_just_logged_in(setup: Setup) {
    let test = setup.start().await;
    let boss = test.manager("boss").await;
    let olga = test.user("olga").await;
    // As one who came with another provider.
    test.sql("update users set password_hash = null where username = 'boss'").await;
    boss.post(&path(&olga), &json!({"password": Value::Null})).await.expect(204);
    test.move_clock(Duration::from_secs(301));
    boss.delete_with(&path(&olga), &json!({})).await.expect_problem(403, "log_in_again");
    assert_eq!(managers(&test).await, 2);
}
