//! What people have allowed whom, and how they take it back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::features::clients::actions::consents;
use crate::features::clients::model::Consent;
use crate::features::tokens::caller::{Person, need};
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::PathText;
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(withdraw))
}

/// What you have allowed a client.
#[derive(Serialize, ToSchema)]
struct ConsentOut {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    client_id: String,
    #[schema(example = "Example Shop")]
    name: String,
    #[schema(example = "openid profile")]
    scope: String,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    granted_at: Time,
}

impl From<Consent> for ConsentOut {
    fn from(consent: Consent) -> Self {
        Self {
            client_id: consent.client_id,
            name: consent.name,
            scope: consent.scopes.to_string(),
            granted_at: consent.granted_at,
        }
    }
}

/// What you have allowed.
#[derive(Serialize, ToSchema)]
struct Consents {
    /// Oldest first.
    items: Vec<ConsentOut>,
}

problems!(ListProblems: person[]);

/// See what you have allowed which clients
///
/// All of them, oldest first.
#[utoipa::path(get, path = "/api/v1/me/consents", tag = "Accounts", operation_id = "list_consents",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "The consents", body = Consents), ListProblems))]
async fn list(State(app): State<Arc<App>>, caller: Person<need::Account>) -> Result<Json<Consents>, Problem> {
    let given = consents::list(&app, caller.user).await?;
    Ok(Json(Consents { items: given.into_iter().map(ConsentOut::from).collect() }))
}

problems!(WithdrawProblems: person query keyed[ConsentNotFound, RateLimited]);

/// Take back what you have allowed a client
///
/// Its tokens end on every node within seconds. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(delete, path = "/api/v1/me/consents/{client_id}", tag = "Accounts", operation_id = "withdraw_consent",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])),
    params(("client_id" = String, Path, description = "The client's id",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 204, description = "Withdrawn"), WithdrawProblems))]
async fn withdraw(
    State(app): State<Arc<App>>,
    caller: Keyed<Person<need::Account>>,
    PathText(client): PathText,
) -> Result<Reply, Problem> {
    consents::withdraw(&app, caller.answered(&Reply::nothing())?, caller.user, &client).await?;
    Ok(Reply::nothing())
}
