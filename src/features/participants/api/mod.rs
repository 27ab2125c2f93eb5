//! Participants over HTTP, for the back ends of hosts.

mod batch;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::actions::{self, Asked, Host};
use super::model::{Participant, Upserted};
use crate::app::App;
use crate::features::accounts::model::participant::{Brought, Details, ExternalId, parse_language};
use crate::features::clients::model::parse_name;
use crate::features::links::actions::share_of;
use crate::features::links::api::ShareTextOut;
use crate::features::programs;
use crate::features::referrals::model::Status;
use crate::features::tokens::caller::{ProgramReader, ProgramWriter};
use crate::kernel::email::Email;
use crate::kernel::error::{Error, FieldError, Result};
use crate::kernel::handle::InvitationKey;
use crate::kernel::ids::UserId;
use crate::kernel::program::Program;
use crate::problems;
use crate::web::extract::{Fields, JsonBody, PathText, Query};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::page;
use crate::web::problem::Problem;
use crate::web::views::language::Language;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(upsert, get, erase))
        .routes(routes!(list, batch::upsert_all))
        .routes(routes!(replace_code))
}

/// Somebody whom the host's app has among its own accounts. What is left out or null stays as it is.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct ParticipantIn {
    /// At most 150 characters; it must be nobody else's. Empty takes it away. Once the person has made it an account of
    /// their own, it is theirs to change, and passed over here.
    #[schema(max_length = 150, example = "friend@example.com")]
    email: Option<String>,
    /// What those see whom they invite: 1 to 100 characters. Empty takes it away.
    #[schema(max_length = 100, example = "Olga")]
    name: Option<String>,
    /// A language tag (BCP 47) of at most 35 characters. Empty takes it away.
    #[schema(max_length = 35, example = "en")]
    language: Option<String>,
    /// The code of whoever invited them. It counts when they are made; later the same changes nothing, and another is
    /// refused.
    #[schema(example = "SPRING2030AB")]
    code: Option<String>,
    /// The handle of whoever invited them, instead of a code: it means their code that is active then.
    #[schema(example = json!(null))]
    handle: Option<String>,
    /// True when the host has seen that the address is theirs; of clients whose word managers take
    /// (`trusts_addresses`).
    #[schema(default = false, example = false)]
    verified: Option<bool>,
}

/// A participant.
#[derive(Serialize, ToSchema)]
pub struct ParticipantOut {
    #[schema(example = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca")]
    id: Uuid,
    /// As the host's app calls them.
    #[schema(example = "42")]
    external_id: String,
    /// Null when there is none.
    #[schema(required, format = "idn-email", example = "friend@example.com")]
    email: Option<String>,
    /// What those see whom they invite; null when there is none.
    #[schema(required, example = "Olga")]
    name: Option<String>,
    #[schema(required, example = "en")]
    language: Option<String>,
    /// The name of their link, which stays whatever becomes of their codes. Null until the next upsert for one whom a
    /// node of an earlier release has made.
    #[schema(required, example = "k3j9x2mq")]
    handle: Option<String>,
    /// Their link: it leads to whatever code of theirs is active when it is opened.
    #[schema(required, example = "https://referral.example.com/r/k3j9x2mq")]
    link: Option<String>,
    /// Its QR code, an SVG image.
    #[schema(required, example = "https://referral.example.com/r/k3j9x2mq/qr.svg")]
    qr: Option<String>,
    /// What to say in their language, for each place to say it; empty without a link.
    texts: Vec<ShareTextOut>,
    /// Their own active code, which the service has issued; null while they have none.
    #[schema(required, example = "12AF32CF8978")]
    code: Option<String>,
    /// Who brought them; null when nobody did.
    #[schema(required)]
    referred_by: Option<Bringer>,
    /// Whether that counts; null when nobody brought them.
    #[schema(required)]
    referral_status: Option<Status>,
}

/// Who brought a participant.
#[derive(Serialize, ToSchema)]
pub struct Bringer {
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    id: Uuid,
}

impl ParticipantOut {
    fn of(app: &App, program: &Program, participant: Participant) -> Self {
        let language = Language::of(None, participant.language.as_deref());
        let name = participant.name.as_deref().unwrap_or_default();
        let share = participant.handle.map(|handle| share_of(app, program, handle, name, language));
        let (handle, link, qr, texts) = match share {
            Some(share) => (Some(share.handle), Some(share.link), Some(share.qr), share.texts),
            None => (None, None, None, Vec::new()),
        };
        Self {
            id: participant.id.0,
            external_id: participant.external_id,
            email: participant.email,
            name: participant.name,
            language: participant.language,
            handle: handle.map(|handle| handle.as_str().to_owned()),
            link,
            qr,
            texts: texts.into_iter().map(ShareTextOut::from).collect(),
            code: participant.code,
            referred_by: participant.referred_by.map(|(referrer, _)| Bringer { id: referrer.0 }),
            referral_status: participant.referred_by.map(|(_, status)| status),
        }
    }
}

problems!(UpsertProblems:
    program_writer body keyed[CodeNotUsable, EmailTaken, AlreadyJoined, ParticipantErased, RateLimited]);

/// Tell of a participant
///
/// Makes them, with a link and a code of their own and, if they come with somebody's code or handle, the referral,
/// which counts at once; or changes the one there is. Sending the same again changes nothing. At most 600 calls a
/// second of one client (`limits.calls_per_client`), whatever address they come from.
#[utoipa::path(put, path = "/api/v1/participants/{external_id}", tag = "Participants",
    operation_id = "upsert_participant",
    security(("machine" = ["program:write"]), ("bearer" = [])), request_body(content = ParticipantIn, examples(
        ("alone" = (summary = "Nobody has invited them", value = json!({"name": "Olga", "language": "en"}))),
        ("invited" = (summary = "With a code", value = json!({"name": "Ivan", "code": "SPRING2030AB"}))),
        ("linked" = (summary = "With a handle", value = json!({"name": "Ivan", "handle": "k3j9x2mq"}))))),
    params(("external_id" = String, Path, example = "42",
        description = "How the host's app calls them: 1 to 128 bytes, kept as they are. Use no addresses")),
    responses((status = 201, description = "Made", body = ParticipantOut),
        (status = 200, description = "There already, and as it is told now", body = ParticipantOut), UpsertProblems))]
async fn upsert(
    State(app): State<Arc<App>>,
    caller: Keyed<ProgramWriter>,
    PathText(external): PathText,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    let host = host(&app, &caller).await?;
    let asked = read(fields, named(&external)?)?;
    let trusted = !asked.details.verified || actions::trusts_addresses(&app, host).await?;
    let asked = believed(asked, trusted)?;
    let out = teller(&app).await?;
    let tell = move |upserted: &Upserted| {
        let status = if upserted.made { StatusCode::CREATED } else { StatusCode::OK };
        Reply::json(status, &out(upserted.participant.clone()))
    };
    Ok(tell(&actions::upsert(&app, host, caller.sent(tell.clone())?, asked).await?)?)
}

/// What is told of participants, by the program as it is now.
async fn teller(app: &Arc<App>) -> Result<impl Fn(Participant) -> ParticipantOut + Clone + Send + Sync + 'static> {
    let (app, program) = (app.clone(), programs::actions::current(app).await?);
    Ok(move |participant| ParticipantOut::of(&app, &program, participant))
}

/// Whoever calls, as often as they may.
async fn host(app: &App, caller: &ProgramWriter) -> Result<Host> {
    app.limits.call(caller.client).await?;
    Ok(Host { actor: caller.actor, client: caller.client })
}

fn named(text: &str) -> Result<ExternalId> {
    ExternalId::parse(text)
        .map_err(|rule| Error::Invalid(vec![FieldError::new("path", "external_id", "value_error", rule)]))
}

/// Refuses what a client says of addresses whose word is not taken.
fn believed(asked: Asked, trusted: bool) -> Result<Asked> {
    if asked.details.verified && !trusted {
        return Err(Error::field("verified", "not_trusted", "This client's word about addresses is not taken"));
    }
    Ok(asked)
}

/// What a body says of a participant, in a call of their own or in a batch.
fn read(mut fields: Fields, external: ExternalId) -> Result<Asked> {
    let email = fields.optionally_parsed("email", |text| or_none(text, Email::parse));
    let name = fields.optionally_parsed("name", |text| or_none(text, parse_name));
    let language = fields.optionally_parsed("language", |text| or_none(text, parse_language));
    let (code, handle) = (fields.optional_text("code"), fields.optional_text("handle"));
    if code.is_some() && handle.is_some() {
        fields.refuse("handle", "code_and_handle", "Give a code or a handle, not both");
    }
    let verified = fields.optional_flag("verified").unwrap_or(false);
    let brought = match code.or(handle).as_deref() {
        None => Brought::Unsaid,
        Some(text) => InvitationKey::of(text).map_or(Brought::ByNonsense, Brought::By),
    };
    let details = Details { email, name, language, verified };
    fields.all(Some(Asked { external, details, brought }))
}

/// What was asked to be empty is nothing.
fn or_none<T>(text: &str, parse: fn(&str) -> Result<T, &'static str>) -> Result<Option<T>, &'static str> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

problems!(GetProblems: program_reader query[ParticipantNotFound]);

/// See a participant
///
/// For managers, and for programs with `program:read` or `program:write`.
#[utoipa::path(get, path = "/api/v1/participants/{external_id}", tag = "Participants",
    operation_id = "get_participant",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("external_id" = String, Path, description = "How the host's app calls them", example = "42")),
    responses((status = 200, description = "The participant", body = ParticipantOut), GetProblems))]
async fn get(
    State(app): State<Arc<App>>,
    _: ProgramReader,
    PathText(external): PathText,
) -> Result<Json<ParticipantOut>, Problem> {
    let participant = actions::get(&app, &named(&external)?).await?;
    Ok(Json(teller(&app).await?(participant)))
}

problems!(EraseProblems: program_writer query keyed[ParticipantNotFound, LastManager, RateLimited]);

/// Erase a participant
///
/// Address, name and external id are gone, their code dies, and whom they brought keeps the referral. Nobody is ever
/// told of under the external id again. At most 600 calls a second of one client (`limits.calls_per_client`).
#[utoipa::path(delete, path = "/api/v1/participants/{external_id}", tag = "Participants",
    operation_id = "erase_participant",
    security(("machine" = ["program:write"]), ("bearer" = [])),
    params(("external_id" = String, Path, description = "How the host's app calls them", example = "42")),
    responses((status = 204, description = "Erased"), EraseProblems))]
async fn erase(
    State(app): State<Arc<App>>,
    caller: Keyed<ProgramWriter>,
    PathText(external): PathText,
) -> Result<Reply, Problem> {
    let host = host(&app, &caller).await?;
    actions::erase(&app, host, caller.answered(&Reply::nothing())?, &named(&external)?).await?;
    Ok(Reply::nothing())
}

problems!(ReplaceProblems: program_writer query keyed[ParticipantNotFound, RateLimited]);

/// Give a participant another code
///
/// For a code that has leaked: it is revoked, and another is issued in the same step. (Somebody whom a manager has
/// disabled gets none.) At most 100 codes a day of one participant (`limits.codes_per_user_and_day`), and 600 calls a
/// second of one client (`limits.calls_per_client`).
#[utoipa::path(post, path = "/api/v1/participants/{external_id}/code", tag = "Participants",
    operation_id = "replace_participant_code",
    security(("machine" = ["program:write"]), ("bearer" = [])),
    params(("external_id" = String, Path, description = "How the host's app calls them", example = "42")),
    responses((status = 200, description = "The participant, with the new code", body = ParticipantOut),
        ReplaceProblems))]
async fn replace_code(
    State(app): State<Arc<App>>,
    caller: Keyed<ProgramWriter>,
    PathText(external): PathText,
) -> Result<Reply, Problem> {
    let host = host(&app, &caller).await?;
    let out = teller(&app).await?;
    let tell = move |participant: &Participant| Reply::json(StatusCode::OK, &out(participant.clone()));
    Ok(tell(&actions::replace_code(&app, host, caller.sent(tell.clone())?, &named(&external)?).await?)?)
}

/// A part of the participants.
#[derive(Serialize, ToSchema)]
struct Participants {
    /// Oldest first.
    items: Vec<ParticipantOut>,
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

/// List the participants
///
/// For managers, and for programs with `program:read` or `program:write`. Oldest first; those who were erased are not
/// in it.
#[utoipa::path(get, path = "/api/v1/participants", tag = "Participants", operation_id = "list_participants",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(
        ("size" = Option<i64>, Query, description = "Items in a part, 1 to 100; 50 when left out", minimum = 1,
            maximum = 100, example = 50),
        ("cursor" = Option<String>, Query, description = "Where to go on, from `next_cursor`",
            example = "AZgPDHwefTqaVQ-Nb2ttEQ")),
    responses((status = 200, description = "A part of the list", body = Participants), ListProblems))]
async fn list(State(app): State<Arc<App>>, _: ProgramReader, query: Query) -> Result<Json<Participants>, Problem> {
    let size = page::size(&query);
    let behind = match query.get("cursor") {
        None => Ok(UserId(Uuid::nil())),
        Some(text) => position(text).ok_or_else(page::wrong_cursor),
    };
    let (size, behind) = match (size, behind) {
        (Ok(size), Ok(behind)) => (size, behind),
        (size, behind) => return Err(Error::Invalid(size.err().into_iter().chain(behind.err()).collect()).into()),
    };
    // One row more than asked for tells whether there is a next part.
    let mut items = actions::list(&app, behind, size + 1).await?;
    let more = items.len() as i64 > size;
    items.truncate(usize::try_from(size).unwrap_or(0));
    let next_cursor = items.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(last.id.0));
    Ok(Json(Participants {
        items: items.into_iter().map(teller(&app).await?).collect(),
        total: None,
        size,
        next_cursor,
    }))
}

/// The participant that a cursor stands behind.
fn position(cursor: &str) -> Option<UserId> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Uuid::from_slice(&bytes).ok().map(UserId)
}
