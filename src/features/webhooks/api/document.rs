//! The messages as the document describes them: requests that we make.

use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, HttpMethod, Paths, PathsBuilder, ResponseBuilder, ResponsesBuilder};

use crate::features::outbox::model::PING;
use crate::features::rewards::model::reward::RewardState;

const REFERRER: &str = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff";
const REFEREE: &str = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca";
const EVENT: &str = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d10";
const REWARD: &str = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11";
const CAUSE: &str = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d15";

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

fn told() -> Vec<Told> {
    let of_referrals = told_of_referrals();
    of_people().into_iter().chain(of_referrals).chain(told_of_rewards()).chain([told_of_nothing()]).collect()
}

fn of_people() -> [Told; 2] {
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
    ]
}

fn told_of_referrals() -> [Told; 3] {
    let (referrer, referee) =
        (json!({"id": REFERRER, "external_id": "42"}), json!({"id": REFEREE, "external_id": "43"}));
    let of_referral = |state: &str, version: i64| {
        json!({
            "id": REFEREE, "referrer": referrer, "referee": referee, "state": state, "version": version,
        })
    };
    let moderated = json!({
        "id": REFEREE, "referrer": referrer, "referee": referee, "state": "confirmed", "decision": "deny", "version": 3,
    });
    let decision = text("What was decided").enum_values(Some(["approve", "deny", "hold"]));
    [
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
            kind: "referral.moderated",
            summary: "A manager has decided about a referral",
            description: "Of a denied one `reward.reversed` follows for whatever was granted.",
            data: of_referral_schema().property("decision", decision).required("decision"),
            example: moderated,
        },
    ]
}

fn told_of_rewards() -> [Told; 4] {
    let example = |amount: i64, reversed: i64, state: &str, cause: Value, version: i64| {
        json!({
            "reward_id": REWARD, "event_id": EVENT, "holder": {"id": REFERRER, "external_id": "42"},
            "rule": "friend-first", "amount": amount, "unit": "EUR", "reversed_total": reversed, "state": state,
            "cause": cause, "version": version,
        })
    };
    let cause = |kind: &str, id: &str, called: Option<&str>| json!({"kind": kind, "id": id, "external_id": called});
    [
        Told {
            kind: "reward.created",
            summary: "Somebody gets something for an event",
            description: "It is pending until its hold is over.",
            data: of_reward(),
            example: example(500, 0, "pending", cause("event", EVENT, Some("inv_1042")), 1),
        },
        Told {
            kind: "reward.available",
            summary: "A reward can be paid",
            description: "Its hold is over, a manager has waived it, or its payment came back.",
            data: of_reward(),
            example: example(500, 0, "available", cause("hold", EVENT, None), 2),
        },
        Told {
            kind: "reward.paid",
            summary: "A reward was paid",
            description: "By itself or with a payout, which has one message for each reward in it.",
            data: of_reward(),
            example: example(500, 0, "paid", cause("payout", CAUSE, None), 3),
        },
        Told {
            kind: "reward.reversed",
            summary: "Something of a reward was taken back",
            description: "For a refund, by a manager, or because its referral was denied; before it was available,                           too. `state` says where the reward stands then.",
            data: of_reward(),
            example: example(250, 250, "paid", cause("refund", CAUSE, Some("re_77")), 4),
        },
    ]
}

fn told_of_nothing() -> Told {
    Told {
        kind: PING,
        summary: "Somebody tries the endpoint",
        description: "By `test_webhook_endpoint`. It tells of nothing and is kept nowhere.",
        data: ObjectBuilder::new().property("endpoint_id", id("The endpoint")).required("endpoint_id"),
        example: json!({"endpoint_id": "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11"}),
    }
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

/// How a host calls something, which it need not.
fn called(description: &str) -> ObjectBuilder {
    text(description).schema_type(SchemaType::from_iter([Type::String, Type::Null]))
}

fn person(description: &str) -> ObjectBuilder {
    let external = called("How the host's app calls them; null where it does not, or where they were erased");
    let person = ObjectBuilder::new().description(Some(description));
    let person = person.property("id", id("The person")).property("external_id", external);
    person.required("id").required("external_id")
}

fn of_referral_schema() -> ObjectBuilder {
    let state = text("Whether it counts").enum_values(Some(["pending", "confirmed"]));
    let members = ObjectBuilder::new()
        .property("id", id("The referral: its referee's id"))
        .property("referrer", person("Who has brought somebody"))
        .property("referee", person("Who was brought"))
        .property("state", state)
        .property("version", version());
    ["id", "referrer", "referee", "state", "version"].into_iter().fold(members, ObjectBuilder::required)
}

fn of_reward() -> ObjectBuilder {
    let number = |description: &str| ObjectBuilder::new().schema_type(Type::Integer).description(Some(description));
    let kinds = ["event", "refund", "hold", "decision", "payout"];
    let cause = ObjectBuilder::new()
        .description(Some("Why"))
        .property("kind", text("What it was; `hold`: the hold is over").enum_values(Some(kinds)))
        .property("id", id("The event (of a hold, too), refund, decision or payout"))
        .property("external_id", called("How the host's app calls the event or the refund; null for what is ours"));
    let cause = cause.required("kind").required("id").required("external_id");
    let states = RewardState::ALL.iter().map(|state| state.word());
    let members = ObjectBuilder::new()
        .property("reward_id", id("The reward"))
        .property("event_id", id("The event that it was granted for"))
        .property("holder", person("Who gets it"))
        .property("rule", text("The key of its rule"))
        .property("amount", number("What was moved, in the smallest part of the unit"))
        .property("unit", text("A currency of ISO 4217, or points"))
        .property("reversed_total", number("What was taken back of it until then"))
        .property("state", text("Where it stands then").enum_values(Some(states)))
        .property("cause", cause)
        .property("version", version());
    let required =
        ["reward_id", "event_id", "holder", "rule", "amount", "unit", "reversed_total", "state", "cause", "version"];
    required.into_iter().fold(members, ObjectBuilder::required)
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
