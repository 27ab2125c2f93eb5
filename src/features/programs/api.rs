//! Programs over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions;
use super::model::{Change, parse_event_types};
use crate::app::App;
use crate::features::clients::model::parse_name;
use crate::features::tokens::caller::{Manager, ProgramReader};
use crate::kernel::program::{LandingUrl, Program, ProgramState, ShareText};
use crate::kernel::unit::{MOST_AMOUNT, Unit};
use crate::problems;
use crate::web::extract::{Fields, JsonBody, PathText};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, change))
        .routes(routes!(activate))
        .routes(routes!(pause))
        .routes(routes!(end))
}

/// A referral program.
#[derive(Serialize, ToSchema)]
struct ProgramOut {
    /// As paths name it.
    #[schema(example = "default")]
    slug: String,
    #[schema(example = "Referral program")]
    name: String,
    state: ProgramState,
    /// Where links lead; null for the service's own registration page.
    #[schema(required, example = "https://shop.example.com/join")]
    landing_url: Option<String>,
    /// Days that codes live which the service issues, give or take a tenth.
    #[schema(minimum = 1, maximum = 3650, example = 365)]
    code_days: i64,
    /// Whether an issued code that has expired is followed by the next.
    #[schema(example = true)]
    auto_renew: bool,
    share_texts: ShareTextsOut,
    /// Days until rewards are available, where their rule does not say it.
    #[schema(minimum = 0, maximum = 3650, example = 30)]
    hold_days: i64,
    /// What hosts may tell of beside purchases.
    #[schema(example = json!(["subscription"]))]
    event_types: Vec<String>,
    /// How much it gives, by unit; in units that are not here, as much as rules say.
    budgets: Budgets,
}

/// Amounts by unit, in the smallest part of each.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"EUR": 1_000_000}))]
struct Budgets(BTreeMap<String, i64>);

/// What people are offered to say when they share their link, by language; null for the service's own words.
#[derive(Serialize, ToSchema)]
struct ShareTextsOut {
    #[schema(required, example = "{name} invites you: {link}")]
    en: Option<String>,
    #[schema(required, example = json!(null))]
    ru: Option<String>,
}

impl From<Program> for ProgramOut {
    fn from(program: Program) -> Self {
        let text = |text: Option<ShareText>| text.map(|text| text.as_str().to_owned());
        Self {
            slug: program.slug,
            name: program.name,
            state: program.state,
            landing_url: program.landing_url.map(|url| url.as_str().to_owned()),
            code_days: program.code_days,
            auto_renew: program.auto_renew,
            hold_days: program.hold_days,
            event_types: program.event_types,
            budgets: Budgets(program.budgets),
            share_texts: ShareTextsOut { en: text(program.share_texts.en), ru: text(program.share_texts.ru) },
        }
    }
}

/// All programs.
#[derive(Serialize, ToSchema)]
struct Programs {
    /// Oldest first.
    items: Vec<ProgramOut>,
}

problems!(ListProblems: program_reader[]);

/// List the programs
///
/// For managers, and for programs with `program:read` or `program:write`. There is one, `default`.
#[utoipa::path(get, path = "/api/v1/programs", tag = "Programs", operation_id = "list_programs",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    responses((status = 200, description = "The programs", body = Programs), ListProblems))]
async fn list(State(app): State<Arc<App>>, _: ProgramReader) -> Result<Json<Programs>, Problem> {
    let programs = actions::list(&app).await?;
    Ok(Json(Programs { items: programs.into_iter().map(ProgramOut::from).collect() }))
}

problems!(GetProblems: program_reader query[ProgramNotFound]);

/// See a program
///
/// For managers, and for programs with `program:read` or `program:write`.
#[utoipa::path(get, path = "/api/v1/programs/{program}", tag = "Programs", operation_id = "get_program",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("program" = String, Path, description = "The program's name in paths", example = "default")),
    responses((status = 200, description = "The program", body = ProgramOut), GetProblems))]
async fn get(
    State(app): State<Arc<App>>,
    _: ProgramReader,
    PathText(slug): PathText,
) -> Result<Json<ProgramOut>, Problem> {
    Ok(Json(actions::get(&app, &slug).await?.into()))
}

/// What is to be different; what is left out or null stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct ProgramChange {
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "Referral program")]
    name: Option<String>,
    /// https, or http on this machine; without user name, password and fragment, at most 1,000 characters. Empty for
    /// the service's own registration page.
    #[schema(max_length = 1000, example = "https://shop.example.com/join")]
    landing_url: Option<String>,
    /// 1 to 3,650. It counts for codes that are issued from then on.
    #[schema(minimum = 1, maximum = 3650, example = 365)]
    code_days: Option<i64>,
    /// Whether an issued code that has expired is followed by the next.
    #[schema(example = true)]
    auto_renew: Option<bool>,
    share_texts: Option<NewShareTexts>,
    /// 0 to 3,650. It counts for rewards that are granted from then on.
    #[schema(minimum = 0, maximum = 3650, example = 30)]
    hold_days: Option<i64>,
    /// All of them, at most 20: 1 to 32 of `a-z`, `0-9` and `_`, beginning with a letter. What was told before stays.
    #[schema(max_items = 20, example = json!(["subscription"]))]
    event_types: Option<Vec<String>>,
    /// Amounts by unit, of what is granted from then on; null takes a budget away, units that are left out stay. What
    /// is taken back is given back. With a budget all events of its unit follow each other.
    #[schema(value_type = Option<Object>, example = json!({"EUR": 1_000_000, "POINTS": null}))]
    budgets: Option<Value>,
}

/// Texts by language, of 1 to 512 characters, with `{link}` in them, and `{name}` (of who shares) and `{reward}` where
/// they are wanted. A language that is left out stays; an empty text goes back to the service's own words.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct NewShareTexts {
    /// 1 to 512 characters, or empty.
    #[schema(max_length = 512, example = "{name} invites you: {link}")]
    en: Option<String>,
    /// 1 to 512 characters, or empty.
    #[schema(max_length = 512, example = "{name} приглашает вас: {link}")]
    ru: Option<String>,
}

problems!(ChangeProblems: manager body keyed[ProgramNotFound, RateLimited]);

/// Change a program
///
/// For managers. Every node goes by it within a second. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(patch, path = "/api/v1/programs/{program}", tag = "Programs", operation_id = "change_program",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = ProgramChange,
    params(("program" = String, Path, description = "The program's name in paths", example = "default")),
    responses((status = 200, description = "The program, changed", body = ProgramOut), ChangeProblems))]
async fn change(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(slug): PathText,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let change = read(&mut fields);
    let change = fields.all(Some(change))?;
    let _turn = app.turn_of(manager.user).await?;
    let tell = |program: &Program| Reply::json(StatusCode::OK, &ProgramOut::from(program.clone()));
    Ok(tell(&actions::change(&app, manager.sent(tell)?, &slug, change).await?)?)
}

problems!(StateProblems: manager query keyed[ProgramNotFound, ProgramNotActive, RateLimited]);

/// Let a program count what happens
///
/// For managers. Events are taken again, and rewards granted. A program that has ended stays so. At most 60 changes a
/// minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/programs/{program}/activate", tag = "Programs", operation_id = "activate_program",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("program" = String, Path, description = "The program's name in paths", example = "default")),
    responses((status = 200, description = "The program", body = ProgramOut), StateProblems))]
async fn activate(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(slug): PathText,
) -> Result<Reply, Problem> {
    enter(&app, &manager, &slug, ProgramState::Active).await
}

/// Pause a program
///
/// For managers. New events are refused with 409 `program_not_active`, until it is activated. What was granted goes on.
/// At most 60 changes a minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/programs/{program}/pause", tag = "Programs", operation_id = "pause_program",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("program" = String, Path, description = "The program's name in paths", example = "default")),
    responses((status = 200, description = "The program", body = ProgramOut), StateProblems))]
async fn pause(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(slug): PathText,
) -> Result<Reply, Problem> {
    enter(&app, &manager, &slug, ProgramState::Paused).await
}

/// End a program
///
/// For managers. As a pause, for good: it is never activated again. At most 60 changes a minute, of whatever kind
/// (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/programs/{program}/end", tag = "Programs", operation_id = "end_program",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("program" = String, Path, description = "The program's name in paths", example = "default")),
    responses((status = 200, description = "The program", body = ProgramOut), StateProblems))]
async fn end(State(app): State<Arc<App>>, manager: Keyed<Manager>, PathText(slug): PathText) -> Result<Reply, Problem> {
    enter(&app, &manager, &slug, ProgramState::Ended).await
}

async fn enter(app: &App, manager: &Keyed<Manager>, slug: &str, state: ProgramState) -> Result<Reply, Problem> {
    let _turn = app.turn_of(manager.user).await?;
    let tell = |program: &Program| Reply::json(StatusCode::OK, &ProgramOut::from(program.clone()));
    Ok(tell(&actions::set_state(app, manager.sent(tell)?, slug, state).await?)?)
}

fn read(fields: &mut Fields) -> Change {
    let mut change = Change {
        name: fields.optionally_parsed("name", parse_name),
        landing_url: fields.optionally_parsed("landing_url", |text| or_none(text, LandingUrl::parse)),
        code_days: fields.optional_number("code_days", 1..=3650),
        auto_renew: fields.optional_flag("auto_renew"),
        hold_days: fields.optional_number("hold_days", 0..=3650),
        event_types: fields
            .optional_texts("event_types")
            .and_then(|types| fields.judge("event_types", parse_event_types(types))),
        ..Change::default()
    };
    if let Some(mut budgets) = fields.optional_fields("budgets") {
        for (unit, amount) in budgets.rest() {
            let amount = read_budget(&unit, &amount);
            if let Some(amount) = fields.judge("budgets", amount) {
                change.budgets.insert(unit, amount);
            }
        }
    }
    for (language, text) in fields.optional_members("share_texts").unwrap_or_default() {
        let place = match language.as_str() {
            "en" => &mut change.english,
            "ru" => &mut change.russian,
            _ => {
                fields.refuse("share_texts", "value_error", "The languages are en and ru");
                continue;
            }
        };
        *place = fields.judge("share_texts", or_none(&text, ShareText::parse));
    }
    change
}

fn read_budget(unit: &str, amount: &Value) -> Result<Option<i64>, &'static str> {
    Unit::parse(unit)?;
    match amount {
        Value::Null => Ok(None),
        amount => match amount.as_i64().filter(|amount| (0..=MOST_AMOUNT).contains(amount)) {
            Some(amount) => Ok(Some(amount)),
            None => Err("A budget is a whole number from 0 to 1000000000000000, or null"),
        },
    }
}

/// What was asked to be empty is nothing.
fn or_none<T>(text: &str, parse: fn(&str) -> Result<T, &'static str>) -> Result<Option<T>, &'static str> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}
