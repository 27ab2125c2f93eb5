//! The document as programs read it that generate clients: each thing has a name, each word is one of a list, and what
//! there are limits of is said with them.

use crate::support::sources::files;
use referral::kernel::error::Refusal;
use serde_json::{Map, Value};

/// What an operation may do, as its id begins. Some need no noun.
const VERBS: &[&str] = &[
    "activate",
    "adjust",
    "approve",
    "cancel",
    "change",
    "check",
    "complete",
    "confirm",
    "create",
    "deny",
    "disable",
    "enable",
    "end",
    "erase",
    "export",
    "find",
    "get",
    "hold",
    "introspect",
    "list",
    "look_up",
    "make",
    "pause",
    "pay",
    "read",
    "recover",
    "register",
    "remove",
    "replace",
    "request",
    "resend",
    "return",
    "revoke",
    "search",
    "settle",
    "tell",
    "test",
    "unlink",
    "unmake",
    "update",
    "upsert",
    "validate",
    "verify",
    "withdraw",
];

const WITHOUT_A_NOUN: &[&str] = &["log_in", "log_out"];

fn document() -> Value {
    serde_json::to_value(referral::site::router::document()).expect("JSON")
}

/// As the document has them within a path.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// The operations with their ids, in the order of the document's text.
fn operations(document: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for path in referral::site::router::document().paths.paths.keys() {
        let item = &document["paths"][path];
        for operation in METHODS.iter().filter_map(|method| item.get(method)) {
            found.push((text(operation, "operationId").to_owned(), operation.clone()));
        }
        let known = |method: &String| METHODS.contains(&method.as_str());
        assert!(item.as_object().expect("operations").keys().all(known), "{path} has other methods");
    }
    assert!(found.len() > 30, "the document has operations");
    found
}

/// Every schema of the document, at any depth, with the place where it stands.
fn schemas(document: &Value) -> Vec<(String, Value)> {
    fn walk(place: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        let Some(members) = value.as_object() else {
            for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                walk(&format!("{place}/{at}"), item, found);
            }
            return;
        };
        if ["type", "$ref", "oneOf", "anyOf", "allOf"].iter().any(|name| is_schema(members, name)) {
            found.push((place.to_owned(), value.clone()));
        }
        for (name, member) in members.iter().filter(|(name, _)| !["example", "examples"].contains(&name.as_str())) {
            walk(&format!("{place}/{name}"), member, found);
        }
    }
    let mut found = Vec::new();
    walk("#/paths", &document["paths"], &mut found);
    walk("#/components/schemas", &document["components"]["schemas"], &mut found);
    assert!(found.len() > 300, "the document has schemas");
    found
}

/// A property may be called like a word of JSON Schema.
fn is_schema(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name).is_some_and(|value| value.is_string() || value.is_array())
}

#[test]
fn every_operation_is_called_by_a_verb_and_a_noun_and_by_no_name_twice() {
    let mut ids: Vec<String> = operations(&document()).into_iter().map(|(id, _)| id).collect();
    for id in &ids {
        let noun = VERBS.iter().find_map(|verb| id.strip_prefix(verb)?.strip_prefix('_'));
        let plain = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !id.contains("__");
        let told = include_str!("../../../docs/api-design.md").contains(&format!("`{id}`"));
        assert!(told, "{id} is not in docs/api-design.md");
        assert!(plain && (WITHOUT_A_NOUN.contains(&id.as_str()) || noun.is_some_and(|noun| !noun.is_empty())), "{id}");
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn tags_and_operations_come_in_the_order_in_which_one_needs_them() {
    let document = document();
    let tags: Vec<&str> = document["tags"].as_array().expect("tags").iter().map(|tag| text(tag, "name")).collect();
    let expected = [
        "Accounts",
        "Codes",
        "Links",
        "Referrals",
        "People",
        "Audit",
        "Programs",
        "Participants",
        "Rewards",
        "Webhooks",
        "Clients",
        "OAuth",
        "Operating",
    ];
    assert_eq!(tags, expected);
    let operations = operations(&document);
    let places: Vec<usize> = operations
        .iter()
        .map(|(id, operation)| {
            let own: Vec<&str> = operation["tags"].as_array().expect("tags").iter().filter_map(Value::as_str).collect();
            let [tag] = own[..] else { panic!("{id} has one tag, not {own:?}") };
            tags.iter().position(|known| *known == tag).unwrap_or_else(|| panic!("{id}: nothing is told of {tag}"))
        })
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    let place = |id: &str| operations.iter().position(|(known, _)| known == id).unwrap_or_else(|| panic!("no {id}"));
    for (first, then) in [
        ("register_account", "log_in"),
        ("log_in", "get_profile"),
        ("erase_account", "log_out"),
        ("create_code", "look_up_code"),
        ("validate_code", "revoke_code"),
        ("register_client", "replace_client_secret"),
        ("request_tokens", "revoke_token"),
        ("revoke_token", "get_jwks"),
        ("check_liveness", "check_readiness"),
    ] {
        assert!(place(first) < place(then), "{first} comes before {then}");
    }
}

/// Of a schema that is repeated generators make a type for each place, or none.
#[test]
fn every_object_is_a_schema_with_a_name_and_is_there() {
    let document = document();
    for (place, schema) in schemas(&document) {
        if let Some(reference) = schema["$ref"].as_str() {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{place}: there is no {reference}");
        }
        let named = place.trim_start_matches("#/components/schemas/");
        // What is added to another schema has no name of its own.
        let added = named.split_once("/allOf/").is_some_and(|(name, at)| !name.contains('/') && !at.contains('/'));
        let object = schema["type"] == "object" || schema["properties"].is_object();
        assert!(!object || !named.contains('/') || added, "{place} is an object without a name");
    }
}

/// What the service chooses out of a list has a Rust type that the document lists; and no list of words is told in
/// prose alone.
#[test]
fn every_word_is_one_of_a_list() {
    for (place, schema) in schemas(&document()) {
        let listed = ["enum", "$ref", "oneOf", "anyOf"].iter().any(|name| !schema[*name].is_null());
        let texts = schema["type"] == "string" || schema["type"].to_string().contains("\"string\"");
        let told = schema["description"].as_str().unwrap_or_default();
        let words = ["` or `", "`, `", "` and `"].iter().any(|joint| told.contains(joint));
        assert!(listed || !texts || !words || told.contains('@') || told.contains("2030"), "{place}: {told}");
    }
    let document = document();
    let codes = document["components"]["schemas"]["ProblemCode"]["enum"].as_array().expect("words");
    let known: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.word()).collect();
    assert_eq!(codes, &known);
}

/// The sources: a text that is compiled in and answered is a word, so its type is one of words.
#[test]
fn no_answer_has_a_compiled_in_text_for_a_type() {
    let mut structs = 0;
    for (file, text) in files("src", ".rs") {
        for described in text.split("ToSchema)]").skip(1) {
            let body = described.split("\n}").next().unwrap_or_default();
            structs += 1;
            let wrong =
                body.lines().filter(|line| line.contains("&'static str") && !line.contains("error_description:"));
            assert_eq!(wrong.collect::<Vec<_>>(), Vec::<&str>::new(), "{file}");
        }
    }
    assert!(structs > 30, "{structs} structs are few");
}

/// Clients that openapi-python-client generates from two types of one body cannot be imported.
#[test]
fn every_body_has_one_type() {
    for (id, operation) in operations(&document()) {
        let content = operation["requestBody"]["content"].as_object();
        assert!(content.is_none_or(|content| content.len() == 1), "{id}");
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let content = response["content"].as_object();
            assert!(content.is_none_or(|content| content.len() == 1), "{id}: {status}");
        }
    }
}

#[test]
fn every_operation_says_what_it_does_and_how_often_it_may_be_asked() {
    for (id, operation) in operations(&document()) {
        assert!(!text(&operation, "summary").ends_with('.') && text(&operation, "summary").len() < 80, "{id}");
        let told = text(&operation, "description");
        if operation["responses"]["429"].is_object() {
            assert!(told.contains("(`limits.") || told.contains("under way"), "{id}: how often? {told}");
        } else {
            assert!(!told.contains("`limits."), "{id} is never 429: {told}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(!text(parameter, "description").is_empty(), "{id}: {parameter}");
            let schema = &parameter["schema"];
            let bounded = schema["type"] != "integer" || schema["minimum"].is_i64();
            assert!(bounded, "{id}: from where on? {parameter}");
        }
    }
}

/// What is sent is described: by its limits, by its words, or by a sentence.
#[test]
fn every_field_of_a_request_has_its_limits() {
    let document = document();
    let mut fields = 0;
    for (id, operation) in operations(&document) {
        for content in operation["requestBody"]["content"].as_object().into_iter().flat_map(Map::values) {
            let reference = content["schema"]["$ref"].as_str().unwrap_or_else(|| panic!("{id}: its body has no name"));
            let schema = document.pointer(reference.trim_start_matches('#')).expect("a schema");
            for (name, field) in schema["properties"].as_object().expect("fields") {
                fields += 1;
                let listed = field["$ref"].is_string() || field["oneOf"].is_array();
                assert!(listed || field["description"].is_string(), "{reference}: nothing is said of {name}");
                if let Some(most) = field["maxItems"].as_u64() {
                    let told = field["description"].as_str().unwrap_or_default();
                    assert!(told.contains(&most.to_string()), "{reference}, {name}: {most} is not in {told}");
                }
            }
        }
    }
    assert!(fields > 30, "{fields} fields are few");
    let password = &document["components"]["schemas"]["NewUser"]["properties"]["password"]["minLength"];
    assert_eq!(password.as_i64(), Some(default("accounts", "min_password_length")));
}

/// Numbers that an operator may change stand before the setting's name, and are its default.
#[test]
fn the_numbers_in_the_prose_are_the_defaults() {
    let mut compared = 0;
    let document = document();
    let operations = operations(&document).into_iter().map(|(id, operation)| (id, operation["description"].clone()));
    let schemas = schemas(&document).into_iter().map(|(place, schema)| (place, schema["description"].clone()));
    for (place, told) in operations.chain(schemas) {
        let told = told.as_str().unwrap_or_default();
        for (at, _) in told.match_indices("(`") {
            let (before, behind) = told.split_at(at);
            let name = behind.trim_start_matches("(`").split('`').next().unwrap_or_default();
            let Some((section, key)) = name.split_once('.').filter(|(section, _)| SECTIONS.contains(section)) else {
                continue;
            };
            let number = before.split(|letter: char| !letter.is_ascii_digit()).rfind(|digits| !digits.is_empty());
            let number: i64 =
                number.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{place}: {told}"));
            assert_eq!(number, default(section, key), "{place}: {told}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} numbers are few");
}

const SECTIONS: &[&str] = &["accounts", "limits", "tokens"];

fn default(section: &str, key: &str) -> i64 {
    let text = include_str!("../../../referral.default.toml");
    let defaults: toml::Table = text.parse().expect("TOML");
    defaults[section][key].as_integer().unwrap_or_else(|| panic!("{section}.{key} is no number"))
}

#[track_caller]
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}
