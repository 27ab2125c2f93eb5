//! What people look at when a program asks for access, and where they take it back.

mod apps;
mod authorize;
pub mod log_in;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/oauth/authorize", get(authorize::authorize).post(authorize::authorize_by_post))
        .route("/oauth/consent", post(authorize::consent))
        .route("/oauth/apps", get(apps::apps).post(apps::withdraw_on_page))
}
