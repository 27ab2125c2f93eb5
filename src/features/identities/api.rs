//! One's accounts elsewhere, over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::actions;
use super::model::LinkedIdentity;
use crate::app::App;
use crate::features::tokens::caller::{Person, need};
use crate::kernel::error::Refusal;
use crate::kernel::ids::{UserId, uuid};
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::PathText;
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(unlink))
}

/// An account at an identity provider that somebody signs in with.
#[derive(Serialize, ToSchema)]
pub struct IdentityOut {
    #[schema(example = "8d0c4a55-7a3f-8f0e-9c11-0e6a52f1b7aa")]
    id: Uuid,
    /// What the operator calls the provider; null when people cannot sign in with it any more.
    #[schema(required, example = "google")]
    provider: Option<String>,
    #[schema(example = "https://accounts.google.com")]
    issuer: String,
    /// How the provider calls the person.
    #[schema(example = "110169484474386276334")]
    subject: String,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    linked_at: Time,
}

impl IdentityOut {
    pub fn of(app: &App, user: UserId, identity: LinkedIdentity) -> Self {
        Self {
            id: identity.id(user),
            provider: app.providers.of_issuer(&identity.issuer).map(str::to_owned),
            issuer: identity.issuer,
            subject: identity.subject,
            linked_at: identity.linked_at,
        }
    }
}

/// What you sign in with beside your password.
#[derive(Serialize, ToSchema)]
struct Identities {
    /// Oldest first.
    items: Vec<IdentityOut>,
}

problems!(ListProblems: person[]);

/// See which accounts elsewhere you sign in with
///
/// All of them, oldest first.
#[utoipa::path(get, path = "/api/v1/me/identities", tag = "Accounts", operation_id = "list_identities",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "The identities", body = Identities), ListProblems))]
async fn list(State(app): State<Arc<App>>, caller: Person<need::Account>) -> Result<Json<Identities>, Problem> {
    let linked = actions::of(&app, caller.user).await?;
    let items = linked.into_iter().map(|identity| IdentityOut::of(&app, caller.user, identity)).collect();
    Ok(Json(Identities { items }))
}

problems!(UnlinkProblems: person query keyed[IdentityNotFound, LastWayIn, RateLimited]);

/// Sign in with an account elsewhere no more
///
/// Sessions go on. Refused for what is your last way in: without a password, the last identity of a provider that
/// people can sign in with. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(delete, path = "/api/v1/me/identities/{identity_id}", tag = "Accounts",
    operation_id = "unlink_identity",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])),
    params(("identity_id" = String, Path, description = "The identity's id, from the list",
        example = "8d0c4a55-7a3f-8f0e-9c11-0e6a52f1b7aa")),
    responses((status = 204, description = "Unlinked"), UnlinkProblems))]
async fn unlink(
    State(app): State<Arc<App>>,
    caller: Keyed<Person<need::Account>>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    let id = uuid(&id).ok_or(Refusal::IdentityNotFound)?;
    actions::unlink(&app, caller.answered(&Reply::nothing())?, caller.user, id).await?;
    Ok(Reply::nothing())
}
