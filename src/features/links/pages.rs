//! What opens when somebody follows a link, and its QR code.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderName, LOCATION, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::actions;
use super::actions::clicks::{self, Opening};
use super::model::destination::destination;
use super::model::qr::Correction;
use crate::app::App;
use crate::features::programs;
use crate::kernel::error::{Error, FieldError, Refusal, Result};
use crate::kernel::handle::{Handle, InvitationKey};
use crate::kernel::ids::UserId;
use crate::kernel::link::Leads;
use crate::kernel::parameters::Parameters;
use crate::web::client_address::ClientAddress;
use crate::web::extract::{PathText, Query};
use crate::web::pages::{REGISTER, REGISTER_ENDED};
use crate::web::problem::Problem;

const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");
/// Where programs and browsers say that they fetch what nobody has opened yet.
const PURPOSES: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
/// In which a browser keeps the code, where the operator wants that.
const KEPT: &str = "referral";

pub fn router() -> Router<Arc<App>> {
    Router::new().route("/r/{name}", get(open)).route("/r/{name}/qr.svg", get(qr_code))
}

async fn open(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    method: Method,
    headers: HeaderMap,
    PathText(name): PathText,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    app.limits.click_from(client).await?;
    let key = InvitationKey::of(&name).ok_or(Refusal::LinkNotFound)?;
    let handle = Handle::typed(&name);
    let target = actions::find(&app, key).await?.ok_or(Refusal::LinkNotFound)?;
    let program = programs::actions::current(&app).await?;
    let invitation = match &target.leads {
        Leads::Code(code) => Some(code.as_str()),
        Leads::Renewal if program.auto_renew => handle.as_ref().map(Handle::as_str),
        Leads::Renewal | Leads::Ended | Leads::Gone => None,
    };
    if method == Method::GET && target.leads != Leads::Gone {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // Some browsers have a name that is no ASCII.
        let agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default();
        let purposes = PURPOSES.iter().map(|purpose| text(purpose)).collect();
        let opening = Opening { client, agent: &agent, purposes };
        clicks::count(&app, UserId(target.owner), &opening)?;
    }
    let opened = Parameters::parse(query.unwrap_or_default().as_bytes());
    let location = match &program.landing_url {
        Some(landing) => {
            let told = invitation.map(|invitation| (app.config.links.parameter.as_str(), invitation));
            destination(landing.as_str(), told, &opened)
                .ok_or_else(|| Error::inconsistent("programs", "landing_url", &program.slug))?
        }
        None => invitation.map_or_else(
            || REGISTER_ENDED.to_owned(),
            |invitation| {
                let query = form_urlencoded::Serializer::new(String::new()).append_pair("code", invitation).finish();
                format!("{REGISTER}?{query}")
            },
        ),
    };
    let location = HeaderValue::from_str(&location)
        .map_err(|_| Error::Internal("an address of a link that no header takes".into()))?;
    let mut response = StatusCode::FOUND.into_response();
    let told = response.headers_mut();
    told.insert(LOCATION, location);
    told.insert(ROBOTS, HeaderValue::from_static("noindex"));
    if let Some(cookie) = invitation.and_then(|invitation| kept(&app, &headers, invitation)) {
        told.insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The cookie that keeps a code for the host's pages, where the operator has switched it on.
fn kept(app: &App, headers: &HeaderMap, invitation: &str) -> Option<HeaderValue> {
    let settings = &app.config.links;
    if settings.cookie_days == 0 || (settings.keeps_first() && has_kept(headers)) {
        return None;
    }
    let domain = match settings.cookie_domain.as_str() {
        "" => String::new(),
        domain => format!("Domain={domain}; "),
    };
    let (day, seconds) = (clicks::today(app), u64::from(settings.cookie_days) * 24 * 3600);
    let text = format!("{KEPT}={invitation}.{day}; {domain}Path=/; SameSite=Lax; Secure; Max-Age={seconds}");
    HeaderValue::from_str(&text).ok()
}

fn has_kept(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.any(|(name, value)| {
        name == KEPT && value.split('.').next().is_some_and(|code| InvitationKey::of(code).is_some())
    })
}

async fn qr_code(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    PathText(name): PathText,
    query: Query,
) -> Result<Response, Problem> {
    app.limits.click_from(client).await?;
    let correction = match query.get("ecc") {
        None => Correction::Medium,
        Some(word) => Correction::parse(word).ok_or_else(|| {
            Error::Invalid(vec![FieldError::new("query", "ecc", "enum", "Input should be L, M, Q or H")])
        })?,
    };
    let image = actions::qr_code(&app, &name, correction).await?.ok_or(Refusal::LinkNotFound)?;
    let headers = [(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, "public, max-age=60")];
    Ok((headers, image).into_response())
}
