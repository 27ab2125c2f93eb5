//! The operator's picture and colour, for the pages that show them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;
use crate::kernel::error::Refusal;
use crate::web::problem::Problem;

/// Opened by itself, a picture is a page of this site: it may do nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox";

pub fn router() -> Router<Arc<App>> {
    Router::new().route("/brand/colors.css", get(colors)).route("/brand/logo", get(logo))
}

async fn colors(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let css = app.brand.colors.clone().ok_or(Refusal::NotFound)?;
    Ok(file("text/css; charset=utf-8", css))
}

async fn logo(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let logo = app.brand.logo.as_ref().ok_or(Refusal::NotFound)?;
    Ok(file(logo.kind, logo.bytes.clone()))
}

fn file(kind: &'static str, body: impl IntoResponse) -> Response {
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=3600"), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, body).into_response()
}
