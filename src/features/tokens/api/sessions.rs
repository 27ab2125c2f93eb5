//! One's sessions, over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::features::tokens::actions::sessions;
use crate::features::tokens::caller::{Person, need};
use crate::features::tokens::model::{Session, SessionKind};
use crate::kernel::error::Refusal;
use crate::kernel::ids::{SessionId, uuid};
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::PathText;
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(end))
}

/// A log-in that goes on.
#[derive(Serialize, ToSchema)]
pub struct SessionOut {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    id: Uuid,
    kind: SessionKind,
    /// The client that has the tokens, `referral` for a log-in by name and password; null for a browser.
    #[schema(required, example = "referral")]
    client_id: Option<String>,
    /// What the tokens allow; null for a browser.
    #[schema(required, example = "profile account")]
    scope: Option<String>,
    /// UTC, as all times here.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    created_at: Time,
    /// When the person last proved who they are.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    authenticated_at: Time,
    /// To the hour, for browsers.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    used_at: Time,
    /// When it ends by itself; sooner when it is not used.
    #[schema(value_type = String, format = DateTime, example = "2026-12-23T09:30:00.123456Z")]
    expires_at: Time,
    /// Whether it is the session that asks.
    #[schema(example = true)]
    current: bool,
}

impl SessionOut {
    pub fn seen(session: Session, asking: Option<SessionId>) -> Self {
        Self {
            current: asking == Some(SessionId(session.id)),
            id: session.id,
            kind: session.kind,
            client_id: session.client,
            scope: session.scope,
            created_at: session.created_at,
            authenticated_at: session.authenticated_at,
            used_at: session.used_at,
            expires_at: session.expires_at,
        }
    }
}

/// Where you are logged in.
#[derive(Serialize, ToSchema)]
struct Sessions {
    /// Those used last first.
    items: Vec<SessionOut>,
}

problems!(ListProblems: person[]);

/// See where you are logged in
///
/// Sessions that can still be used, those used last first; at most 512 of programs and 512 of browsers.
#[utoipa::path(get, path = "/api/v1/me/sessions", tag = "Accounts", operation_id = "list_sessions",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "The sessions", body = Sessions), ListProblems))]
async fn list(State(app): State<Arc<App>>, caller: Person<need::Account>) -> Result<Json<Sessions>, Problem> {
    let sessions = sessions::list(&app, caller.user).await?;
    let items = sessions.into_iter().map(|session| SessionOut::seen(session, Some(caller.session))).collect();
    Ok(Json(Sessions { items }))
}

problems!(EndProblems: person query keyed[SessionNotFound, RateLimited]);

/// End one of your sessions
///
/// Its tokens stop working on every node within seconds; the session that asks may be it. What programs were given in a
/// browser's session goes on: those have sessions of their own. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(delete, path = "/api/v1/me/sessions/{session_id}", tag = "Accounts", operation_id = "end_session",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])),
    params(("session_id" = String, Path, description = "The session's id, from the list",
        example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 204, description = "Ended"), EndProblems))]
async fn end(
    State(app): State<Arc<App>>,
    caller: Keyed<Person<need::Account>>,
    PathText(id): PathText,
) -> Result<Reply, Problem> {
    let id = uuid(&id).ok_or(Refusal::SessionNotFound)?;
    sessions::end(&app, caller.answered(&Reply::nothing())?, caller.user, id).await?;
    Ok(Reply::nothing())
}
