//! What people have allowed whom, and how they take it back: over the API and on a page.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::features::codes;
use crate::features::oauth::actions;
use crate::features::oauth::model::Consent;
use crate::features::signin::http::{LogInPage, ask_to_log_in};
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::parameters::Parameters;
use crate::kernel::time::Time;
use crate::problems;
use crate::web::caller::{Person, need};
use crate::web::extract::{Form, PathText};
use crate::web::pages::{HOME, or_say, page, say};
use crate::web::problem::Problem;
use crate::web::views::words::Words;
use crate::web::views::{AllowedApp, Apps, Message, OwnCode, Way};
use crate::web::visitor::Visitor;

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
pub struct Consents {
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
pub async fn list(State(app): State<Arc<App>>, caller: Person<need::Account>) -> Result<Answer<Consents>, Problem> {
    let consents = actions::consents(&app, caller.user).await?;
    Ok(Answer(Consents { items: consents.into_iter().map(ConsentOut::from).collect() }))
}

problems!(WithdrawProblems: person query[ConsentNotFound, RateLimited]);

/// Take back what you have allowed a client
///
/// Its tokens end on every node within seconds. At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(delete, path = "/api/v1/me/consents/{client_id}", tag = "Accounts", operation_id = "withdraw_consent",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])),
    params(("client_id" = String, Path, description = "The client's id", example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")),
    responses((status = 204, description = "Withdrawn"), WithdrawProblems))]
pub async fn withdraw(
    State(app): State<Arc<App>>,
    caller: Person<need::Account>,
    PathText(client): PathText,
) -> Result<StatusCode, Problem> {
    actions::withdraw(&app, caller.actor, caller.user, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn apps(State(app): State<Arc<App>>, visitor: Visitor, RawQuery(query): RawQuery) -> Response {
    let words = visitor.words(None);
    let news = match Parameters::parse(query.unwrap_or_default().as_bytes()).first("registered") {
        Some(_) => News::Registered,
        None => News::None,
    };
    let answer = show(&app, &visitor, words, news).await;
    or_say(&app, &visitor, words, answer)
}

/// What has just happened to the account.
#[derive(Clone, Copy)]
enum News<'a> {
    None,
    Registered,
    /// Access was withdrawn from this client.
    Withdrawn(&'a str),
}

async fn show(app: &App, visitor: &Visitor, words: &'static Words, news: News<'_>) -> Result<Response> {
    let Some(person) = visitor.person(app).await? else {
        let log_in = LogInPage { next: HOME, username: "", code: None, alert: None };
        return ask_to_log_in(app, visitor, words, StatusCode::OK, &log_in).await;
    };
    let consents = actions::consents(app, person.user).await?;
    let apps: Vec<AllowedApp<'_>> = consents
        .iter()
        .map(|consent| AllowedApp {
            client_id: &consent.client_id,
            name: &consent.name,
            scopes: consent.scopes,
            since: consent.granted_at,
        })
        .collect();
    let active = codes::actions::active_of(app, person.user).await?;
    let link = active.as_ref().map(|active| register_with(app, &active.code)).unwrap_or_default();
    let view = Apps {
        words,
        csrf: &visitor.csrf(),
        user: &person.username,
        registered: matches!(news, News::Registered),
        code: active.as_ref().map(|active| OwnCode {
            code: &active.code,
            expires_at: Time(active.expires_at),
            link: &link,
        }),
        apps: &apps,
        withdrawn: match news {
            News::Withdrawn(client) => Some(client),
            News::None | News::Registered => None,
        },
    };
    page(app, visitor, StatusCode::OK, &view)
}

/// The page to register on with a code, in full: people send it to each other.
fn register_with(app: &App, code: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("code", code).finish();
    format!("{}/oauth/register?{query}", app.public_url())
}

pub async fn withdraw_on_page(State(app): State<Arc<App>>, visitor: Visitor, Form(form): Form) -> Response {
    let words = visitor.words(None);
    let answer = async {
        if !visitor.sent(form.first("csrf").unwrap_or_default()) {
            return say(&app, &visitor, words, StatusCode::FORBIDDEN, Message::Expired, Way::Apps);
        }
        let Some(person) = visitor.person(&app).await? else { return show(&app, &visitor, words, News::None).await };
        let client = form.first("client_id").unwrap_or_default();
        let consents = actions::consents(&app, person.user).await?;
        let name = consents.into_iter().find(|consent| consent.client_id == client).map(|consent| consent.name);
        match actions::withdraw(&app, visitor.actor.person(person.user), person.user, client).await {
            // Twice is once: a form may be sent again.
            Ok(()) | Err(Error::Refused(Refusal::ConsentNotFound)) => {
                show(&app, &visitor, words, name.as_deref().map_or(News::None, News::Withdrawn)).await
            }
            Err(error) => Err(error),
        }
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}
