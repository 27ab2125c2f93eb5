//! What is expected of each operation stands here once more, so that a route that is not in the table fails, and so
//! does a document that states something else than is asked for.

use std::collections::BTreeSet;

use referral::kernel::scope::{Scope, Scopes};
use serde_json::{Value, json};

use super::callers::{Asks, Who, everybody, first_party, machine_token};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::{Answer, Client};
use crate::support::oauth::{bearer, register};
use crate::support::operations::operations;

/// Each operation with what it asks, and what it answers to those who may: with the bodies of these tests, which are
/// refused for what they say wherever more could come of it.
const OPERATIONS: &[(&str, Asks, u16, &str)] = &[
    ("get_jwks", Asks::Nothing, 200, ""),
    ("get_oauth_metadata", Asks::Nothing, 200, ""),
    ("get_openid_configuration", Asks::Nothing, 200, ""),
    ("check_liveness", Asks::Nothing, 200, ""),
    ("check_readiness", Asks::Nothing, 200, ""),
    ("register_account", Asks::Nothing, 404, "code_not_usable"),
    ("register_account_with_code", Asks::Nothing, 404, "code_not_usable"),
    ("log_in", Asks::Nothing, 401, "bad_credentials"),
    ("confirm_email", Asks::Nothing, 410, "link_expired"),
    ("resend_confirmation", Asks::Nothing, 202, ""),
    ("request_password_reset", Asks::Nothing, 202, ""),
    ("complete_password_reset", Asks::Nothing, 410, "link_expired"),
    ("validate_code", Asks::Nothing, 200, ""),
    ("request_tokens", Asks::Client, 400, "invalid_grant"),
    ("revoke_token", Asks::Client, 200, ""),
    ("introspect_token", Asks::Secret, 200, ""),
    ("log_out", Asks::Token, 204, ""),
    ("get_user_info", Asks::Person("openid"), 200, ""),
    ("get_user_info_by_post", Asks::Person("openid"), 200, ""),
    ("get_profile", Asks::Person("profile"), 200, ""),
    ("update_profile", Asks::Person("account"), 200, ""),
    ("change_password", Asks::Person("account"), 403, "wrong_password"),
    ("change_email", Asks::Person("account"), 403, "wrong_password"),
    ("erase_account", Asks::Person("account"), 403, "wrong_password"),
    ("list_sessions", Asks::Person("account"), 200, ""),
    ("end_session", Asks::Person("account"), 404, "session_not_found"),
    ("list_identities", Asks::Person("account"), 200, ""),
    ("unlink_identity", Asks::Person("account"), 404, "identity_not_found"),
    ("export_account", Asks::Person("account"), 200, ""),
    ("search_users", Asks::Manager, 200, ""),
    ("get_user", Asks::Manager, 200, ""),
    ("disable_user", Asks::Manager, 422, "invalid"),
    ("enable_user", Asks::Manager, 422, "invalid"),
    ("revoke_user_code", Asks::Manager, 422, "invalid"),
    ("make_manager", Asks::Manager, 403, "wrong_password"),
    ("unmake_manager", Asks::Manager, 403, "wrong_password"),
    ("erase_user", Asks::Manager, 422, "invalid"),
    ("export_user", Asks::Manager, 200, ""),
    ("export_users", Asks::Manager, 200, ""),
    ("export_referrals", Asks::Manager, 200, ""),
    ("list_audit", Asks::Manager, 200, ""),
    ("get_audit_head", Asks::Manager, 200, ""),
    ("verify_audit", Asks::Manager, 200, ""),
    ("list_consents", Asks::Person("account"), 200, ""),
    ("withdraw_consent", Asks::Person("account"), 404, "consent_not_found"),
    ("list_codes", Asks::Person("codes:read"), 200, ""),
    ("create_code", Asks::Person("codes:write"), 400, "expires_in_past"),
    ("revoke_code", Asks::Person("codes:write"), 404, "code_not_found"),
    ("find_code", Asks::Reader("codes:read"), 200, ""),
    ("look_up_code", Asks::Reader("codes:read"), 404, "no_active_code"),
    ("get_share", Asks::Person("codes:read"), 200, ""),
    ("list_own_clicks", Asks::Person("referrals:read"), 200, ""),
    ("list_own_referrals", Asks::Person("referrals:read"), 200, ""),
    ("list_referees", Asks::Reader("referrals:read"), 200, ""),
    ("list_referrals", Asks::Reader("referrals:read"), 200, ""),
    ("list_programs", Asks::ProgramReader, 200, ""),
    ("list_clicks", Asks::ProgramReader, 200, ""),
    ("list_referrers", Asks::ProgramReader, 200, ""),
    ("get_program", Asks::ProgramReader, 200, ""),
    ("change_program", Asks::Manager, 422, "invalid"),
    ("activate_program", Asks::Manager, 200, ""),
    ("pause_program", Asks::Manager, 404, "program_not_found"),
    ("end_program", Asks::Manager, 404, "program_not_found"),
    ("get_rules", Asks::ProgramReader, 200, ""),
    ("make_rules", Asks::Manager, 422, "invalid"),
    ("list_events", Asks::ProgramReader, 200, ""),
    ("tell_event", Asks::ProgramWriter, 200, ""),
    ("tell_events", Asks::ProgramWriter, 200, ""),
    ("get_event", Asks::ProgramReader, 404, "event_not_found"),
    ("tell_refund", Asks::ProgramWriter, 404, "event_not_found"),
    ("tell_refund_by_external_id", Asks::ProgramWriter, 422, "invalid"),
    ("list_rewards", Asks::ProgramReader, 200, ""),
    ("list_own_rewards", Asks::Person("referrals:read"), 200, ""),
    ("get_own_balance", Asks::Person("referrals:read"), 200, ""),
    ("list_ledger", Asks::ProgramReader, 200, ""),
    ("approve_referral", Asks::Manager, 404, "referral_not_found"),
    ("deny_referral", Asks::Manager, 404, "referral_not_found"),
    ("hold_referral", Asks::Manager, 404, "referral_not_found"),
    ("approve_reward", Asks::Manager, 404, "reward_not_found"),
    ("deny_reward", Asks::Manager, 404, "reward_not_found"),
    ("pay_reward", Asks::Payer, 404, "reward_not_found"),
    ("return_reward", Asks::Payer, 404, "reward_not_found"),
    ("adjust_balance", Asks::Manager, 422, "invalid"),
    ("list_payouts", Asks::Manager, 200, ""),
    ("make_payout", Asks::Manager, 422, "invalid"),
    ("get_payout", Asks::Manager, 404, "payout_not_found"),
    ("export_payout", Asks::Manager, 404, "payout_not_found"),
    ("settle_payout", Asks::Manager, 404, "payout_not_found"),
    ("cancel_payout", Asks::Manager, 404, "payout_not_found"),
    ("return_payout_line", Asks::Manager, 404, "payout_not_found"),
    ("get_balance_sheet", Asks::ProgramReader, 200, ""),
    ("get_ledger_check", Asks::ProgramReader, 200, ""),
    ("check_ledger", Asks::Manager, 202, ""),
    ("list_participants", Asks::ProgramReader, 200, ""),
    ("get_participant", Asks::ProgramReader, 404, "participant_not_found"),
    ("upsert_participant", Asks::ProgramWriter, 404, "code_not_usable"),
    ("upsert_participants", Asks::ProgramWriter, 200, ""),
    ("erase_participant", Asks::ProgramWriter, 404, "participant_not_found"),
    ("replace_participant_code", Asks::ProgramWriter, 404, "participant_not_found"),
    ("list_clients", Asks::Manager, 200, ""),
    ("register_client", Asks::Manager, 422, "invalid"),
    ("get_client", Asks::Manager, 404, "client_not_found"),
    ("change_client", Asks::Manager, 422, "invalid"),
    ("remove_client", Asks::Manager, 404, "client_not_found"),
    ("replace_client_secret", Asks::Manager, 404, "client_not_found"),
    ("list_webhook_endpoints", Asks::Manager, 200, ""),
    ("create_webhook_endpoint", Asks::Manager, 422, "invalid"),
    ("get_webhook_endpoint", Asks::Manager, 404, "endpoint_not_found"),
    ("change_webhook_endpoint", Asks::Manager, 422, "invalid"),
    ("remove_webhook_endpoint", Asks::Manager, 404, "endpoint_not_found"),
    ("replace_webhook_secret", Asks::Manager, 404, "endpoint_not_found"),
    ("test_webhook_endpoint", Asks::Manager, 404, "endpoint_not_found"),
    ("enable_webhook_endpoint", Asks::Manager, 404, "endpoint_not_found"),
    ("recover_webhook_endpoint", Asks::Manager, 404, "endpoint_not_found"),
    ("list_webhook_deliveries", Asks::Manager, 404, "endpoint_not_found"),
    ("get_webhook_message", Asks::Manager, 404, "message_not_found"),
    ("resend_webhook_message", Asks::Manager, 404, "message_not_found"),
    ("read_webhook_messages", Asks::ProgramReader, 409, "feed_off"),
];

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Whatever the operation has to say.
    In,
    /// This status with this word, and this scope in the challenge.
    Refused(u16, &'static str, Option<&'static str>),
}

fn expected(asks: Asks, who: Who) -> Expected {
    use Expected::{In, Refused};
    let lacks = |scope| Refused(403, "insufficient_scope", Some(scope));
    match (asks, who) {
        (Asks::Nothing, _) | (Asks::Client | Asks::Secret, Who::Secret) | (Asks::Client, Who::Public) => In,
        (Asks::Client | Asks::Secret, _) => Refused(401, "invalid_client", None),
        (_, Who::Nobody | Who::Secret | Who::WrongSecret | Who::Public) => Refused(401, "not_authenticated", None),
        (_, Who::Out) => Refused(401, "invalid_token", None),
        (Asks::Token, _) | (Asks::Reader(_), Who::Machine) => In,
        (Asks::ProgramReader, Who::Machine | Who::WritingMachine) | (Asks::ProgramWriter, Who::WritingMachine) => In,
        (Asks::Payer, Who::WritingMachine) => In,
        (Asks::ProgramWriter, _) | (Asks::Payer, Who::Machine) => lacks("program:write"),
        (Asks::Reader(_), Who::WritingMachine) => lacks("program:read"),
        (Asks::Person(_) | Asks::Manager, Who::Machine | Who::WritingMachine) => Refused(403, "person_required", None),
        (Asks::Person(scope) | Asks::Reader(scope), Who::LoggedIn { .. }) if !first_party(scope) => lacks(scope),
        (Asks::Person(scope) | Asks::Reader(scope), Who::AllBut { .. }) => lacks(scope),
        (Asks::Person(_) | Asks::Reader(_), _) => In,
        // Who is no manager learns that, whatever the token says.
        (
            Asks::Manager | Asks::ProgramReader | Asks::Payer,
            Who::LoggedIn { manager } | Who::Exactly { manager } | Who::AllBut { manager },
        ) if !manager => Refused(403, "managers_only", None),
        (Asks::Manager | Asks::ProgramReader | Asks::Payer, Who::AllBut { .. }) => lacks("admin"),
        (Asks::Manager | Asks::ProgramReader | Asks::Payer, _) => In,
    }
}

/// What the answer says: the status, its word and the challenge that comes with it.
fn said(answer: &Answer) -> (u16, String, String) {
    let word = if answer.status >= 400 {
        let body = answer.json();
        body["code"].as_str().or(body["error"].as_str()).unwrap_or_default().to_owned()
    } else {
        String::new()
    };
    (answer.status, word, answer.header("www-authenticate").to_owned())
}

/// RFC 6750, 3.1: what a client needs to know to do better.
fn challenge(word: &str, scope: Option<&str>) -> String {
    match (word, scope) {
        ("not_authenticated" | "bad_credentials", None) => "Bearer".to_owned(),
        ("invalid_token", None) => "Bearer error=\"invalid_token\"".to_owned(),
        ("insufficient_scope", Some(scope)) => format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""),
        ("invalid_client", None) => "Basic realm=\"referral\"".to_owned(),
        _ => String::new(),
    }
}

fn row(name: &str) -> (Asks, u16, &'static str) {
    let row = OPERATIONS.iter().find(|(known, ..)| *known == name);
    let (_, asks, status, word) = row.unwrap_or_else(|| panic!("{name} is new: say here who may call it"));
    (*asks, *status, word)
}

on_every_setup!(every_operation_lets_in_whom_it_should_and_nobody_else);
async fn every_operation_lets_in_whom_it_should_and_nobody_else(setup: Setup) {
    let test = setup.start().await;
    let (callers, olga) = everybody(&test).await;
    let mut operations = operations(&olga);
    // It takes the callers' tokens away.
    operations.sort_by_key(|operation| operation.name == "log_out");
    let mut wrong = Vec::new();
    for operation in &operations {
        let (asks, status, word) = row(&operation.name);
        for caller in &callers {
            let answer = caller.ask(&olga.base, operation, asks).await;
            // Who may change the profile and not read it is not told how it is.
            let unread = operation.name == "update_profile" && caller.name == "a client with the scope";
            let status = if unread { 204 } else { status };
            let expected = match expected(asks, caller.who) {
                Expected::In => (status, word.to_owned(), challenge(word, None)),
                Expected::Refused(status, word, scope) => (status, word.to_owned(), challenge(word, scope)),
            };
            if said(&answer) != expected {
                wrong.push(format!("{} by {}: {:?}, not {expected:?}", operation.name, caller.name, said(&answer)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // All have logged out meanwhile, and that has held.
    let profile = operations.iter().find(|operation| operation.name == "get_profile").expect("it is there");
    for caller in
        callers.iter().filter(|caller| matches!(caller.who, Who::LoggedIn { .. } | Who::Machine | Who::WritingMachine))
    {
        let answer = caller.ask(&olga.base, profile, Asks::Token).await;
        answer.expect_problem(401, "invalid_token");
    }
}

on_every_setup!(what_is_anothers_stays_anothers);
/// Being let in is not owning: what is another's is neither seen nor changed.
async fn what_is_anothers_stays_anothers(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let (olga, ivan) = (test.user("olga").await, test.user("ivan").await);
    olga.create_code("OLGA2030CODE").await.expect(201);
    let shop = register(&manager, json!({"scope": Scopes::PERSON.to_string()})).await;
    let everything = [("scope", Scopes::PERSON.to_string())];
    let everything: Vec<(&str, &str)> = everything.iter().map(|(n, v)| (*n, v.as_str())).collect();
    shop.tokens("olga", &everything).await;
    let ivans = bearer(&shop.base, &shop.tokens("ivan", &everything).await);
    let managers = bearer(&shop.base, &shop.tokens("manager", &everything).await);
    // The manager runs the program, not other people's accounts.
    ivan.delete(&format!("/api/v1/me/consents/{}", shop.id)).await.expect(204);
    ivan.delete(&format!("/api/v1/me/consents/{}", shop.id)).await.expect_problem(404, "consent_not_found");
    ivans.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    let ivans = bearer(&shop.base, &shop.tokens("ivan", &everything).await);
    for other in [&ivan, &ivans, &manager, &managers] {
        other.revoke_code("OLGA2030CODE").await.expect_problem(403, "not_your_code");
        assert_eq!(other.get("/api/v1/codes").await.expect(200).json()["items"], json!([]));
        let me = other.get("/api/v1/me").await.expect(200).json();
        assert_ne!(me["username"], json!("olga"));
    }
    // Only ivan has withdrawn anything.
    let given = olga.get("/api/v1/me/consents").await.expect(200).json();
    assert_eq!(given["items"].as_array().map(Vec::len), Some(1));
    olga.get("/api/v1/me").await.expect(200);
    assert_eq!(olga.get("/api/v1/codes").await.expect(200).json()["items"][0]["is_active"], json!(true));

    // Who does not want to be found by address is found by nobody, managers and programs included.
    let alone = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let machine = machine_token(&register(&manager, alone).await).await;
    let machine = Client::new(&shop.base).with_token(&machine);
    let others = [&ivan, &ivans, &manager, &managers, &machine];
    for other in others {
        other.get("/api/v1/codes/olga@example.com").await.expect(200);
    }
    olga.patch("/api/v1/me", &json!({"discoverable": false})).await.expect(200);
    olga.get("/api/v1/codes/olga@example.com").await.expect(200);
    for other in others {
        other.get("/api/v1/codes/olga@example.com").await.expect_problem(404, "no_active_code");
        let asked = json!({"email": "olga@example.com"});
        other.post("/api/v1/codes/lookup", &asked).await.expect_problem(404, "no_active_code");
    }
}

on_every_setup!(a_token_shows_no_more_than_its_scopes_say);
async fn a_token_shows_no_more_than_its_scopes_say(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let (olga, _) = (test.user("olga").await, test.user("ivan").await);
    olga.create_code("OLGA2030CODE").await.expect(201);
    test.client().register("friend", Some("OLGA2030CODE")).await.expect(201);
    let shop = register(&manager, json!({"scope": Scopes::PERSON.to_string()})).await;
    let client_of = async |name: &str, scope: &str| bearer(&shop.base, &shop.tokens(name, &[("scope", scope)]).await);

    let change = json!({"discoverable": true});
    client_of("olga", "account").await.patch("/api/v1/me", &change).await.expect(204);
    let code = |answer: Answer| answer.expect(200).json()["active_code"]["code"].clone();
    for (scope, shown) in [("account profile", Value::Null), ("account profile codes:read", json!("OLGA2030CODE"))] {
        let client = client_of("olga", scope).await;
        assert_eq!(code(client.get("/api/v1/me").await), shown, "{scope}");
        assert_eq!(code(client.patch("/api/v1/me", &change).await), shown, "{scope}");
    }
    let list = format!("/api/v1/users/{}", olga.id);
    for (name, scope, shown) in [
        ("ivan", "referrals:read", Value::Null),
        ("ivan", "referrals:read codes:read", json!("OLGA2030CODE")),
        ("olga", "referrals:read", json!("OLGA2030CODE")),
    ] {
        let listed = client_of(name, scope).await.get(&list).await.expect(200).json();
        assert_eq!(listed["items"][0]["code"], shown, "{name}: {scope}");
    }
}

on_every_setup!(a_list_of_referees_is_shown_as_the_operator_and_the_scopes_say);
/// Law 7, for programs that act for people and for themselves.
async fn a_list_of_referees_is_shown_as_the_operator_and_the_scopes_say(setup: Setup) {
    let mut test = setup.start().await;
    for setting in ["owner", "all"] {
        test.add_node_with(&[("REFERRAL_ACCOUNTS_REFEREES_VISIBLE_TO", setting)]).await;
    }
    let manager = test.manager("manager").await;
    let (olga, ivan) = (test.user("olga").await, test.user("ivan").await);
    olga.create_code("OLGA2030CODE").await.expect(201);
    test.client().register("friend", Some("OLGA2030CODE")).await.expect(201);
    let shop = register(&manager, json!({"scope": "referrals:read admin"})).await;
    let alone = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let machine = Client::new(&shop.base).with_token(&machine_token(&register(&manager, alone).await).await);
    let client_of = async |name: &str, scope: &str| bearer(&shop.base, &shop.tokens(name, &[("scope", scope)]).await);
    let in_full = [
        ("the owner", olga.clone()),
        ("the owner's client", client_of("olga", "referrals:read").await),
        ("a manager", manager.clone()),
        ("a manager's client as such", client_of("manager", "referrals:read admin").await),
        ("a machine", machine),
    ];
    let as_others = [
        ("another", ivan),
        ("another's client", client_of("ivan", "referrals:read").await),
        ("another's client that would manage", client_of("ivan", "referrals:read admin").await),
        ("a manager's client that may not manage", client_of("manager", "referrals:read").await),
    ];
    for (node, setting) in ["masked", "owner", "all"].into_iter().enumerate() {
        for suffix in ["", "/referrals"] {
            let path = format!("/api/v1/users/{}{suffix}", olga.id);
            let look = async |viewer: &Client| viewer.at(&test.nodes[node].url).get(&path).await;
            let shown = |answer: Answer, name: &str, expected: &str| {
                let list = answer.expect(200).json();
                assert_eq!(list["items"][0]["email"], json!(expected), "{setting}: {name}");
            };
            for (name, viewer) in &in_full {
                shown(look(viewer).await, name, "friend@example.com");
            }
            for (name, viewer) in &as_others {
                let answer = look(viewer).await;
                match setting {
                    "owner" => drop(answer.expect_problem(403, "referees_hidden")),
                    "masked" => shown(answer, name, "f***@e***.com"),
                    _ => shown(answer, name, "friend@example.com"),
                }
            }
        }
    }
}

#[test]
fn the_document_states_for_each_operation_what_it_asks_for() {
    let document = serde_json::to_value(referral::site::router::document()).expect("JSON");
    // Nothing is asked for by default: an operation that says nothing would be taken for what it is not.
    assert_eq!(document["security"], Value::Null);
    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    let mut used = BTreeSet::new();
    let mut names = BTreeSet::new();
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            let name = operation["operationId"].as_str().expect("an id");
            let (asks, ..) = row(name);
            assert_eq!(Asks::stated(name, &operation["security"]), asks, "{name}");
            names.insert(name.to_owned());
            for way in operation["security"].as_array().expect("ways") {
                for (scheme, scopes) in way.as_object().expect("a way") {
                    let known = schemes.get(scheme).unwrap_or_else(|| panic!("{name}: no scheme is called {scheme}"));
                    used.insert(scheme.clone());
                    for scope in scopes.as_array().expect("scopes") {
                        let scope = scope.as_str().expect("a word");
                        assert!(Scope::parse(scope).is_some(), "{name}: no scope is called {scope}");
                        let flows = known["flows"].as_object().expect("flows");
                        assert!(
                            flows.values().all(|flow| flow["scopes"][scope].is_string()),
                            "{name}: {scheme}, {scope}"
                        );
                    }
                }
            }
            // Whatever can be refused for what a caller is, is documented.
            let responses = &operation["responses"];
            let refuses = |status: &str, word: &str| {
                let content = &responses[status]["content"]["application/problem+json"]["examples"][word];
                assert!(content.is_object(), "{name}: {status} {word} is not documented");
            };
            if !matches!(asks, Asks::Nothing | Asks::Client | Asks::Secret) {
                refuses("401", "not_authenticated");
                refuses("401", "invalid_token");
            }
            if asks.scope().is_some() {
                refuses("403", "insufficient_scope");
            }
            if matches!(asks, Asks::Person(_) | Asks::Manager) {
                refuses("403", "person_required");
            }
            if matches!(asks, Asks::Manager | Asks::ProgramReader) {
                refuses("403", "managers_only");
            }
            for status in ["401", "403"] {
                let response = &responses[status];
                let challenges = status == "401" || response["content"].to_string().contains("insufficient_scope");
                if response.is_object() && challenges {
                    let header = &response["headers"]["WWW-Authenticate"];
                    assert!(header.is_object(), "{name}: {status} comes with WWW-Authenticate");
                }
            }
        }
    }
    let known: BTreeSet<String> = OPERATIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(names, known, "the table has each operation, and no other");
    assert_eq!(used.iter().collect::<Vec<_>>(), schemes.keys().collect::<Vec<_>>(), "each scheme is of use");
    // What the schemes offer is what there is.
    let offered = |scheme: &str, flow: &str| -> BTreeSet<String> {
        schemes[scheme]["flows"][flow]["scopes"].as_object().expect("scopes").keys().cloned().collect()
    };
    let words = |set: Scopes| -> BTreeSet<String> { set.iter().map(|scope| scope.word().to_owned()).collect() };
    assert_eq!(offered("oauth", "authorizationCode"), words(Scopes::PERSON));
    assert_eq!(offered("machine", "clientCredentials"), words(Scopes::MACHINE));
}
