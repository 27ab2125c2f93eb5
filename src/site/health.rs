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
use crate::app::App;
use crate::cache::redis::Trouble;
use crate::features::webhooks;
use crate::kernel::error::{Error, Refusal};
use crate::readiness::{Unready, Verdict};
use crate::web::problem::Problem;
use crate::{jobs, log, problems, words};

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
}

words! {
    /// Whether everything is as it should be. Degraded: everything works, some of it slower. Read-only: reads are
    /// answered and changes refused, as the operator wants it.
    pub enum Condition as "HealthStatus" {
        Ok = "ok",
        Degraded = "degraded",
        ReadOnly = "read_only",
    }
}

words! {
    /// How Redis is; none when no Redis is configured.
    pub enum RedisState as "RedisState" {
        Up = "up",
        Down = "down",
        None = "none",
    }
}

/// How the service is.
#[derive(Serialize, ToSchema)]
struct Health {
    status: Condition,
    redis: RedisState,
    /// While Redis is down, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    redis_reason: Option<Trouble>,
}

/// The process runs
///
/// Says nothing about the database; for the supervisor that restarts what hangs.
#[utoipa::path(get, path = "/livez", tag = "Operating", operation_id = "check_liveness", security(()),
    responses((status = 200, description = "It runs", body = String, content_type = "text/plain", example = "ok")))]
async fn livez() -> &'static str {
    "ok"
}

problems!(ReadyProblems: []);

/// The service can take requests
///
/// Writes to the database and reads from it, once a second at most, and answers within two seconds. When writes do not
/// succeed it is 503, and `reason` says why: `background` when a part of the service that runs beside the requests has
/// ended and is begun again, `keys` when this node lacks the master key that the signing keys are sealed under,
/// `stopping` when the process is about to end, everything else of the database. With `?reads` only reading counts: 200
/// as long as reads are answered. It is 503 as well for half a minute after a request met something that cannot be read
/// back. Without Redis the service is degraded, and ready.
#[utoipa::path(get, path = "/readyz", tag = "Operating", operation_id = "check_readiness", security(()),
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
        None => (RedisState::None, None),
        Some(redis) if redis.is_up() => (RedisState::Up, None),
        Some(redis) => (RedisState::Down, redis.trouble()),
    };
    let status = match redis {
        _ if app.db.is_read_only() => Condition::ReadOnly,
        RedisState::Down => Condition::Degraded,
        _ => Condition::Ok,
    };
    Ok(Json(Health { status, redis, redis_reason }))
}

async fn verdict(app: &App, reads_only: bool) -> Verdict {
    if app.stopping() {
        return Err(Unready::Stopping);
    }
    if app.loops.down().is_some() {
        return Err(Unready::Background);
    }
    if reads_only {
        return app.readiness.reads().await;
    }
    if app.keyring.is_locked_out() {
        return Err(Unready::Keys);
    }
    let (reads, writes) = tokio::join!(app.readiness.reads(), app.readiness.writes());
    reads.and(writes)
}

/// Figures in Prometheus' text format, on a listener of their own.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let waiting = jobs::waiting(&app.db).await.unwrap_or(-1);
    let given_up = jobs::count_given_up(&app.db).await.unwrap_or(-1);
    let (disabled, pending) = webhooks::actions::figures(&app).await.unwrap_or((-1, -1));
    let gauges = [
        ("jobs_waiting", "Jobs that are not done; -1 when the database cannot be asked", waiting),
        ("jobs_given_up", "Jobs that were given up; -1 when the database cannot be asked", given_up),
        ("password_queue", "Password hashes that wait", i64::try_from(app.hasher.waiting()).unwrap_or(i64::MAX)),
        (
            "background_loops_down",
            "Whether a background loop has ended and is begun again",
            i64::from(app.loops.down().is_some()),
        ),
        ("redis_up", "Whether Redis answers", app.redis.as_ref().map_or(0, |redis| i64::from(redis.is_up()))),
        (
            "webhook_endpoints_disabled",
            "Webhook endpoints that are told nothing; -1 when the database cannot be asked",
            disabled,
        ),
        (
            "webhook_deliveries_pending",
            "Deliveries of webhooks that have not got through; -1 when the database cannot be asked",
            pending,
        ),
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
