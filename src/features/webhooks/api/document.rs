//! The messages as the document describes them: requests that we make.

use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, HttpMethod, Paths, PathsBuilder, ResponseBuilder, ResponsesBuilder};

use crate::features::outbox::model::PING;

const REFERRER: &str = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff";
const REFEREE: &str = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca";

/// A type of messages: what it tells, the members of its data, and an example of these.
struct Told {
    kind: &'static str,
    summary: &'static str,
    description: &'static str,
    data: ObjectBuilder,
    example: Value,
}

/// Those that are sent.
pub fn webhooks() -> Paths {
    told().into_iter().fold(PathsBuilder::new(), |paths, told| paths.path(told.kind, item(told))).build()
}

fn told() -> [Told; 5] {
    let (referrer, referee) =
        (json!({"id": REFERRER, "external_id": "42"}), json!({"id": REFEREE, "external_id": "43"}));
    let of_referral = |state: &str, version: i64| {
        json!({
            "id": REFEREE, "referrer": referrer, "referee": referee, "state": state, "version": version,
        })
    };
    [
        Told {
            kind: "participant.created",
            summary: "Somebody has registered here",
            description: "Not for those whom a host's app has told of.",
            data: of_person(),
            example: json!({"id": REFEREE, "version": 1}),
        },
        Told {
            kind: "participant.erased",
            summary: "Somebody was erased",
            description: "Whoever did so. Remove what you have under this id.",
            data: of_person(),
            example: json!({"id": REFEREE, "version": 2}),
        },
        Told {
            kind: "referral.created",
            summary: "Somebody has come with a code or a link",
            description: "It counts if its state is `confirmed`; then `referral.confirmed` follows at once.",
            data: of_referral_schema(),
            example: of_referral("pending", 1),
        },
        Told {
            kind: "referral.confirmed",
            summary: "A referral counts from now on",
            description: "Once for each that counts.",
            data: of_referral_schema(),
            example: of_referral("confirmed", 2),
        },
        Told {
            kind: PING,
            summary: "Somebody tries the endpoint",
            description: "By `test_webhook_endpoint`. It tells of nothing and is kept nowhere.",
            data: ObjectBuilder::new().property("endpoint_id", id("The endpoint")).required("endpoint_id"),
            example: json!({"endpoint_id": "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11"}),
        },
    ]
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

fn id(description: &str) -> ObjectBuilder {
    text(description).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
}

fn version() -> ObjectBuilder {
    let version = ObjectBuilder::new().schema_type(Type::Integer);
    version.description(Some("Grows from one message about the same to the next: order of arrival is not promised"))
}

fn of_person() -> ObjectBuilder {
    let person = ObjectBuilder::new().property("id", id("The person")).property("version", version());
    person.required("id").required("version")
}

fn of_referral_schema() -> ObjectBuilder {
    let called = || {
        text("How the host's app calls them; null where it does not, or where they were erased")
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
    };
    let person = |description: &str| {
        let person = ObjectBuilder::new().description(Some(description));
        let person = person.property("id", id("The person")).property("external_id", called());
        person.required("id").required("external_id")
    };
    let state = text("Whether it counts").enum_values(Some(["pending", "confirmed"]));
    ObjectBuilder::new()
        .property("id", id("The referral: its referee's id"))
        .property("referrer", person("Who has brought somebody"))
        .property("referee", person("Who was brought"))
        .property("state", state)
        .property("version", version())
        .required("id")
        .required("referrer")
        .required("referee")
        .required("state")
        .required("version")
}

fn item(told: Told) -> PathItem {
    let at = text("When it happened. UTC").format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let body = ObjectBuilder::new()
        .property("type", text("What it tells of").enum_values(Some([told.kind])))
        .property("timestamp", at)
        .property("data", told.data)
        .required("type")
        .required("timestamp")
        .required("data");
    let example = json!({"type": told.kind, "timestamp": "2026-11-28T12:10:00.120000Z", "data": told.example});
    let example = ExampleBuilder::new().summary("As it is sent").value(Some(example)).build();
    let content = ContentBuilder::new().schema(Some(body)).examples_from_iter([("sent", example)]).build();
    let header = |name: &str, description: &str, schema: ObjectBuilder| {
        let header = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
        header.required(utoipa::openapi::Required::True).description(Some(description)).schema(Some(schema))
    };
    let seconds = ObjectBuilder::new().schema_type(Type::Integer);
    let answer = |description: &str| ResponseBuilder::new().description(description).build();
    let operation = OperationBuilder::new()
        .tag("Webhooks")
        .summary(Some(told.summary))
        .description(Some(told.description))
        .parameter(header("webhook-id", "The message: the same at each attempt", id("A UUID")))
        .parameter(header("webhook-timestamp", "When the attempt is made, in seconds since 1970", seconds))
        .parameter(header(
            "webhook-signature",
            "`v1,` and HMAC-SHA-256 in base64 of id, time and body, with a full stop between; several with a blank \
             between while a secret is replaced (standardwebhooks.com)",
            text("One or more signatures"),
        ))
        .request_body(Some(RequestBodyBuilder::new().content("application/json", content).build()))
        .responses(
            ResponsesBuilder::new()
                .response("2XX", answer("Taken"))
                .response("410", answer("The endpoint is gone: it is disabled"))
                .response("default", answer("Not taken: it is sent again"))
                .build(),
        );
    PathItem::new(HttpMethod::Post, operation)
}
