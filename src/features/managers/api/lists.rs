//! Lists as files (RFC 4180), for managers: read and sent part by part, however long they are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::exports;
use crate::app::App;
use crate::features::audit::model::List;
use crate::features::managers::actions::{self, ReferralLine, UserLine};
use crate::features::tokens::caller::Manager;
use crate::kernel::error::Result;
use crate::problems;
use crate::web::csv::{FileQuery, file, safe_cell, written};
use crate::web::extract::Query;
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().merge(exports::others()).routes(routes!(users)).routes(routes!(referrals))
}

const USERS: [&str; 11] = [
    "id",
    "username",
    "email",
    "state",
    "manager",
    "email_verdict",
    "created_at",
    "referrer_id",
    "referral_status",
    "external_id",
    "name",
];
const REFERRALS: [&str; 5] = ["referee_id", "referrer_id", "code", "status", "joined_at"];

problems!(UsersProblems: manager query[RateLimited]);

/// Take out the list of people
///
/// For managers: CSV by RFC 4180, UTF-8, in the order of ids. A text that a spreadsheet would take for a formula has an
/// apostrophe before it, also behind a semicolon. Times are UTC. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`): it is noted.
#[utoipa::path(get, path = "/api/v1/exports/users.csv", tag = "People", operation_id = "export_users",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), params(FileQuery),
    responses((status = 200, description = "The file, with the columns id, username, email, state, manager, email_verdict, \
        created_at, referrer_id, referral_status, external_id, name", content_type = "text/csv", body = String),
        UsersProblems))]
async fn users(State(app): State<Arc<App>>, manager: Manager, query: Query) -> Result<Response, Problem> {
    let excel = query.flag("excel")?;
    actions::note_list(&app, manager.actor, manager.user, List::Users).await?;
    Ok(file("users.csv", excel, &USERS, Uuid::nil(), move |behind| {
        let app = app.clone();
        async move {
            let part = actions::users_part(&app, behind).await?;
            let next = part.last().map(|last| last.person.id.0);
            Ok((written(part.iter().map(user_line))?, next))
        }
    })?)
}

fn user_line(line: &UserLine) -> Vec<String> {
    let person = &line.person;
    vec![
        person.id.to_string(),
        safe_cell(&person.username),
        safe_cell(&person.email),
        person.state.word().to_owned(),
        person.is_manager.to_string(),
        person.verdict.word().to_owned(),
        person.created_at.to_string(),
        line.referrer.map(|id| id.to_string()).unwrap_or_default(),
        line.status.clone().unwrap_or_default(),
        safe_cell(line.external_id.as_deref().unwrap_or_default()),
        safe_cell(line.name.as_deref().unwrap_or_default()),
    ]
}

problems!(ReferralsProblems: manager query[RateLimited]);

/// Take out the list of referrals
///
/// For managers: CSV as that of people, in the order of the lists. Of a referrer who was erased the code is empty. At
/// most 60 changes a minute, of whatever kind (`limits.writes_per_user`): it is noted.
#[utoipa::path(get, path = "/api/v1/exports/referrals.csv", tag = "People", operation_id = "export_referrals",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), params(FileQuery),
    responses((status = 200, description = "The file, with the columns referee_id, referrer_id, code, status, joined_at",
        content_type = "text/csv", body = String), ReferralsProblems))]
async fn referrals(State(app): State<Arc<App>>, manager: Manager, query: Query) -> Result<Response, Problem> {
    let excel = query.flag("excel")?;
    actions::note_list(&app, manager.actor, manager.user, List::Referrals).await?;
    Ok(file("referrals.csv", excel, &REFERRALS, i64::MIN, move |behind| {
        let app = app.clone();
        async move {
            let part = actions::referrals_part(&app, behind).await?;
            let next = part.last().map(|last| last.number);
            Ok((written(part.iter().map(referral_line))?, next))
        }
    })?)
}

fn referral_line(line: &ReferralLine) -> Vec<String> {
    vec![
        line.referee.to_string(),
        line.referrer.to_string(),
        safe_cell(line.code.as_deref().unwrap_or_default()),
        line.status.clone(),
        line.joined_at.to_string(),
    ]
}
