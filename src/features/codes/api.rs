//! Codes over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaFormat, Type};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::actions::{self, Wanted};
use super::model::{OwnedCode, State as CodeState};
use crate::app::App;
use crate::features::tokens::caller::{Person, Reader, need};
use crate::kernel::active_code::ActiveCode;
use crate::kernel::code::Code;
use crate::kernel::email::{Email, mask};
use crate::kernel::error::{Error, FieldError};
use crate::kernel::time::Time;
use crate::problems;
use crate::web::client_address::ClientAddress;
use crate::web::extract::{JsonBody, PathText, Query};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::page::{Listing, PageParams, PageQuery};
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(validate))
        .routes(routes!(look_up))
        .routes(routes!(find, revoke))
}

/// A new code.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct NewCode {
    /// 12 to 32 letters A-Z, a-z and digits, with at least one capital and one digit. Left out: one is drawn.
    #[schema(
        min_length = 12,
        max_length = 32,
        pattern = "^(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9]{12,32}$",
        example = "SPRING2030AB"
    )]
    code: Option<String>,
    #[schema(schema_with = moment)]
    expires_at: String,
}

/// A moment as callers may write it.
fn moment() -> utoipa::openapi::schema::Schema {
    let text = |format: &str| {
        let format = SchemaFormat::Custom(format.to_owned());
        ObjectBuilder::new().schema_type(Type::String).format(Some(format))
    };
    let plain = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?$"));
    AnyOfBuilder::new()
        .item(text("date-time"))
        .item(text("date"))
        .item(plain)
        .description(Some(
            "UTC unless it says otherwise: `2030-10-10`, `2030-10-10 12:00`, `2030-10-10T12:00:00[.fffffffff]`, the latter \
             two with `Z` or an offset as well. Years 1 to 9999; what is below a microsecond is cut.",
        ))
        .examples([serde_json::json!("2030-10-10 12:00")])
        .into()
}

/// A code as its owner sees it.
#[derive(Serialize, ToSchema)]
pub struct CodeOut {
    #[schema(example = 4)]
    pub id: i64,
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    pub user_id: Uuid,
    #[schema(example = "SPRING2030AB")]
    pub code: String,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-10-10T12:00:00Z")]
    pub expires_at: Time,
    /// Neither expired nor revoked.
    #[schema(example = true)]
    pub is_active: bool,
}

impl From<&OwnedCode> for CodeOut {
    fn from(code: &OwnedCode) -> Self {
        Self {
            id: code.id,
            user_id: code.owner.0,
            code: code.code.clone(),
            expires_at: code.expires_at,
            is_active: code.state == CodeState::Active,
        }
    }
}

/// An active code with its owner.
#[derive(Serialize, ToSchema)]
struct FoundCode {
    #[schema(example = 4)]
    id: i64,
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    user_id: Uuid,
    #[schema(example = "SPRING2030AB")]
    code: String,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2030-10-10T12:00:00Z")]
    expires_at: Time,
    #[schema(example = true)]
    is_active: bool,
    user: Owner,
}

/// Whose code it is.
#[derive(Serialize, ToSchema)]
struct Owner {
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    id: Uuid,
    #[schema(example = "owner@test.ru")]
    email: String,
    #[schema(example = "owner")]
    username: String,
}

impl From<&ActiveCode> for FoundCode {
    fn from(code: &ActiveCode) -> Self {
        Self {
            id: code.id,
            user_id: code.owner,
            code: code.code.clone(),
            expires_at: Time(code.expires_at),
            is_active: true,
            user: Owner { id: code.owner, email: code.email.clone(), username: code.username.clone() },
        }
    }
}

problems!(CreateProblems: person body keyed[ExpiresInPast, CodeTaken, ActiveCodeExists, RateLimited]);

/// Make a code
///
/// An owner has at most one active code, and no string is ever used twice, whoever used it. At most 100 codes a day
/// (`limits.codes_per_user_and_day`), and 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/codes", tag = "Codes", operation_id = "create_code",
    security(("oauth" = ["codes:write"]), ("password" = []), ("bearer" = [])),
    params(("replace" = inline(Option<bool>), Query, description = "Revoke the active code, if any, in the same step",
        example = false)),
    request_body(content = NewCode, examples(
        ("chosen" = (summary = "A chosen code", value = json!({"code": "SPRING2030AB",
            "expires_at": "2030-10-10 12:00"}))),
        ("drawn" = (summary = "A drawn code", value = json!({"expires_at": "2030-10-10T12:00:00Z"}))))),
    responses((status = 201, description = "Made", body = CodeOut,
        links(("revoke" = (operation_id = "revoke_code", parameters(("code" = "$response.body#/code")))))),
        CreateProblems))]
async fn create(
    State(app): State<Arc<App>>,
    caller: Keyed<Person<need::CodesWrite>>,
    query: Query,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let chosen = fields.optional_text("code");
    let code = chosen.and_then(|text| fields.judge("code", Code::parse(&text)));
    let expires_at =
        fields.parsed("expires_at", |text| Time::parse(text).ok_or("Input should be a valid date or time"));
    let expires_at = fields.all(expires_at)?;
    let tell = |made: &OwnedCode| Reply::json(StatusCode::CREATED, &CodeOut::from(made));
    let sent = caller.sent(tell)?;
    let wanted = Wanted { code, expires_at, replace: query.flag("replace")?, behind: None };
    Ok(tell(&actions::create(&app, sent, caller.user, wanted).await?)?)
}

problems!(ListProblems: person query[]);

/// List your codes
///
/// All of them, dead ones included, oldest first.
#[utoipa::path(get, path = "/api/v1/codes", tag = "Codes", operation_id = "list_codes",
    security(("oauth" = ["codes:read"]), ("password" = []), ("bearer" = [])), params(PageParams),
    responses((status = 200, description = "A part of the list", body = Listing<CodeOut>,
        headers(("Link" = String, description = "The next part (RFC 8288), where there is one"))), ListProblems))]
async fn list(
    State(app): State<Arc<App>>,
    caller: Person<need::CodesRead>,
    page: PageQuery,
) -> Result<Response, Problem> {
    let codes = actions::list(&app, caller.user, page.request).await?;
    Ok(page.answer(codes, |code| CodeOut::from(&code)))
}

problems!(FindProblems: reader query[NoActiveCode, RateLimited]);

/// Find somebody's active code by e-mail
///
/// The same answer for an unknown address, a person without a code and one who does not want to be found.
/// `POST /codes/lookup` does the same without the address in the path. At most 60 look-ups a minute, by either
/// (`limits.lookups_per_user`).
#[utoipa::path(get, path = "/api/v1/codes/{code}", tag = "Codes", operation_id = "find_code",
    security(("oauth" = ["codes:read"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("code" = String, Path,
        description = "The e-mail address of the code's owner. (The parameter has the name it has for DELETE.)",
        example = "owner@test.ru")),
    responses((status = 200, description = "The code and its owner", body = FoundCode), FindProblems))]
async fn find(
    State(app): State<Arc<App>>,
    caller: Reader<need::CodesRead>,
    PathText(address): PathText,
) -> Result<Json<FoundCode>, Problem> {
    app.limits.look_up(caller.subject.id()).await?;
    let email = Email::parse(&address)
        .map_err(|reason| Error::Invalid(vec![FieldError::new("path", "email", "value_error", reason)]))?;
    let found = actions::find_by_email(&app, caller.subject, &email).await?;
    Ok(Json(FoundCode::from(&*found)))
}

/// Whose code is wanted.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct LookUp {
    /// At most 150 characters; look-alikes are the same address.
    #[schema(max_length = 150, format = Email, example = "owner@test.ru")]
    email: String,
}

problems!(LookUpProblems: reader body[NoActiveCode, RateLimited]);

/// Find somebody's active code by e-mail, the address in the body
///
/// As `GET /codes/{email}`, but proxies log no address. At most 60 look-ups a minute, by either
/// (`limits.lookups_per_user`).
#[utoipa::path(post, path = "/api/v1/codes/lookup", tag = "Codes", operation_id = "look_up_code",
    security(("oauth" = ["codes:read"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    request_body = LookUp,
    responses((status = 200, description = "The code and its owner", body = FoundCode), LookUpProblems))]
async fn look_up(
    State(app): State<Arc<App>>,
    caller: Reader<need::CodesRead>,
    JsonBody(mut fields): JsonBody,
) -> Result<Json<FoundCode>, Problem> {
    app.limits.look_up(caller.subject.id()).await?;
    let email = fields.parsed("email", Email::parse);
    let found = actions::find_by_email(&app, caller.subject, &fields.all(email)?).await?;
    Ok(Json(FoundCode::from(&*found)))
}

problems!(RevokeProblems: person query keyed[NotYourCode, CodeNotFound, RateLimited]);

/// Revoke a code
///
/// Also one that has expired. From the answer on no registration accepts it; look-ups follow within a second. The
/// string cannot be used again. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(delete, path = "/api/v1/codes/{code}", tag = "Codes", operation_id = "revoke_code",
    security(("oauth" = ["codes:write"]), ("password" = []), ("bearer" = [])),
    params(("code" = String, Path, description = "The code, in any spelling that reads the same",
        example = "SPRING2030AB")),
    responses((status = 204, description = "Revoked"), RevokeProblems))]
async fn revoke(
    State(app): State<Arc<App>>,
    caller: Keyed<Person<need::CodesWrite>>,
    PathText(code): PathText,
) -> Result<Reply, Problem> {
    actions::revoke(&app, caller.answered(&Reply::nothing())?, caller.user, &code).await?;
    Ok(Reply::nothing())
}

/// The code in question.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct CodeQuestion {
    /// Good ones have 12 to 32 letters and digits. Case, blanks, hyphens and a full stop make no difference.
    #[schema(example = "SPRING2030AB")]
    code: String,
}

/// Whether a code would refer somebody now.
#[derive(Serialize, ToSchema)]
struct Validity {
    #[schema(example = true)]
    valid: bool,
    /// The name its owner shows; null when the code is not good, or when the host of a participant has told none.
    #[schema(required, example = "owner")]
    username: Option<String>,
    /// UTC; null when the code is not good, and for a handle whose code has expired and is renewed by the registration.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2030-10-10T12:00:00Z")]
    expires_at: Option<Time>,
}

problems!(ValidateProblems: body[RateLimited]);

/// Is this code good, and whose is it?
///
/// For a registration page, before anybody has an account. The answer holds at its moment; registration decides anew.
/// At most 60 questions a minute from one address (`limits.validations_per_address`).
#[utoipa::path(post, path = "/api/v1/codes/validate", tag = "Codes", operation_id = "validate_code", security(()),
    request_body = CodeQuestion,
    responses((status = 200, description = "The verdict", body = Validity), ValidateProblems))]
async fn validate(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    JsonBody(mut fields): JsonBody,
) -> Result<Json<Validity>, Problem> {
    app.limits.validate_from(client).await?;
    let typed = fields.text("code");
    let found = actions::validate(&app, &fields.all(typed)?).await?;
    Ok(Json(Validity {
        valid: found.is_some(),
        expires_at: found.as_ref().and_then(|code| code.expires_at),
        // A name that is an address is shown like one.
        username: found.map(|code| mask(&code.owner_name)).filter(|name| !name.is_empty()),
    }))
}
