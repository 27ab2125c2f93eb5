//! What programs ask the authorization server for.

mod metadata;
mod token;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(token::token))
        .routes(routes!(metadata::user_info, metadata::user_info_by_post))
        .routes(routes!(token::introspect))
        .routes(routes!(token::revoke))
        .routes(routes!(metadata::authorization_server))
        .routes(routes!(metadata::openid_configuration))
}
