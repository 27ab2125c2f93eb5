//! Log-out and the keys that others verify our tokens with.

pub mod sessions;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions;
use super::model::{Grant, TokenType};
use crate::app::App;
use crate::crypto::keyring::Jwk;
use crate::kernel::actor::Actor;
use crate::kernel::caller::Caller;
use crate::problems;
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(log_out))
}

/// What other programs verify our tokens with.
pub fn keys() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(jwks))
}

/// What a log-in or a refresh gives.
#[derive(Serialize, ToSchema)]
pub struct TokenOut {
    /// A JWT (RFC 9068), for `Authorization: Bearer`.
    #[schema(
        example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6ImtQcktfcW14VldhWVZBOXcifQ.eyJzdWIiOiIwMTk4MGYwYyJ9.c2ln"
    )]
    pub access_token: String,
    pub token_type: TokenType,
    /// Seconds until the access token expires; it lives 10 minutes (`tokens.access_minutes`).
    #[schema(example = 600)]
    pub expires_in: u64,
    /// For the next access token; replaced at each use. A log-in ends when it was not refreshed for 14 days
    /// (`tokens.refresh_idle_days`), and after 30 days in any case (`tokens.refresh_absolute_days`).
    #[schema(example = "rt_1l8CY2F2cWJ0Zm5xd3p4eWFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1")]
    pub refresh_token: String,
    /// What the access token allows: words with a space between.
    #[schema(example = "profile account codes:read codes:write referrals:read")]
    pub scope: String,
}

impl From<Grant> for TokenOut {
    fn from(grant: Grant) -> Self {
        Self {
            access_token: grant.access_token,
            token_type: TokenType::Bearer,
            expires_in: grant.expires_in,
            refresh_token: grant.refresh_token.unwrap_or_default(),
            scope: grant.scopes.to_string(),
        }
    }
}

problems!(LogOutProblems: caller[RateLimited]);

/// End this session
///
/// The access token and its refresh token stop working, on every node within seconds. Other log-ins go on. 429 when too
/// many calls with one session's tokens are under way.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "Accounts", operation_id = "log_out",
    security(("oauth" = []), ("password" = []), ("machine" = []), ("bearer" = [])),
    responses((status = 204, description = "Ended"), LogOutProblems))]
async fn log_out(State(app): State<Arc<App>>, actor: Actor, caller: Caller) -> Result<StatusCode, Problem> {
    actions::log_out(&app, caller.subject.acts(actor), caller.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Public keys (RFC 7517).
#[derive(Serialize, ToSchema)]
struct Jwks {
    keys: Vec<Jwk>,
}

problems!(JwksProblems: []);

/// The keys that verify access tokens and ID tokens
///
/// A key is here before it signs and for as long as tokens signed by it live. Keep them for a minute at most.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "OAuth", operation_id = "get_jwks", security(()),
    responses((status = 200, description = "The keys", body = Jwks), JwksProblems))]
async fn jwks(State(app): State<Arc<App>>) -> Response {
    ([(CACHE_CONTROL, "public, max-age=60")], Json(Jwks { keys: app.keyring.published() })).into_response()
}
