//! People over HTTP, for managers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::user;
use crate::app::App;
use crate::features::accounts::actions::management::{self, ManagerProof};
use crate::features::accounts::api::{Role, proof};
use crate::features::audit::model::Reason;
use crate::features::managers::actions;
use crate::features::managers::model::{AccountState, Filter, PeopleCursor, Person, Search};
use crate::features::tokens::caller::Manager;
use crate::kernel::error::Error;
use crate::kernel::time::Time;
use crate::kernel::verdict::Verdict;
use crate::problems;
use crate::web::extract::{Fields, JsonBody, PathText};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(search))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(revoke_code))
        .routes(routes!(make_manager, unmake_manager))
        .routes(routes!(erase))
}

/// Whom to look for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct PeopleSearch {
    /// The beginning of a name or of an address, in any case, or a whole id. Left out: everybody.
    #[schema(max_length = 150, example = "test4@")]
    q: Option<String>,
    /// Only accounts of this state.
    state: Option<AccountState>,
    /// Only people whose address has this verdict.
    verdict: Option<Verdict>,
    /// Only managers, or only others.
    #[schema(example = json!(null))]
    manager: Option<bool>,
    /// Where to go on, from `next_cursor`, with the same search.
    #[schema(example = json!(null))]
    cursor: Option<String>,
}

/// Somebody, as managers see them.
#[derive(Serialize, ToSchema)]
pub struct PersonOut {
    #[schema(example = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca")]
    id: Uuid,
    #[schema(example = "admin4")]
    username: String,
    /// Null for participants without one.
    #[schema(required, example = "test4@test.ru")]
    email: Option<String>,
    state: AccountState,
    /// At least `user`.
    #[schema(example = json!(["user"]))]
    roles: Vec<Role>,
    email_verdict: Verdict,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    created_at: Time,
}

impl From<Person> for PersonOut {
    fn from(person: Person) -> Self {
        Self {
            id: person.id.0,
            username: person.username,
            email: Some(person.email).filter(|email| !email.is_empty()),
            state: person.state,
            roles: Role::all_of(person.is_manager),
            email_verdict: person.verdict,
            created_at: person.created_at,
        }
    }
}

/// A part of the list of people.
#[derive(Serialize, ToSchema)]
struct People {
    /// By name or address where they were looked for by its beginning; else the newest first.
    items: Vec<PersonOut>,
    /// Null: they are not counted.
    #[schema(required, example = json!(null))]
    total: Option<i64>,
    /// Items asked for.
    #[schema(example = 50)]
    size: i64,
    /// For the next part; null at the end.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

const PART: i64 = 50;

problems!(SearchProblems: manager body[]);

/// Look for people
///
/// For managers. By the beginning of a name or an address, by id, or all of them, 50 at a time. In the body, so that no
/// address stands in a log.
#[utoipa::path(post, path = "/api/v1/users/search", tag = "People", operation_id = "search_users",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = PeopleSearch,
    responses((status = 200, description = "A part of the list", body = People), SearchProblems))]
async fn search(
    State(app): State<Arc<App>>,
    _: Manager,
    JsonBody(mut fields): JsonBody,
) -> Result<Json<People>, Problem> {
    let typed = fields.optionally_parsed("q", |text| {
        if text.chars().count() > 150 || text.contains('\0') {
            Err("At most 150 characters, none of them NUL")
        } else {
            Ok(text.to_owned())
        }
    });
    let state = fields.optionally_parsed("state", |word| AccountState::parse(word).ok_or("No such state"));
    let verdict = fields.optionally_parsed("verdict", |word| Verdict::parse(word).ok_or("No such verdict"));
    let manager = fields.optional_flag("manager");
    let cursor = fields.optionally_parsed("cursor", |text| {
        PeopleCursor::parse(text).ok_or("This is no cursor of ours: take it from next_cursor")
    });
    let filter = Filter { state, verdict, manager };
    let (search, filter, cursor) = fields.all(Some((Search::of(typed.as_deref()), filter, cursor)))?;
    let (people, next) = actions::search(&app, search, filter, cursor, PART).await?;
    Ok(Json(People {
        items: people.into_iter().map(PersonOut::from).collect(),
        total: None,
        size: PART,
        next_cursor: next.map(|next| next.text()),
    }))
}

/// Why something is done to somebody; a word, which is noted in the audit.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct Because {
    reason: Reason,
}

fn reason(mut fields: Fields) -> Result<Reason, Error> {
    let rule = "One of fraud, abuse, security, legal, request, mistake, other";
    let reason = fields.parsed("reason", |word| Reason::parse(word).ok_or(rule));
    fields.all(reason)
}

problems!(DisableProblems: manager body keyed[UserNotFound, LastManager, RateLimited]);

/// Keep somebody out
///
/// For managers. Their sessions end on every node within seconds, their active code dies, and they cannot log in. The
/// last manager stays. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/users/{user_id}/disable", tag = "People", operation_id = "disable_user",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = Because,
    params(("user_id" = String, Path, description = "Their id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff")),
    responses((status = 204, description = "Kept out"), DisableProblems))]
async fn disable(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    let reason = reason(fields)?;
    app.limits.write(manager.user.0).await?;
    management::disable(&app, manager.answered(&Reply::nothing())?, user(&id)?, Some(reason)).await?;
    Ok(Reply::nothing())
}

problems!(EnableProblems: manager body keyed[UserNotFound, RateLimited]);

/// Let somebody in again
///
/// For managers. Their codes stay dead. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/users/{user_id}/enable", tag = "People", operation_id = "enable_user",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = Because,
    params(("user_id" = String, Path, description = "Their id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff")),
    responses((status = 204, description = "Let in"), EnableProblems))]
async fn enable(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    let reason = reason(fields)?;
    app.limits.write(manager.user.0).await?;
    management::enable(&app, manager.answered(&Reply::nothing())?, user(&id)?, Some(reason)).await?;
    Ok(Reply::nothing())
}

problems!(RevokeProblems: manager body keyed[UserNotFound, NoActiveCode, RateLimited]);

/// Revoke somebody's active code
///
/// For managers. From the answer on no node accepts it. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(delete, path = "/api/v1/users/{user_id}/code", tag = "People", operation_id = "revoke_user_code",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = Because,
    params(("user_id" = String, Path, description = "Their id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff")),
    responses((status = 204, description = "Revoked"), RevokeProblems))]
async fn revoke_code(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    let reason = reason(fields)?;
    app.limits.write(manager.user.0).await?;
    management::revoke_code(&app, manager.answered(&Reply::nothing())?, user(&id)?, Some(reason)).await?;
    Ok(Reply::nothing())
}

/// Proof that it is the manager who asks.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct RoleChange {
    /// Your own. Not for an account without a password: there a log-in of the last five minutes stands for it, by a
    /// client of this service's own (the documentation page).
    #[schema(format = Password, example = "Q123werty!23")]
    password: Option<String>,
}

problems!(MakeProblems: manager body keyed[UserNotFound, WrongPassword, LogInAgain, RateLimited]);

/// Make somebody a manager
///
/// For managers. Asks for your own password, so that a token alone gives nobody this role. At most 5 calls a minute
/// that ask for your password (`limits.logins_per_account`).
#[utoipa::path(post, path = "/api/v1/users/{user_id}/manager", tag = "People", operation_id = "make_manager",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = RoleChange,
    params(("user_id" = String, Path, description = "Their id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff")),
    responses((status = 204, description = "A manager"), MakeProblems))]
async fn make_manager(
    state: State<Arc<App>>,
    manager: Keyed<Manager>,
    path: PathText,
    body: JsonBody,
) -> Result<Reply, Problem> {
    change_role(state, manager, path, body, true).await
}

problems!(UnmakeProblems: manager body keyed[UserNotFound, WrongPassword, LogInAgain, LastManager, RateLimited]);

/// Make a manager an ordinary user
///
/// For managers, about themselves as well; the last one stays. Asks for your own password. At most 5 calls a minute
/// that ask for your password (`limits.logins_per_account`).
#[utoipa::path(delete, path = "/api/v1/users/{user_id}/manager", tag = "People", operation_id = "unmake_manager",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = RoleChange,
    params(("user_id" = String, Path, description = "Their id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff")),
    responses((status = 204, description = "No manager any more"), UnmakeProblems))]
async fn unmake_manager(
    state: State<Arc<App>>,
    manager: Keyed<Manager>,
    path: PathText,
    body: JsonBody,
) -> Result<Reply, Problem> {
    change_role(state, manager, path, body, false).await
}

async fn change_role(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
    JsonBody(mut fields): JsonBody,
    on: bool,
) -> Result<Reply, Problem> {
    app.limits.prove(manager.user).await?;
    let shown = proof(&app, manager.user, manager.session, &mut fields, "password").await?;
    let shown = fields.all(shown)?;
    let shown = ManagerProof { manager: manager.user, proof: &shown };
    management::set_manager(&app, manager.answered(&Reply::nothing())?, user(&id)?, on, Some(shown)).await?;
    Ok(Reply::nothing())
}

problems!(EraseProblems: manager body keyed[UserNotFound, LastManager, RateLimited]);

/// Erase somebody's account
///
/// For managers. Name, address, password and codes are removed for good; the place in others' lists stays, without a
/// face. The last manager stays. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(delete, path = "/api/v1/users/{referrer_id}", tag = "People", operation_id = "erase_user",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = Because,
    params(("referrer_id" = String, Path, description = "Their id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff")),
    responses((status = 204, description = "Erased"), EraseProblems))]
async fn erase(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(id): PathText,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    let reason = reason(fields)?;
    app.limits.write(manager.user.0).await?;
    management::erase(&app, manager.answered(&Reply::nothing())?, user(&id)?, Some(reason)).await?;
    Ok(Reply::nothing())
}
