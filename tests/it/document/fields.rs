//! What a handler reads of a body is what the document says. That whatever is documented is read too, `http/bodies.rs`
//! shows: a field of the wrong type is named.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::sources::files;

/// The names of fields that some code takes out of a body.
fn read(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("fields.").skip(1) {
        let Some((method, arguments)) = rest.split_once('(') else { continue };
        let name = arguments.trim_start().strip_prefix('"').and_then(|text| text.split_once('"')).map(|(name, _)| name);
        if method.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

/// The names of fields in the bodies that the document describes.
fn documented(document: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for operation in document["paths"].as_object().expect("paths").values().flat_map(|item| item.as_object()).flatten()
    {
        for content in
            operation.1["requestBody"]["content"].as_object().into_iter().flat_map(|content| content.values())
        {
            let schema = match content["schema"]["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("a schema"),
                None => &content["schema"],
            };
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                names.insert(name.clone());
                // What is in a list is read in the same way.
                let item =
                    field["items"]["$ref"].as_str().and_then(|item| document.pointer(item.trim_start_matches('#')));
                names.extend(
                    item.and_then(|item| item["properties"].as_object()).into_iter().flatten().map(|(n, _)| n.clone()),
                );
            }
        }
    }
    names
}

#[test]
fn a_field_that_is_read_is_documented() {
    let document = serde_json::to_value(referral::site::router::document()).expect("JSON");
    let documented = documented(&document);
    let apis = files("src/features", ".rs").into_iter().filter(|(path, _)| path.contains("/api"));
    let read: BTreeSet<String> = apis.flat_map(|(_, code)| read(&code)).collect();
    assert!(read.len() > 10, "the fields are found: {read:?}");
    let hidden: Vec<&String> = read.difference(&documented).collect();
    assert!(hidden.is_empty(), "read, and in no documented body: {hidden:?}");
}

#[test]
fn fields_are_found_however_they_are_read() {
    let code = "let a = fields.text(\"a\"); fields.optionally_parsed(\n    \"b\",\n    parse); fields.all(a)";
    assert_eq!(read(code), ["a", "b"].map(str::to_owned).into());
}
