//! Every write of the document. One that is new has to be added here, or it fails.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::{Client, PASSWORD};
use crate::support::host::host_of;
use crate::support::keyed::{FAR, REPLACE, is_replayed, request};
use crate::support::oauth::register;
use crate::support::operations::operations;
use crate::support::servers::Smtp;

/// Those that take no key, and why.
const WITHOUT: &[(&str, &str)] = &[
    ("log_in", "an answer with tokens is given once; a refresh has a way of its own"),
    ("log_out", "a second one is a 401, and nobody is logged out twice"),
    ("request_tokens", "as a log-in"),
    ("revoke_token", "a second one changes nothing, and the answer is the same"),
    ("introspect_token", "it writes nothing"),
    ("get_user_info_by_post", "it writes nothing"),
    ("look_up_code", "it writes nothing"),
    ("validate_code", "it writes nothing"),
    ("search_users", "it writes nothing"),
    ("test_webhook_endpoint", "it writes nothing"),
    ("tell_events", "each item is known by its type and external id, and a client has one batch under way"),
    ("upsert_participants", "each item is known by its external id, and a client has one batch under way"),
];
/// Those that end the session they are sent in: whoever comes later is not logged in any more.
const ENDS: &[&str] = &["change_password", "erase_account"];

/// A write that somebody may make.
struct Write {
    client: Client,
    method: Method,
    path: String,
    body: Option<Value>,
    /// A number that grows with each effect.
    effect: String,
}

/// A write of this operation, with somebody who may make it once.
async fn prepare(test: &TestApp, smtp: &Smtp, id: &str, method: &Method, template: &str) -> Write {
    let name = id.replace('_', "");
    let owned = |table: &str, value: &str| {
        format!("select {value} from {table} t join users u on u.id = t.owner_id where u.username = '{name}'")
    };
    let users = format!("select count(*) from users where username = 'new{name}'");
    let email = format!("new{name}@example.com");
    let account = json!({"username": format!("new{name}"), "email": email, "password": PASSWORD});
    let proof = json!({"password": PASSWORD});
    let change = json!({"current_password": PASSWORD, "new_password": "Zaunkoenig-2099"});
    let client = json!({"name": name, "redirect_uris": ["https://shop.example.com/cb"], "scope": "openid"});
    let clients = |condition: &str| format!("select count(*) from clients where {condition}");
    let (who, path, body, effect) = match id {
        "register_account" => (test.client(), template.to_owned(), Some(account), users),
        "register_account_with_code" => {
            let owner = test.user(&name).await;
            owner.create_code("OWNER2099ABC").await.expect(201);
            let referees = "select count(*) from referrals r join users u on u.id = r.referrer_id where u.username = ";
            let effect = format!("{referees}'{name}'");
            (test.client(), template.replace("{code}", "OWNER2099ABC"), Some(account), effect)
        }
        "request_password_reset" => {
            let asked = "select count(*) from jobs where kind = 'send_mail' and done_at is null".to_owned();
            (test.client(), template.to_owned(), Some(json!({"email": "somebody@example.com"})), asked)
        }
        "complete_password_reset" => {
            let user = test.user(&name).await;
            // Of two mails that are sent at once either may be the newest.
            test.drain().await;
            user.post("/api/v1/auth/reset", &json!({"email": user.email})).await.expect(202);
            let body = json!({"token": link(test, smtp, &user.email).await, "password": "Zaunkoenig-2099"});
            // A link acts once: another effect would have been refused.
            (test.client(), template.to_owned(), Some(body), String::new())
        }
        "confirm_email" => {
            let user = test.user(&name).await;
            let body = json!({"token": link(test, smtp, &user.email).await});
            let proven = "select count(*) from users where email_proven_at is not null".to_owned();
            (test.client(), template.to_owned(), Some(body), proven)
        }
        "resend_confirmation" => {
            let asked = "select count(*) from jobs where kind = 'send_mail' and done_at is null".to_owned();
            (test.client(), template.to_owned(), Some(json!({"email": "another@example.com"})), asked)
        }
        "change_email" => {
            let wish = json!({"email": "wanted@example.com", "password": PASSWORD});
            let sent = "select count(*) from mails m join users u on u.id = m.user_id where u.username = ";
            (test.user(&name).await, template.to_owned(), Some(wish), format!("{sent}'{name}'"))
        }
        "update_profile" => {
            let user = test.user(&name).await;
            user.create_code("UPDATE2099ABC").await.expect(201);
            let body = json!({"discoverable": false});
            (user, template.to_owned(), Some(body), owned("code_slots", "t.version"))
        }
        "change_password" => {
            let user = test.user(&name).await;
            let changed = "select count(*) from users where password_hash is not null and username = ";
            (user, template.to_owned(), Some(change), format!("{changed}'{name}'"))
        }
        "erase_account" => {
            let erased = "select count(*) from users where erased_at is not null".to_owned();
            (test.user(&name).await, template.to_owned(), Some(proof), erased)
        }
        "create_code" => {
            let user = test.user(&name).await;
            user.create_code("CREATE2099ABC").await.expect(201);
            (user, REPLACE.to_owned(), Some(json!({"expires_at": FAR})), owned("codes", "count(*)"))
        }
        "revoke_code" => {
            let user = test.user(&name).await;
            user.create_code("REVOKE2099ABC").await.expect(201);
            (user, template.replace("{code}", "REVOKE2099ABC"), None, owned("code_slots", "t.version"))
        }
        "end_session" => {
            let user = test.user(&name).await;
            let other = test.client().logged_in(&name).await;
            let sessions = other.get("/api/v1/me/sessions").await.expect(200).json();
            let sessions = sessions["items"].as_array().expect("sessions").clone();
            let ended = sessions.iter().find(|session| session["current"] == true).expect("its own");
            let path = template.replace("{session_id}", ended["id"].as_str().expect("an id"));
            let effect = "select count(*) from token_families where ended_at is not null".to_owned();
            (user, path, None, effect)
        }
        "unlink_identity" => {
            let user = test.user(&name).await;
            let sql =
                "insert into identities (issuer, subject, user_id, linked_at) select 'https://id.example', '7', id";
            test.sql(&format!("{sql}, 1 from users where username = '{name}'")).await;
            let linked = user.get("/api/v1/me/identities").await.expect(200).json();
            let path = template.replace("{identity_id}", linked["items"][0]["id"].as_str().expect("an id"));
            (user, path, None, "select -count(*) from identities".to_owned())
        }
        "disable_user" | "enable_user" | "erase_user" | "revoke_user_code" | "make_manager" | "unmake_manager" => {
            let subject = test.user(&format!("of{name}")).await;
            let manager = test.manager(&name).await;
            let why = json!({"reason": "other"});
            match id {
                "enable_user" => {
                    let path = format!("/api/v1/users/{}/disable", subject.id);
                    manager.post(&path, &why).await.expect(204);
                }
                "revoke_user_code" => _ = subject.create_code("TAKEN2099ABC").await.expect(201),
                "unmake_manager" => {
                    test.sql(&format!("update users set is_manager = true where username = 'of{name}'")).await
                }
                _ => {}
            }
            let path = template.replace("{user_id}", &subject.id).replace("{referrer_id}", &subject.id);
            let body = if id.ends_with("manager") { proof } else { why };
            // What is done once is noted once.
            (manager, path, Some(body), "select count(*) from audit where subject_kind = 'user'".to_owned())
        }
        "withdraw_consent" => {
            let user = test.user(&name).await;
            let sql = "insert into consents (user_id, client_id, scope, granted_at) select id, 'docs', 'openid', 1";
            test.sql(&format!("{sql} from users where username = '{name}'")).await;
            let effect = "select -count(*) from consents where client_id = 'docs'".to_owned();
            (user, template.replace("{client_id}", "docs"), None, effect)
        }
        "change_program" => {
            let body = json!({"name": "Renamed"});
            let effect = "select count(*) from programs where name = 'Renamed'".to_owned();
            (test.manager(&name).await, template.replace("{program}", "default"), Some(body), effect)
        }
        "activate_program" | "pause_program" | "end_program" => {
            let (from, to) = match id {
                "activate_program" => ("paused", "active"),
                "pause_program" => ("active", "paused"),
                _ => ("active", "ended"),
            };
            test.sql(&format!("update programs set state = '{from}'")).await;
            let effect = format!("select count(*) from programs where state = '{to}'");
            (test.manager(&name).await, template.replace("{program}", "default"), None, effect)
        }
        "make_rules" => {
            let effect = "select count(*) from program_rules".to_owned();
            (test.manager(&name).await, template.replace("{program}", "default"), Some(json!({"rules": []})), effect)
        }
        "tell_event" | "tell_refund" | "tell_refund_by_external_id" => {
            test.sql("update programs set state = 'active'").await;
            let host = host_of(&test.manager(&name).await).await;
            let code = host.tell(&format!("referrer{name}"), json!({})).await.json()["code"].clone();
            host.tell(&name, json!({"code": code})).await.expect(201);
            let event = json!({"type": "purchase", "external_id": name, "participant": {"external_id": name},
                "amount": 100, "unit": "EUR"});
            if id == "tell_event" {
                let effect = format!("select count(*) from events where external_id = '{name}'");
                (host, template.to_owned(), Some(event), effect)
            } else {
                let told = host.post("/api/v1/events", &event).await.expect(201).json();
                let path = template.replace("{event_id}", told["id"].as_str().expect("an id"));
                let query = if path == template { format!("?external_id={name}&type=purchase") } else { String::new() };
                let effect = format!("select count(*) from refunds where external_id = '{name}'");
                let refund = json!({"external_id": name, "amount": 1, "reason": "refund"});
                (host, format!("{path}{query}"), Some(refund), effect)
            }
        }
        "approve_referral" | "deny_referral" | "hold_referral" | "adjust_balance" => {
            let manager = test.manager(&name).await;
            let host = host_of(&manager).await;
            let code = host.tell(&format!("referrer{name}"), json!({})).await.json()["code"].clone();
            let told = host.tell(&name, json!({"code": code})).await.expect(201).json();
            let path = template.replace("{referee_id}", told["id"].as_str().expect("an id"));
            let body = if id == "adjust_balance" {
                json!({"holder": told["id"], "kind": "credit", "unit": "EUR", "amount": 1, "reason": "why"})
            } else {
                json!({"note": "why"})
            };
            (manager, path, Some(body), "select count(*) from decisions".to_owned())
        }
        "approve_reward" | "deny_reward" | "pay_reward" | "return_reward" => {
            let manager = test.manager(&name).await;
            let reward = reward(test, &manager, &name).await;
            let before = match id {
                "pay_reward" => &["approve"][..],
                "return_reward" => &["approve", "pay"],
                _ => &[],
            };
            for act in before {
                manager.post(&format!("/api/v1/rewards/{reward}/{act}"), &json!({})).await.expect(200);
            }
            let effect = "select count(*) from decisions".to_owned();
            let body = matches!(id, "deny_reward" | "pay_reward").then(|| json!({"reason": "why"}));
            (manager, template.replace("{reward_id}", &reward), body, effect)
        }
        "make_payout" => {
            let body = json!({"unit": "EUR"});
            (test.manager(&name).await, template.to_owned(), Some(body), "select count(*) from payouts".to_owned())
        }
        "settle_payout" | "cancel_payout" | "return_payout_line" => {
            let manager = test.manager(&name).await;
            let reward = reward(test, &manager, &name).await;
            // Payouts of others that wait for their lines would take it.
            test.drain().await;
            manager.post(&format!("/api/v1/rewards/{reward}/approve"), &json!({})).await.expect(200);
            let payout = manager.post("/api/v1/payouts", &json!({"unit": "EUR"})).await.expect(202).json();
            test.drain().await;
            let payout = payout["id"].as_str().expect("an id").to_owned();
            if id == "return_payout_line" {
                manager.post(&format!("/api/v1/payouts/{payout}/paid"), &json!({})).await.expect(200);
            }
            let lines = manager.get(&format!("/api/v1/payouts/{payout}/lines.csv")).await.expect(200).text;
            let line = lines.lines().nth(1).expect("a line").to_owned();
            let path = template.replace("{payout_id}", &payout);
            let path = path.replace("{holder_id}", line.split(',').next().expect("a holder"));
            // What is done once is noted once.
            let effect = "select count(*) from audit where subject_kind = 'payout'".to_owned();
            (manager, path, None, effect)
        }
        "check_ledger" => {
            (test.manager(&name).await, template.to_owned(), None, "select count(*) from ledger_checks".to_owned())
        }
        "register_client" => {
            let manager = test.manager(&name).await;
            (manager, template.to_owned(), Some(client), clients(&format!("name = '{name}'")))
        }
        "change_client" => {
            let manager = test.manager(&name).await;
            let path = template.replace("{client_id}", &register(&manager, json!({})).await.id);
            (manager, path, Some(json!({"name": "Another"})), clients("name = 'Another'"))
        }
        "remove_client" => {
            let manager = test.manager(&name).await;
            let made = register(&manager, json!({"name": "Removed"})).await;
            let effect = clients("name = 'Removed' and deleted_at is not null");
            (manager, template.replace("{client_id}", &made.id), None, effect)
        }
        "replace_client_secret" => {
            let manager = test.manager(&name).await;
            let made = register(&manager, json!({})).await;
            // Another effect would have told another secret.
            (manager, template.replace("{client_id}", &made.id), None, String::new())
        }
        "upsert_participant" => {
            let path = template.replace("{external_id}", "keyed");
            let effect = "select count(*) from users where external_id = 'keyed'".to_owned();
            (host_of(&test.manager(&name).await).await, path, Some(json!({"name": "Olga"})), effect)
        }
        "erase_participant" => {
            let host = host_of(&test.manager(&name).await).await;
            host.tell("erased", json!({})).await.expect(201);
            let effect = "select count(*) from users where erased_at is not null".to_owned();
            (host, template.replace("{external_id}", "erased"), None, effect)
        }
        "replace_participant_code" => {
            let host = host_of(&test.manager(&name).await).await;
            host.tell("replaced", json!({})).await.expect(201);
            let codes = "select count(*) from codes c join users u on u.id = c.owner_id where u.external_id = ";
            (host, template.replace("{external_id}", "replaced"), None, format!("{codes}'replaced'"))
        }
        "create_webhook_endpoint" => {
            let body = json!({"url": "https://8.8.8.8/made", "types": ["*"]});
            let effect = "select count(*) from webhook_endpoints where url = 'https://8.8.8.8/made'".to_owned();
            (test.manager(&name).await, template.to_owned(), Some(body), effect)
        }
        "change_webhook_endpoint" | "remove_webhook_endpoint" | "enable_webhook_endpoint" => {
            let manager = test.manager(&name).await;
            let made = manager.endpoint("https://8.8.8.8/before").await;
            let path = template.replace("{endpoint_id}", &made.id);
            let (body, state) = match id {
                "change_webhook_endpoint" => (Some(json!({"description": "Changed"})), "description = 'Changed'"),
                "remove_webhook_endpoint" => (None, "state = 'removed'"),
                _ => {
                    test.sql(&format!("update webhook_endpoints set state = 'disabled' where id = {}", made.sql(test)))
                        .await;
                    (None, "state = 'enabled'")
                }
            };
            let effect = format!("select count(*) from webhook_endpoints where id = {} and {state}", made.sql(test));
            (manager, path, body, effect)
        }
        "replace_webhook_secret" => {
            let manager = test.manager(&name).await;
            let made = manager.endpoint("https://8.8.8.8/secret").await;
            let effect = format!("select count(*) from webhook_secrets where endpoint_id = {}", made.sql(test));
            (manager, template.replace("{endpoint_id}", &made.id), None, effect)
        }
        "recover_webhook_endpoint" => {
            let manager = test.manager(&name).await;
            let made = manager.endpoint("https://8.8.8.8/recovered").await;
            let since = test.app().clock.now().minus(Duration::from_secs(3600)).to_string();
            let jobs = "select count(*) from jobs where kind = 'recover_endpoint'".to_owned();
            (manager, template.replace("{endpoint_id}", &made.id), Some(json!({"since": since})), jobs)
        }
        "resend_webhook_message" => {
            let manager = test.manager(&name).await;
            // Disabled, so that no test waits for what is on the internet.
            manager.endpoint("https://8.8.8.8/resent").await;
            test.sql("update webhook_endpoints set state = 'disabled'").await;
            test.client().register(&format!("of{name}"), None).await.expect(201);
            let message = test.query(&message_id(test)).await[0][0].clone().expect("an id");
            let resent = "select count(*) from audit where action = 'message_resent'".to_owned();
            (manager, template.replace("{message_id}", &message), None, resent)
        }
        other => panic!("the write {other} has no key, or is not tried here"),
    };
    Write { client: who, method: method.clone(), path, body, effect }
}

/// The newest message's id.
fn message_id(test: &TestApp) -> String {
    let id = if test.setup == Setup::Sqlite { "lower(hex(id))" } else { "id::text" };
    format!("select {id} from outbox order by outbox.id desc limit 1")
}

/// A reward that is pending.
async fn reward(test: &TestApp, manager: &Client, name: &str) -> String {
    test.sql("update programs set state = 'active'").await;
    let rule = json!({"key": "all", "on": "purchase", "to": "referee", "fixed": 5, "unit": "EUR", "times": "every"});
    manager.post("/api/v1/programs/default/rules", &json!({"rules": [rule]})).await.expect(201);
    let host = host_of(manager).await;
    let code = host.tell(&format!("referrer{name}"), json!({})).await.json()["code"].clone();
    host.tell(name, json!({"code": code})).await.expect(201);
    let event = json!({"type": "purchase", "external_id": name, "participant": {"external_id": name}});
    let told = host.post("/api/v1/events", &event).await.expect(201).json();
    told["rewards"][0]["id"].as_str().expect("an id").to_owned()
}

/// The token in the newest mail to an address.
async fn link(test: &TestApp, smtp: &Smtp, address: &str) -> String {
    test.drain().await;
    smtp.mails_to(address).last().unwrap_or_else(|| panic!("no mail to {address}")).token()
}

on_every_setup!(every_write_that_is_sent_eight_times_at_once_with_one_key_has_one_effect_and_one_answer);
async fn every_write_that_is_sent_eight_times_at_once_with_one_key_has_one_effect_and_one_answer(setup: Setup) {
    let smtp = Smtp::start().await;
    let settings = Smtp::settings(smtp.port);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut test = setup.start_with(&settings).await;
    if setup != Setup::Sqlite {
        test.add_node().await;
    }
    let document = serde_json::to_value(referral::site::router::document()).expect("JSON");
    let somebody = test.user("somebody").await;
    let mut without = BTreeSet::new();
    for operation in operations(&somebody) {
        if operation.method == Method::GET {
            continue;
        }
        let id = operation.name.as_str();
        let item = &document["paths"][&operation.template][operation.method.as_str().to_lowercase()];
        let told = item["parameters"].as_array().is_some_and(|parameters| {
            parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key" && parameter["in"] == "header")
        });
        if WITHOUT.iter().any(|(known, _)| *known == id) {
            assert!(!told, "{id} takes a key");
            without.insert(id.to_owned());
            continue;
        }
        assert!(told, "{id} does not say that it takes a key");
        let write = prepare(&test, &smtp, id, &operation.method, &operation.template).await;
        let effects = async || if write.effect.is_empty() { 0 } else { test.number(&write.effect).await };
        let before = effects().await;
        let sent = (0..8).map(|turn| {
            let client = write.client.at(&test.nodes[turn % test.nodes.len()].url);
            let request = request(&client, &write.method, &write.path, write.body.as_ref(), "one key for all");
            async move { client.send(request).await }
        });
        let answers = join_all(sent).await;
        if ENDS.contains(&id) {
            let (done, gone): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 204);
            assert_eq!(done.iter().filter(|answer| !is_replayed(answer)).count(), 1, "{id}: {answers:?}");
            assert!(gone.iter().all(|answer| answer.status == 401), "{id}: {gone:?}");
            continue;
        }
        let first = answers.iter().find(|answer| !is_replayed(answer)).unwrap_or_else(|| panic!("{id}: {answers:?}"));
        assert!((200..300).contains(&first.status), "{id}: {first:?}");
        for answer in &answers {
            assert_eq!((answer.status, &answer.text), (first.status, &first.text), "{id}");
            assert_eq!(answer.header("content-type"), first.header("content-type"), "{id}");
        }
        assert_eq!(answers.iter().filter(|answer| is_replayed(answer)).count(), 7, "{id}");
        assert_eq!(effects().await - before, i64::from(!write.effect.is_empty()), "{id}");
    }
    assert_eq!(without, WITHOUT.iter().map(|(id, _)| (*id).to_owned()).collect(), "of these there are some no more");
}
