//! All that is kept of one account, for its owner.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::audit::AuditEntry;
use super::profile::PersonProfile;
use super::user;
use crate::app::App;
use crate::features::managers::actions;
use crate::features::referrals::model::Status;
use crate::features::rewards::api::{BalanceOut, RewardOut};
use crate::features::tokens::caller::{Manager, Person, need};
use crate::kernel::error::{Error, Result};
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::PathText;
use crate::web::problem::Problem;

/// For one's own account.
pub fn own() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(own_export))
}

/// For managers.
pub fn others() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(export))
}

/// Somebody who was brought.
#[derive(Serialize, ToSchema)]
struct ExportedReferee {
    #[schema(example = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca")]
    id: Uuid,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    joined_at: Time,
    status: Status,
}

/// All that is kept of an account.
#[derive(Serialize, ToSchema)]
pub struct Export {
    /// When this was read; UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    exported_at: Time,
    account: PersonProfile,
    /// Whom the person brought, oldest first: the first 10,000. `GET /me/referrals` has all, with names.
    referees: Vec<ExportedReferee>,
    /// What the person has, by unit.
    balances: Vec<BalanceOut>,
    /// What the person got, the newest first: the latest 10,000.
    rewards: Vec<RewardOut>,
    /// What is noted about the account, the newest first: the latest 10,000.
    audit: Vec<AuditEntry>,
}

impl Export {
    pub fn of(app: &App, export: actions::Export) -> Result<Self> {
        let referee = |(id, joined_at, word): (crate::kernel::ids::UserId, Time, String)| {
            let status = Status::parse(&word).ok_or_else(|| Error::inconsistent("referrals", "status", id))?;
            Ok(ExportedReferee { id: id.0, joined_at, status })
        };
        Ok(Self {
            exported_at: export.at,
            account: PersonProfile::of(app, export.profile).without_addresses_of_others(),
            referees: export.referees.into_iter().map(referee).collect::<Result<_>>()?,
            balances: export.balances.into_iter().map(BalanceOut::from).collect(),
            rewards: export.rewards.into_iter().map(RewardOut::from).collect(),
            audit: export.noted.into_iter().map(AuditEntry::from).collect(),
        })
    }
}

problems!(OwnProblems: person[RateLimited]);

/// Take with you all that is kept of you
///
/// Once an hour, and counted with the changes: at most 60 a minute (`limits.writes_per_user`).
#[utoipa::path(get, path = "/api/v1/me/export", tag = "Accounts", operation_id = "export_account",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "All of it", body = Export), OwnProblems))]
async fn own_export(State(app): State<Arc<App>>, caller: Person<need::Account>) -> Result<Json<Export>, Problem> {
    let export = actions::own_export(&app, caller.actor, caller.user).await?;
    Ok(Json(Export::of(&app, export)?))
}

problems!(ExportProblems: manager query[UserNotFound, RateLimited]);

/// Take out all that is kept of somebody
///
/// For managers, to give it to the person who has asked for it. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`): it is noted.
#[utoipa::path(get, path = "/api/v1/users/{user_id}/export", tag = "People", operation_id = "export_user",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("user_id" = String, Path, description = "Their id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff")),
    responses((status = 200, description = "All of it", body = Export), ExportProblems))]
async fn export(
    State(app): State<Arc<App>>,
    manager: Manager,
    PathText(id): PathText,
) -> Result<Json<Export>, Problem> {
    let export = actions::export_of(&app, manager.actor, manager.user, user(&id)?).await?;
    Ok(Json(Export::of(&app, export)?))
}
