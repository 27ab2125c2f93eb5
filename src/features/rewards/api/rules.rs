//! The rules of a program.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::features::rewards::actions::rules;
use crate::features::rewards::model::draft::{Draft, keys_differ, parse_key};
use crate::features::rewards::model::preview::Preview;
use crate::features::rewards::model::rules::{EventType, Limit, MOST_COUNT, MOST_DAYS, MOST_RULES, Rule, Rules};
use crate::features::rewards::model::{MOST_AMOUNT, Per, Side, Times, Unit};
use crate::features::tokens::caller::{Manager, ProgramReader};
use crate::kernel::error::{Error, FieldError, Result};
use crate::problems;
use crate::web::extract::{Fields, JsonBody, PathText, Query};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;

/// A version of the rules.
#[derive(Serialize, ToSchema)]
pub(super) struct RulesOut {
    /// 0 where there are none yet.
    #[schema(minimum = 0, example = 3)]
    version: i64,
    #[schema(value_type = Vec<RuleOut>)]
    rules: Vec<Value>,
}

/// A rule: what one side of a referral gets when the referee does something. What is left out is not asked for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is told and read")]
pub(super) struct RuleOut {
    /// 1 to 32 lower-case letters, digits and hyphens; no two rules have the same.
    #[schema(min_length = 1, max_length = 32, example = "friend-first")]
    key: String,
    /// The type of events: purchase, signup (a referral counts), or one of the program's own.
    #[schema(example = "purchase")]
    on: String,
    to: Side,
    /// So much, in `unit`; or a share, see `percent_bp`.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64, example = 500)]
    fixed: Option<i64>,
    #[schema(example = "EUR")]
    unit: Option<String>,
    /// A share of the amount in hundredths of a percent, rounded down, in the unit of the event.
    #[schema(minimum = 1, maximum = 10_000, example = json!(null))]
    percent_bp: Option<i64>,
    /// The most that a share comes to.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64, example = json!(null))]
    max: Option<i64>,
    /// For a referee's first such event, or for every one; needed but for `signup`.
    times: Option<Times>,
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64, example = 1000)]
    min_amount: Option<i64>,
    /// The unit of the events that it is about; needed with a share and with a least amount.
    #[schema(example = "EUR")]
    event_unit: Option<String>,
    /// Days after the referee has joined.
    #[schema(minimum = 1, maximum = 3650, example = 90)]
    within_days: Option<i64>,
    /// Days until the reward is available; the program's `hold_days` when left out.
    #[schema(minimum = 0, maximum = 3650, example = 30)]
    hold_days: Option<i64>,
    limit: Option<LimitOut>,
}

/// How often a rule gives something to one holder, by UTC.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is told and read")]
struct LimitOut {
    #[schema(minimum = 1, maximum = 1_000_000, example = 10)]
    count: i64,
    per: Per,
}

impl From<Rules> for RulesOut {
    fn from(rules: Rules) -> Self {
        Self { version: rules.version, rules: rules.rules.iter().map(Rule::written).collect() }
    }
}

problems!(GetProblems: program_reader query[ProgramNotFound, RulesNotFound]);

/// See the rules of a program
///
/// For managers, and for programs with `program:read` or `program:write`.
#[utoipa::path(get, path = "/api/v1/programs/{program}/rules", tag = "Rewards", operation_id = "get_rules",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("program" = String, Path, description = "The program's name in paths", example = "default"),
        ("version" = Option<i64>, Query, description = "Those in force when left out", minimum = 0, example = 0)),
    responses((status = 200, description = "The rules", body = RulesOut), GetProblems))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    _: ProgramReader,
    PathText(slug): PathText,
    query: Query,
) -> Result<Json<RulesOut>, Problem> {
    let version = query.get("version").map(|text| text.parse().ok().filter(|version: &i64| *version >= 0));
    if version == Some(None) {
        let rule = "Input should be a whole number from 0 on";
        return Err(Error::Invalid(vec![FieldError::new("query", "version", "int_parsing", rule)]).into());
    }
    Ok(Json(rules::get(&app, &slug, version.flatten()).await?.into()))
}

/// Rules, all of them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
pub(super) struct RulesIn {
    /// At most 20.
    #[schema(max_items = 20)]
    rules: Vec<RuleOut>,
}

/// What rules would have given for the events of the last thirty days.
#[derive(Serialize, ToSchema)]
pub(super) struct PreviewOut {
    /// That were looked at: the first 10,000.
    #[schema(minimum = 0, example = 1200)]
    events: i64,
    /// Whether there were more.
    #[schema(example = false)]
    more: bool,
    rules: Vec<GivenOut>,
}

/// What a rule would have given.
#[derive(Serialize, ToSchema)]
struct GivenOut {
    #[schema(example = "friend-first")]
    rule: String,
    #[schema(minimum = 0, example = 12)]
    rewards: i64,
    totals: Vec<TotalOut>,
}

/// A sum in one unit.
#[derive(Serialize, ToSchema)]
struct TotalOut {
    #[schema(value_type = i64, minimum = 0, example = 6000)]
    amount: i128,
    #[schema(example = "EUR")]
    unit: String,
}

impl From<Preview> for PreviewOut {
    fn from(preview: Preview) -> Self {
        let rules = preview.rules.into_iter().map(|given| GivenOut {
            rule: given.rule,
            rewards: given.rewards,
            totals: given.totals.into_iter().map(|(unit, amount)| TotalOut { amount, unit }).collect(),
        });
        Self { events: preview.events, more: preview.more, rules: rules.collect() }
    }
}

problems!(MakeProblems: manager body keyed[ProgramNotFound, RateLimited]);

/// Make rules for a program
///
/// For managers. All of them at once, as the next version, which judges whatever is received from then on; what was
/// granted stays as it is. With `preview=true` nothing is made: the answer tells what these rules would have given for
/// the events of the last thirty days, if those were the first that there were. At most 60 changes a minute, of
/// whatever kind (`limits.writes_per_user`).
#[utoipa::path(post, path = "/api/v1/programs/{program}/rules", tag = "Rewards", operation_id = "make_rules",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])), request_body = RulesIn,
    params(("program" = String, Path, description = "The program's name in paths", example = "default"),
        ("preview" = Option<bool>, Query, description = "Make nothing, and tell what they would have given",
            example = false)),
    responses((status = 201, description = "The rules, in force", body = RulesOut),
        (status = 200, description = "What they would have given", body = PreviewOut), MakeProblems))]
pub(super) async fn make(
    State(app): State<Arc<App>>,
    manager: Keyed<Manager>,
    PathText(slug): PathText,
    query: Query,
    JsonBody(fields): JsonBody,
) -> Result<Response, Problem> {
    let previewed = query.flag("preview")?;
    let rules = read(fields)?;
    let _turn = app.turn_of(manager.user).await?;
    if previewed {
        let preview = rules::look_ahead(&app, &slug, &rules).await?;
        return Ok(Json(PreviewOut::from(preview)).into_response());
    }
    let tell = |rules: &Rules| Reply::json(StatusCode::CREATED, &RulesOut::from(rules.clone()));
    let made = rules::make(&app, manager.sent(tell)?, &slug, manager.user, rules).await?;
    Ok(tell(&made)?.into_response())
}

fn read(mut fields: Fields) -> Result<Vec<Rule>> {
    let items = fields.items("rules", MOST_RULES);
    let mut rules = Vec::new();
    for (place, item) in items.into_iter().flatten().enumerate() {
        match item.and_then(read_rule) {
            Ok(rule) => rules.push(rule),
            Err(Error::Invalid(mut errors)) => {
                for error in &mut errors {
                    error.loc.insert(1, place.to_string());
                }
                fields.refuse_within("rules", errors);
            }
            Err(error) => return Err(error),
        }
    }
    if !keys_differ(&rules) {
        fields.refuse("rules", "value_error", "Each rule has a key of its own");
    }
    fields.all(Some(rules))
}

fn read_rule(mut fields: Fields) -> Result<Rule> {
    let unit = |fields: &mut Fields, name: &str| fields.optionally_parsed(name, Unit::parse);
    let days = 1..=MOST_DAYS;
    let draft = Draft {
        key: fields.parsed("key", parse_key),
        on: fields.parsed("on", EventType::parse),
        to: fields.parsed("to", |text| Side::parse(text).ok_or("Give referrer or referee")),
        fixed: fields.optional_number("fixed", 1..=MOST_AMOUNT),
        unit: unit(&mut fields, "unit"),
        percent_bp: fields.optional_number("percent_bp", 1..=10_000),
        max: fields.optional_number("max", 1..=MOST_AMOUNT),
        times: fields.optionally_parsed("times", |text| Times::parse(text).ok_or("Give first or every")),
        min_amount: fields.optional_number("min_amount", 0..=MOST_AMOUNT),
        event_unit: unit(&mut fields, "event_unit"),
        within_days: fields.optional_number("within_days", days),
        hold_days: fields.optional_number("hold_days", 0..=MOST_DAYS),
        limit: read_limit(&mut fields),
    };
    if !fields.are_fine() {
        return fields.all(None);
    }
    let rule = draft.checked().map_err(|(field, rule)| fields.refuse(field, "value_error", rule)).ok();
    fields.all(rule)
}

fn read_limit(fields: &mut Fields) -> Option<Limit> {
    let mut limit = fields.optional_fields("limit")?;
    let count = limit.number("count", 1..=MOST_COUNT);
    let per = limit.parsed("per", |text| Per::parse(text).ok_or("Give day, month or ever"));
    match limit.all(count.zip(per)) {
        Ok((count, per)) => Some(Limit { count, per }),
        Err(Error::Invalid(errors)) => {
            fields.refuse_within("limit", errors);
            None
        }
        Err(_) => None,
    }
}
