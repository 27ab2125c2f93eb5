//! For load balancers and dashboards.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::figures;
use super::problem::Problem;
use crate::app::App;
use crate::kernel::error::{Error, Refusal};
use crate::readiness::Verdict;
use crate::{jobs, log, problems};

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
    /// While Redis is down, why: `unreachable`, `slow`, `password`, `permission`, `loading`, `master_down`, `read_only`,
    /// `full`, `busy` or `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, example = "slow")]
    redis_reason: Option<&'static str>,
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
/// Writes to the database and reads from it, once a second at most, and answers within two seconds. When writes do not
/// succeed it is 503, and `reason` says why: `full`, `read_only`, `io_error`, `silent`, `replaced`, `locked`,
/// `overloaded`, `unavailable` or `broken` of the database, `background` when a part of the service that runs beside the
/// requests has ended and is begun again, `stopping` when the process is about to end. With `?reads` only reading counts:
/// 200 as long as reads are answered. Without Redis the service is degraded, and ready.
#[utoipa::path(get, path = "/readyz", tag = "Operating", operation_id = "readyz", security(()),
    params(("reads" = Option<String>, Query, description = "Given, with any value or none: only reading counts",
        allow_reserved)),
    responses((status = 200, description = "Ready", body = Health), ReadyProblems))]
async fn readyz(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Json<Health>, Problem> {
    let query = query.unwrap_or_default();
    let reads_only = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "reads");
    let verdict = verdict(&app, reads_only).await;
    verdict.map_err(|reason| Problem {
        reason: Some(reason),
        retry_after: Some(Duration::from_secs(1)),
        ..Refusal::Unavailable.into()
    })?;
    let (redis, redis_reason) = match &app.redis {
        None => ("none", None),
        Some(redis) if redis.is_up() => ("up", None),
        Some(redis) => ("down", redis.trouble()),
    };
    Ok(Json(Health { status: if redis == "down" { "degraded" } else { "ok" }, redis, redis_reason }))
}

async fn verdict(app: &App, reads_only: bool) -> Verdict {
    if app.stopping() {
        return Err("stopping");
    }
    if app.loops.down().is_some() {
        return Err("background");
    }
    if reads_only {
        return app.readiness.reads().await;
    }
    let (reads, writes) = tokio::join!(app.readiness.reads(), app.readiness.writes());
    reads.and(writes)
}

/// Figures in Prometheus' text format, on a listener of their own.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let waiting = jobs::waiting(&app.db).await.unwrap_or(-1);
    let gauges = [
        ("jobs_waiting", "Jobs that are not done; -1 when the database cannot be asked", waiting),
        ("password_queue", "Password hashes that wait", i64::try_from(app.hasher.waiting()).unwrap_or(i64::MAX)),
        (
            "background_loops_down",
            "Whether a background loop has ended and is begun again",
            i64::from(app.loops.down().is_some()),
        ),
        ("redis_up", "Whether Redis answers", app.redis.as_ref().map_or(0, |redis| i64::from(redis.is_up()))),
    ];
    let lost = format!(
        "# HELP referral_log_lines_lost Lines of the log that could not be written\n\
         # TYPE referral_log_lines_lost counter\nreferral_log_lines_lost_total {}\n",
        log::lost_lines()
    );
    let text = app.metrics.text(&gauges).map_err(|error| Error::Internal(format!("cannot write figures: {error}")))?;
    let text = lost + &figures::observed(&app) + &text;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
