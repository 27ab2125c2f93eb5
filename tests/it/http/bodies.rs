//! What a body may be.

use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use serde_json::json;

use super::helpers::{invalid, rows};
use crate::support::app::Setup;
use crate::support::operations::{each, with_bodies, with_field};
use crate::support::paths::VALIDATE;

/// JSON of any kind but the right one, in each field of each body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_of_the_wrong_type_is_named_and_nothing_is_written() {
    let test = Setup::Sqlite.start().await;
    let user = test.manager("user").await;
    let before = rows(&test).await;
    let no_texts =
        r#"null|true|0|-1.5|1e40|123456789012345678901234567890|[]|["text"]|{}|{"text": "text"}|[null]|[[["text"]]]"#;
    let no_flags = r#"null|0|1|"true"|""|[]|[true]|{}"#;
    let mut asked = 0;
    for operation in with_bodies(&user) {
        for body in operation.bodies() {
            for (field, schema) in operation.fields_of(&body) {
                let is = |kind: &str| {
                    schema["type"] == kind
                        || schema["type"].as_array().is_some_and(|types| types.contains(&json!(kind)))
                        || schema["oneOf"].as_array().is_some_and(|ways| ways.contains(&json!({"type": kind})))
                };
                let wrong = each(if is("boolean") { no_flags } else { no_texts });
                // What may be left out may be null; a list that may be empty is no wrong type.
                let right = |value: &str| {
                    is("null") && value == "null"
                        || is("array") && ["[]", "[\"text\"]"].contains(&value)
                        || ["share_texts", "budgets"].contains(&field) && value == "{}"
                        || field == "hold_days" && value == "0"
                };
                for value in wrong.filter(|value| !right(value)) {
                    let answer = operation.send(&user, with_field(&body, field, value)).await;
                    // An item is named by its place.
                    let item: &[&str] = if field == "rules" && value.starts_with('[') { &["0"] } else { &[] };
                    let at = [&["body", field], item].concat();
                    invalid(&format!("{} {field} {value}", operation.name), &answer, &at);
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 150, "{asked}");
    assert_eq!(rows(&test).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_json_object_is_no_body() {
    let test = Setup::Sqlite.start().await;
    let user = test.manager("user").await;
    let before = rows(&test).await;
    let texts = each(
        "| |\0|null|true|1|1e999|\"text\"|[]|[{}]|{|}|{}{}|{},|{\"a\"}|{\"a\":}|{\"a\":1,}|{'a': 1}|{a: 1}|\
         {\"a\": NaN}|{\"a\": Infinity}|{\"a\": 1e999}|{\"a\": 01}|{\"a\": +1}|{\"a\": \"\n\"}|{\"a\": \"\\x\"}|\
         {\"a\": \"\\ud800\"}|{\"\\ud800\": 1}|{\"a\": \"\\u12\"}|// a\n{}|\u{feff}\u{feff}{}|\u{feff}|\
         username=user&password=x|<a>b</a>|---\na: b",
    );
    let mut garbage: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).collect();
    // No UTF-8: a stray byte, a slash in two bytes, half of a surrogate pair, other encodings.
    garbage.push(b"{\"a\": \"\xff\"}".to_vec());
    garbage.push(b"{\"a\": \"\xc0\xaf\"}".to_vec());
    garbage.push(b"{\"a\": \"\xed\xa0\x80\"}".to_vec());
    garbage.push(b"{\"\xfe\": 1}".to_vec());
    garbage.push(b"\xff\xfe{\0}\0".to_vec());
    garbage.push(b"\x1f\x8b\x08\0".to_vec());
    // Too deep: by one level, by far, without an end, in objects.
    garbage.push(deep(33).into_bytes());
    garbage.push(deep(30_000).into_bytes());
    garbage.push("[".repeat(60_000).into_bytes());
    garbage.push("{\"a\":".repeat(10_000).into_bytes());
    for operation in with_bodies(&user) {
        for bytes in &garbage {
            let answer = operation.send(&user, bytes.clone()).await;
            // A fault of the whole body, not a field that it lacks.
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            invalid(&format!("{} {start}", operation.name), &answer, &["body"]);
        }
        operation.send(&user, deep(100_000)).await.expect_problem(413, "too_large");
    }
    assert_eq!(rows(&test).await, before);
    // The last that is not too deep.
    user.post_raw(VALIDATE, "application/json", deep(32)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_another_type_are_refused_by_every_operation() {
    let test = Setup::Sqlite.start().await;
    let user = test.manager("user").await;
    for operation in with_bodies(&user) {
        let body = operation.bodies()[0].to_string();
        let other = each(
            "text/plain|text/json|application/xml|multipart/form-data; boundary=a|application/octet-stream|application|\
             json|| |*/*|application/json-patch|application/jsonx",
        );
        let mut other: Vec<Vec<u8>> = other.map(|kind| kind.as_bytes().to_vec()).collect();
        other.push(b"application/json\xff".to_vec());
        if operation.name != "log_in" {
            other.push(b"application/x-www-form-urlencoded".to_vec());
        }
        for kind in other {
            let request = user.request(operation.method.clone(), &operation.path);
            let request = request.header(CONTENT_TYPE, HeaderValue::from_bytes(&kind).expect("a value"));
            user.send(request.body(body.clone())).await.expect_problem(415, "unsupported_media_type");
        }
    }
    for kind in each(
        "application/json|APPLICATION/JSON|application/json; charset=utf-8|application/json;charset=\"UTF-8\"|\
         application/json |application/vnd.api+json",
    ) {
        user.post_raw(VALIDATE, kind, r#"{"code": "x"}"#).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_begin_with_a_byte_order_mark() {
    let test = Setup::Sqlite.start().await;
    let body = "\u{feff}{\"code\": \"x\"}";
    test.client().post_raw(VALIDATE, "application/json", body).await.expect(200);
}

/// Nobody unpacks it, so it is not taken for what it would be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_body_is_refused_by_every_operation() {
    let test = Setup::Sqlite.start().await;
    let user = test.manager("user").await;
    let send = async |operation: &crate::support::operations::Operation, coding: &'static str, kind: &'static str| {
        let request = user.request(operation.method.clone(), &operation.path);
        let request = request.header(CONTENT_TYPE, kind).header(CONTENT_ENCODING, coding);
        user.send(request.body(operation.bodies()[0].to_string())).await
    };
    for operation in with_bodies(&user) {
        for coding in ["gzip", "GZIP", "br", "deflate", "identity, gzip", ""] {
            let answer = send(&operation, coding, "application/json").await;
            let answer = answer.expect_problem(415, "unsupported_media_type");
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
        if operation.name == "log_in" {
            let answer = send(&operation, "gzip", "application/x-www-form-urlencoded").await;
            answer.expect_problem(415, "unsupported_media_type");
        }
    }
    let request = user.request(Method::POST, VALIDATE).header(CONTENT_ENCODING, "identity");
    user.send(request.body(r#"{"code": "x"}"#)).await.expect(200);
}

/// A question about a code, in a body of so many levels.
fn deep(levels: usize) -> String {
    let inner = levels - 1;
    format!("{{\"code\": \"x\", \"more\": {}{}}}", "[".repeat(inner), "]".repeat(inner))
}
