//! Who did what is noted in the unit of work that does it.

use referral::features::accounts::actions::administration;
use referral::features::audit::model::Detail;
use referral::features::mails;
use referral::features::tokens::actions::keys;
use serde_json::json;

use super::helpers::{chained, fault};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::PASSWORD;
use crate::support::host::host_of;
use crate::support::oauth::register;
use crate::support::servers::Smtp;
use crate::support::visit::Visit;

/// Action, kind of actor, actor, subject, whether there is a request: the oldest first.
async fn noted(test: &TestApp) -> Vec<[String; 5]> {
    let rows = test
        .query(
            "select action, actor_kind, coalesce(cast(a.username as text), ''), \
             coalesce(cast(s.username as text), subject_kind), \
             case when request_id is null then 'no request' else 'by request' end \
             from audit left join users a on a.id = actor_id \
             left join users s on subject_kind = 'user' and lower(replace(subject_id, '-', '')) = {id} \
             order by audit.id"
                .replace(
                    "{id}",
                    match test.setup {
                        Setup::Sqlite => "lower(hex(s.id))",
                        _ => "replace(cast(s.id as text), '-', '')",
                    },
                )
                .as_str(),
        )
        .await;
    rows.into_iter().map(|row| row.try_into().expect("five")).map(|row: [_; 5]| row.map(Option::unwrap)).collect()
}

on_every_setup!(what_is_done_with_others_things_is_noted_with_who_did_it);
async fn what_is_done_with_others_things_is_noted_with_who_did_it(setup: Setup) {
    let test = setup.start().await;
    let boss = test.manager("boss").await;
    let olga = test.user("olga").await;
    let expected = |rows: &[[&str; 5]]| -> Vec<[String; 5]> { rows.iter().map(|row| row.map(str::to_owned)).collect() };
    let mut all = expected(&[["manager_logged_in", "person", "boss", "boss", "by request"]]);
    assert_eq!(noted(&test).await, all, "of log-ins those of managers");

    let mut visit = Visit::new(&test.nodes[0].url);
    let page = visit.get("/oauth/apps").await.expect(200);
    visit.log_in(&page, "boss", PASSWORD).await.expect(303);
    let shop = register(&boss, json!({"scope": "profile"})).await;
    let path = format!("/api/v1/clients/{}", shop.id);
    boss.patch(&path, &json!({"name": "Another", "scope": "profile account"})).await.expect(200);
    boss.post(&format!("{path}/secret"), &json!({})).await.expect(200);
    boss.delete(&path).await.expect(204);
    boss.delete(&path).await.expect_problem(404, "client_not_found");
    let new = json!({"current_password": PASSWORD, "new_password": "Another-Pass-77"});
    olga.post("/api/v1/me/password", &new).await.expect(204);
    all.extend(expected(&[
        ["manager_logged_in", "person", "boss", "boss", "by request"],
        ["client_registered", "manager", "boss", "client", "by request"],
        ["client_changed", "manager", "boss", "client", "by request"],
        ["client_secret_replaced", "manager", "boss", "client", "by request"],
        ["client_removed", "manager", "boss", "client", "by request"],
        ["password_changed", "person", "olga", "olga", "by request"],
    ]));
    assert_eq!(noted(&test).await, all);
    let detail = test.query("select detail from audit where action = 'client_changed'").await;
    let detail = Detail::read(detail[0][0].as_deref().expect("a text"));
    assert_eq!(json!(detail.parts), json!(["name", "scope"]));

    // By the operator's command. What changes nothing is not noted.
    let found = administration::find(test.app(), "olga").await.expect("a look").expect("olga");
    for _ in 0..2 {
        administration::set_manager(test.app(), found.id, true).await.expect("promoted");
        administration::set_manager(test.app(), found.id, true).await.expect("promoted");
        administration::disable(test.app(), found.id).await.expect("disabled");
        administration::disable(test.app(), found.id).await.expect("disabled");
        administration::set_manager(test.app(), found.id, false).await.expect("demoted");
        administration::enable(test.app(), found.id).await.expect("enabled");
        administration::enable(test.app(), found.id).await.expect("enabled");
        for action in ["manager_made", "user_disabled", "manager_unmade", "user_enabled"] {
            all.extend(expected(&[[action, "operator", "", "olga", "no request"]]));
        }
    }
    administration::reset_password(test.app(), &found, "Yet-Another-Pass").await.expect("reset");
    all.extend(expected(&[["password_reset", "operator", "", "olga", "no request"]]));
    assert_eq!(noted(&test).await, all);

    // The erased keeps an id and nothing else.
    let mut olga = test.client();
    olga.take_tokens(&olga.log_in("olga", "Yet-Another-Pass").await.expect(200));
    olga.delete_with("/api/v1/me", &json!({"password": "Yet-Another-Pass"})).await.expect(204);
    let last = test.query("select action, actor_kind from audit order by id desc limit 1").await;
    assert_eq!(last[0], [Some("user_erased".into()), Some("person".into())]);
    assert_eq!(test.number("select count(*) from erased").await, 1);
    assert_eq!(chained(test.app()).await, all.len() as i64 + 1);
    assert_eq!(fault(test.app()).await, None);
}

on_every_setup!(what_is_refused_is_not_noted);
async fn what_is_refused_is_not_noted(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    let new = json!({"current_password": "not the password", "new_password": "Another-Pass-77"});
    olga.post("/api/v1/me/password", &new).await.expect_problem(403, "wrong_password");
    olga.delete_with("/api/v1/me", &json!({"password": "wrong"})).await.expect_problem(403, "wrong_password");
    olga.log_in("olga", "wrong").await.expect_problem(401, "bad_credentials");
    assert_eq!(test.number("select count(*) from audit").await, 0);
}

on_every_setup!(keys_programs_exports_and_acts_of_hosts_are_noted);
async fn keys_programs_exports_and_acts_of_hosts_are_noted(setup: Setup) {
    let smtp = Smtp::start().await;
    let settings = Smtp::settings(smtp.port);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let test = setup.start_with(&settings).await;
    let boss = test.manager("boss").await;
    let olga = test.user("olga").await;
    let host = host_of(&boss).await;
    host.tell("42", json!({"name": "Ivan"})).await.expect(201);
    host.tell("42", json!({"name": "Petr"})).await.expect(200);
    host.post("/api/v1/participants/42/code", &json!({})).await.expect(200);
    host.delete("/api/v1/participants/42").await.expect(204);
    boss.patch("/api/v1/programs/default", &json!({"name": "Another"})).await.expect(200);
    olga.get("/api/v1/me/export").await.expect(200);
    boss.get(&format!("/api/v1/users/{}/export", olga.id)).await.expect(200);
    boss.get("/api/v1/exports/referrals.csv").await.expect(200);
    olga.post("/api/v1/auth/reset", &json!({"email": olga.email})).await.expect(202);
    test.drain().await;
    let mails = smtp.mails_to(&olga.email);
    let reset = mails.iter().find(|mail| !mail.subject.starts_with("Confirm")).expect("a mail to reset by");
    let body = json!({"token": reset.token(), "password": "Zaunkoenig-2099"});
    olga.post("/api/v1/auth/reset/complete", &body).await.expect(204);
    let lines = async || -> Vec<[String; 3]> {
        noted(&test).await.into_iter().map(|[action, kind, _, subject, _]| [action, kind, subject]).collect()
    };
    let mut all = [
        ["manager_logged_in", "person", "boss"],
        ["client_registered", "manager", "client"],
        ["code_replaced", "program", "erased"],
        ["user_erased", "program", "erased"],
        ["program_changed", "manager", "program"],
        ["user_exported", "person", "olga"],
        ["user_exported", "manager", "olga"],
        ["list_exported", "manager", "list"],
        ["password_reset", "person", "olga"],
    ]
    .map(|line| line.map(str::to_owned))
    .to_vec();
    assert_eq!(lines().await, all);

    keys::rotate(test.app(), false).await.expect("no refusal");
    let made = lines().await.len() - all.len();
    assert!((1..=2).contains(&made), "a key of each kind");
    all.extend(vec![["key_made", "operator", "key"].map(str::to_owned); made]);
    assert_eq!(lines().await, all);
    let before = all.len();
    keys::rotate(test.app(), true).await.expect("no refusal");
    mails::actions::keys::replace(test.app()).await.expect("another key");
    let emergency = lines().await[before..].to_vec();
    let count = |action: &str| emergency.iter().filter(|line| line[0] == action).count();
    assert_eq!(count("key_retired"), 2 * made, "{emergency:?}");
    assert_eq!(count("key_made"), made + 2, "that of refresh tokens and that of links in mails, too");
    chained(test.app()).await;
    assert_eq!(fault(test.app()).await, None);
}
