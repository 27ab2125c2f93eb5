//! The operations of the document, for tests that ask all of them the same: one that is added is asked as well.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::client::{Answer, Client, PASSWORD};

/// An operation, with an address to reach it at.
pub struct Operation {
    /// Its id in the document.
    pub name: String,
    pub method: Method,
    /// The path with its variables.
    pub template: String,
    /// The path for the user it was made for.
    pub path: String,
    /// The schemas of the fields of its body; none without one.
    pub fields: Map<String, Value>,
    /// Whether a person may call it.
    pub for_people: bool,
}

impl Operation {
    pub async fn send(&self, client: &Client, body: impl Into<reqwest::Body>) -> Answer {
        let request = client.request(self.method.clone(), &self.path).header(CONTENT_TYPE, "application/json");
        client.send(request.body(body)).await
    }

    /// Bodies that are well-formed and, where more could come of it, refused for what they say. Together they have each
    /// field that the operation reads.
    pub fn bodies(&self) -> Vec<Value> {
        let bodies = match self.name.as_str() {
            "register_account" | "register_account_with_code" => vec![
                json!({
                    "username": "newcomer", "email": "somebody@postbox.example", "password": PASSWORD,
                    "code": "AMSEL2099XYZ",
                }),
                json!({
                    "username": "newcomer", "email": "somebody@postbox.example", "password": PASSWORD,
                    "referral_code": "AMSEL2099XYZ",
                }),
            ],
            "log_in" => vec![
                json!({"grant_type": "password", "username": "user", "password": "not the password"}),
                json!({"grant_type": "refresh_token", "refresh_token": "rt_nonsense"}),
            ],
            "request_password_reset" => vec![json!({"email": "nobody@example.com"})],
            "confirm_email" => vec![json!({"token": "nonsense"})],
            "resend_confirmation" => vec![json!({"email": "nobody@example.com"})],
            "complete_password_reset" => vec![json!({"token": "nonsense", "password": PASSWORD})],
            "update_profile" => vec![json!({"discoverable": true}), json!({"handle": "admin", "name": "Olga"})],
            "change_password" => vec![json!({"current_password": "not the password", "new_password": "Zaunkoenig-7"})],
            "change_email" => vec![json!({"email": "other@postbox.example", "password": "not the password"})],
            "erase_account" => vec![json!({"password": "not the password"})],
            "search_users" => vec![json!({
                "q": "olga", "state": "active", "verdict": "unchecked", "manager": false, "cursor": "azpvbGdh",
            })],
            "disable_user" | "enable_user" | "revoke_user_code" | "erase_user" => vec![json!({"reason": "whatever"})],
            "make_manager" | "unmake_manager" => vec![json!({"password": "not the password"})],
            "create_code" => vec![json!({"code": "AMSEL2099XYZ", "expires_at": "2001-01-01"})],
            "look_up_code" => vec![json!({"email": "nobody@example.com"})],
            "validate_code" => vec![json!({"code": "AMSEL2099XYZ"})],
            "register_client" => vec![json!({
                "name": "Shop", "confidential": true, "redirect_uris": ["https://shop.example.com/cb"],
                "grants": ["authorization_code"], "scope": "nothing", "id_token_algorithm": "RS256",
                "require_pkce": true, "trusts_addresses": false,
            })],
            "change_client" => {
                vec![json!({
                    "name": "Shop", "redirect_uris": ["https://shop.example.com/cb"], "scope": "nothing",
                    "trusts_addresses": false,
                })]
            }
            "change_program" => vec![json!({
                "name": "Friends", "landing_url": "https://shop.example.com/join", "code_days": 0, "auto_renew": true,
                "share_texts": {"en": "Come along: {link}"}, "hold_days": 30, "event_types": ["subscription"],
                "budgets": {"EUR": 5},
            })],
            "upsert_participant" => vec![
                json!({
                    "email": "nobody@example.com", "name": "Olga", "language": "en", "code": "AMSEL2099XYZ",
                    "verified": false,
                }),
                json!({"handle": "nobody1"}),
            ],
            "make_rules" => vec![json!({"rules": 7})],
            "tell_event" => vec![json!({
                "program": "default", "type": "purchase", "external_id": "inv_1",
                "participant": {"external_id": "nobody"}, "amount": 1000, "unit": "EUR", "occurred_at": null,
                "properties": {"plan": "gold"},
            })],
            "tell_events" => vec![json!({"events": []})],
            "tell_refund" | "tell_refund_by_external_id" => {
                vec![json!({"external_id": "re_1", "amount": 100, "reason": "refund"})]
            }
            "approve_referral" | "deny_referral" | "hold_referral" => vec![json!({"note": "As it is"})],
            "deny_reward" => vec![json!({"reason": "As it is"})],
            "pay_reward" => vec![json!({"reference": "transfer 8817"})],
            "make_payout" => vec![json!({"unit": "euros", "min_amount": 1000, "holders": ["nobody"]})],
            "adjust_balance" => vec![json!({
                "holder": "nobody", "kind": "credit", "unit": "EUR", "amount": 500, "reason": "As it is",
            })],
            "upsert_participants" => vec![json!({"participants": []})],
            "create_webhook_endpoint" | "change_webhook_endpoint" => vec![json!({
                "url": "https://10.0.0.1/hooks", "types": ["nothing"], "description": "The shop",
            })],
            "recover_webhook_endpoint" => vec![json!({"since": "2001-01-01"})],
            _ if self.fields.is_empty() => vec![],
            other => panic!("the operation {other} reads a body: add one to this table"),
        };
        for field in self.fields.keys() {
            assert!(bodies.iter().any(|body| body.get(field).is_some()), "{}: no body here has {field}", self.name);
        }
        bodies
    }

    /// Each field of a body, with its schema.
    pub fn fields_of<'a>(&'a self, body: &'a Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.fields
            .iter()
            .map(|(field, schema)| (field.as_str(), schema))
            .filter(|(field, _)| body.get(field).is_some())
    }
}

pub fn operations(user: &Client) -> Vec<Operation> {
    let document = serde_json::to_value(referral::site::router::document()).expect("JSON");
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            // One template for two operations: a code to revoke, an address to find one by.
            let code = if method == "get" { &user.email } else { "AMSEL2099XYZ" };
            let reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
            let schema = reference.map_or(&Value::Null, |reference| {
                document.pointer(reference.trim_start_matches('#')).expect("a schema of the document")
            });
            let ways = operation["security"].as_array().expect("ways");
            operations.push(Operation {
                name: operation["operationId"].as_str().expect("an id").to_owned(),
                method: method.to_uppercase().parse().expect("a method"),
                template: template.clone(),
                path: template
                    .replace("{program}/pause", "other/pause")
                    .replace("{program}/end", "other/end")
                    .replace("{event_id}", "nobody")
                    .replace("{referee_id}", "nobody")
                    .replace("{reward_id}", "nobody")
                    .replace("{payout_id}", "nobody")
                    .replace("{holder_id}", "nobody")
                    .replace("{code}", code)
                    .replace("{referrer_id}", &user.id)
                    .replace("{client_id}", "nobody")
                    .replace("{program}", "default")
                    .replace("{external_id}", "nobody")
                    .replace("{user_id}", &user.id)
                    .replace("{session_id}", "nobody")
                    .replace("{identity_id}", "nobody")
                    .replace("{endpoint_id}", "nobody")
                    .replace("{message_id}", "nobody"),
                for_people: ways.iter().any(|way| way["machine"].is_null() && way["bearer"].is_null()),
                fields: schema["properties"].as_object().cloned().unwrap_or_default(),
            });
        }
    }
    assert!(operations.len() >= 19, "the document has operations");
    operations
}

/// Those that read a body of whoever may be a person.
pub fn with_bodies(user: &Client) -> Vec<Operation> {
    let reads = |operation: &Operation| operation.for_people && !operation.fields.is_empty();
    let operations: Vec<Operation> = operations(user).into_iter().filter(reads).collect();
    assert!(operations.len() >= 9, "the document has bodies");
    operations
}

/// The body with a field that holds this piece of JSON, which need not be any.
pub fn with_field(body: &Value, field: &str, json: &str) -> String {
    let mut body = body.clone();
    body[field] = json!("@here@");
    body.to_string().replace("\"@here@\"", json)
}

/// The texts of a long list: what stands between bars.
pub fn each(list: &str) -> impl Iterator<Item = &str> + Clone {
    list.split('|')
}
