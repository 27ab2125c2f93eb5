//! OAuth 2.0 and OpenID Connect over HTTP.

mod authorize;
mod consents;
mod metadata;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// What people have allowed.
pub fn consents() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(consents::list)).routes(routes!(consents::withdraw))
}

/// What programs ask for.
pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(token::token))
        .routes(routes!(metadata::user_info, metadata::user_info_by_post))
        .routes(routes!(token::introspect))
        .routes(routes!(token::revoke))
        .routes(routes!(metadata::authorization_server))
        .routes(routes!(metadata::openid_configuration))
}

/// What people look at.
pub fn pages() -> Router<Arc<App>> {
    Router::new()
        .route("/oauth/authorize", get(authorize::authorize).post(authorize::authorize_by_post))
        .route("/oauth/consent", post(authorize::consent))
        .route("/oauth/apps", get(consents::apps).post(consents::withdraw_on_page))
}
