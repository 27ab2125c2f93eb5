//! Sharing links and their figures, over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::actions::{self, Share, clicks};
use super::model::share::{Channel, Text};
use super::model::{DayFigures, Days, ReferrerRow};
use crate::app::App;
use crate::features::tokens::caller::{Person, ProgramReader, need};
use crate::kernel::day::Day;
use crate::kernel::error::{Error, FieldError, Result};
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::{PathText, Query};
use crate::web::page;
use crate::web::problem::Problem;
use crate::web::views::language::Language;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(share))
        .routes(routes!(own_clicks))
        .routes(routes!(clicks_of))
        .routes(routes!(referrers))
}

/// All that you need to share your link.
#[derive(Serialize, ToSchema)]
struct ShareOut {
    /// The name of your link. It stays, whatever becomes of your codes.
    #[schema(example = "k3j9x2mq")]
    handle: String,
    /// Your link: it leads to whatever code of yours is active when it is opened.
    #[schema(example = "https://referral.example.com/r/k3j9x2mq")]
    link: String,
    /// Its QR code, an SVG image.
    #[schema(example = "https://referral.example.com/r/k3j9x2mq/qr.svg")]
    qr: String,
    /// What to say, for each place to say it.
    texts: Vec<ShareTextOut>,
}

/// A text to share a link with.
#[derive(Serialize, ToSchema)]
pub struct ShareTextOut {
    channel: Channel,
    /// As people read it.
    #[schema(example = "Join me here: https://referral.example.com/r/k3j9x2mq")]
    text: String,
    /// Opens the channel's own window with it.
    #[schema(example = "https://wa.me/?text=Join%20me%20here%3A%20https%3A%2F%2Freferral.example.com%2Fr%2Fk3j9x2mq")]
    url: String,
}

impl From<Text> for ShareTextOut {
    fn from(text: Text) -> Self {
        Self { channel: text.channel, text: text.text, url: text.url }
    }
}

impl From<Share> for ShareOut {
    fn from(share: Share) -> Self {
        Self {
            handle: share.handle.as_str().to_owned(),
            link: share.link,
            qr: share.qr,
            texts: share.texts.into_iter().map(ShareTextOut::from).collect(),
        }
    }
}

problems!(ShareProblems: person[]);

/// See what to share
///
/// Your link, its QR code and texts, in the language that `Accept-Language` asks for. Your handle is drawn the first
/// time; `PATCH /me` chooses another.
#[utoipa::path(get, path = "/api/v1/me/share", tag = "Links", operation_id = "get_share",
    security(("oauth" = ["codes:read"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "Your link", body = ShareOut), ShareProblems))]
async fn share(
    State(app): State<Arc<App>>,
    caller: Person<need::CodesRead>,
    headers: HeaderMap,
) -> Result<Json<ShareOut>, Problem> {
    let asked = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let language = Language::of(asked, None);
    Ok(Json(actions::share(&app, caller.actor, caller.user, language).await?.into()))
}

/// What happened on a link, day by day.
#[derive(Serialize, ToSchema)]
struct ClicksOut {
    #[schema(value_type = String, format = Date, example = "2026-11-01")]
    from: Day,
    #[schema(value_type = String, format = Date, example = "2026-11-30")]
    to: Day,
    /// In all of these days.
    total: FiguresOut,
    /// Each of them, the first first.
    days: Vec<DayOut>,
}

/// Counts. Clicks and visitors are statistics: a browser counts once an hour, programs do not, and a node that is
/// killed loses a second of them.
#[derive(Default, Serialize, ToSchema)]
struct FiguresOut {
    #[schema(minimum = 0, example = 12)]
    clicks: i64,
    /// Browsers that clicked, each once a day.
    #[schema(minimum = 0, example = 9)]
    visitors: i64,
    /// People who registered with one of the referrer's codes.
    #[schema(minimum = 0, example = 2)]
    registrations: i64,
}

/// What happened on a day.
#[derive(Serialize, ToSchema)]
struct DayOut {
    /// UTC.
    #[schema(value_type = String, format = Date, example = "2026-11-30")]
    day: Day,
    #[schema(minimum = 0, example = 12)]
    clicks: i64,
    /// Browsers that clicked.
    #[schema(minimum = 0, example = 9)]
    visitors: i64,
    #[schema(minimum = 0, example = 2)]
    registrations: i64,
}

impl ClicksOut {
    fn of(days: Days, figures: Vec<DayFigures>) -> Self {
        let total = figures.iter().fold(FiguresOut::default(), |sum, day| FiguresOut {
            clicks: sum.clicks.saturating_add(day.clicks),
            visitors: sum.visitors.saturating_add(day.visitors),
            registrations: sum.registrations.saturating_add(day.registrations),
        });
        let out = |DayFigures { day, clicks, visitors, registrations }| DayOut { day, clicks, visitors, registrations };
        Self { from: days.from, to: days.to, total, days: figures.into_iter().map(out).collect() }
    }
}

/// The days of a query: `from` and `to`, the last thirty if neither is given.
fn days(app: &App, query: &Query) -> Result<Days> {
    let mut errors = Vec::new();
    let mut day = |name: &str| {
        let text = query.get(name)?;
        let day = Day::parse(text);
        if day.is_none() {
            errors.push(FieldError::new("query", name, "date_parsing", "Input should be a date such as 2030-10-10"));
        }
        day
    };
    let (from, to) = (day("from"), day("to"));
    let to = to.unwrap_or_else(|| clicks::today(app));
    let days = Days { from: from.unwrap_or_else(|| to.plus(1 - Days::USUAL)), to };
    if errors.is_empty() && !(1..=Days::MOST_DAYS).contains(&days.length()) {
        let msg = format!("From is at most {} days before to, both included", Days::MOST_DAYS);
        errors.push(FieldError::new("query", "from", "value_error", msg));
    }
    if errors.is_empty() { Ok(days) } else { Err(Error::Invalid(errors)) }
}

problems!(OwnClicksProblems: person query[]);

/// See what happened on your link
///
/// By day, in UTC: at most 400 days, the last 30 if you ask for none.
#[utoipa::path(get, path = "/api/v1/me/clicks", tag = "Links", operation_id = "list_own_clicks",
    security(("oauth" = ["referrals:read"]), ("password" = []), ("bearer" = [])),
    params(("from" = Option<String>, Query, description = "The first day", example = "2026-11-01"),
        ("to" = Option<String>, Query, description = "The last day", example = "2026-11-30")),
    responses((status = 200, description = "The figures", body = ClicksOut), OwnClicksProblems))]
async fn own_clicks(
    State(app): State<Arc<App>>,
    caller: Person<need::ReferralsRead>,
    query: Query,
) -> Result<Json<ClicksOut>, Problem> {
    let days = days(&app, &query)?;
    Ok(Json(ClicksOut::of(days, clicks::figures(&app, caller.user, days).await?)))
}

problems!(ClicksProblems: program_reader query[]);

/// See what happened on somebody's link
///
/// For managers, and for programs with `program:read` or `program:write`. Of somebody who is not known, nothing
/// happened.
#[utoipa::path(get, path = "/api/v1/users/{referrer_id}/clicks", tag = "Links", operation_id = "list_clicks",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("referrer_id" = String, Path, description = "The referrer's id, with or without hyphens",
            example = "7c273bf082434c43b88d76ab0b6d1dff"),
        ("from" = Option<String>, Query, description = "The first day", example = "2026-11-01"),
        ("to" = Option<String>, Query, description = "The last day", example = "2026-11-30")),
    responses((status = 200, description = "The figures", body = ClicksOut), ClicksProblems))]
async fn clicks_of(
    State(app): State<Arc<App>>,
    _: ProgramReader,
    PathText(id): PathText,
    query: Query,
) -> Result<Json<ClicksOut>, Problem> {
    let Some(referrer) = UserId::parse(&id) else {
        let msg = "Input should be a valid UUID, with or without hyphens";
        return Err(Error::Invalid(vec![FieldError::new("path", "referrer_id", "uuid_parsing", msg)]).into());
    };
    let days = days(&app, &query)?;
    Ok(Json(ClicksOut::of(days, clicks::figures(&app, referrer, days).await?)))
}

/// A part of the list of referrers.
#[derive(Serialize, ToSchema)]
struct Referrers {
    /// Those who brought most first.
    items: Vec<ReferrerOut>,
    /// Nobody has counted them: always null.
    #[schema(required, example = json!(null))]
    total: Option<i64>,
    /// Items asked for.
    #[schema(minimum = 1, maximum = 100, example = 50)]
    size: i64,
    /// For the next part; null at the end.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// Somebody who brought others.
#[derive(Serialize, ToSchema)]
struct ReferrerOut {
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    id: Uuid,
    #[schema(example = "owner")]
    username: String,
    /// The name of their link; null as long as none was needed.
    #[schema(required, example = "k3j9x2mq")]
    handle: Option<String>,
    /// How many they brought.
    #[schema(minimum = 1, example = 3)]
    referral_count: i64,
    /// When the last of them registered; UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    last_joined_at: Time,
}

impl From<ReferrerRow> for ReferrerOut {
    fn from(row: ReferrerRow) -> Self {
        Self {
            id: row.id.0,
            username: row.username,
            handle: row.handle,
            referral_count: row.referrals,
            last_joined_at: row.last_joined_at,
        }
    }
}

/// A row of the list, opaque to callers: how many they brought, and who it is.
fn cursor(referrals: i64, id: UserId) -> String {
    URL_SAFE_NO_PAD.encode([&referrals.to_be_bytes()[..], id.0.as_bytes()].concat())
}

fn parse_cursor(text: &str) -> Option<(i64, UserId)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (referrals, id) = bytes.split_first_chunk::<8>()?;
    Some((i64::from_be_bytes(*referrals), UserId(Uuid::from_slice(id).ok()?)))
}

problems!(ReferrersProblems: program_reader query[]);

/// List who brought how many
///
/// For managers, and for programs with `program:read` or `program:write`: those who brought most first. People who
/// register meanwhile may move somebody from one part to another.
#[utoipa::path(get, path = "/api/v1/referrers", tag = "Links", operation_id = "list_referrers",
    security(("oauth" = ["admin"]), ("password" = []), ("machine" = ["program:read"]), ("bearer" = [])),
    params(("size" = Option<i64>, Query, description = "Items wanted, 1 to 100; 50 if left out", minimum = 1,
            maximum = 100, example = 50),
        ("cursor" = Option<String>, Query, description = "Where to go on, from `next_cursor`",
            example = "AAAAAAAAAAN8JzvwgkNMQ7iNdqsLbR3_")),
    responses((status = 200, description = "A part of the list", body = Referrers), ReferrersProblems))]
async fn referrers(State(app): State<Arc<App>>, _: ProgramReader, query: Query) -> Result<Json<Referrers>, Problem> {
    let size = page::size(&query);
    let behind = match query.get("cursor") {
        None => Ok(None),
        Some(text) => parse_cursor(text).map(Some).ok_or_else(page::wrong_cursor),
    };
    let (size, behind) = match (size, behind) {
        (Ok(size), Ok(behind)) => (size, behind),
        (size, behind) => return Err(Error::Invalid(size.err().into_iter().chain(behind.err()).collect()).into()),
    };
    let mut rows = clicks::referrers(&app, behind, size).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|found| found > size);
    rows.truncate(usize::try_from(size).unwrap_or(0));
    let next_cursor = rows.last().filter(|_| more).map(|last| cursor(last.referrals, last.id));
    Ok(Json(Referrers { items: rows.into_iter().map(ReferrerOut::from).collect(), total: None, size, next_cursor }))
}
