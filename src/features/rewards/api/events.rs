//! Events, one by one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EventOut, behind, cursor, host};
use crate::app::App;
use crate::features::rewards::actions::{events, lists};
use crate::features::rewards::model::event::{EventKey, Recorded, Told, Whom, may_have_occurred};
use crate::features::rewards::model::rules::EventType;
use crate::features::rewards::model::{MOST_AMOUNT, Money, NoOutcome, Unit};
use crate::features::tokens::caller::{ProgramReader, ProgramWriter};
use crate::kernel::digest::ExternalIdHash;
use crate::kernel::error::{Error, FieldError, Refusal, Result};
use crate::kernel::external_id::ExternalId;
use crate::kernel::ids::{EventId, UserId};
use crate::kernel::program::DEFAULT;
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::{Fields, JsonBody, PathText, Query};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::page;
use crate::web::problem::Problem;

/// Members of an event's properties, and bytes of all of them.
const MOST_PROPERTIES: usize = 16;
const MOST_PROPERTIES_BYTES: usize = 2048;

/// Something that somebody did at a host's.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub(super) struct EventIn {
    /// `default`.
    #[schema(example = "default")]
    program: Option<String>,
    /// Purchase, or one of the program's own.
    #[schema(example = "purchase")]
    r#type: String,
    /// As the host calls it: 1 to 128 bytes. With its type it is told once for ever.
    #[schema(min_length = 1, max_length = 128, example = "inv_1042")]
    external_id: String,
    participant: ParticipantNamed,
    /// In the smallest part of the unit (cents, say).
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64, example = 12345)]
    amount: Option<i64>,
    /// A currency of ISO 4217, or points; with an amount only.
    #[schema(example = "EUR")]
    unit: Option<String>,
    /// With an offset from UTC. At most 5 minutes ahead and two years ago; now when left out.
    #[schema(format = DateTime, example = "2030-10-10T12:00:00+02:00")]
    occurred_at: Option<String>,
    /// At most 16 strings and integers, 2 KiB of JSON. Kept, never judged.
    #[schema(value_type = Option<Object>, example = json!({"plan": "gold"}))]
    properties: Option<Value>,
}

/// Who did it: by the host's own id, or by ours.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct ParticipantNamed {
    #[schema(max_length = 128, example = "77")]
    external_id: Option<String>,
    #[schema(example = json!(null))]
    id: Option<Uuid>,
}

/// What came of telling of an event.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum EventAnswer {
    Event(Box<EventOut>),
    NotReferred(NotReferred),
}

/// Nobody's referee did it: nothing is stored.
#[derive(Serialize, ToSchema)]
pub(super) struct NotReferred {
    outcome: NoOutcome,
}

/// The answer to an event, with its status.
pub(super) fn answer(recorded: Recorded) -> (StatusCode, EventAnswer) {
    match recorded {
        Recorded::NotReferred => {
            (StatusCode::OK, EventAnswer::NotReferred(NotReferred { outcome: NoOutcome::NotReferred }))
        }
        Recorded::Now(event) => (StatusCode::CREATED, EventAnswer::Event(Box::new((*event).into()))),
        Recorded::Before(event) => (StatusCode::OK, EventAnswer::Event(Box::new((*event).into()))),
    }
}

problems!(TellProblems: program_writer body keyed[EventDiffers, ProgramNotActive, RateLimited]);

/// Tell of an event
///
/// Of every one, whoever did it: what the rules in force give for it is granted at once. The same event again (type and
/// external id) changes nothing and gets the first answer; in other words it is refused. At most 600 calls a second of
/// one client (`limits.calls_per_client`).
#[utoipa::path(post, path = "/api/v1/events", tag = "Rewards", operation_id = "tell_event",
    security(("machine" = ["program:write"]), ("bearer" = [])), request_body = EventIn,
    params(("dry_run" = Option<bool>, Query, example = false,
        description = "Tell what would come of it, and store nothing")),
    responses((status = 201, description = "Stored", body = EventOut),
        (status = 200, description = "Told of before, or nobody's referee did it", body = EventAnswer), TellProblems))]
pub(super) async fn tell(
    State(app): State<Arc<App>>,
    caller: Keyed<ProgramWriter>,
    query: Query,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    let host = host(&app, &caller).await?;
    let dry_run = query.flag("dry_run")?;
    let told = read(fields, app.clock.now())?;
    let tell = |recorded: &Recorded| {
        let (status, answer) = answer(recorded.clone());
        Reply::json(status, &answer)
    };
    let recorded = if dry_run {
        events::rehearse(&app, host, told).await?
    } else {
        events::tell(&app, host, caller.sent(tell)?, told).await?
    };
    Ok(tell(&recorded)?)
}

/// What a body says of an event, in a call of its own or in a batch.
pub(super) fn read(mut fields: Fields, now: Time) -> Result<Told> {
    let said = fields.said();
    fields.optionally_parsed("program", |text| if text == DEFAULT { Ok(()) } else { Err("There is one, default") });
    let kind = fields.parsed("type", EventType::told);
    let key = fields.parsed("external_id", EventKey::parse);
    let whom = read_whom(&mut fields);
    let amount = fields.optional_number("amount", 0..=MOST_AMOUNT);
    let unit = fields.optionally_parsed("unit", Unit::parse);
    if fields.are_fine() && amount.is_some() != unit.is_some() {
        fields.refuse("unit", "value_error", "Give amount and unit together");
    }
    let occurred_at = fields.optionally_parsed("occurred_at", |text| read_time(text, now));
    let properties = fields.optional_fields("properties").and_then(|mut properties| {
        let properties = properties.rest();
        fields.judge("properties", written(&Value::Object(properties)))
    });
    let money = amount.zip(unit).map(|(amount, unit)| Money { amount, unit });
    let told = kind.zip(key).zip(whom).map(|((kind, key), whom)| Told {
        kind,
        key,
        whom,
        money,
        occurred_at,
        properties,
        said,
    });
    fields.all(told)
}

fn read_whom(fields: &mut Fields) -> Option<Whom> {
    if !fields.has("participant") {
        return None;
    }
    let mut named = fields.optional_fields("participant")?;
    let external = named.optionally_parsed("external_id", ExternalId::parse);
    let id = named.optionally_parsed("id", |text| UserId::parse(text).ok_or("This is no id of ours"));
    let whom = match (external, id) {
        (Some(external), None) => Some(Whom::External(ExternalIdHash::of(external.as_str()))),
        (None, Some(id)) => Some(Whom::Id(id)),
        _ => {
            if named.are_fine() {
                named.refuse("external_id", "value_error", "Give either external_id or id");
            }
            None
        }
    };
    match named.all(whom) {
        Ok(whom) => Some(whom),
        Err(Error::Invalid(errors)) => {
            fields.refuse_within("participant", errors);
            None
        }
        Err(_) => None,
    }
}

fn read_time(text: &str, now: Time) -> Result<Time, &'static str> {
    let clock = text.get(10..).unwrap_or_default();
    if !clock.ends_with(['Z', 'z']) && !clock.contains(['+', '-']) {
        return Err("A time needs an offset, such as Z or +02:00");
    }
    let at = Time::parse(text).ok_or("This is no time, such as 2030-10-10T12:00:00Z")?;
    if may_have_occurred(at, now) { Ok(at) } else { Err("At most 5 minutes ahead, and two years ago") }
}

fn written(properties: &Value) -> Result<String, &'static str> {
    let members = properties.as_object().into_iter().flatten();
    let plain = |value: &Value| value.is_string() || value.is_i64();
    if !members.clone().all(|(_, value)| plain(value)) {
        return Err("Properties are strings and integers");
    }
    let text = properties.to_string();
    if members.count() > MOST_PROPERTIES || text.len() > MOST_PROPERTIES_BYTES {
        return Err("At most 16 properties, and 2 KiB of JSON");
    }
    // PostgreSQL keeps no NUL in a text; as an escape in JSON it would be no help to whoever reads it.
    if text.contains("\\u0000") { Err("Properties have no NUL character") } else { Ok(text) }
}

problems!(GetProblems: program_reader query[EventNotFound]);

/// See an event
///
/// As it is now. For managers, and for programs with `program:read` or `program:write`.
#[utoipa::path(get, path = "/api/v1/events/{event_id}", tag = "Rewards", operation_id = "get_event",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("event_id" = String, Path, description = "The event's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d10")),
    responses((status = 200, description = "The event", body = EventOut), GetProblems))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    _: ProgramReader,
    PathText(id): PathText,
) -> Result<Json<EventOut>, Problem> {
    let id = EventId::parse(&id).ok_or(Refusal::EventNotFound)?;
    Ok(Json(lists::event(&app, id).await?.into()))
}

/// A part of the events.
#[derive(Serialize, ToSchema)]
pub(super) struct Events {
    /// Newest first.
    items: Vec<EventOut>,
    /// Not counted: null.
    #[schema(required, minimum = 0, example = json!(null))]
    total: Option<i64>,
    /// Items asked for.
    #[schema(minimum = 1, maximum = 100, example = 50)]
    size: i64,
    /// For the next part; null at the end.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

problems!(ListProblems: program_reader query[]);

/// List the events
///
/// Newest first. For managers, and for programs with `program:read` or `program:write`.
#[utoipa::path(get, path = "/api/v1/events", tag = "Rewards", operation_id = "list_events",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(
        ("participant" = Option<Uuid>, Query, description = "Of this person alone, by our id",
            example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff"),
        ("type" = Option<String>, Query, description = "Of this type alone", example = "purchase"),
        ("from" = Option<String>, Query, description = "Received then or later", example = "2030-10-10T12:00:00Z"),
        ("size" = Option<i64>, Query, description = "Items in a part, 1 to 100; 50 when left out", minimum = 1,
            maximum = 100, example = 50),
        ("cursor" = Option<String>, Query, description = "Where to go on, from `next_cursor`",
            example = "AZgPDHwefTqaVQ-Nb2ttEQ")),
    responses((status = 200, description = "A part of the list", body = Events), ListProblems))]
pub(super) async fn list(State(app): State<Arc<App>>, _: ProgramReader, query: Query) -> Result<Json<Events>, Problem> {
    let wanted = wanted(&query)?;
    let size = wanted.size;
    let (events, next) = lists::events(&app, wanted).await?;
    Ok(Json(Events {
        items: events.into_iter().map(EventOut::from).collect(),
        total: None,
        size,
        next_cursor: cursor(next),
    }))
}

fn wanted(query: &Query) -> Result<lists::Wanted> {
    let mut errors = Vec::new();
    let mut refuse = |name: &str, msg: &str| errors.push(FieldError::new("query", name, "value_error", msg));
    let referee = query.get("participant").map(UserId::parse);
    if referee == Some(None) {
        refuse("participant", "This is no id of ours");
    }
    let kind = query.get("type").map(EventType::parse);
    if let Some(Err(rule)) = &kind {
        refuse("type", rule);
    }
    let from = query.get("from").map(Time::parse);
    if from == Some(None) {
        refuse("from", "This is no time, such as 2030-10-10T12:00:00Z");
    }
    let size = page::size(query).map_err(|error| errors.push(error)).unwrap_or(1);
    let behind = behind(query).map_err(|error| errors.push(error)).unwrap_or_default();
    if !errors.is_empty() {
        return Err(Error::Invalid(errors));
    }
    Ok(lists::Wanted {
        size,
        behind,
        from: from.flatten().unwrap_or(Time(i64::MIN)),
        kind: kind.and_then(Result::ok).map_or_else(String::new, |kind| kind.as_str().to_owned()),
        referee: referee.flatten(),
    })
}
