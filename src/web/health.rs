//! For load balancers and dashboards.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::figures;
use super::problem::Problem;
use crate::app::App;
use crate::db::Db;
use crate::kernel::error::{Error, Refusal};
use crate::{jobs, params, problems, sql};

sql! {
    PING = "select referral_now()";
}

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
}

/// How the service is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`, or `degraded`: everything works, some of it slower.
    #[schema(example = "ok")]
    status: &'static str,
    /// `up`, `down`, or `none` when no Redis is configured.
    #[schema(example = "up")]
    redis: &'static str,
}

/// The process runs
///
/// Says nothing about the database; for the supervisor that restarts what hangs.
#[utoipa::path(get, path = "/livez", tag = "Operating", operation_id = "livez", security(()),
    responses((status = 200, description = "It runs", body = String, content_type = "text/plain", example = "ok")))]
async fn livez() -> &'static str {
    "ok"
}

problems!(ReadyProblems: []);

/// The service can take requests
///
/// Asks the database. Without Redis the service is degraded, and ready.
#[utoipa::path(get, path = "/readyz", tag = "Operating", operation_id = "readyz", security(()),
    responses((status = 200, description = "Ready", body = Health), ReadyProblems))]
async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Health>, Problem> {
    if app.stopping() {
        let retry_after = Some(Duration::from_secs(1));
        return Err(Problem { retry_after, ..Refusal::Unavailable.into() });
    }
    ping(&app.db).await?;
    let redis = match &app.redis {
        None => "none",
        Some(redis) if redis.is_up() => "up",
        Some(_) => "down",
    };
    Ok(Json(Health { status: if redis == "down" { "degraded" } else { "ok" }, redis }))
}

pub async fn ping(db: &Db) -> Result<(), Error> {
    db.row(&PING, params![]).await.map(drop)
}

/// Figures in Prometheus' text format, on a listener of their own.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let waiting = jobs::waiting(&app.db).await.unwrap_or(-1);
    let gauges = [
        ("jobs_waiting", "Jobs that are not done; -1 when the database cannot be asked", waiting),
        ("password_queue", "Password hashes that wait", i64::try_from(app.hasher.waiting()).unwrap_or(i64::MAX)),
        ("redis_up", "Whether Redis answers", app.redis.as_ref().map_or(0, |redis| i64::from(redis.is_up()))),
    ];
    let text = app.metrics.text(&gauges).map_err(|error| Error::Internal(format!("cannot write figures: {error}")))?;
    let text = figures::observed(&app) + &text;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
