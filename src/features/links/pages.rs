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
    let target = actions::find(&app, key).await?.ok_or(Refusal::LinkNotFound)?;
    let program = programs::actions::current(&app).await?;
    let invitation = invitation(&target.leads, program.auto_renew, &name);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Some browsers have a name that is no ASCII.
    let agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default();
    let purposes = PURPOSES.iter().map(|purpose| text(purpose)).collect();
    let opening = Opening { client, agent: &agent, purposes };
    let is_opened = method == Method::GET && opening.is_by_a_person();
    if is_opened && target.leads != Leads::Gone {
        clicks::count(&app, UserId(target.owner), &opening)?;
    }
    let opened = Parameters::parse(query.unwrap_or_default().as_bytes());
    let location = match &program.landing_url {
        Some(landing) => {
            let told = invitation.as_deref().map(|invitation| (app.config.links.parameter.as_str(), invitation));
            destination(landing.as_str(), told, &opened)
                .ok_or_else(|| Error::inconsistent("programs", "landing_url", &program.slug))?
        }
        None => invitation.as_deref().map_or_else(
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
    // What a browser fetches by itself must not keep out the link that its person opens.
    if let Some(invitation) = invitation.filter(|_| is_opened)
        && let Some(cookie) = kept(&app, &headers, &invitation).await?
    {
        told.insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// What a link leads on with: the code, or the handle behind which the next code is made when it is used.
fn invitation(leads: &Leads, renews: bool, name: &str) -> Option<String> {
    match leads {
        Leads::Code(code) => Some(code.as_str().to_owned()),
        Leads::Renewal if renews => Handle::typed(name).map(|handle| handle.as_str().to_owned()),
        Leads::Renewal | Leads::Ended | Leads::Gone => None,
    }
}

/// The cookie that keeps a code for the host's pages, where the operator has switched it on.
async fn kept(app: &App, headers: &HeaderMap, invitation: &str) -> Result<Option<HeaderValue>> {
    let settings = &app.config.links;
    if settings.cookie_days == 0 || (settings.keeps_first() && has_kept(app, headers).await?) {
        return Ok(None);
    }
    let domain = match settings.cookie_domain.as_str() {
        "" => String::new(),
        domain => format!("Domain={domain}; "),
    };
    let (day, seconds) = (clicks::today(app), u64::from(settings.cookie_days) * 24 * 3600);
    let text = format!("{KEPT}={invitation}.{day}; {domain}Path=/; SameSite=Lax; Secure; Max-Age={seconds}");
    Ok(HeaderValue::from_str(&text).ok())
}

/// Whether the browser keeps an invitation that still holds. One that has ended would keep everybody else out.
async fn has_kept(app: &App, headers: &HeaderMap) -> Result<bool> {
    let Some(name) = kept_name(headers) else { return Ok(false) };
    let Some(key) = InvitationKey::of(&name) else { return Ok(false) };
    let Some(target) = actions::find(app, key).await? else { return Ok(false) };
    let renews = programs::actions::current(app).await?.auto_renew;
    Ok(invitation(&target.leads, renews, &name).is_some())
}

fn kept_name(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == KEPT)?;
    value.split('.').next().map(str::to_owned)
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
