//! What is noted of what was done, over HTTP, for managers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{parameter, size};
use crate::app::App;
use crate::features::audit::actions::verify::{self, Asked};
use crate::features::audit::actions::{self, Wanted};
use crate::features::audit::model::chain::{Chained, FaultKind, Head};
use crate::features::audit::model::{Action, ActorKind, Detail, Part, Reason, SubjectKind};
use crate::features::tokens::caller::Manager;
use crate::kernel::ids::uuid;
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::Query;
use crate::web::problem::Problem;

/// Rows that are looked at in one call.
const VERIFIED_AT_ONCE: i64 = 50_000;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(head)).routes(routes!(verify))
}

/// Who did something.
#[derive(Serialize, ToSchema)]
struct AuditActor {
    /// Null for a word that this version does not know.
    #[schema(required)]
    kind: Option<ActorKind>,
    /// The user's id, or the client's; null for the operator and the service.
    #[schema(required, example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    id: Option<Uuid>,
}

/// What it was done with.
#[derive(Serialize, ToSchema)]
struct AuditSubject {
    /// Null for a word that this version does not know.
    #[schema(required)]
    kind: Option<SubjectKind>,
    /// The user's id, the client's, the name of a key or of a list.
    #[schema(required, example = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca")]
    id: Option<String>,
}

/// What is noted beside.
#[derive(Serialize, ToSchema)]
struct AuditDetail {
    #[schema(required)]
    reason: Option<Reason>,
    /// Of the code that was revoked.
    #[schema(required, example = json!(null))]
    code_id: Option<i64>,
    /// What of it was changed.
    #[schema(required)]
    parts: Option<Vec<Part>>,
    /// How many.
    #[schema(required, example = json!(null))]
    count: Option<i64>,
}

/// What somebody did.
#[derive(Serialize, ToSchema)]
pub struct AuditEntry {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    id: Uuid,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    at: Time,
    actor: AuditActor,
    /// Null for a word that this version does not know.
    #[schema(required)]
    action: Option<Action>,
    subject: AuditSubject,
    detail: AuditDetail,
    /// As the answer to it and the log name it; null where no request is behind it.
    #[schema(required, example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    request_id: Option<Uuid>,
    /// Its place in the chain; null for a second or so.
    #[schema(required, example = 1204)]
    seq: Option<i64>,
}

impl From<Chained> for AuditEntry {
    fn from(row: Chained) -> Self {
        let Chained { record, seq, .. } = row;
        let Detail { reason, code_id, parts, count } = Detail::read(&record.detail);
        Self {
            id: record.id,
            at: record.at,
            actor: AuditActor { kind: ActorKind::parse(&record.actor_kind), id: record.actor_id },
            action: Action::parse(&record.action),
            subject: AuditSubject { kind: SubjectKind::parse(&record.subject_kind), id: record.subject_id },
            detail: AuditDetail { reason, code_id, parts, count },
            request_id: record.request_id,
            seq,
        }
    }
}

/// A part of what is noted.
#[derive(Serialize, ToSchema)]
struct AuditEntries {
    /// The newest first.
    items: Vec<AuditEntry>,
    /// Null: they are not counted.
    #[schema(required, example = json!(null))]
    total: Option<i64>,
    /// Items asked for.
    #[schema(minimum = 1, maximum = 100, example = 50)]
    size: i64,
    /// For the next part; null at the end.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// How the list is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct AuditQuery {
    /// Only what this user or client did.
    #[param(required = false, example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    actor: Option<String>,
    /// Only what was done with this user, client, key or list.
    #[param(required = false, example = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca")]
    subject: Option<String>,
    /// Only this.
    #[param(required = false, example = "user_disabled")]
    action: Option<String>,
    /// Only what was done from then on: `2030-10-10` or any time as it is read elsewhere.
    #[param(required = false, example = "2026-11-01")]
    from: Option<String>,
    /// Items, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50, example = 50, required = false)]
    size: i64,
    /// Where to go on, from `next_cursor`.
    #[param(required = false, example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    cursor: Option<String>,
}

problems!(ListProblems: manager query[]);

/// See who did what
///
/// For managers: acts of managers, clients and the operator's commands on others' things, roles, keys, log-ins of
/// managers; of everybody their change of password, their export and their erasure. The newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "Audit", operation_id = "list_audit",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), params(AuditQuery),
    responses((status = 200, description = "A part of it", body = AuditEntries), ListProblems))]
async fn list(State(app): State<Arc<App>>, _: Manager, query: Query) -> Result<Json<AuditEntries>, Problem> {
    let id = |name: &str| {
        let read = |text| uuid(text).ok_or_else(|| parameter(name, "Input should be a valid UUID"));
        query.get(name).map(read).transpose()
    };
    let action = match query.get("action") {
        None => "",
        Some(word) => Action::parse(word).ok_or_else(|| parameter("action", "There is no such action"))?.word(),
    };
    let from = match query.get("from") {
        None => Time(i64::MIN),
        Some(text) => Time::parse(text).ok_or_else(|| parameter("from", "Input should be a time"))?,
    };
    // An id is compared in the one spelling that is stored.
    let subject = query.get("subject").map(|text| uuid(text).map_or_else(|| text.to_owned(), |id| id.to_string()));
    if subject.as_ref().is_some_and(|subject| subject.contains('\0')) {
        return Err(parameter("subject", "Input should be an id or a name"));
    }
    let size = size(&query)?;
    let wanted = Wanted {
        actor: id("actor")?,
        subject,
        action: action.to_owned(),
        from,
        before: id("cursor")?.unwrap_or(Uuid::max()),
        size,
    };
    let (rows, next) = actions::list(&app, wanted).await?;
    Ok(Json(AuditEntries {
        items: rows.into_iter().map(AuditEntry::from).collect(),
        total: None,
        size,
        next_cursor: next.map(|next| next.to_string()),
    }))
}

/// Where the chain ends.
#[derive(Serialize, ToSchema)]
struct AuditHead {
    /// How many rows have their place.
    #[schema(minimum = 0, example = 1204)]
    seq: i64,
    /// Of the last of them, in hexadecimal; zeroes where there is none.
    #[schema(example = "5f0c3a1e9d7b4c28a6e0f1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6")]
    hash: String,
}

impl From<Head> for AuditHead {
    fn from(head: Head) -> Self {
        Self { seq: head.seq, hash: head.hash_text() }
    }
}

problems!(HeadProblems: manager[]);

/// See where the audit's chain ends
///
/// For managers. Kept elsewhere, it shows later whether all up to it is still there.
#[utoipa::path(get, path = "/api/v1/audit/head", tag = "Audit", operation_id = "get_audit_head",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "The end", body = AuditHead), HeadProblems))]
async fn head(State(app): State<Arc<App>>, _: Manager) -> Result<Json<AuditHead>, Problem> {
    Ok(Json(actions::head(&app).await?.into()))
}

/// The first row that is not as it was noted.
#[derive(Serialize, ToSchema)]
struct AuditFault {
    /// Its place.
    #[schema(example = 712)]
    seq: i64,
    kind: FaultKind,
}

/// Whether rows are as they were noted.
#[derive(Serialize, ToSchema)]
struct AuditVerdict {
    /// Rows that were found good.
    #[schema(minimum = 0, example = 1204)]
    rows: i64,
    /// The last of them.
    #[schema(example = 1204)]
    seq: i64,
    /// Its hash.
    #[schema(example = "5f0c3a1e9d7b4c28a6e0f1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6")]
    hash: String,
    /// Null when there is none.
    #[schema(required)]
    fault: Option<AuditFault>,
    /// Rows signed with a key that is lost: only their places were looked at.
    #[schema(minimum = 0, example = 0)]
    unproven: i64,
    /// The `from` of the next call; null when all was looked at.
    #[schema(required, example = json!(null))]
    next_from: Option<i64>,
}

/// Where to begin.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct VerifyQuery {
    /// The first row to look at; the one before is believed.
    #[param(minimum = 1, default = 1, example = 1, required = false)]
    from: i64,
}

problems!(VerifyProblems: manager query[]);

/// Look whether the audit is as it was noted
///
/// For managers. 50,000 rows in a call; `referral admin audit verify` reads all of it. A row that was changed, swapped,
/// removed or added is named, the first of them. An end that was cut off together with the head is seen by who has kept
/// `GET /audit/head`.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "Audit", operation_id = "verify_audit",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), params(VerifyQuery),
    responses((status = 200, description = "What was found", body = AuditVerdict), VerifyProblems))]
async fn verify(State(app): State<Arc<App>>, _: Manager, query: Query) -> Result<Json<AuditVerdict>, Problem> {
    let from = match query.get("from") {
        None => None,
        Some(text) => {
            let number = text.parse().ok().filter(|number| *number >= 1);
            Some(number.ok_or_else(|| parameter("from", "Input should be an integer from 1 on"))?)
        }
    };
    let asked = Asked { from, most: Some(VERIFIED_AT_ONCE), ..Asked::default() };
    let found = verify::run(&app, asked).await?;
    Ok(Json(AuditVerdict {
        rows: found.rows,
        seq: found.place.seq,
        hash: found.place.hash_text(),
        fault: found.fault.map(|fault| AuditFault { seq: fault.seq, kind: fault.kind }),
        unproven: found.unproven,
        next_from: found.more.then_some(found.place.seq + 1),
    }))
}
