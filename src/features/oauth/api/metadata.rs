//! What this server is, for programs to find out, and who somebody is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::features::clients::model::GrantType;
use crate::features::oauth::actions;
use crate::features::oauth::model::{
    ClientAuthentication, CodeChallengeMethod, PromptValue, ResponseMode, ResponseType, SubjectType,
};
use crate::features::tokens::caller::{Person, need};
use crate::kernel::caller::IdTokenAlgorithm;
use crate::kernel::scope::{OFFLINE_ACCESS, Scope};
use crate::problems;
use crate::web::problem::Problem;

/// RFC 8414 and OpenID Connect Discovery in one: each ignores what only the other knows.
#[derive(Serialize, ToSchema)]
pub struct Metadata {
    #[schema(example = "https://referral.example.com")]
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    userinfo_endpoint: String,
    jwks_uri: String,
    service_documentation: String,
    /// Words that later versions may add to.
    scopes_supported: Vec<String>,
    response_types_supported: &'static [ResponseType],
    response_modes_supported: &'static [ResponseMode],
    grant_types_supported: &'static [GrantType],
    token_endpoint_auth_methods_supported: &'static [ClientAuthentication],
    revocation_endpoint_auth_methods_supported: &'static [ClientAuthentication],
    introspection_endpoint_auth_methods_supported: &'static [ClientAuthentication],
    code_challenge_methods_supported: &'static [CodeChallengeMethod],
    authorization_response_iss_parameter_supported: bool,
    subject_types_supported: &'static [SubjectType],
    id_token_signing_alg_values_supported: &'static [IdTokenAlgorithm],
    /// Words that later versions may add to.
    claims_supported: Vec<String>,
    prompt_values_supported: &'static [PromptValue],
    /// Languages of the pages (BCP 47).
    ui_locales_supported: Vec<String>,
    claims_parameter_supported: bool,
    request_parameter_supported: bool,
    request_uri_parameter_supported: bool,
}

impl Metadata {
    fn of(app: &App) -> Self {
        let issuer = app.public_url();
        let at = |path: &str| format!("{issuer}{path}");
        let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            issuer: issuer.to_owned(),
            authorization_endpoint: at("/oauth/authorize"),
            token_endpoint: at("/oauth/token"),
            revocation_endpoint: at("/oauth/revoke"),
            introspection_endpoint: at("/oauth/introspect"),
            userinfo_endpoint: at("/oauth/userinfo"),
            jwks_uri: at("/.well-known/jwks.json"),
            service_documentation: at("/docs"),
            scopes_supported: texts(
                &Scope::ALL.iter().map(|scope| scope.word()).chain([OFFLINE_ACCESS]).collect::<Vec<_>>(),
            ),
            response_types_supported: ResponseType::ALL,
            response_modes_supported: ResponseMode::ALL,
            grant_types_supported: GrantType::ALL,
            token_endpoint_auth_methods_supported: ClientAuthentication::ALL,
            revocation_endpoint_auth_methods_supported: ClientAuthentication::ALL,
            introspection_endpoint_auth_methods_supported: ClientAuthentication::SECRETS,
            code_challenge_methods_supported: CodeChallengeMethod::ALL,
            authorization_response_iss_parameter_supported: true,
            subject_types_supported: SubjectType::ALL,
            id_token_signing_alg_values_supported: IdTokenAlgorithm::ALL,
            claims_supported: texts(&[
                "iss",
                "sub",
                "aud",
                "exp",
                "iat",
                "auth_time",
                "nonce",
                "at_hash",
                "preferred_username",
                "email",
                "email_verified",
            ]),
            prompt_values_supported: PromptValue::ALL,
            ui_locales_supported: texts(&["en", "ru"]),
            claims_parameter_supported: false,
            request_parameter_supported: false,
            request_uri_parameter_supported: false,
        }
    }
}

fn metadata(app: &App) -> Response {
    ([(CACHE_CONTROL, "public, max-age=60")], Json(Metadata::of(app))).into_response()
}

problems!(MetadataProblems: []);

/// What this authorization server can do
///
/// RFC 8414. Keep it for a minute at most.
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "OAuth", operation_id = "get_oauth_metadata",
    security(()), responses((status = 200, description = "The metadata", body = Metadata), MetadataProblems))]
pub async fn authorization_server(State(app): State<Arc<App>>) -> Response {
    metadata(&app)
}

/// What this OpenID provider can do
///
/// OpenID Connect Discovery; the same as the metadata of the authorization server. Keep it for a minute at most.
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "OAuth", operation_id = "get_openid_configuration",
    security(()), responses((status = 200, description = "The metadata", body = Metadata), MetadataProblems))]
pub async fn openid_configuration(State(app): State<Arc<App>>) -> Response {
    metadata(&app)
}

/// Who somebody is (OpenID Connect Core, 5.1).
#[derive(Serialize, ToSchema)]
pub struct UserInfo {
    /// The user's id.
    #[schema(example = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca")]
    sub: Uuid,
    /// With the scope profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "admin4")]
    preferred_username: Option<String>,
    /// With the scope email.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "idn-email", example = "test4@test.ru")]
    email: Option<String>,
    /// With the scope email: whether the person has shown that it is theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = false)]
    email_verified: Option<bool>,
}

problems!(UserInfoProblems: person[]);

/// Who has logged in
///
/// OpenID Connect Core, 5.3. What is told depends on the scopes of the token.
#[utoipa::path(get, path = "/oauth/userinfo", tag = "OAuth", operation_id = "get_user_info",
    security(("oauth" = ["openid"]), ("bearer" = [])),
    responses((status = 200, description = "Who it is", body = UserInfo), UserInfoProblems))]
pub async fn user_info(State(app): State<Arc<App>>, person: Person<need::Openid>) -> Result<Json<UserInfo>, Problem> {
    let info = actions::user_info(&app, person.user, person.scopes).await?;
    Ok(Json(UserInfo {
        sub: info.user.0,
        preferred_username: info.username,
        email: info.email,
        email_verified: info.email_verified,
    }))
}

/// Who has logged in, by POST
///
/// The same as by GET.
#[utoipa::path(post, path = "/oauth/userinfo", tag = "OAuth", operation_id = "get_user_info_by_post",
    security(("oauth" = ["openid"]), ("bearer" = [])),
    responses((status = 200, description = "Who it is", body = UserInfo), UserInfoProblems))]
pub async fn user_info_by_post(app: State<Arc<App>>, person: Person<need::Openid>) -> Result<Json<UserInfo>, Problem> {
    user_info(app, person).await
}
