//! The OpenAPI document as a judge of answers: status, content type, headers and shape.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Answer;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(referral::site::router::document()).expect("the document is JSON"));
static VALIDATORS: LazyLock<Mutex<HashMap<String, &'static Validator>>> = LazyLock::new(Mutex::default);

/// Fails when an answer is not what the document says.
#[track_caller]
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let place = format!("{method} {path}");
    assert!(!answer.header("x-request-id").is_empty(), "{place}: no request id");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{place}");
    let kind = answer.header("content-type").split(';').next().unwrap_or_default().to_owned();
    // OAuth's endpoints have errors of their own shape, which the document describes like any answer.
    if answer.status >= 400 && !(path.starts_with("/oauth/") && kind == "application/json") {
        assert_eq!(kind, "application/problem+json", "{place}: {answer:?}");
        validate(&place, "#/components/schemas/Problem", &answer.json());
        assert_eq!(answer.json()["status"], json!(answer.status), "{place}");
    }
    // What is no HTTP is refused before there is an operation; these are told of once, for all of them.
    let code = if kind == "application/problem+json" { answer.json()["code"].clone() } else { Value::Null };
    if ["malformed_request", "headers_too_large"].iter().any(|word| code == *word) {
        return;
    }
    // What a browser asks before a page's request is no operation.
    if *method == Method::OPTIONS && answer.status == 204 {
        return;
    }
    let Some(operation) = operation(method, path) else {
        let outside = !path.starts_with("/api/") || matches!(answer.status, 404 | 405 | 414);
        assert!(outside, "{place} is not documented: {answer:?}");
        return;
    };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{place}: the status {} is not documented", answer.status);
    for name in ["RateLimit", "RateLimit-Policy"] {
        let told = answer.headers.contains_key(name);
        assert!(!told || response["headers"][name].is_object(), "{place}: {name} is not documented");
    }
    match response["content"].as_object() {
        None => assert!(answer.text.is_empty(), "{place}: a body that is not documented: {answer:?}"),
        Some(content) => {
            let documented = content.get(&kind).unwrap_or_else(|| panic!("{place}: {kind} is not documented"));
            if kind.ends_with("json") {
                validate_inline(&place, &documented["schema"], &answer.json());
            }
        }
    }
}

/// Fails when a message of a webhook is not what the document says.
#[track_caller]
pub fn check_message(message: &Value) {
    let kind = message["type"].as_str().expect("a type");
    let body = &DOCUMENT["webhooks"][kind]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert!(body.is_object(), "{kind} is in the document");
    validate_inline(kind, body, message);
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let asked: Vec<&str> = path.split('/').collect();
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let matching = paths.iter().filter(|(template, _)| {
        let parts: Vec<&str> = template.split('/').collect();
        let same = |(part, asked): (&&str, &&str)| part == asked || (part.starts_with('{') && !asked.is_empty());
        parts.len() == asked.len() && parts.iter().zip(&asked).all(same)
    });
    // A path without variables is meant before one with them, also when it has not this method.
    let (_, item) = matching.min_by_key(|(template, _)| template.contains('{'))?;
    let mut operations = item.as_object().expect("operations").iter();
    operations.find(|(name, _)| name.to_uppercase() == method.as_str()).map(|(_, operation)| operation)
}

fn validate(place: &str, reference: &str, value: &Value) {
    validate_inline(place, &json!({"$ref": reference}), value);
}

fn validate_inline(place: &str, schema: &Value, value: &Value) {
    let validator =
        *VALIDATORS.lock().expect("no test panics in here").entry(schema.to_string()).or_insert_with(|| {
            let mut whole = schema.clone();
            whole["components"] = DOCUMENT["components"].clone();
            let options = jsonschema::options().should_validate_formats(true);
            Box::leak(Box::new(options.build(&whole).expect("a valid schema")))
        });
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{place}: {errors:?} in {value}");
}
