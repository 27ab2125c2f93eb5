//! All routes, with the document that describes them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::ACCEPT;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::get;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::accept::prefers_page;
use super::cors::Cors;
use super::guard::{Guard, guard};
use super::{brand, docs, health, openapi};
use crate::app::App;
use crate::features::{
    accounts, clients, codes, identities, links, managers, oauth, participants, programs, referrals, rewards, share,
    signin, tokens, webhooks,
};
use crate::kernel::error::Refusal;
use crate::web::pages::HOME;
use crate::web::problem::Problem;

/// What is documented: the routes and their description cannot drift apart. In the order in which somebody needs them.
fn documented() -> OpenApiRouter<Arc<App>> {
    let mut router = OpenApiRouter::with_openapi(openapi::base())
        .merge(accounts::api::router())
        .merge(clients::api::consents::router())
        .merge(tokens::api::sessions::router())
        .merge(identities::api::router())
        .merge(managers::api::exports::own())
        .merge(tokens::api::router())
        .merge(codes::api::router())
        .merge(links::api::router())
        .merge(referrals::api::router())
        .merge(managers::api::router())
        .merge(programs::api::router())
        .merge(participants::api::router())
        .merge(rewards::api::router())
        .merge(webhooks::api::router())
        .merge(clients::api::router())
        .merge(oauth::api::router())
        .merge(tokens::api::keys())
        .merge(health::router());
    openapi::tell_of_limits(router.get_openapi_mut());
    router
}

/// The document, as `/openapi.json` and `referral openapi` give it.
pub fn document() -> OpenApi {
    documented().into_openapi()
}

pub fn router(app: Arc<App>) -> Router {
    let (routes, document) = documented().split_for_parts();
    let cors = Cors::new(&app.config.http);
    let described = Some(document.paths.paths.keys().cloned().collect());
    let state = Arc::new(Guard { app: app.clone(), cors, described });
    routes
        .merge(docs::router(document))
        .merge(brand::router())
        .merge(accounts::pages::router())
        .merge(oauth::pages::router())
        .merge(signin::pages::router())
        .merge(links::pages::router())
        .merge(share::pages::router())
        .route("/", get(lead_in))
        .fallback(|| async { Problem::from(Refusal::NotFound) })
        .method_not_allowed_fallback(|| async { Problem::from(Refusal::MethodNotAllowed) })
        .layer(from_fn_with_state(state, guard))
        .with_state(app)
}

/// People find their own page, programs and their makers the documentation.
async fn lead_in(headers: HeaderMap) -> Redirect {
    let accept: Vec<HeaderValue> = headers.get_all(ACCEPT).iter().cloned().collect();
    Redirect::temporary(if prefers_page(&accept) { HOME } else { "/docs" })
}

/// A slash at the end changes nothing; routes are found without it.
pub fn without_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() < path.len() && !trimmed.is_empty() {
        let target = match request.uri().query() {
            Some(query) => format!("{trimmed}?{query}"),
            None => trimmed.to_owned(),
        };
        let mut parts = request.uri().clone().into_parts();
        if let Ok(target) = PathAndQuery::try_from(target) {
            parts.path_and_query = Some(target);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}
