//! Referrals over HTTP.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::actions;
use super::model::{Referee, Status, Viewer};
use crate::app::App;
use crate::features::tokens::caller::{Person, Reader, need};
use crate::kernel::caller::Subject;
use crate::kernel::error::{Error, FieldError};
use crate::kernel::ids::UserId;
use crate::kernel::scope::Scope;
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::PathText;
use crate::web::page::{Listing, PageParams, PageQuery};
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list_own)).routes(routes!(list_named)).routes(routes!(list))
}

/// Somebody who came with a referrer's code.
#[derive(Serialize, ToSchema)]
struct RefereeOut {
    #[schema(example = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca")]
    id: Uuid,
    /// Masked (`t***@t***.ru`) unless the viewer is the referrer or a manager. Null when they have none: a host's app
    /// need not tell the addresses of its people.
    #[schema(required, example = "test4@test.ru")]
    email: Option<String>,
    #[schema(example = "admin4")]
    username: String,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    joined_at: Time,
    /// The code they came with; null once the referrer has been erased, and for strangers while the referrer does not
    /// want to be found (`discoverable`) or the token lacks `codes:read`.
    #[schema(required, example = "SPRING2030AB")]
    code: Option<String>,
    /// Pending while the operator's check of their address is not passed.
    status: Status,
}

impl From<Referee> for RefereeOut {
    fn from(referee: Referee) -> Self {
        Self {
            id: referee.id.0,
            email: referee.email,
            username: referee.username,
            joined_at: referee.joined_at,
            code: referee.code,
            status: referee.status,
        }
    }
}

problems!(OwnListProblems: person query[]);

/// List whom you brought
///
/// Oldest first, with an exact total. The same as `GET /users/{referrer_id}` with your own id.
#[utoipa::path(get, path = "/api/v1/me/referrals", tag = "Referrals", operation_id = "list_own_referrals",
    security(("oauth" = ["referrals:read"]), ("password" = []), ("bearer" = [])),
    params(PageParams),
    responses((status = 200, description = "A part of the list", body = Listing<RefereeOut>,
        headers(("Link" = String, description = "The next part (RFC 8288), where there is one"))), OwnListProblems))]
async fn list_own(
    State(app): State<Arc<App>>,
    caller: Person<need::ReferralsRead>,
    page: PageQuery,
) -> Result<Response, Problem> {
    let may_read_codes = caller.scopes.has(Scope::CodesRead);
    let viewer = Viewer::Person { user: caller.user, may_manage: false, may_read_codes };
    let referees = actions::list(&app, caller.user, viewer, page.request).await?;
    Ok(page.answer(referees, RefereeOut::from))
}

problems!(ListProblems: reader query[RefereesHidden]);

/// List whom a referrer brought
///
/// Oldest first, with an exact total. Somebody who was erased keeps their place, without name and address. An unknown
/// referrer has brought nobody.
#[utoipa::path(get, path = "/api/v1/users/{referrer_id}", tag = "Referrals", operation_id = "list_referees",
    security(("oauth" = ["referrals:read"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("referrer_id" = String, Path, description = "The referrer's id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff"), PageParams),
    responses((status = 200, description = "A part of the list", body = Listing<RefereeOut>,
        headers(("Link" = String, description = "The next part (RFC 8288), where there is one"))), ListProblems))]
async fn list(
    State(app): State<Arc<App>>,
    caller: Reader<need::ReferralsRead>,
    PathText(id): PathText,
    page: PageQuery,
) -> Result<Response, Problem> {
    let Some(referrer) = UserId::parse(&id) else {
        let msg = "Input should be a valid UUID, with or without hyphens";
        return Err(Error::Invalid(vec![FieldError::new("path", "referrer_id", "uuid_parsing", msg)]).into());
    };
    let viewer = match caller.subject {
        Subject::Person(user) => {
            Viewer::Person { user, may_manage: caller.may_manage, may_read_codes: caller.may_read_codes }
        }
        Subject::Program(_) => Viewer::Program,
    };
    let referees = actions::list(&app, referrer, viewer, page.request).await?;
    Ok(page.answer(referees, RefereeOut::from))
}

/// List whom a referrer brought, by its own name
///
/// The same as `GET /users/{referrer_id}`.
#[utoipa::path(get, path = "/api/v1/users/{referrer_id}/referrals", tag = "Referrals", operation_id = "list_referrals",
    security(("oauth" = ["referrals:read"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("referrer_id" = String, Path, description = "The referrer's id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff"), PageParams),
    responses((status = 200, description = "A part of the list", body = Listing<RefereeOut>,
        headers(("Link" = String, description = "The next part (RFC 8288), where there is one"))), ListProblems))]
async fn list_named(
    app: State<Arc<App>>,
    caller: Reader<need::ReferralsRead>,
    id: PathText,
    page: PageQuery,
) -> Result<Response, Problem> {
    list(app, caller, id, page).await
}
